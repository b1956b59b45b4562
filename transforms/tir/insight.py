"""Solutions whose code adds something: judges vote on each fragment, and a rule counts the votes.

solutions ─ fragments ─┬─ novelty × 8 ──────┬─ keep?
    │                  └─ significance × 8 ─┤
    └───────────────────────────────────────┘
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import pydantic

from transforms.codec import to_json
from transforms.grouping import Group
from transforms.outcome import Outcome, SplitRejects
from transforms.reading import Choice
from transforms.records import (
    Answered,
    Call,
    Fragment,
    FragmentVote,
    InsightfulSolution,
    JudgedFragment,
    Reject,
    Solution,
    Vote,
    lineage,
)
from transforms.tir.fragments import WINDOW

NOVELTY, SIGNIFICANCE = "novelty", "significance"
VERIFICATION, NOVEL = "verification", "novel"
TRIVIAL, MODERATE, SIGNIFICANT = "trivial", "moderate", "significant"
PUBLISHED_TEMPERATURE = 0.7
LABELS = {NOVELTY: (VERIFICATION, NOVEL), SIGNIFICANCE: (TRIVIAL, MODERATE, SIGNIFICANT)}


class InsightSettings(pydantic.BaseModel, frozen=True, extra="forbid"):
    """How fragments are judged, and what is kept."""

    window: int = pydantic.Field(
        WINDOW, ge=0, description="characters on either side of a call that judges are shown"
    )
    votes: int = pydantic.Field(8, ge=1, description="votes of each judgement of a fragment")
    quorum: int = pydantic.Field(5, ge=1, description="votes of it that must be readable")
    moderate_share: float = pydantic.Field(
        0.5,
        gt=0,
        le=1,
        description="share of fragments that must be novel and moderate, where none is better",
    )

    @pydantic.model_validator(mode="after")
    def _quorum_can_be_met(self) -> "InsightSettings":
        if self.quorum > self.votes:
            raise ValueError(f"a quorum of {self.quorum} is more than {self.votes} votes; lower it")
        return self


@dataclasses.dataclass(eq=False)
class KeepInsightful(beam.PTransform):
    """Keep solutions in which the model's code finds something out that matters.

    In:   a tuple of collections: `Solution` records with unique ids; all `Fragment` records of
          theirs; and the `FragmentVote` records of judges, in one collection or several.
    Out:  `rows`, `InsightfulSolution` records under the ids of their solutions; `rejects`, the
          other solutions (`not_novel`, `not_significant`, `too_few_votes`; `duplicate_id`, all of
          one id), the votes in the detail. Inputs = rows + rejects + the solutions without a
          fragment, which `ExtractFragments` has rejected.
    Cost: one shuffle of all; what belongs to one solution in memory.
    Once: independent of input order, so retries are harmless.
    From: OpenMathReasoning, "filter_fragments".

    Args:
        stage: the name in the rejects.
        settings: the votes and the rule.
    """

    shard_by_shard = True

    stage: str
    settings: InsightSettings = InsightSettings()

    def expand(self, joined: tuple[beam.PCollection, ...]) -> Outcome:
        solutions, fragments, *votes = joined
        keyed = (
            solutions | "KeySolutions" >> beam.Map(_keyed_solution),
            fragments | "KeyFragments" >> beam.Map(_keyed_fragment),
            *(one | f"KeyVotes{n}" >> beam.Map(_keyed_vote) for n, one in enumerate(votes)),
        )
        return (
            keyed
            | "Join" >> Group()
            | "Decide" >> beam.FlatMap(_decided, self.stage, self.settings)
            | "Split" >> SplitRejects()
        )


def prompt_of(question: str) -> str:
    """The name of a question's prompt."""
    return f"tir/{question}"


def reader_of(question: str) -> Choice:
    """How a vote is read: its label, behind a sentence of reasons."""
    return Choice(LABELS[question], reasons=True)


def variables_of(fragment: Fragment) -> dict[str, object]:
    """What judges are shown."""
    return {"fragment": fragment.text}


def vote_of(answered: Answered[Fragment, str], question: str) -> FragmentVote:
    """The vote in an answer that could be read; one that could not is no vote."""
    vote = Vote(question, answered.call.sample, answered.value)
    return FragmentVote(answered.id, answered.record.id, vote, answered.call)


def judged_fragment(fragment_id: str, votes: Iterable[Vote], quorum: int) -> JudgedFragment:
    """What the readable votes on a fragment say, where there are as many as `quorum`.

    It is novel if all of them say so. It is as significant as the least of them says.
    """
    ordered = tuple(sorted(votes, key=_place))
    labels: dict[str, list[str]] = {question: [] for question in LABELS}
    for vote in ordered:
        labels[vote.question].append(vote.label)
    novelty, significance = labels[NOVELTY], labels[SIGNIFICANCE]
    return JudgedFragment(
        fragment_id,
        set(novelty) == {NOVEL} if len(novelty) >= quorum else None,
        min(significance, key=LABELS[SIGNIFICANCE].index) if len(significance) >= quorum else None,
        ordered,
    )


def drop_reason(
    fragments: Sequence[JudgedFragment], moderate_share: float
) -> tuple[str, str] | None:
    """Why a solution with these fragments, one or more, is not kept; None where it is.

    It is kept if one of them is novel and significant, or if the share of those that are novel and
    moderate is `moderate_share` or more. Where fragments without a judgement could decide this
    either way, there are too few votes.
    """
    at_least = [(f.is_novel or False, f.significance or TRIVIAL) for f in fragments]
    at_most = [(f.is_novel is not False, f.significance or SIGNIFICANT) for f in fragments]
    if _passes(at_least, moderate_share):
        return None
    if _passes(at_most, moderate_share):
        return "too_few_votes", "votes that cannot be read would decide"
    if not any(is_novel for is_novel, _ in at_most):
        return "not_novel", "no fragment is novel"
    return "not_significant", "the novel fragments are not significant, and too few are moderate"


def _passes(judgements: Sequence[tuple[bool, str]], moderate_share: float) -> bool:
    moderate = judgements.count((True, MODERATE))
    return (True, SIGNIFICANT) in judgements or moderate >= moderate_share * len(judgements)


def _place(vote: Vote) -> tuple[str, int, str]:
    return vote.question, vote.sample, vote.label


def _number(fragment_id: str) -> int:
    return int(fragment_id.rpartition("-")[2])


def _solution_id(fragment_id: str) -> str:
    return lineage(fragment_id)[1]


def _keyed_solution(solution: Solution) -> tuple[str, Solution]:
    return solution.id, solution


def _keyed_fragment(fragment: Fragment) -> tuple[str, str]:
    return fragment.solution_id, fragment.id


def _keyed_vote(vote: FragmentVote) -> tuple[str, FragmentVote]:
    return _solution_id(vote.fragment_id), vote


def _decided(
    joined: tuple[str, Iterable[Any]], stage: str, settings: InsightSettings
) -> Iterator[InsightfulSolution | Reject]:
    """The solution with its judgements and their calls, or its reject."""
    solution_id, parts = joined
    solutions: list[Solution] = []
    votes: dict[str, set[Vote]] = {}
    calls: list[tuple[int, Call]] = []
    for part in parts:
        if isinstance(part, Solution):
            solutions.append(part)
        elif isinstance(part, FragmentVote):
            votes.setdefault(part.fragment_id, set()).add(part.vote)
            calls.append((_number(part.fragment_id), part.call))
        else:
            votes.setdefault(part, set())
    if not votes:
        return
    fragments = tuple(
        judged_fragment(fragment_id, votes[fragment_id], settings.quorum)
        for fragment_id in sorted(votes, key=_number)
    )
    dropped = drop_reason(fragments, settings.moderate_share)
    told = [_told(fragment, settings.votes) for fragment in fragments]
    for solution in sorted(solutions, key=to_json):
        row = to_json(solution)
        if len(solutions) > 1:
            detail = f"one of {len(solutions)} solutions with this id"
            yield Reject(stage, "duplicate_id", detail, solution_id, row, reply="")
        elif dropped is not None:
            reason, why = dropped
            yield Reject(stage, reason, "; ".join([why, *told]), solution_id, row, reply="")
    if len(solutions) > 1 or dropped is not None:
        return
    [solution] = solutions
    calls.sort(key=lambda numbered: (numbered[0], numbered[1].ask, numbered[1].sample))
    all_calls = (*solution.calls, *(call for _, call in calls))
    yield InsightfulSolution(solution_id, dataclasses.replace(solution, calls=all_calls), fragments)


def _told(fragment: JudgedFragment, asked: int) -> str:
    """The votes on a fragment, counted, for people."""
    told = []
    for question in LABELS:
        cast = Counter(vote.label for vote in fragment.votes if vote.question == question)
        counts = [f"{number} {label}" for label, number in sorted(cast.items())]
        unread = asked - cast.total()
        told.append(", ".join([*counts, *([f"{unread} unreadable"] if unread > 0 else [])]))
    return f"fragment {_number(fragment.id)}: {' / '.join(told)}"
