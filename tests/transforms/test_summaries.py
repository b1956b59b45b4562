"""New summaries: what is wrong with one, which is kept, and what of the solution stays."""

import dataclasses
import random

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from prompts import rehearsal
from tests.fenced import call, solution, used
from transforms.answers import last_boxed
from transforms.codec import arrow_schema, from_row, to_json, to_row
from transforms.reading import Conclusion, Fault
from transforms.records import Answered, Call, JudgedSolution, Reject, Summary
from transforms.summaries import (
    MergeSummaries,
    SelectCorrect,
    SummarySettings,
    fault_of,
    head_of,
    is_summarised,
    longest,
    merged,
    summarised,
    summary_of,
    trimmed,
    variables_of,
)

FOUR = SummarySettings(new_summaries=4)
STRICT = SummarySettings(new_summaries=4, strict_end_tag=True)
TRIM = SummarySettings(new_summaries=4, trim_reasoning=True)
CALL = Call("generate_new_summaries", "p", "h", "m", "{}", 0, 0, 1, ("k",), "stop", 9, 9)
OLD, NEW = r"Done. \boxed{7}", r"First 3, then 4 more, which makes \boxed{7}."


def judged(text: str = OLD, verdict: str = "correct", number: int = 0, **fields) -> JudgedSolution:
    of = solution(text, answer=fields.pop("answer", "7"), number=number, **fields)
    return JudgedSolution(of.id, of, "7", verdict, "equality")


def summary(of: JudgedSolution, text: str = NEW, sample: int = 0) -> Summary:
    return Summary(f"{of.id}-{sample}", of.id, text, last_boxed(text) or "", CALL)


def put_in(of: JudgedSolution, text: str = NEW, by: SummarySettings = FOUR) -> JudgedSolution:
    made = merged(of, [summary(of, text)], "merge", by)
    assert isinstance(made, JudgedSolution)
    return made


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (NEW, None),
        (r"In another spelling, \boxed{7.0}.", None),
        (r"\boxed{8} was a guess, \boxed{7} is it.", None),
        (r"\boxed{7} was a guess, \boxed{8} is it.", "summary_differs"),
        (r"It is \boxed{8}.", "summary_differs"),
        (r"It is \boxed{7} or \boxed{8", None),
        ("It is 7.", "no_boxed_answer"),
        (r"It is \boxed{}.", "no_boxed_answer"),
        (r"It is \boxed{7", "no_boxed_answer"),
        (r"<think>No.</think> It is \boxed{7}.", "tag_in_summary"),
        (r"It is \boxed{7}. <think>Or?", "tag_in_summary"),
    ],
)
def test_a_summary_is_held_to_its_own_answer(text, reason):
    """What its last complete box holds must be the solution's answer, in any spelling."""
    fault = fault_of(judged(), text, FOUR)
    assert (fault and fault.reason) == reason


def test_formulas_are_compared_as_formulas():
    """An equal formula in another form is the same answer, a different one is not."""
    of = judged(r"\boxed{(x+1)^2}", answer="(x+1)^2")
    assert fault_of(of, r"\boxed{x^2+2x+1}", FOUR) is None
    assert fault_of(of, r"\boxed{x^2+2x}", FOUR) == Fault(
        "summary_differs", "its final answer is 'x^2+2x', and that of the solution '(x+1)^2'"
    )


@given(st.integers(-50, 50), st.integers(-50, 50))
@settings(deadline=None)
def test_the_answer_compared_is_never_the_inherited_one(own, of):
    """Whatever the row says that the answer is, the summary's box decides."""
    fault = fault_of(judged(answer=str(of)), rf"So \boxed{{{own}}}.", FOUR)
    assert (fault is None) == (own == of)


def test_a_summary_record_has_its_own_answer():
    """As it spells it; and it can be stored."""
    of = judged()
    answered = Answered(f"{of.id}-2", of, r"So \boxed{7.0}.", CALL)
    made = summary_of(answered)
    assert made == Summary(f"{of.id}-2", of.id, r"So \boxed{7.0}.", "7.0", CALL)
    assert from_row(Summary, to_row(made)) == made
    assert arrow_schema(Summary).names == ["id", "solution_id", "text", "predicted_answer", "call"]


def test_the_reasoning_of_a_model_that_writes_summaries_is_no_part_of_one():
    """It may think; what it thought is not put before the reader."""
    thought = "<think>\nThe answer was \\boxed{7}.\n</think>\n\nIt is \\boxed{7}. "
    assert Conclusion().read(thought) == r"It is \boxed{7}."
    assert Conclusion().read("<think>So").reason == "empty_answer"
    assert Conclusion().constraint() is None


def test_a_model_is_shown_problem_reasoning_and_solution():
    """All of it, as it is."""
    of = judged(reasoning="Say 7.")
    shown = {"problem": "How many are there?", "reasoning": "Say 7.", "solution": OLD}
    assert variables_of(of) == shown


@pytest.mark.parametrize(
    ("of", "by", "is_worth_it"),
    [
        (judged(reasoning="7?"), FOUR, True),
        (judged(), FOUR, True),
        (judged(verdict="incorrect"), FOUR, False),
        (judged(verdict="unjudged"), FOUR, False),
        (judged(verdict="no_answer", answer=None), FOUR, False),
        (judged(answer=None), FOUR, False),
        (judged("<think>7?</think>7"), STRICT, True),
        (judged(reasoning="7?"), STRICT, True),
        (judged("<think>7?"), STRICT, False),
        (judged("7"), STRICT, False),
    ],
)
def test_only_what_can_have_a_summary_is_asked_about(of, by, is_worth_it):
    """Correct, with an answer to be held to, and with an end of its reasoning where one is due."""
    assert is_summarised(of, by) is is_worth_it
    if not is_worth_it and of.verdict == "correct":
        assert isinstance(merged(of, [], "merge", by), Reject)


def test_reasoning_that_is_kept_apart_stays_as_it_is():
    """The text is the summary alone, and answer and calls are those of the text."""
    of = judged(reasoning="3 and 4.\n\nSo 7.")
    made = put_in(of, r"It is \boxed{7.0}.").solution
    assert (made.text, made.reasoning) == (r"It is \boxed{7.0}.", "3 and 4.\n\nSo 7.")
    assert made.predicted_answer == "7.0"
    assert made.calls == (*of.solution.calls, CALL)


NL = "\n\n"
RUN = call("print(3 + 4)", "7")


@pytest.mark.parametrize(
    ("text", "head"),
    [
        ("<think>\n3, 4\n</think>\n\nSo 7.", "<think>\n3, 4\n</think>"),
        ("<think>3</think>, then <think>4</think>So 7.", "<think>3</think>, then <think>4</think>"),
        ("3, 4\n</think>So 7.", "<think>\n3, 4\n</think>"),
        ("\n3</think>, <think>4</think>So", "<think>\n3</think>, <think>4</think>"),
        ("So 7.", "<think>\nSo 7.\n</think>"),
        ("<think>\nSo 7.\n", "<think>\nSo 7.\n</think>"),
        ("<think>3</think>, <think>4, So 7.", "<think>3</think>, <think>4, So 7.\n</think>"),
        ("</think>", "<think>\n</think>"),
    ],
)
def test_reasoning_within_a_text_stays_between_its_tags(text, head):
    """Up to the last end tag; a start tag or an end tag that is missing is added."""
    assert put_in(judged(text)).solution.text == f"{head}\n\n{NEW}"


@pytest.mark.parametrize(
    ("text", "is_kept"),
    [
        ("<think>3</think>7", True),
        ("3</think>7", True),
        ("<think>3, 7", False),
        ("<think>3</think>4<think>7", False),
        ("7", False),
    ],
)
def test_if_the_settings_are_strict_an_end_tag_must_be_there(text, is_kept):
    """A solution that lacks one is a reject, even where there is a summary of it."""
    of = judged(text)
    made = merged(of, [summary(of)], "merge", STRICT)
    assert isinstance(made, JudgedSolution) is is_kept
    if isinstance(made, Reject):
        assert (made.reason, made.detail) == (
            "no_reasoning_end", "no </think> follows its reasoning"
        )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "head"),
    [
        (f"<think>Add.\n{RUN}</think>So 7.", f"<think>Add.\n{RUN}</think>"),
        (f"<think>Add.</think>\n{RUN}So 7.", f"<think>Add.</think>\n{RUN}"),
        (
            "<think>Add.</think>\n" + call("print('</think>')", "</think>") + "So 7.",
            "<think>Add.</think>\n" + call("print('</think>')", "</think>"),
        ),
        (f"Add.\n{RUN}So 7.", f"<think>\nAdd.\n{RUN}So 7.\n</think>"),
    ],
)
def test_calls_of_python_and_their_results_stay(text, head):
    """What comes after the last end tag and the last result is replaced, and nothing before."""
    of = judged(text, tool_use=used(1, 8))
    assert put_in(of).solution.text == f"{head}\n\n{NEW}"
    apart = judged(f"{RUN}So 7.", tool_use=used(1, 8), reasoning="Add.")
    assert put_in(apart).solution.text == f"{RUN}\n\n{NEW}"


def test_tags_and_separator_are_those_of_the_settings():
    """Without a start tag, none is added; the text of gpt-oss has none."""
    final = "<|channel|>final<|message|>"
    by = SummarySettings(new_summaries=1, start_tag="", end_tag=final, summary_separator="")
    before = f"<|channel|>analysis<|message|>7?<|end|><|start|>assistant{final}"
    assert put_in(judged(f"{before}It is 7."), NEW, by).solution.text == f"{before}{NEW}"
    of = judged("<t>7?</t>7")
    by = SummarySettings(start_tag="<t>", end_tag="</t>", summary_separator=r"\n")
    assert put_in(of, NEW, by).solution.text == f"<t>7?</t>\n{NEW}"


@pytest.mark.parametrize(
    ("reasoning", "kept"),
    [
        (
            "3 + 4.\n\nSo \\boxed{7}, then.\n\nLet me check.\n\nYes.",
            "3 + 4.\n\nSo \\boxed{7}, then.",
        ),
        ("\\boxed{7}\n \nAgain \\boxed{7.0}.\n\t\nYes.", "\\boxed{7}\n \nAgain \\boxed{7.0}."),
        ("So \\boxed{7}.\nLet me check.", "So \\boxed{7}.\nLet me check."),
        ("\\boxed{8}?\n\nNo, it is 7.", "\\boxed{8}?\n\nNo, it is 7."),
        ("\\boxed{7}?\n\n\\boxed{8}?\n\nNo, 7.", "\\boxed{7}?\n\n\\boxed{8}?\n\nNo, 7."),
        ("It is 7.\n\nYes.", "It is 7.\n\nYes."),
    ],
)
def test_reasoning_is_trimmed_behind_the_last_box_if_that_has_the_answer(reasoning, kept):
    """Apart or between tags; where it has another, what comes after is how it was found."""
    assert trimmed(reasoning, "7") == kept
    assert put_in(judged(reasoning=reasoning), NEW, TRIM).solution.reasoning == kept
    assert put_in(judged(reasoning=reasoning), NEW, FOUR).solution.reasoning == reasoning
    within = put_in(judged(f"<think>{reasoning}</think>So 7."), NEW, TRIM).solution.text
    end = "</think>" if kept == reasoning else "\n</think>"
    assert within == f"<think>{kept}{end}\n\n{NEW}"
    left = f"<think>{reasoning}</think>"
    with_python = judged(f"{left}So 7.", tool_use=used(0, 8))
    assert put_in(with_python, NEW, TRIM).solution.text == f"{left}\n\n{NEW}"


PIECES = st.sampled_from(
    ["<think>", "</think>", "a", "\n", "\n\n", r"\boxed{7}", r"\boxed{8}", "So", f"\n{RUN}"]
)
TEXTS = st.lists(PIECES, max_size=8).map("".join)
USES = st.sampled_from([None, used(1, 8)])


@given(TEXTS, USES, st.booleans())
@settings(deadline=None)
def test_the_closing_tag_is_never_lost(text, use, trims):
    """In whatever text: reasoning is opened and closed, and right behind it comes the summary."""
    by = TRIM if trims else FOUR
    made = put_in(judged(text, tool_use=use), NEW, by).solution.text
    after = made.rpartition("</think>")[2]
    assert after.endswith(f"\n\n{NEW}")
    assert "<think>" in made[: made.index("</think>")]
    if use is None:
        assert after == f"\n\n{NEW}"
        assert made.rfind("<think>") < made.rfind("</think>")
    else:
        assert made.count(RUN) == text.count(RUN)


@given(TEXTS, USES, st.sampled_from(["", "Say 7."]))
@settings(deadline=None)
def test_a_second_summary_replaces_the_first_and_nothing_else(text, use, reasoning):
    """The place where a summary is put is found again."""
    of = judged(text, tool_use=use, reasoning=reasoning)
    twice = put_in(put_in(of, r"At last, \boxed{7}."), NEW).solution
    once = put_in(of, NEW).solution
    assert (twice.text, twice.reasoning) == (once.text, once.reasoning)


@given(TEXTS, st.booleans())
@settings(deadline=None)
def test_trimming_only_leaves_out(text, is_apart):
    """What is kept of reasoning is the beginning of what it was."""
    of = judged(OLD if is_apart else text, reasoning=text if is_apart else "")
    assume(is_apart is False or text)
    kept = put_in(of, NEW, TRIM).solution
    whole = put_in(of, NEW, FOUR).solution
    if is_apart:
        assert whole.reasoning.startswith(kept.reasoning)
    else:
        head = kept.text.removesuffix(f"\n\n{NEW}").removesuffix("</think>")
        assert whole.text.startswith(head.removesuffix("\n"))


def test_the_longest_summary_is_kept_and_of_equals_that_with_the_smallest_id():
    """The order in which they come says nothing."""
    of = judged()
    texts = [r"\boxed{7}", NEW, NEW.replace("First", "Firzt"), r"So \boxed{7}"]
    summaries = [summary(of, text, sample) for sample, text in enumerate(texts)]
    rng = random.Random(0)
    for _ in range(10):
        assert longest(rng.sample(summaries, 4)) == summaries[1]
    assert longest([]) is None


def test_a_correct_solution_without_a_summary_is_a_reject():
    """The detail says how many were asked for; others go on as they are."""
    of = judged()
    reject = merged(of, [], "merge", FOUR)
    assert isinstance(reject, Reject)
    assert (reject.stage, reject.reason, reject.id) == ("merge", "no_valid_summary", of.id)
    assert reject.detail == "0 of 4 summaries can be used"
    assert reject.row == to_json(of)
    unanswered = merged(judged(answer=None), [], "merge", FOUR)
    assert isinstance(unanswered, Reject)
    assert unanswered.detail == "it has no answer that a summary could be held to"
    for verdict in ("incorrect", "no_answer", "unjudged"):
        other = judged(verdict=verdict)
        assert merged(other, [summary(other)], "merge", FOUR) is other


def test_nothing_but_the_solution_changes():
    """Verdict, expected answer and what else a judged solution has stay."""
    of = dataclasses.replace(judged(), pass_rate=0.25)
    made = put_in(of)
    assert dataclasses.replace(made, solution=of.solution) == of
    assert dataclasses.replace(
        made.solution, text=OLD, calls=of.solution.calls
    ) == of.solution  # fmt: skip


def test_summaries_and_solutions_meet_by_id():
    """In a pipeline, in whatever order: one row or reject for each solution, and none is mixed."""
    many = [
        judged(f"<think>{n}</think>{n}", "incorrect" if n % 5 == 4 else "correct", n)
        for n in range(20)
    ]
    summaries = [
        summary(of, rf"{'so ' * (k + 1)}of {n} it is \boxed{{7}}", k)
        for n, of in enumerate(many)
        for k in range(n % 4)
        if of.verdict == "correct"
    ]
    twins = [judged("a", number=20), judged("b", number=20)]
    expected = {of.id: _planned(n, of) for n, of in enumerate(many)}
    rng = random.Random(3)
    for _ in range(2):
        rows, asks = [*many, *twins], list(summaries)
        rng.shuffle(rows)
        rng.shuffle(asks)
        with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
            joined = (
                pipeline | "Rows" >> beam.Create(rows),
                pipeline | "Summaries" >> beam.Create(asks),
            )
            selected = joined[0] | SelectCorrect(FOUR)
            made = joined | MergeSummaries("merge", FOUR)
            assert_that(
                selected.rows | "Ids" >> beam.Map(lambda row: to_json(row)),
                equal_to([to_json(of) for of in [*many, *twins] if of.verdict == "correct"]),
                "Selected",
            )
            assert_that(selected.rejects, equal_to([]), "NoRejects")
            assert_that(
                made.rows | "Texts" >> beam.Map(_told),
                equal_to([(id, told) for id, told in expected.items() if "no_valid" not in told]),
                "Merged",
            )
            assert_that(
                made.rejects | "Why" >> beam.Map(lambda row: (row.id, row.reason)),
                equal_to(
                    [(id, told) for id, told in expected.items() if "no_valid" in told]
                    + [(twins[0].id, "duplicate_id")] * 2
                ),
                "Rejected",
            )


def _planned(number: int, of: JudgedSolution) -> str:
    """What must become of a solution with `number % 4` summaries, each longer than the last."""
    if of.verdict != "correct":
        return of.verdict
    last = number % 4
    return (
        rf"<think>{number}</think>{NL}{'so ' * last}of {number} it is \boxed{{7}}"
        if last
        else "no_valid_summary"
    )


def _told(row: JudgedSolution) -> tuple[str, str]:
    return row.id, row.solution.text if row.verdict == "correct" else row.verdict


@pytest.mark.parametrize(("given", "meant"), [("False", False), ("false", False), ("true", True)])
def test_false_is_false(given, meant):
    """The text of a flag is read as what it says."""
    assert SummarySettings(strict_end_tag=given).strict_end_tag is meant


def test_settings_that_cannot_work_are_refused():
    """An end tag must be something; the separator's line breaks may be written as on a shell."""
    with pytest.raises(ValidationError, match="end_tag"):
        SummarySettings(end_tag="")
    assert SummarySettings().summary_separator == "\n\n"
    assert SummarySettings(summary_separator=r"\n").summary_separator == "\n"
    assert SummarySettings(**SummarySettings().model_dump()) == SummarySettings()
    assert SummarySettings().new_summaries == 0


def test_a_rehearsed_summary_has_the_answer_of_its_solution():
    """Without a planted fault, its check has nothing against it; and all are the same twice."""
    of = judged(r"<think>\boxed{5}?</think> It is \boxed{7}.")
    shown = [{"role": "user", "content": f"<solution>\n{of.solution.text}\n</solution>"}]
    rehearse = rehearsal("math/summary")
    reasons = []
    for seed in range(200):
        text = rehearse(shown, random.Random(seed))
        assert text == rehearse(shown, random.Random(seed))
        fault = fault_of(of, text, FOUR)
        reasons.append(fault.reason if fault else "")
    assert set(reasons) == {"", "no_boxed_answer", "summary_differs", "tag_in_summary"}
    assert reasons.count("") > 80


def test_the_head_of_a_solution_that_is_apart_is_empty():
    """There is nothing in its text to keep."""
    assert head_of(judged(reasoning="7?").solution, STRICT) == ""
    assert summarised(judged("7").solution, summary(judged("7")), STRICT) is None
