"""Majority vote on final answers, and what it repairs.

Equal answers count together (`equality.py`), whoever spelt them how. Of four ballots

    "1/2", "0.5", "3", None

two are for `0.5`, which wins; the last has no answer.
"""

import collections
import dataclasses
from collections.abc import Iterable

import apache_beam as beam

from transforms.answers import has_answer
from transforms.equality import Equality, classes, same_answer
from transforms.records import Majority, Repair
from transforms.symbolic import equal_formulas

NO_ANSWER = ""
Tally = dict[str, int]


@dataclasses.dataclass(eq=False)
class MajorityVote(beam.CombineFn):
    """Finds the majority of final answers, for `CombinePerKey`.

    In:   final answers, None or blank where a solution has none.
    Out:  a `Majority` for each key.
    Cost: a tally of distinct texts in memory. Equal numbers, letters and words are found in one
          pass; of formulas, every pair of distinct ones that are not known to be equal is compared
          (`equality.classes`): n of them take up to n²/2 comparisons, some 10 to 50 ms each.
    Once: a commutative monoid, so that retries, sharding and order change nothing; but a comparison
          that is near the time limit of math-verify may be decided otherwise by another machine.
    From: Nemotron-Math-v2, "Majority vote and expected-answer repair". There, spellings are not
          merged and the first of equals wins; here a tie between classes has no winner.

    Args:
        quorum: the least number of votes with which an answer wins.
        min_answers: the least number of ballots with an answer.
        equal: compares two formulas.

    Raises:
        ValueError: a number is less than 1.
    """

    quorum: int = 1
    min_answers: int = 1
    equal: Equality = equal_formulas

    def __post_init__(self) -> None:
        if self.quorum < 1 or self.min_answers < 1:
            raise ValueError(
                f"quorum={self.quorum} and min_answers={self.min_answers} must be at least 1"
            )

    def create_accumulator(self) -> Tally:
        return {}

    def add_input(self, tally: Tally, answer: str | None) -> Tally:
        text = answer if answer is not None and has_answer(answer) else NO_ANSWER
        tally[text] = tally.get(text, 0) + 1
        return tally

    def merge_accumulators(self, tallies: Iterable[Tally]) -> Tally:
        merged: Tally = collections.Counter()
        for tally in tallies:
            for answer, votes in tally.items():
                merged[answer] += votes
        return dict(merged)

    def extract_output(self, tally: Tally) -> Majority:
        return majority(tally, self.quorum, self.min_answers, self.equal)


def majority(
    tally: Tally, quorum: int = 1, min_answers: int = 1, equal: Equality = equal_formulas
) -> Majority:
    """The winner among answers with their votes; `NO_ANSWER` counts the ballots without one."""
    ballots = sum(tally.values())
    answers = ballots - tally.get(NO_ANSWER, 0)
    polled = [
        (sum(tally[text] for text in alike), alike)
        for alike in classes((text for text in tally if text != NO_ANSWER), equal)
    ]
    most = max((votes for votes, _ in polled), default=0)
    winners = [alike for votes, alike in polled if votes == most]
    why = ""
    if not answers:
        why = "no_answers"
    elif answers < min_answers:
        why = "too_few_answers"
    elif len(winners) > 1:
        why = "tie"
    elif most < quorum:
        why = "below_quorum"
    if why:
        return Majority(None, most, answers, ballots, why)
    winner = min(winners[0], key=lambda text: (-tally[text], len(text), text))
    return Majority(winner, most, answers, ballots)


def fill(original: str | None, vote: Majority) -> Repair:
    """The answer, or where there is none, the majority's."""
    if has_answer(original):
        return Repair(original, original, "kept")
    if vote.answer is None:
        return Repair(original, original, "no_consensus")
    return Repair(vote.answer, original, "filled")


def repair(
    original: str | None,
    vote: Majority,
    verdicts: Iterable[bool | None],
    min_verdicts: int = 1,
    equal: Equality = equal_formulas,
) -> Repair:
    """The answer, or the majority's where there is none or no sample agrees with it.

    | answer  | verdicts                              | becomes                              |
    |---------|---------------------------------------|--------------------------------------|
    | missing | any                                   | the majority: `filled`               |
    | present | one or more that agree                | what it was: `kept`                  |
    | present | fewer readable than `min_verdicts`    | what it was: `too_few_verdicts`      |
    | present | every readable one disagrees          | the majority: `repaired`             |

    Without a majority it stays what it was: `no_consensus`. A majority that is the same answer
    after all, whatever the verdicts say, changes nothing: `kept`.

    Args:
        original: the expected answer; None or blank where it is missing.
        vote: what the samples' answers came to.
        verdicts: for each sample, whether its answer is the expected one; None if unreadable.
        min_verdicts: the least number of readable verdicts that can overturn an answer.
        equal: compares two formulas.

    Raises:
        ValueError: `min_verdicts` is less than 1: what nobody judged cannot be overturned.
    """
    if min_verdicts < 1:
        raise ValueError(f"min_verdicts={min_verdicts} must be at least 1")
    readable = [verdict for verdict in verdicts if verdict is not None]
    if not has_answer(original):
        return fill(original, vote)
    if any(readable):
        return Repair(original, original, "kept")
    if len(readable) < min_verdicts:
        return Repair(original, original, "too_few_verdicts")
    if vote.answer is None:
        return Repair(original, original, "no_consensus")
    if same_answer(original, vote.answer, equal):
        return Repair(original, original, "kept")
    return Repair(vote.answer, original, "repaired")
