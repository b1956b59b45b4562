"""Judged solutions as candidates: what is shown of them, and which nobody should choose among."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.codec import canonical_json
from transforms.genselect.candidates import candidate_of_row, shortened
from transforms.genselect.records import JudgedCandidate
from transforms.records import Origin, Problem, Reject
from transforms.seeding import digest

GOOD = {
    "generation": r"<think>Is it 3? \boxed{3}</think>We add. So it is \boxed{8}.",
    "predicted_answer": "8",
    "judgement": "Judgement: yes",
}
PARAGRAPHS = st.lists(st.text("ab ", min_size=1, max_size=30), max_size=12).map("\n\n".join)


def row(own_id: str = "", **columns: Any) -> Problem:
    text = "How many are 3 and 5?"
    return Problem("ab" * 16, text, "mine", own_id or digest(text), "MIT",
                   canonical_json({**GOOD, **columns}), "8")  # fmt: skip


def read(own_id: str = "", **columns: Any) -> JudgedCandidate | Reject:
    return candidate_of_row(row(own_id, **columns), "prepare_labeling_data")


def test_a_solution_is_what_follows_its_reasoning():
    """With its answer and label, under its problem and its own id, where it has one."""
    found = read("s-7")
    assert isinstance(found, JudgedCandidate)
    assert found.candidate.text == r"We add. So it is \boxed{8}."
    assert (found.candidate.id, found.candidate.answer, found.candidate.is_correct) == (
        "s-7", "8", True,
    )  # fmt: skip
    assert (found.problem, found.expected_answer) == ("How many are 3 and 5?", "8")
    assert found.origin == Origin(found.problem_id, "mine", "s-7", "MIT", "{}")
    nameless = read()
    assert isinstance(nameless, JudgedCandidate)
    assert nameless.candidate.id == nameless.id != found.candidate.id


@pytest.mark.parametrize(
    ("columns", "is_correct"),
    [
        ({"judgement": "Judgement: no"}, False),
        ({"judgement": None, "symbolic_correct": True, "is_correct": False}, True),
        ({"judgement": None, "is_correct": False}, False),
        ({"judgement": None, "is_correct": True}, True),
    ],
)
def test_a_label_is_that_of_any_of_its_columns(columns, is_correct):
    """Of a judge, of an equality, or of rows that were made here."""
    found = read(**columns)
    assert isinstance(found, JudgedCandidate)
    assert found.candidate.is_correct is is_correct


def test_reasoning_that_is_kept_apart_is_not_shown():
    """Then all of the text is the solution; and an answer that no column names is its box."""
    found = read(generation=r"It is \boxed{ 8 }.", reasoning_content="Hm.", predicted_answer=None)
    assert isinstance(found, JudgedCandidate)
    assert (found.candidate.text, found.candidate.answer) == (r"It is \boxed{ 8 }.", "8")


def test_rows_that_were_made_here_say_where_their_problem_came_from():
    """In their provenance; one that is none of ours says nothing."""
    origin = {"id": "p", "source": "gsm8k", "source_id": "7", "licence": "MIT", "extra": "{}"}
    found = read(provenance={"problem": origin, "calls": []})
    assert isinstance(found, JudgedCandidate)
    assert found.origin == Origin(**origin)
    for provenance in ("a book", {"problem": {"id": 3}}, {"problem": None}, None):
        other = read(provenance=provenance)
        assert isinstance(other, JudgedCandidate)
        assert other.origin.source == "mine"


FAULTS: dict[str, dict[str, Any]] = {
    "missing_generation": {"generation": ""},
    "bad_column": {"predicted_answer": [8]},
    "truncated": {"finish_reason": "length"},
    "unlabeled": {"judgement": "Who knows?"},
    "no_reasoning_end": {"generation": r"<think>It is \boxed{8}."},
    "no_boxed_answer": {"generation": r"<think>\boxed{8}</think>It is 8."},
    "several_boxes": {"generation": r"It is \boxed{8}, not \boxed{9}."},
    "box_cut_off": {"generation": rf"\boxed{{8}}{'.' * 3000}"},
    "answer_differs": {"predicted_answer": "9"},
}


@pytest.mark.parametrize("reason", FAULTS)
def test_what_nobody_should_choose_among_is_a_reject(reason):
    """With the whole row, so that it can be looked at."""
    found = read(**FAULTS[reason])
    assert isinstance(found, Reject)
    assert (found.stage, found.reason) == ("prepare_labeling_data", reason)
    assert json.loads(found.row)["problem"] == "How many are 3 and 5?"


def test_an_answer_in_another_spelling_is_the_same():
    """The box is compared with what was judged as answers are, not as texts."""
    assert isinstance(read(predicted_answer="8.0"), JudgedCandidate)


@given(PARAGRAPHS, st.integers(1, 60))
def test_of_a_long_text_the_last_whole_paragraphs_are_shown(text, most):
    """Never more than is allowed, always an end, and from a beginning on where two are there."""
    short = shortened(text, most)
    assert len(short) <= most or len(text) <= most
    assert text.strip().endswith(short.strip())
    if len(text) <= most:
        assert short == text
    elif text[-most:].count("\n\n") >= 2:
        before = text[: len(text) - len(text[-most:].split("\n\n", 1)[1])]
        assert before.endswith("\n\n")
        assert short == text[len(before) :].strip()
