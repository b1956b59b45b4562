"""Solutions whose code adds something: judges vote on each fragment, and a rule counts the votes.

solutions ─ fragments ─┬─ novelty × 8 ──────┬─ votes of a fragment ─┐
    │                  └─ significance × 8 ─┘                       ├─ keep?
    └───────────────────────────────────────────────────────────────┘
"""

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import pydantic

from transforms.ask import Ask
from transforms.codec import to_json
from transforms.engines.engine import Engine, Sampling
from transforms.grouping import Group
from transforms.outcome import SplitRejects
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
from transforms.tir.code_format import CodeFormat
from transforms.tir.fragments import WINDOW, ExtractFragments, RejectDuplicateIds

NOVELTY, SIGNIFICANCE = "novelty", "significance"
VERIFICATION, NOVEL = "verification", "novel"
TRIVIAL, MODERATE, SIGNIFICANT = "trivial", "moderate", "significant"
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


class InsightOutcome(NamedTuple):
    """An `Outcome`, and the rejects of single votes, which are no rows of it."""

    rows: beam.PCollection
    rejects: beam.PCollection
    vote_rejects: beam.PCollection


@dataclasses.dataclass(eq=False)
class KeepInsightful(beam.PTransform):
    """Keep solutions in which the model's code finds something out that matters.

    In:   `Solution` records, their calls written in `code_format`.
    Out:  `rows`, `InsightfulSolution` records under the ids of their solutions; `rejects`, the
          other solutions (`duplicate_id`, `no_fragment`, `not_novel`, `not_significant`,
          `too_few_votes`), the votes in the detail. Inputs = rows + rejects. `vote_rejects` has
          each vote that could not be read: it counts for nothing, and `votes` of its fragment name
          its fault.
    Cost: two shuffles of the solutions, one of the votes; two questions × `votes` requests for
          each fragment.
    Once: as `Ask`.
    From: OpenMathReasoning, "judge_novelty", "judge_significance" and "filter_fragments".

    Args:
        stage: the name in the rejects of solutions.
        code_format: how calls are written.
        engine: the judge.
        store: the folder of the answer store.
        seed: of the run.
        settings: the votes and the rule.
        sampling: how the judge draws; the published temperature.
    """

    row_by_row = True

    stage: str
    code_format: CodeFormat
    engine: Engine
    store: str
    seed: int
    settings: InsightSettings = InsightSettings()
    sampling: Sampling = Sampling(temperature=0.7)
    prompt_folders: tuple[str, ...] = ()

    def expand(self, solutions: beam.PCollection) -> InsightOutcome:
        unique = solutions | "RejectDuplicateIds" >> RejectDuplicateIds(self.stage)
        extract = ExtractFragments(self.stage, self.code_format, self.settings.window)
        fragments = unique.rows | "ExtractFragments" >> extract
        asked = {
            question: fragments.rows | f"Judge_{question}" >> self.ask(question)
            for question in LABELS
        }
        read = [outcome.rows for outcome in asked.values()] | "Read" >> beam.Flatten()
        unread = [
            outcome.rejects | f"Unread_{question}" >> beam.Map(unread_vote, question)
            for question, outcome in asked.items()
        ]
        judged = (
            [read | "KeyByFragment" >> beam.Map(_keyed_by_fragment), *unread]
            | "Votes" >> beam.Flatten()
            | "UniteVotes" >> beam.CombinePerKey(united)
            | "JudgeFragments" >> beam.Map(_keyed_judged, self.settings.quorum)
        )
        decided = (
            (
                unique.rows | "KeySolutions" >> beam.Map(_keyed_solution),
                judged,
                read | "KeyCalls" >> beam.Map(_keyed_call),
            )
            | "Join" >> Group()
            | "Decide" >> beam.FlatMap(_decided, self.stage, self.settings)
            | "Split" >> SplitRejects()
        )
        rejects = (unique.rejects, fragments.rejects, decided.rejects)
        vote_rejects = [outcome.rejects for outcome in asked.values()]
        return InsightOutcome(
            decided.rows,
            rejects | "Rejects" >> beam.Flatten(),
            vote_rejects | "VoteRejects" >> beam.Flatten(),
        )

    def ask(self, question: str) -> Ask:
        """The ask of one question about every fragment."""
        return Ask(
            name=f"judge_{question}",
            prompt=f"tir/{question}",
            variables=_variables,
            reader=Choice(LABELS[question], reasons=True),
            engine=self.engine,
            store=self.store,
            seed=self.seed,
            keep=functools.partial(vote_of, question=question),
            sampling=self.sampling,
            samples=self.settings.votes,
            prompt_folders=self.prompt_folders,
        )


def united(votes: Iterable[frozenset[Vote]]) -> frozenset[Vote]:
    """The votes of several sets, in any order and however often they come."""
    return frozenset[Vote]().union(*votes)


def vote_of(answered: Answered[Fragment, str], question: str) -> FragmentVote:
    """The vote in an answer that could be read."""
    vote = Vote(question, answered.call.sample, answered.value, fault="")
    return FragmentVote(answered.id, answered.record.id, vote, answered.call)


def unread_vote(reject: Reject, question: str) -> tuple[str, frozenset[Vote]]:
    """The fragment's id, and the vote that stands for an answer that could not be used."""
    return reject.id, frozenset({Vote(question, reject.sample, None, reject.reason)})


def judged_fragment(fragment_id: str, votes: Iterable[Vote], quorum: int) -> JudgedFragment:
    """What the readable votes on a fragment say, where there are as many as `quorum`.

    It is novel if all of them say so. It is as significant as the least of them says.
    """
    ordered = tuple(sorted(votes, key=_place))
    labels: dict[str, list[str]] = {question: [] for question in LABELS}
    for vote in ordered:
        if vote.label is not None:
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


def _variables(fragment: Fragment) -> dict[str, object]:
    return {"fragment": fragment.text}


def _place(vote: Vote) -> tuple[str, int, str]:
    return vote.question, vote.sample, vote.label or ""


def _number(fragment_id: str) -> int:
    return int(fragment_id.rpartition("-")[2])


def _solution_id(fragment_id: str) -> str:
    return lineage(fragment_id)[1]


def _keyed_by_fragment(vote: FragmentVote) -> tuple[str, frozenset[Vote]]:
    return vote.fragment_id, frozenset({vote.vote})


def _keyed_solution(solution: Solution) -> tuple[str, Solution]:
    return solution.id, solution


def _keyed_judged(
    united_votes: tuple[str, frozenset[Vote]], quorum: int
) -> tuple[str, JudgedFragment]:
    fragment_id, votes = united_votes
    return _solution_id(fragment_id), judged_fragment(fragment_id, votes, quorum)


def _keyed_call(vote: FragmentVote) -> tuple[str, tuple[int, Call]]:
    return _solution_id(vote.fragment_id), (_number(vote.fragment_id), vote.call)


def _decided(
    joined: tuple[str, Iterable[Any]], stage: str, settings: InsightSettings
) -> Iterator[InsightfulSolution | Reject]:
    """The solution with its judgements and their calls, or its reject.

    One that has no fragment is in the rejects already.
    """
    solution_id, parts = joined
    judged, calls = [], []
    for part in parts:
        if isinstance(part, Solution):
            solution = part
        elif isinstance(part, JudgedFragment):
            judged.append(part)
        else:
            calls.append(part)
    if not judged:
        return
    fragments = tuple(sorted(judged, key=lambda fragment: _number(fragment.id)))
    dropped = drop_reason(fragments, settings.moderate_share)
    if dropped is not None:
        reason, why = dropped
        detail = "; ".join([why, *map(_told, fragments)])
        yield Reject(stage, reason, detail, solution_id, to_json(solution), reply="")
        return
    calls.sort(key=lambda numbered: (numbered[0], numbered[1].ask, numbered[1].sample))
    all_calls = (*solution.calls, *(call for _, call in calls))
    yield InsightfulSolution(solution_id, dataclasses.replace(solution, calls=all_calls), fragments)


def _told(fragment: JudgedFragment) -> str:
    """The votes on a fragment, counted, for people."""
    votes = Counter((vote.question, vote.label or vote.fault) for vote in fragment.votes)
    told = [
        ", ".join(f"{n} {said}" for (asked, said), n in sorted(votes.items()) if asked == question)
        for question in LABELS
    ]
    return f"fragment {_number(fragment.id)}: {' / '.join(told)}"
