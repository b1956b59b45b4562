"""Answers, votes and repairs on the real solutions of four models to the problems of GSM8K."""

import gzip
import json
import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline as Pipeline
from apache_beam.testing.util import assert_that, equal_to

from transforms.answers import last_match
from transforms.equality import same_answer
from transforms.majority import NO_ANSWER, MajorityVote, fill, majority, repair
from transforms.records import Majority

MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
AFTER_A = re.compile(r"^A: (.*)$", re.MULTILINE)
AFTER_HASHES = re.compile(r"^#### (.*)$", re.MULTILINE)

# (row, model) where equality and the label disagree, and who is right: none.
DISAGREEMENTS: dict[tuple[int, str], str] = {}
FIGURES = {"kept": 887, "no_consensus": 279, "repaired": 153}


def never(a: str, b: str) -> bool:
    raise AssertionError(f"{a!r} and {b!r} went to math-verify")


@pytest.fixture
def rows(data: Path) -> list[dict]:
    """Each problem: its answer, the four models' answers, and the labels."""
    with gzip.open(data / "gsm8k" / "model_solutions.jsonl.gz", "rt") as file:
        solved = [json.loads(line) for line in file]
    lines = (data / "gsm8k" / "test.jsonl").read_text().splitlines()
    problems = list(map(json.loads, lines))
    assert [row["question"] for row in solved] == [row["question"] for row in problems]
    return [
        {
            "answer": last_match(problem["answer"], AFTER_HASHES),
            "answers": [last_match(row[model]["solution"], AFTER_A) for model in MODELS],
            "labels": [row[model]["is_correct"] for model in MODELS],
        }
        for row, problem in zip(solved, problems, strict=True)
    ]


def value(text: str | None) -> Fraction | str | None:
    """A number or a text, independently of the code."""
    try:
        return text and Fraction(text.replace(",", ""))
    except ValueError:
        return text


def test_verdicts_by_equality_agree_with_the_labels(rows):
    """On all 5,276 solutions; those that were cut off have no answer and are labelled wrong."""
    verdicts = {
        (number, model): same_answer(row["answer"], answer) is label
        for number, row in enumerate(rows)
        for model, answer, label in zip(MODELS, row["answers"], row["labels"], strict=True)
    }
    assert len(verdicts) == 5276
    assert {key for key, agrees in verdicts.items() if not agrees} == set(DISAGREEMENTS)
    assert sum(answer is None for row in rows for answer in row["answers"]) == 11


def test_majority_repair_and_pass_rates_are_those_of_ten_lines(rows):
    """The vote of four through a pipeline, and what it repairs, against a plain computation."""
    wanted = {}
    for number, row in enumerate(rows):
        right, values = value(row["answer"]), [value(answer) for answer in row["answers"]]
        ranked = Counter(v for v in values if v is not None).most_common()
        most = ranked[0][1] if ranked else 0
        winners = [v for v, votes in ranked if votes == most]
        winner = winners[0] if len(winners) == 1 else None
        passed = values.count(right)
        action = "kept" if passed else "repaired" if winner is not None else "no_consensus"
        wanted[number] = (winner, most, passed / 4, action)

    found = {}
    for number, vote in votes_of(rows).items():
        answer, answers = rows[number]["answer"], rows[number]["answers"]
        verdicts = [same_answer(answer, sample, never) for sample in answers]
        done = repair(answer, vote, verdicts)
        assert done.original_answer == answer
        assert done.answer == (vote.answer if done.action == "repaired" else answer)
        filled = fill(None, vote)
        assert (filled.answer, filled.original_answer) == (vote.answer, None)
        found[number] = (value(vote.answer), vote.votes, sum(verdicts) / 4, done.action)
    assert found == wanted
    assert Counter(action for *_, action in found.values()) == FIGURES


def votes_of(rows: list[dict]) -> dict[int, Majority]:
    """The vote on each row, which a pipeline is seen to come to as well."""
    ballots = [(number, answer) for number, row in enumerate(rows) for answer in row["answers"]]
    votes = {
        number: majority(Counter(answer or NO_ANSWER for answer in row["answers"]), equal=never)
        for number, row in enumerate(rows)
    }
    with Pipeline() as pipeline:
        voted = pipeline | beam.Create(ballots) | beam.CombinePerKey(MajorityVote(equal=never))
        assert_that(voted, equal_to(votes.items()))
    return votes
