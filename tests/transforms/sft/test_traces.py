"""Traces: of what was solved here, and of rows that somebody else generated and judged."""

import json

import pytest

from transforms.records import (
    AgreedAnswer,
    Call,
    JudgedSolution,
    Majority,
    Problem,
    Reject,
    Repair,
    Solution,
    ToolUse,
    Trace,
    lineage,
)
from transforms.seeding import digest
from transforms.sft.traces import trace_of, trace_of_row

ORIGIN = Problem("p1", "How many?", "gsm8k", "7", "MIT", '{"problem_type":"x"}', "8")
CALL = Call("solve", "math/solution", "", "m", "{}", 0, 0, 1, ("k",), "length", 1, 1)
SUMMARY = Call("summary", "math/summary", "", "m", "{}", 0, 0, 1, ("k",), "stop", 1, 1)


def judged(verdict="correct", action="kept", use=None) -> JudgedSolution:
    solution = Solution("p1-0", ORIGIN, "It is 8.", "8", (CALL, SUMMARY), use, "Hm.")
    agreed = AgreedAnswer(Repair("8", None, action), Majority("8", 3, 4, 5), ())
    return JudgedSolution("p1-0", solution, "8", verdict, agreed=agreed, pass_rate=0.5)


@pytest.mark.parametrize(
    ("verdict", "is_correct"),
    [
        ("correct", True),
        ("incorrect", False),
        ("no_answer", False),
        ("unjudged", None),
        ("no_expected_answer", None),
    ],
)
def test_a_verdict_is_a_label_or_none(verdict, is_correct):
    """A missing answer is wrong; what nobody could judge is not."""
    assert trace_of(judged(verdict)).is_correct is is_correct


@pytest.mark.parametrize(("action", "votes"), [("kept", None), ("filled", 3), ("repaired", 3)])
def test_votes_are_those_for_an_answer_that_came_from_them(action, votes):
    """An answer that was there before has none, whatever the vote came to."""
    trace = trace_of(judged(action=action))
    assert (trace.majority_votes, trace.total_votes) == (votes, votes and 5)
    assert trace.provenance is not None
    assert trace.provenance.agreed is not None


def test_how_a_solution_ended_is_told_by_its_own_call():
    """Not by that of its new summary."""
    assert trace_of(judged()).finish_reason == "length"


def test_calls_to_python_are_written_as_said():
    """Where there are any; the prompt announced how many."""
    use = ToolUse("tool-calls", 8, 2, 1, 0, 0, 0, 0, 9, 1, "answer")
    trace = trace_of(judged(use=use), "fenced")
    assert (trace.code_format, trace.total_code_executions) == ("fenced", 8)
    assert trace_of(judged(), "fenced").code_format == ""


def row(number: int = 0, text: str = "How many?", **columns: object) -> Problem:
    row_id = digest("row", number)
    extra = json.dumps({"generation": "So.\n\\boxed{8}", **columns})
    return Problem(row_id, text, "rows", "", "", extra, "8")


def read(**columns: object) -> Trace:
    trace = trace_of_row(row(**columns), "traces")
    assert isinstance(trace, Trace)
    return trace


@pytest.mark.parametrize(
    ("said", "is_correct"),
    [
        ("Reasoning: …\nJudgement: Yes", True),
        ("Judgement: **No**", False),
        ("no", False),
        ("Perhaps.", None),
        ("", None),
        (None, None),
    ],
)
def test_a_judgement_that_cannot_be_read_is_none(said, is_correct):
    """Never a no."""
    trace = trace_of_row(row(judgement=said, symbolic_correct=not is_correct), "traces", True)
    assert isinstance(trace, Trace)
    assert trace.is_correct is is_correct


def test_the_column_that_is_there_is_taken():
    """A judgement before a comparison of symbols; either alone will do."""
    assert read(judgement="yes", symbolic_correct=False).is_correct is True
    assert read(symbolic_correct=False).is_correct is False
    assert read().is_correct is None


def test_symbolic_correct_may_be_asked_for():
    """And then the judge is not."""
    trace = trace_of_row(row(judgement="yes", symbolic_correct=False), "traces", False)
    assert isinstance(trace, Trace)
    assert trace.is_correct is False


def test_rows_of_a_problem_have_ids_of_their_own_and_one_root():
    """So that they are deduplicated and drawn together."""
    traces = [trace_of_row(row(number), "traces") for number in range(50)]
    other = trace_of_row(row(text="How few?"), "traces")
    assert len({trace.id for trace in traces}) == 50
    assert {lineage(trace.id)[-1] for trace in traces} == {traces[0].problem_id}
    assert other.problem_id != traces[0].problem_id


def test_columns_of_other_names_ride_along():
    """In `extra`; those that are known are where they belong."""
    trace = read(seed=7, reasoning_content="Hm.", total_votes=16, finish_reason="length")
    assert json.loads(trace.extra) == {"seed": 7}
    assert (trace.reasoning_content, trace.total_votes) == ("Hm.", 16)
    assert trace.finish_reason == "length"
    assert trace.provenance is not None
    assert trace.provenance.problem.source == "rows"


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"generation": None}, "missing_generation"),
        ({"generation": ""}, "missing_generation"),
        ({"generation": ["a"]}, "bad_column"),
        ({"total_votes": "16"}, "bad_column"),
        ({"majority_votes": True}, "bad_column"),
        ({"predicted_answer": [8]}, "bad_column"),
    ],
)
def test_a_row_that_is_no_trace_is_a_reject(columns, reason):
    """With the row and what is wrong with it."""
    reject = trace_of_row(row(**columns), "traces")
    assert isinstance(reject, Reject)
    assert reject.reason == reason
    assert json.loads(reject.row)
    assert next(iter(columns)) in reject.detail
