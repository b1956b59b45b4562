"""Which solution a comparison chooses, however it is written; and what of it becomes a row."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.genselect import summaries
from transforms.genselect.comparison import (
    Judged,
    JudgedText,
    comparison_of,
    fault_of,
    kept_or_reject,
    last_judgment,
    trace_of,
    variables_of,
    variables_of_trace,
)
from transforms.genselect.records import Candidate, Comparison, ComparisonSummary, Instance
from transforms.reading import Fault
from transforms.records import Answered, Call, Origin, Reject

CALL = Call("label_data", "p", "", "m", "{}", 0, 0, 1, ("k",), "stop", 1, 1)
TOLD = Call("generate_new_summaries", "p", "", "m", "{}", 0, 1, 1, ("l",), "stop", 1, 1)
INSTANCE = Instance(
    "p-0", "p", "How many?", "8", Origin("p", "mine", "7", "MIT", "{}"),
    (
        Candidate("s4", r"\boxed{9}", "9", False),
        Candidate("s1", r"\boxed{8}", "8", True),
        Candidate("s3", r"\boxed{7}", "7", False),
    ),
)  # fmt: skip
WRITTEN = (
    "Judgment: {}",
    "judgement: {}.",
    "JUDGMENT : {}",
    "Judgment: [{}]",
    "**Judgment:** {}",
    "**Judgment: {}**",
    "_Judgment_: {}",
    "Judgment: **{}** (by far)",
    "## Judgement\n: {}",
    r"Judgment: \boxed{{{}}}",
    r"Judgment: $\boxed{{\text{{{}}}}}$",
    "Judgment:\n\n{}",
    "Judgment: Solution {}",
    "Final Judgment： {}",
    "Judgment: solution [{}] (since 3.5 is no number of people)",
    "Final Judgment - {}",
    "**Final Judgment** – {}",
    "Judgment: The best is {}",
    "Judgment: I would choose the solution **{}**.",
    "Judgment: {0} (not 1, 2 or 3), so {0}",
)


@given(st.sampled_from(WRITTEN), st.integers(0, 99), st.integers(0, 99))
def test_a_choice_is_read_however_it_is_written(written, first, last):
    """With any emphasis or brackets, and the last one counts."""
    text = f"Judgment: {first}\nNo: it is 4 times as much.\n{written.format(last)}\nThat is all."
    assert last_judgment(text) == last


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Solution 3 is best.",
        "Judgment: none",
        "Judgment: [idx]",
        "Judgment: 3.5",
        "Judgment: 1 or 2",
        "Judgment: 2/5",
        "Judgment: 2, 5",
        "Judgment: 2-5",
        "Judgment: 0 and 1 are the same",
        "Judgment: 2nd",
        "Judgment: not 2",
        "Judgment: one of 3",
        "Judgment: none\n\n3 are wrong",
        "Judgment: 1\nJudgment: 1 or 2",
        "judgment-2",
        "Judgment: 12345678901",
        "My judgment is 3",
        "prejudgment: 3",
    ],
)
def test_what_is_no_choice_is_none(text):
    """Nothing is guessed."""
    assert last_judgment(text) is None


@pytest.mark.parametrize(
    "text", ["Judgment: 1 ", "Judgment: the ", "Judgment", "Judgment: 1 (", "\n"]
)
def test_a_model_that_repeats_itself_costs_little(text):
    """100 KB of anything is looked at in less than a second."""
    begun = time.process_time()
    last_judgment(text * (100_000 // len(text)))
    assert time.process_time() - begun < 1


@given(st.text())
def test_any_text_is_read_or_has_a_fault(text):
    """And nothing else happens."""
    read = JudgedText().read(text)
    assert isinstance(read, Judged | Fault)


def test_no_choice_is_read_from_reasoning():
    """What was thought may stay in the text or go."""
    text = "<think>Judgment: 1</think>\n\nJudgment: 2"
    assert JudgedText(keeps_reasoning=True).read(text) == Judged(text, 2)
    assert JudgedText().read(text) == Judged("Judgment: 2", 2)
    for bare in ("<think>Judgment: 1</think>", "<think>Judgment: 1"):
        assert JudgedText().read(bare) == Fault("empty_answer", "the answer is reasoning only")
    thought = JudgedText().read("<think>Judgment: 1</think>Well.")
    assert isinstance(thought, Fault) and thought.reason == "no_judgment"


@pytest.mark.parametrize(("judgment", "reason"), [
    (-1, "judgment_out_of_range"), (0, ""), (2, ""), (3, "judgment_out_of_range"),
])  # fmt: skip
def test_only_a_solution_that_is_there_can_be_chosen(judgment, reason):
    """From 0 to the last."""
    fault = fault_of(INSTANCE, Judged("text", judgment))
    assert (fault.reason if fault else "") == reason


def compared(judgment: int) -> Comparison:
    value = Judged(f"They differ.\nJudgment: {judgment}", judgment)
    return comparison_of(Answered("p-0", INSTANCE, value, CALL, reasoning="Hm."))


def test_only_right_choices_are_kept():
    """The detail of a reject says which would have been right."""
    assert kept_or_reject(compared(1), "extract_judgment") == compared(1)
    reject = kept_or_reject(compared(2), "extract_judgment")
    assert isinstance(reject, Reject)
    assert (reject.id, reject.reason) == ("p-0", "wrong_choice")
    assert reject.detail == "it chooses solution 2 with the answer '7'; correct are 1"


def test_a_row_has_the_published_columns():
    """And its prompt can be written again from it."""
    trace = trace_of(compared(1))
    blocks = (f"Solution {n}:\n\\boxed{{{answer}}}" for n, answer in enumerate("987"))
    assert json.loads(trace.extra) == {
        "solutions": "\n\n".join(blocks),
        "max_idx": 2, "num_solutions": 3, "judgment": 1,
        "predicted_answer_0": "9", "label_0": "Incorrect", "solution_id_0": "s4",
        "predicted_answer_1": "8", "label_1": "Correct", "solution_id_1": "s1",
        "predicted_answer_2": "7", "label_2": "Incorrect", "solution_id_2": "s3",
    }  # fmt: skip
    assert (trace.problem, trace.expected_answer, trace.predicted_answer) == ("How many?", "8", "8")
    assert (trace.is_correct, trace.reasoning_content) == (True, "Hm.")
    assert variables_of_trace(trace) == variables_of(INSTANCE)


@pytest.mark.parametrize(("text", "judgment", "reason"), [
    ("Solution 1 adds. Judgment: 1", 1, ""),
    ("Solution 2 adds. Judgment: 2", 2, "judgment_differs"),
    ("Judgment: 9", 9, "judgment_differs"),
    ("<think>Judgment: 1", 1, "tag_in_summary"),
])  # fmt: skip
def test_a_summary_makes_the_same_choice(text, judgment, reason):
    """And is no reasoning."""
    fault = summaries.fault_of(compared(1), Judged(text, judgment))
    assert (fault.reason if fault else "") == reason


def test_the_longest_summary_takes_the_place_of_the_comparison():
    """With its call, and without the reasoning; none is a reject."""
    told = [ComparisonSummary(f"p-0-{n}", "p-0", text, TOLD) for n, text in enumerate("ab")]
    told.append(ComparisonSummary("p-0-2", "p-0", "longest", TOLD))
    row = summaries.summarised(compared(1), told, "merge_new_summaries")
    assert isinstance(row, Comparison)
    assert (row.text, row.reasoning, row.judgment, row.calls) == ("longest", "", 1, (CALL, TOLD))
    none = summaries.summarised(compared(1), [], "merge_new_summaries")
    assert isinstance(none, Reject) and none.reason == "no_valid_summary"
