"""Solutions that a problem has more than once: one of each stays, whatever came first."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator

import apache_beam as beam

from transforms.codec import to_json
from transforms.grouping import Group
from transforms.outcome import Outcome, SplitRejects
from transforms.records import Reject, Trace
from transforms.seeding import digest


@dataclasses.dataclass(eq=False)
class DeduplicateTraces(beam.PTransform):
    """Keep one of the traces of a problem that have the same reasoning and the same solution.

    In:   `Trace` records.
    Out:  `rows`, of equal traces the one with the smallest id; `rejects`, the others
          (`duplicate_solution`), with the id that stays in the detail.
    Cost: one shuffle; the traces that are equal in memory.
    Once: a pure function of the traces, so retries, order and sharding change nothing.
    From: NeMo-Skills, "prepare_data", which does not look at reasoning that is kept apart, and
          lets the first one stay.

    Args:
        stage: the name in the rejects.
    """

    stage: str

    def expand(self, traces: beam.PCollection) -> Outcome:
        return (
            traces
            | "KeyByContent" >> beam.Map(_keyed)
            | "Group" >> Group()
            | "KeepOne" >> beam.FlatMap(functools.partial(_one_and_rejects, stage=self.stage))
            | "Split" >> SplitRejects()
        )


def content_key(trace: Trace) -> str:
    """A hash of what makes traces duplicates of one another."""
    return digest(trace.problem_id, trace.reasoning_content, trace.generation)


def _keyed(trace: Trace) -> tuple[str, Trace]:
    return content_key(trace), trace


def _one_and_rejects(grouped: tuple[str, Iterable[Trace]], stage: str) -> Iterator[Trace | Reject]:
    _, traces = grouped
    kept, *others = sorted(traces, key=lambda trace: (trace.id, to_json(trace)))
    yield kept
    for trace in others:
        detail = f"the same as {kept.id}"
        yield Reject(stage, "duplicate_solution", detail, trace.id, to_json(trace), reply="")
