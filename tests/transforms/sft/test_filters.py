"""Filters of training data: each reason by a planted case, what is trimmed, what is left alone."""

import json
import time

import apache_beam as beam
import pydantic
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import Execution
from tests.traces import trace
from transforms.records import Reject, Trace
from transforms.sft.filters import FILTERS, TRIMMED_FILTERS, FilterTraces, SftFilters, filtered
from transforms.sft.trimming import without_what_follows
from transforms.tir.cells import FRESH
from transforms.tir.code_format import NOT_RUN
from transforms.tir.formats import CODE_FORMATS

GOOD = "There are \\boxed{42}."


def code(text: str, output: str = "42", name: str = "fenced") -> str:
    written = CODE_FORMATS[name].written(text)
    return written + CODE_FORMATS[name].result(output, written)


# For each reason: the setting that gives it, and a trace that has it.
PLANTED = {
    "truncated": ({}, trace(finish_reason="length")),
    "unlabeled": ({}, trace(is_correct=None)),
    "incorrect": ({}, trace(is_correct=False)),
    "correct": ({"add_correct": False}, trace()),
    "drop_multi_boxed": ({"drop_multi_boxed": True}, trace("\\boxed{42} or \\boxed{43}")),
    "remove_code_errors": (
        {"remove_code_errors": True},
        trace(code("1/0", "Traceback (most recent call last):\n…"), code_format="fenced"),
    ),
    "remove_matplotlib": (
        {"remove_matplotlib": True},
        trace(code("import matplotlib.pyplot as plt"), code_format="fenced"),
    ),
    "remove_no_code": ({"remove_no_code": True}, trace()),
    "remove_no_think_tags": ({"remove_no_think_tags": True}, trace("<think>\nhm")),
    "remove_verification_code": (
        {"remove_verification_code": True},
        trace(f"Let me verify this with Python.\n{code('print(42)')}", code_format="fenced"),
    ),
    "majority_filter": ({"min_majority_votes": 3}, trace(majority_votes=2, total_votes=2)),
    "drop_incorrect_arithmetic": (
        {"drop_incorrect_arithmetic": True},
        trace(f"So 2 + 2 = 5, {GOOD}"),
    ),
    "remove_len_outlier_problems": ({"min_problem_length": 20}, trace()),
    "remove_len_outlier_solutions": ({"max_solution_length": 20}, trace()),
}
NONE_OFF = SftFilters(add_incorrect=True, add_unlabeled=True, add_truncated=True)


def reason(one: Trace, **options: object) -> str | None:
    made = filtered(one, "filter", SftFilters(**options))
    return made.reason if isinstance(made, Reject) else None


def test_every_reason_has_a_planted_case():
    """The planted cases are those of the two tables, in their order; labels have their own test."""
    elsewhere = ("remove_contaminated", "no_contamination_label")
    reasons = [each.reason for each in (*FILTERS, *TRIMMED_FILTERS)]
    assert list(PLANTED) == [reason for reason in reasons if reason not in elsewhere]


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_fault_is_rejected_with_its_reason(planted):
    """The reject has stage, reason, detail and the trace as it came; without the filter, none."""
    options, one = PLANTED[planted]
    reject = filtered(one, "filter", SftFilters(**options))
    assert isinstance(reject, Reject)
    assert (reject.stage, reject.reason, reject.id) == ("filter", planted, one.id)
    assert reject.detail
    assert json.loads(reject.row)["generation"] == one.generation
    assert filtered(one, "filter", NONE_OFF) == one


def test_labels_say_which_traces_are_kept():
    """Each label has its own option; leaving the labels out of account takes all three."""
    labels = {True: "correct", False: "incorrect", None: "unlabeled"}
    for label, name in labels.items():
        options = {f"add_{other}": other == name for other in labels.values()}
        for other in labels:
            kept = reason(trace(is_correct=other), **options)
            assert kept == (None if other is label else labels[other])


@pytest.mark.parametrize(
    ("text", "is_dropped"),
    [
        ("<think>\\boxed{1} no, \\boxed{2}</think>So \\boxed{2}.", False),
        ("<think>hm</think>\\boxed{1} or \\boxed{2}", True),
        ("\\boxed{\\text{nested \\boxed{2}}}", False),
        ("Of \\boxed{} the answer \\boxed{2}", False),
        ("\\boxed{2} and then \\boxed{3", False),
    ],
)
def test_boxes_count_behind_the_reasoning(text, is_dropped):
    """Nested, empty and open ones are no second box."""
    assert (reason(trace(text), drop_multi_boxed=True) is not None) is is_dropped


NOTICES = [
    "[timed out after 10 s and was interrupted; variables are kept]",
    "[timed out after 9 s; the interpreter did not stop and was restarted: all variables are lost]",
    "[the interpreter ended with exit code 1 and was restarted: all variables are lost]",
    "[before this cell, the interpreter ended by signal SIGKILL and was restarted: all variables "
    "were lost]",
    "[the interpreter broke its own protocol and was restarted: all variables are lost]",
    FRESH,
    f"{NOT_RUN}all 8 code executions are used]",
    "[120 bytes not shown]",
    "Traceback (most recent call last):",
    "SyntaxError: invalid syntax",
    "<output cut>",
    "Timed out",
    "Execution timed out",
    "Client timed out",
]


@pytest.mark.parametrize("name", CODE_FORMATS)
@pytest.mark.parametrize("notice", NOTICES)
def test_code_errors_are_what_outputs_say(name, notice):
    """Our own sandbox's notices and others'; in prose or code the same words are no error."""
    shown = Execution("ok", "1\n", notice=notice).text if notice.startswith("[") else f"1\n{notice}"
    failed = f"We run:\n{code('f()', shown, name)}So {GOOD}"
    assert reason(trace(failed, code_format=name), remove_code_errors=True) == "remove_code_errors"
    prose = f"{notice}\n{code('f()', '42', name)}{notice}\n{GOOD}"
    assert reason(trace(prose, code_format=name), remove_code_errors=True) is None
    harmless = code("f()", "the request timed out, as planned\n3 of 4 bytes", name)
    assert reason(trace(harmless, code_format=name), remove_code_errors=True) is None


@pytest.mark.parametrize("name", CODE_FORMATS)
def test_calls_are_known_in_every_format(name):
    """A complete call is code; one that is open, or of another format, is none."""
    text = code("print(1)", "1", name) + GOOD
    assert reason(trace(text, code_format=name), remove_no_code=True) is None
    assert reason(trace(text), remove_no_code=True) == "remove_no_code"
    assert reason(trace(GOOD, code_format=name), remove_no_code=True) == "remove_no_code"
    plots = code("import numpy, matplotlib.pyplot as plt\n1", "1", name)
    assert reason(trace(plots, code_format=name), remove_matplotlib=True) == "remove_matplotlib"
    talks = f"One could import matplotlib here.\n{text}"
    assert reason(trace(talks, code_format=name), remove_matplotlib=True) is None


def test_a_format_that_nobody_knows_is_a_reject():
    """And calls of a chat's tools are fenced in a trace."""
    assert reason(trace(code_format="perl")) == "unknown_code_format"
    assert reason(trace(code("1"), code_format="tool-calls"), remove_no_code=True) is None


def test_reasoning_may_be_kept_apart():
    """Then it needs no tags; without it, the tag that ends it has to be there."""
    assert reason(trace(reasoning_content="hm"), remove_no_think_tags=True) is None
    assert reason(trace("hm</think>42"), remove_no_think_tags=True) is None
    assert reason(trace(), remove_no_think_tags=True) == "remove_no_think_tags"


@pytest.mark.parametrize(
    ("text", "is_dropped"),
    [
        ("We can now plot the function using matplotlib.", True),
        ("Let's double-check the sum in Python:", True),
        ("I will use Python to confirm the count.", True),
        ("Let us compute the sum in Python.", False),
        ("We check the case n = 3. In Python terms it is a list.", False),
        ("A check by hand confirms this.", False),
    ],
)
def test_announced_verification(text, is_dropped):
    """It takes both an aim and Python, in one sentence."""
    assert (reason(trace(text), remove_verification_code=True) is not None) is is_dropped


def test_votes():
    """A number of votes and a share of them; rows without votes pass."""
    few = trace(majority_votes=2, total_votes=8)
    assert reason(few, min_majority_percentage=0.25) is None
    assert reason(few, min_majority_percentage=0.26) == "majority_filter"
    assert reason(few, min_majority_votes=2) is None
    assert reason(trace(), min_majority_votes=9, min_majority_percentage=1.0) is None


def test_one_bound_of_a_length_is_enough():
    """Reasoning counts; a bound is within; characters are counted without a tokenizer."""
    one = trace("1234", reasoning_content="567890")
    assert reason(one, min_solution_length=10, max_solution_length=10) is None
    assert reason(one, min_solution_length=11) == "remove_len_outlier_solutions"
    assert reason(one, max_solution_length=9) == "remove_len_outlier_solutions"
    length = len(one.problem)
    assert reason(one, min_problem_length=length, max_problem_length=length) is None
    assert reason(one, max_problem_length=length - 1) == "remove_len_outlier_problems"
    assert reason(one, min_solution_length=11, use_chars_for_min_length=True) is not None


def test_a_range_that_holds_nothing_is_refused():
    for of in ("problem", "solution"):
        with pytest.raises(pydantic.ValidationError, match=f"min_{of}_length 9 is more than"):
            SftFilters(**{f"min_{of}_length": 9, f"max_{of}_length": 8})
    apart = {"min_solution_length": 9, "max_solution_length": 8, "use_chars_for_min_length": True}
    SftFilters(**apart)  # characters and tokens are no range


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("My solution:\nThere are 42.", "There are 42."),
        ("**My solution:** There are 42.", "There are 42."),
        ("<think>\nhm\n</think>\n\nMy solution:\n\n42", "<think>\nhm\n</think>\n\n42"),
        ("My solution uses sums: 42", "My solution uses sums: 42"),
        ("First, my solution: 42", "First, my solution: 42"),
    ],
)
def test_a_prefix_is_trimmed(before, after):
    """At the beginning of the answer, be it behind reasoning."""
    made = filtered(trace(before), "filter", SftFilters(trim_prefix=True))
    assert made == trace(after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("So \\boxed{42}. It is even.\nDone.", "So \\boxed{42}. It is even."),
        ("$$\n\\boxed{42}\n$$\nDone.", "$$\n\\boxed{42}\n$$"),
        ("\\[\\boxed{42}\n\\]\nDone.", "\\[\\boxed{42}\n\\]"),
        ("<think>\n\\boxed{1}\nhm</think>\n42\nDone", "<think>\n\\boxed{1}\nhm</think>\n42\nDone"),
        ("\\boxed{42\nand so on", "\\boxed{42\nand so on"),
    ],
)
def test_what_follows_the_last_box_is_trimmed(before, after):
    """Up to the end of its line; never because of a box within reasoning."""
    made = filtered(trace(before), "filter", SftFilters(trim_solutions=True))
    assert made == trace(after)


def test_nothing_is_trimmed_before_the_last_result():
    """A box before a call does not cut the call off."""
    text = f"\\boxed{{1}}\n{code('print(42)')}So 42.\nDone."
    one = trace(text, code_format="fenced")
    assert filtered(one, "filter", SftFilters(trim_solutions=True)) == one


@given(st.text(alphabet="a\n{}$\\ ", max_size=30), st.text(alphabet="b\n$\\]}", max_size=20))
@settings(deadline=None)
def test_a_trimmed_solution_begins_the_whole(before, after):
    """It is a prefix with the same last box, and trimming it again changes nothing."""
    whole = before + "\\boxed{42}" + after
    trimmed = without_what_follows(whole, 0)
    assert whole.startswith(trimmed)
    assert "\\boxed{42}" in trimmed
    assert without_what_follows(trimmed, 0) == trimmed


def test_code_execution_counts():
    """From the first announcement in an output; what is known stays, what nobody said is None."""
    counts = SftFilters(add_code_execution_counts=True)
    for told, count in (
        ("1\n[7 of 8 code executions left]", 8),
        ("1\n[no code executions left]", 1),
        ("1\nRemaining code executions: 4\n", 5),
        ("You have run out of code executions", 1),
        ("1", None),
    ):
        one = trace(code("1", told) + code("2", "[0 of 99 code executions left]") * bool(count))
        one = Trace(**{**{f: getattr(one, f) for f in one.__slots__}, "code_format": "fenced"})
        made = filtered(one, "filter", counts)
        assert isinstance(made, Trace) and made.total_code_executions == count, told
    known = trace(code("1", "[7 of 8 code executions left]"), code_format="fenced")
    known = Trace(**{**{f: getattr(known, f) for f in known.__slots__}, "total_code_executions": 3})
    assert filtered(known, "filter", counts) == known


@pytest.mark.parametrize(
    "text",
    [
        "\\boxed{" * 40_000,
        "<think>" * 40_000,
        "check " * 40_000,
        "import a, " * 30_000,
        "[the interpreter " * 20_000,
        "1+" * 100_000,
        "= 1 " * 60_000,
        " " * 200_000,
    ],
)
def test_no_text_takes_long(text):
    """All filters on a text of 200,000 or more characters, prose and output: seconds at most."""
    names = {name for name, field in SftFilters.model_fields.items() if field.default is False}
    everything = SftFilters(**dict.fromkeys(names, True))
    began = time.process_time()
    filtered(trace(text), "filter", everything.model_copy(update={"remove_no_code": False}))
    filtered(trace(code("1", text), code_format="fenced"), "filter", everything)
    filtered(trace(text), "filter", SftFilters(drop_incorrect_arithmetic=True, trim_prefix=True))
    assert time.process_time() - began < 10


def test_the_verb_accounts_for_every_trace():
    """In a pipeline: rows and rejects are the inputs."""
    traces = [planted for _, planted in PLANTED.values()]
    traces = [
        trace(one.generation, number, is_correct=n % 2 == 0)
        for number, (n, one) in enumerate(enumerate(traces))
    ]
    with beam.Pipeline("FnApiRunner", options=PipelineOptions([])) as pipeline:
        out = pipeline | beam.Create(traces) | FilterTraces("filter")
        assert_that(out.rows, equal_to(traces[::2]), "Rows")
        reasons = out.rejects | beam.Map(lambda reject: (reject.id, reject.reason))
        assert_that(reasons, equal_to([(t.id, "incorrect") for t in traces[1::2]]), "Rejects")
