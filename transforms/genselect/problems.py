"""The candidates of each problem together, and the problems that nothing can be chosen of."""

import dataclasses
import functools
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam

from transforms.codec import to_json
from transforms.equality import same_answer
from transforms.genselect.records import JudgedCandidate, JudgedProblem
from transforms.grouping import Group
from transforms.outcome import Outcome, SplitRejects
from transforms.records import Reject

LEAST_SOLUTIONS = 4  # published


@dataclasses.dataclass(eq=False)
class GatherCandidates(beam.PTransform):
    """Bring the candidates of each problem together.

    In:   `JudgedCandidate` records.
    Out:  `rows`, a `JudgedProblem` of those that have four candidates or more, right and wrong
          ones, with `num_solutions` of them; `rejects`, all candidates of other problems
          (`all_correct`, `all_incorrect`, `too_few_solutions`), and of each problem those that
          were held to another expected answer than most (`other_expected_answer`), whose text has
          both labels (`contradictory_labels`), or is there already (`duplicate_solution`).
          Candidates = those in rows + rejects.
    Cost: one shuffle; what belongs to one problem in memory.
    Once: independent of input order, so retries are harmless.
    From: OpenMathReasoning, "prepare_labeling_data", which holds all solutions in memory.

    Args:
        stage: the name in the rejects.
    """

    shard_by_shard = True

    stage: str

    def expand(self, candidates: beam.PCollection) -> Outcome:
        gathered = functools.partial(gathered_or_rejects, stage=self.stage)
        return (
            candidates
            | "KeyByProblem" >> beam.Map(_keyed)
            | "Group" >> Group()
            | "Gather" >> beam.FlatMapTuple(gathered)
            | "Split" >> SplitRejects()
        )


def gathered_or_rejects(
    problem_id: str, candidates: Iterable[JudgedCandidate], stage: str
) -> Iterator[JudgedProblem | Reject]:
    """A problem with its candidates, and the rejects of those that are not among them."""
    kept: list[JudgedCandidate] = []
    every = sorted(candidates, key=lambda one: (one.candidate.text, one.id))
    expected = _expected_answer(every)
    for _, members in itertools.groupby(every, key=lambda one: one.candidate.text):
        same = list(members)
        held = [one for one in same if _is_held_to(one, expected)]
        for one in same:
            reason, detail = _fault(one, held, expected)
            if reason:
                yield _reject(one, stage, reason, detail)
            else:
                kept.append(one)
    reason, detail = _fault_of_all(kept)
    if reason:
        yield from (_reject(one, stage, reason, detail) for one in kept)
    elif kept:
        yield JudgedProblem(
            id=problem_id,
            problem=kept[0].problem,
            expected_answer=expected,
            origin=min((one.origin for one in kept), key=dataclasses.astuple),
            candidates=tuple(one.candidate for one in kept),
            num_solutions=len(kept),
        )


def _expected_answer(candidates: Sequence[JudgedCandidate]) -> str | None:
    """The one that most were held to, of several the first by the alphabet."""
    counts = Counter(one.expected_answer for one in candidates if one.expected_answer is not None)
    return min(counts, key=lambda answer: (-counts[answer], answer), default=None)


def _fault(
    one: JudgedCandidate, same: Sequence[JudgedCandidate], expected: str | None
) -> tuple[str, str]:
    """(reason, detail) of a candidate that cannot stand beside those of the same text, or ("", "").

    `same` are those that were held to the expected answer, itself among them if it was.
    """
    if not _is_held_to(one, expected):
        other = f"it was held to {one.expected_answer!r}, and most solutions to {expected!r}"
        return "other_expected_answer", other
    if len({each.candidate.is_correct for each in same}) > 1:
        return "contradictory_labels", f"{len(same)} solutions have its text, right and wrong ones"
    if one is not same[0]:
        return "duplicate_solution", f"the same as {same[0].candidate.id}"
    return "", ""


def _is_held_to(one: JudgedCandidate, expected: str | None) -> bool:
    return one.expected_answer is None or same_answer(one.expected_answer, expected)


def _fault_of_all(candidates: Sequence[JudgedCandidate]) -> tuple[str, str]:
    """(reason, detail) of a problem whose candidates leave no choice; ("", "") of one that has."""
    right, total = sum(one.candidate.is_correct for one in candidates), len(candidates)
    detail = f"its problem has {right} correct solutions that can be used and {total - right} wrong"
    if not total:
        return "", ""
    if right == total:
        return "all_correct", detail
    if not right:
        return "all_incorrect", detail
    if total < LEAST_SOLUTIONS:
        return "too_few_solutions", f"{detail}, not {LEAST_SOLUTIONS} in all"
    return "", ""


def _reject(one: JudgedCandidate, stage: str, reason: str, detail: str) -> Reject:
    return Reject(stage, reason, detail, one.id, to_json(one), reply="")


def _keyed(one: JudgedCandidate) -> tuple[str, JudgedCandidate]:
    return one.problem_id, one
