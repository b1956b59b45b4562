"""Problems of all threads as one set: each text once, and what those who solve them are told."""

import dataclasses
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.forum_problems.conversion import converted_problem, fault_of
from transforms.forum_problems.merging import distinct, example_of, problem_of
from transforms.forum_problems.records import (
    CONVERTED,
    HAS_ANSWER,
    NO_ANSWER,
    PROBLEM_TYPES,
    ConvertedProof,
    ExtractedFrom,
    ForumProblem,
)
from transforms.records import Answered, Attribution, Call, Origin, Reject
from transforms.seeding import digest

CALL = Call("convert_proofs", "p", "0" * 16, "m", "{}", 0, 0, 1, ("k",), "stop", 1, 1)
BY = Attribution("Ann", "https://forum.example/1", "2019-05-04", "CC BY-SA 4.0")


def problem(of: str, text: str, kind: str = HAS_ANSWER, answer: str | None = None) -> ForumProblem:
    origin = Origin(of.partition("-")[0], "aops", "s9", "CC BY-SA 4.0", '{"tags":["nt"]}')
    return ForumProblem(of, text, ExtractedFrom(of, origin, (BY,)), (CALL,), answer, kind)


def test_of_equal_texts_one_stays():
    """That with an answer of its thread, then of the smallest id; the reject says which."""
    equal = [
        problem("t1-0", "Find  x.", NO_ANSWER),
        problem("t3-0", "Find x.", HAS_ANSWER, "5"),
        problem("t2-0", "Find x. ", HAS_ANSWER, "7"),
        problem("t0-0", "Find x.", CONVERTED, "9"),
    ]
    kept, *rejects = distinct("d", equal, "merge_data")
    assert isinstance(kept, ForumProblem)
    assert (kept.extracted.id, kept.expected_answer) == ("t2-0", "7")
    assert kept.id == digest("problem", digest("text", "Find x. "), 0)
    found = {reject.id: reject.detail for reject in rejects if isinstance(reject, Reject)}
    assert found == {
        "t0-0": "t2-0 has the same text; its answer is '7', not '9'",
        "t1-0": "t2-0 has the same text",
        "t3-0": "t2-0 has the same text; its answer is '7', not '5'",
    }
    assert {reject.reason for reject in rejects if isinstance(reject, Reject)} == {"duplicate"}


@given(st.lists(st.sampled_from(PROBLEM_TYPES), min_size=1, max_size=6), st.integers(0, 2**32))
def test_no_order_changes_which_stays(kinds, seed):
    """Rows in are rows out and rejects, in any order."""
    equal = [problem(f"t{n}-0", "Find x.", kind) for n, kind in enumerate(kinds)]
    mixed = list(equal)
    random.Random(seed).shuffle(mixed)
    assert list(distinct("d", mixed, "s")) == list(distinct("d", equal, "s"))
    assert len(list(distinct("d", mixed, "s"))) == len(kinds)


def test_who_solves_a_problem_is_told_where_it_is_from():
    """Type, thread and authors are columns of the problem, beside those that the thread had."""
    merged = dataclasses.replace(problem("t1-0", "Find x.", HAS_ANSWER, "5"), id="abc")
    found = problem_of(merged)
    assert (found.id, found.text, found.expected_answer) == ("abc", "Find x.", "5")
    assert (found.source, found.source_id, found.licence) == ("aops", "s9", "CC BY-SA 4.0")
    extra = json.loads(found.extra)
    assert [call.pop("model") for call in extra.pop("extraction_calls")] == ["m"]
    assert extra == {
        "tags": ["nt"],
        "problem_type": "has_answer_extracted",
        "original_problem": None,
        "thread_id": "t1",
        "extracted_id": "t1-0",
        "attributions": [dataclasses.asdict(BY)],
    }
    row = example_of(merged)
    assert (row.problem, row.problem_source, row.id) == ("Find x.", "aops", "abc")
    assert row.provenance.extracted.attributions == (BY,)
    assert row.provenance.calls == (CALL,)


def test_a_converted_proof_keeps_its_statement_and_gets_its_answer():
    """What the statement says is the answer of the problem that asks for it."""
    proof = problem("t1-0", "Prove that $1 + 2 + 3 = 6$, whoever adds.", "")
    new = ConvertedProof("What is $1 + 2 + 3$, whoever adds?", "$6$.")
    assert fault_of(proof, new) is None
    made = converted_problem(Answered("t1-0", proof, new, CALL))
    assert (made.id, made.text, made.original_problem) == ("t1-0", new.problem, proof.text)
    assert (made.expected_answer, made.problem_type) == ("6", CONVERTED)
    assert made.calls == (CALL, CALL)


@pytest.mark.parametrize(
    ("text", "answer", "reason"),
    [
        ("Prove that $1 + 2 + 3 = 6$, whoever adds.", None, "unchanged"),
        ("Which is it?", "We see it from the proof.", "prose_answer"),
    ],
)
def test_a_conversion_that_is_none_is_a_fault(text, answer, reason):
    """The statement once more, or an answer in prose."""
    proof = problem("t1-0", "Prove that $1 + 2 + 3 = 6$, whoever adds.", "")
    fault = fault_of(proof, ConvertedProof(text, answer))
    assert fault is not None and fault.reason == reason
