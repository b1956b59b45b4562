"""Problems of four classes are taken out: proofs, multiple choice, yes or no, and no problems.

problems ─┬─ vote × n ─┬─ .no ─ the next class
          └────────────┘
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from transforms.codec import to_json
from transforms.forum_problems.records import ClassVote, ForumProblem
from transforms.grouping import Group
from transforms.outcome import Outcome, SplitRejects
from transforms.reading import Choice
from transforms.records import Answered, Reject

PROOF, MCQ, BINARY, INVALID = "proof", "mcq", "binary", "invalid"
CLASSES = (PROOF, MCQ, BINARY, INVALID)  # in the published order


def prompt_of(name: str) -> str:
    """The name of a class's prompt."""
    return f"forums/classify_{name}"


def reader_of(name: str) -> Choice:
    """How a vote on a class is read: the class's word, or `not` and the word."""
    return Choice((name, f"not {name}"))


def variables_of(problem: ForumProblem) -> dict[str, object]:
    """What the model is shown: the problem alone."""
    return {"problem": problem.text}


def vote_of(answered: Answered[ForumProblem, str], name: str) -> ClassVote:
    """The vote in an answer that could be read; one that could not is no vote."""
    return ClassVote(answered.id, answered.record.id, answered.value == name, answered.call)


def is_member(votes: Iterable[ClassVote]) -> bool | None:
    """Whether most votes say so; None where there are none, or as many for it as against it."""
    balance = sum(1 if vote.is_member else -1 for vote in votes)
    return balance > 0 if balance else None


@dataclasses.dataclass(eq=False)
class RemoveClass(beam.PTransform):
    """Go on with the problems that are not of a class.

    In:   a pair of collections: `ForumProblem` records, and the `ClassVote` records about them.
    Out:  `rows`, the problems that most votes say are not of the class, with the votes' calls;
          `rejects`, those of the class (`proof`, `mcq`, `binary` or `invalid`), if they are
          rejected and not left out, and those that nobody can tell (`unclassified`).
    Cost: one shuffle of both; a problem and its votes in memory.
    Once: independent of input order, so retries are harmless.
    From: OpenMathReasoning, "classify_problems", where an unreadable vote keeps its problem.

    Args:
        stage: the name in the rejects.
        name: of the class.
        rejects: whether problems of the class are rejects; else `SelectClass` takes them on.
    """

    shard_by_shard = True

    stage: str
    name: str
    rejects: bool = True

    def expand(self, joined: tuple[beam.PCollection, beam.PCollection]) -> Outcome:
        decided = _by_problem(joined) | "Decide" >> beam.FlatMapTuple(self.decided)
        return decided | "Split" >> SplitRejects()

    def decided(
        self, problem_id: str, parts: Iterable[ForumProblem | ClassVote]
    ) -> Iterator[ForumProblem | Reject]:
        """A problem as it goes on, its reject, or nothing."""
        problem, votes = _voted(parts)
        member = is_member(votes)
        if member is False:
            yield problem
            return
        counted = f"{sum(vote.is_member for vote in votes)} of {len(votes)} readable votes"
        if self.rejects or member is None:
            reason, detail = why_removed(self.name if member else "")
            row = to_json(problem)
            yield Reject(self.stage, reason, f"{detail}: {counted}", problem_id, row, reply="")


@dataclasses.dataclass(eq=False)
class SelectClass(beam.PTransform):
    """Go on with the problems that are of a class.

    In:   as `RemoveClass`.
    Out:  `rows`, the problems that most votes say are of it, with the votes' calls; all others are
          left out; no rejects.
    Cost: as `RemoveClass`.
    Once: independent of input order, so retries are harmless.
    """

    shard_by_shard = True

    def expand(self, joined: tuple[beam.PCollection, beam.PCollection]) -> Outcome:
        selected = _by_problem(joined) | "Select" >> beam.FlatMapTuple(self.selected)
        return selected | "Split" >> SplitRejects()

    def selected(
        self, problem_id: str, parts: Iterable[ForumProblem | ClassVote]
    ) -> Iterator[ForumProblem]:
        """The problem, if it is of the class."""
        problem, votes = _voted(parts)
        if is_member(votes):
            yield problem


def why_removed(name: str) -> tuple[str, str]:
    """(reason, detail) of a problem of a class; without one, of a problem that has no verdict."""
    if not name:
        return "unclassified", "as many votes say the one as the other, or none can be read"
    if name == PROOF:
        return "proof", "it asks for a proof, which has no final answer"
    if name == MCQ:
        return "mcq", "it offers answers to choose from"
    if name == BINARY:
        return "binary", "its answer is yes or no, or true or false"
    return "invalid", "it is no complete problem"


def _by_problem(joined: tuple[beam.PCollection, beam.PCollection]) -> beam.PCollection:
    problems, votes = joined
    keyed = (
        problems | "KeyProblems" >> beam.Map(_keyed_problem),
        votes | "KeyVotes" >> beam.Map(_keyed_vote),
    )
    return keyed | "Join" >> Group()


def _keyed_problem(problem: ForumProblem) -> tuple[str, Any]:
    return problem.id, problem


def _keyed_vote(vote: ClassVote) -> tuple[str, Any]:
    return vote.problem_id, vote


def _voted(parts: Iterable[ForumProblem | ClassVote]) -> tuple[ForumProblem, list[ClassVote]]:
    """A problem with the calls of the votes on it, and those votes."""
    votes: list[ClassVote] = []
    problems: list[ForumProblem] = []
    for part in parts:
        if isinstance(part, ClassVote):
            votes.append(part)
        else:
            problems.append(part)
    [problem] = problems
    votes.sort(key=lambda vote: vote.call.sample)
    calls = (*problem.calls, *(vote.call for vote in votes))
    return dataclasses.replace(problem, calls=calls), votes
