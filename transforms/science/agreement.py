"""Solutions kept by how far a question's solutions agree, and by how often it is solved."""

import dataclasses
from collections.abc import Iterator

import apache_beam as beam

from transforms.codec import to_json
from transforms.outcome import Outcome, SplitRejects
from transforms.records import JudgedSolution, Reject

Range = tuple[float, float]
ALL: Range = (0.0, 1.0)


@dataclasses.dataclass(eq=False)
class FilterByAgreement(beam.PTransform):
    """Keep the solutions of questions that a majority has answered, within ranges.

    In:   `JudgedSolution` records after a vote, with their pass rates.
    Out:  `rows`, those of questions with a majority, whose agreement rate and pass rate are in the
          ranges, both bounds included; `rejects`, the others: `no_majority`, `low_agreement`,
          `high_agreement`, `too_hard` and `too_easy`.
    Cost: no shuffle: each solution knows the vote and the pass rate of its question.
    Once: a pure function of each solution.
    From: NeMo-Skills, "filter_solutions", whose ranges exclude their lower bound.

    Args:
        stage: the name in the rejects.
        asked: how many solutions of each question were asked for: the agreement rate is the votes
            for the majority's answer among them. One that was cut off, or has no answer, does not
            agree.
        agreement, pass_rate: the ranges.

    Raises:
        ValueError: a range holds no rate.
    """

    shard_by_shard = True

    stage: str
    asked: int
    agreement: Range = ALL
    pass_rate: Range = ALL

    def __post_init__(self) -> None:
        require_range(self.agreement)
        require_range(self.pass_rate)

    def expand(self, solutions: beam.PCollection) -> Outcome:
        return solutions | "Filter" >> beam.FlatMap(self.filtered) | "Split" >> SplitRejects()

    def filtered(self, judged: JudgedSolution) -> Iterator[JudgedSolution | Reject]:
        """The solution, or its reject."""
        reason, detail = self._fault(judged)
        if reason:
            yield Reject(self.stage, reason, detail, judged.id, to_json(judged), reply="")
        else:
            yield judged

    def _fault(self, judged: JudgedSolution) -> tuple[str, str]:
        """(reason, detail) of a solution; ("", "") where it is kept."""
        assert judged.agreed is not None
        vote, rate = judged.agreed.majority, judged.pass_rate
        if vote.answer is None:
            why = f"{vote.why}: {vote.votes} of {self.asked} solutions agree"
            return "no_majority", why
        agreement = vote.votes / self.asked
        said = f"{vote.votes} of {self.asked} solutions agree"
        if agreement < self.agreement[0]:
            return "low_agreement", f"{said}, not {self.agreement[0]:g} of them or more"
        if agreement > self.agreement[1]:
            return "high_agreement", f"{said}, not {self.agreement[1]:g} of them or less"
        if rate is not None and rate < self.pass_rate[0]:
            return "too_hard", f"{rate:g} of its solutions are correct, not {self.pass_rate[0]:g}"
        if rate is not None and rate > self.pass_rate[1]:
            return "too_easy", f"{rate:g} of its solutions are correct, not {self.pass_rate[1]:g}"
        return "", ""


def require_range(rates: Range) -> None:
    """Refuse a range that holds no rate.

    Raises:
        ValueError: it does not.
    """
    low, high = rates
    if not 0 <= low <= high <= 1:
        raise ValueError(f"no rate is from {low:g} to {high:g}")
