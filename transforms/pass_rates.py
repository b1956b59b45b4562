"""How often a problem is solved, and problems that are solved too often or too seldom."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from transforms.codec import to_json
from transforms.grouping import Group
from transforms.judging import by_root, pass_rate
from transforms.outcome import Outcome, SplitRejects
from transforms.records import Judgement, Reject


@dataclasses.dataclass(eq=False)
class FilterByPassRate(beam.PTransform):
    """Keep what belongs to problems of the right difficulty.

    In:   a tuple of collections: records whose ids are those of problems or of samples of them;
          then the `Judgement` records of the same problems, in one collection or several.
    Out:  `rows`, the records of problems whose pass rate is `minimum` or more and less than
          `maximum`; `rejects`, the others: `too_hard` and `too_easy`. A problem without a pass
          rate is kept: nobody knows.
    Cost: one shuffle of both; what belongs to a problem in memory.
    Once: independent of input order, so retries are harmless.
    From: Nemotron-Math-v2, which leaves out problems that low effort solves in 0.8 of its samples.

    Args:
        stage: the name in the rejects.
        minimum: the least pass rate; 0 keeps problems that nothing solves.
        maximum: the pass rate that is too much; None keeps those that everything solves.
        samples: the numbers of the samples that count; None is all.
        asked: how many of them each problem was asked for (`judging.pass_rate`).

    Raises:
        ValueError: no pass rate is in the range.
    """

    shard_by_shard = True

    stage: str
    minimum: float = 0.0
    maximum: float | None = None
    samples: range | None = None
    asked: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.minimum < (2.0 if self.maximum is None else self.maximum):
            raise ValueError(f"no pass rate is from {self.minimum} to below {self.maximum}")

    def expand(self, joined: tuple[beam.PCollection, ...]) -> Outcome:
        keyed = tuple(
            one | f"KeyByProblem{number}" >> beam.Map(by_root) for number, one in enumerate(joined)
        )
        decided = keyed | "Join" >> Group() | "Decide" >> beam.FlatMapTuple(self.decided)
        return decided | "Split" >> SplitRejects()

    def decided(self, problem_id: str, parts: Iterable[Any]) -> Iterator[Any]:
        """The records among the parts, each itself or its reject."""
        records: list[Any] = []
        verdicts: list[str] = []
        for part in parts:
            if not isinstance(part, Judgement):
                records.append(part)
            elif self.samples is None or _number(part.id) in self.samples:
                verdicts.append(part.verdict)
        reason, detail = self._fault(verdicts)
        for record in records:
            if reason:
                yield Reject(self.stage, reason, detail, record.id, to_json(record), reply="")
            else:
                yield record

    def _fault(self, verdicts: list[str]) -> tuple[str, str]:
        """(reason, detail) of a problem with these verdicts; ("", "") where it is kept."""
        rate = pass_rate(verdicts, self.asked)
        if rate is not None and rate < self.minimum:
            return "too_hard", f"{rate:g} of its solutions are correct, not {self.minimum:g}"
        if rate is not None and self.maximum is not None and rate >= self.maximum:
            return "too_easy", f"{rate:g} of its solutions are correct, not below {self.maximum:g}"
        return "", ""


def _number(solution_id: str) -> int:
    """That of a sample; a problem's only one has the number 0."""
    parts = solution_id.split("-")
    return int(parts[1]) if len(parts) > 1 else 0
