"""Filters of solutions with Python: each reason by a planted case, and what is left alone."""

import json
import time

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fenced import FENCED, call, reasons, solution, used
from transforms.records import Reject, Solution
from transforms.tir.filters import FILTERS, FilterTir, TirFilters, filtered
from transforms.tir.formats import CODE_FORMATS

OPENMATH = CODE_FORMATS["openmath"]
RUN = call("print(6 * 7)", "42")
GOOD = f"We need a product.\n{RUN}So the answer is $\\boxed{{42}}$."
OFF = dict.fromkeys((each.reason for each in FILTERS), False) | {"too_many_code_blocks": None}

# What each filter is there for: a text and the fields of its solution.
PLANTED = {
    "no_code": ("The answer is \\boxed{42}.", {}),
    "too_many_executions": (
        f"{RUN}And:\n```python\nprint(1)\n```\n",
        {"tool_use": used(1, 1, ended="executions")},
    ),
    "incomplete_execution": (f"{RUN}And:\n```python\nprint(1)\n```\n\\boxed{{42}}", {}),
    "boxed_before_code": (f"Clearly \\boxed{{42}}.\n{RUN}\\boxed{{42}}", {}),
    "answer_before_code": (f"The answer is 42. Let me see.\n{RUN}\\boxed{{42}}", {}),
    "no_final_answer": (f"We need a product.\n{RUN}So it is 42.", {}),
    "too_many_code_blocks": (f"First.\n{RUN}Again.\n{RUN}Again.\n{RUN}\\boxed{{42}}", {}),
}
SETTINGS = TirFilters(too_many_code_blocks=2)


def outcome(text: str, settings: TirFilters = SETTINGS, **fields: object) -> Solution | Reject:
    fields.setdefault("answer", "42")
    return filtered(solution(text, **fields), "filter", FENCED, settings)


def reason(text: str, settings: TirFilters = SETTINGS, **fields: object) -> str | None:
    made = outcome(text, settings, **fields)
    return made.reason if isinstance(made, Reject) else None


def test_every_reason_has_a_planted_case():
    """The table of planted cases is that of the filters, and each filter has its setting."""
    assert list(PLANTED) == [each.reason for each in FILTERS]
    assert set(PLANTED) < set(TirFilters.model_fields)


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_fault_is_rejected_with_its_reason(planted):
    """The reject has stage, reason, detail and the solution as it came."""
    text, fields = PLANTED[planted]
    reject = outcome(text, **fields)
    assert isinstance(reject, Reject)
    assert (reject.stage, reject.reason) == ("filter", planted)
    assert reject.detail
    assert json.loads(reject.row)["text"] == text


@pytest.mark.parametrize("planted", PLANTED)
def test_a_filter_that_is_off_rejects_nothing(planted):
    """Without that filter the planted case has another reason or none, and alone it has its own."""
    text, fields = PLANTED[planted]
    off = TirFilters(**{**SETTINGS.model_dump(), planted: OFF[planted]})
    assert reason(text, off, **fields) != planted
    on = SETTINGS.model_dump()[planted]
    assert reason(text, TirFilters(**{**OFF, planted: on}), **fields) == planted
    assert reason(text, TirFilters(**OFF), **fields) is None


def test_of_two_faults_the_first_in_the_table_counts():
    """The order of the reasons is the table's."""
    text = f"Clearly \\boxed{{42}}.\n{RUN}```python\nprint("
    assert reason(text) == "incomplete_execution"
    assert reason(f"Clearly the answer is 42, \\boxed{{42}}.\n{RUN}") == "boxed_before_code"


def test_a_good_solution_is_a_row():
    """It keeps its id and everything but what follows the final box."""
    made = outcome(GOOD)
    assert made == solution(GOOD.removesuffix("."), "42")


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (f"{RUN}```python\nprint(", "call 2 of 2 is not closed"),
        ("```python\nprint(1)\n```\nNo result. \\boxed{1}", "call 1 of 1 has no result"),
    ],
)
def test_an_incomplete_execution_says_which(text, detail):
    """The call's number, and why the sample ended where that is known."""
    assert outcome(text).detail == detail
    out = outcome(text, tool_use=used(1, 1, ended="budget"))
    assert out.detail == f"{detail}; the sample ended for: budget"


@pytest.mark.parametrize(
    ("prelude", "answer", "problem"),
    [
        ("The answer is 2.", "2", "Add."),
        ("the answer should be found. Final answer: **2**", "2", "Add."),
        ("The answer is $2$", "2", "Add."),
        ("So the result equals\n$$\n2\n$$", "2", "Add."),
        ("The solution is \\(x = 2\\), the answer is: \\( 2 \\)", "2", "Add."),
        ("The answer is 7, as said.", "7", "There are 7 days."),
        ("This gives 1729 taxis.", "1729", "Which number?"),
        ("This gives $\\frac{3}{4}$.", "\\frac{3}{4}", "Which number?"),
        ("This gives x + 11", "x  +  11", "Which polynomial?"),
        ("It is (3, 4), by symmetry", "(3, 4)", "Which point?"),
    ],
)
def test_an_answer_that_was_claimed_before_the_code_is_found(prelude, answer, problem):
    """Called the answer, whatever it is; or too long to be there by chance."""
    text = f"{prelude}\n{RUN}\\boxed{{{answer}}}"
    assert reason(text, answer=answer, problem=problem) == "answer_before_code"


@pytest.mark.parametrize(
    ("prelude", "answer", "problem"),
    [
        ("Step 2: there are 2 cases, so x^2 = 2y.", "2", "Add."),
        ("The answer is unknown; try 2 or 3.", "2", "Add."),
        ("The answer is 12.", "2", "Add."),
        ("The answer is 2.5 or 2^3.", "2", "Add."),
        ("The answer is -2.", "2", "Add."),
        ("My solution:\n1. Count.\n2. Add.", "1", "Add."),
        ("The number 1729 is given.", "1729", "Is 1729 a sum of cubes?"),
        ("Look at 21729, 1729.5, 1729^2 and 3,1729.", "1729", "Which number?"),
        ("Nothing is known.", None, "Which number?"),
        ("Nothing is known.", " ", "Which number?"),
        ("", "42", "Which number?"),
    ],
)
def test_an_answer_that_only_occurs_is_no_claim(prelude, answer, problem):
    """Small numbers in prose, parts of other numbers, and what the problem itself says."""
    text = f"{prelude}\n{RUN}\\boxed{{42}}"
    assert reason(text, answer=answer, problem=problem) is None


@given(st.text("answer is=:$\n*[\\ 12", max_size=60), st.text("12(,)\\", min_size=1, max_size=5))
@settings(deadline=None)
def test_any_prelude_and_answer_can_be_looked_at(prelude, answer):
    """No text before the code and no answer is an error."""
    reason(f"{prelude}\n{RUN}\\boxed{{{answer}}}", answer=answer)


@pytest.mark.parametrize("part", ["the answer is ", "$\n", "answer is $\n", "= ", "answer: \n$\n"])
def test_no_prelude_takes_long(part):
    """Time grows with the text, not with its square."""
    start = time.process_time()
    reason(f"{part * 10_000}\n{RUN}\\boxed{{42}}")
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("conclusion", "kept"),
    [
        ("It is \\boxed{42}. I hope that this helps!", "It is \\boxed{42}"),
        ("It is $\\boxed{42}$. Done.", "It is $\\boxed{42}$"),
        ("\\[\n\\boxed{42}\n\\]\nDone.", "\\[\n\\boxed{42}\n\\]"),
        ("$$\\boxed{42}$$ Done.", "$$\\boxed{42}$$"),
        ("\\boxed{41}, no: \\boxed{42}, and \\boxed{", "\\boxed{41}, no: \\boxed{42}"),
        ("\\boxed{\\boxed{42}} Done", "\\boxed{\\boxed{42}}"),
    ],
)
def test_the_text_is_cut_after_the_final_box(conclusion, kept):
    """Right behind the last complete box and what closes its formula; or not, if so set."""
    made = outcome(f"Go.\n{RUN}{conclusion}")
    assert made.text == f"Go.\n{RUN}{kept}"
    whole = outcome(f"Go.\n{RUN}{conclusion}", TirFilters(cut_after_final_box=False))
    assert whole.text == f"Go.\n{RUN}{conclusion}"


def test_a_box_in_code_or_output_is_no_final_answer():
    """Only what the model says after the last result counts."""
    inside = call('print("\\boxed{42}")', "\\boxed{42}")
    assert reason(f"Go.\n{inside}So it is 42.") == "no_final_answer"
    assert reason(f"Go.\n{RUN}So \\boxed{{42}}.\n{RUN}As I said.") == "no_final_answer"


@pytest.mark.parametrize(
    ("conclusion", "expected"),
    [
        ("**Final Answer**\n\\boxed{42}", None),
        ("**Final answer:** $\\boxed{42}$", None),
        ("\\boxed{42}", "no_final_answer"),
        ("\\boxed{42}\n**Final Answer**\nsee above", "no_final_answer"),
        ("Final Answer\n\\boxed{42}", "no_final_answer"),
    ],
)
def test_the_published_heading_can_be_demanded(conclusion, expected):
    """Then only a box behind a bold heading is a final answer."""
    settings = TirFilters(final_answer_heading=True)
    assert reason(f"Go.\n{RUN}{conclusion}", settings) == expected


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (None, None),
        (used(1, None), None),
        (used(1, 1), None),
        (used(0, 1), "incomplete_execution"),
        (used(1, 1, ended="executions"), "too_many_executions"),
        (used(1, 2, ended="budget"), None),
        (used(2, 2), "incomplete_execution"),
    ],
)
def test_executions_are_held_to_what_was_announced(use, expected):
    """More calls than allowed, or a try at more; with no number announced, any number."""
    assert reason(GOOD, tool_use=use) == expected


def test_kept_solutions_are_rewritten_and_rejects_are_not():
    """In a pipeline, each solution is in one output; rows say which format they are in."""
    solutions = [
        solution(GOOD, "42", number=0, tool_use=used(1, 4)),
        *(
            solution(text, "42", number=number, **fields)
            for number, (text, fields) in enumerate(PLANTED.values(), start=1)
        ),
    ]

    def check_rows(rows):
        (row,) = rows
        assert row.text == (
            "We need a product.\n<tool_call>\nprint(6 * 7)\n</tool_call>\n```output\n42\n```\n"
            "So the answer is $\\boxed{42}$"
        )
        assert row.tool_use.code_format == "openmath"

    def check_rejects(rejects):
        ids = [one.id for one in solutions[1:]]
        assert reasons(rejects) == dict(zip(ids, PLANTED, strict=True))
        by_id = {reject.id: json.loads(reject.row)["text"] for reject in rejects}
        assert by_id == {one.id: one.text for one in solutions[1:]}

    verb = FilterTir("filter", FENCED, SETTINGS, into=OPENMATH)
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        made = pipeline | beam.Create(solutions) | verb
        assert_that(made.rows, check_rows, label="rows")
        assert_that(made.rejects, check_rejects, label="rejects")


def test_a_solution_that_cannot_be_rewritten_is_a_reject():
    """As it came, with what the rewriting says."""
    text = f"We <tool_call>do</tool_call> this.\n{RUN}So $\\boxed{{42}}$. Done."

    def check_rejects(rejects):
        (reject,) = rejects
        assert reject.reason == "not_rewritable"
        assert "can be told from the rest in openmath" in reject.detail
        assert json.loads(reject.row)["text"] == text

    verb = FilterTir("filter", FENCED, SETTINGS, into=OPENMATH)
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        made = pipeline | beam.Create([solution(text, "42")]) | verb
        assert_that(made.rejects, check_rejects, label="rejects")
        assert_that(made.rows, equal_to([]), label="rows")
