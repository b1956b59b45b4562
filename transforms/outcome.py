"""Rows that passed and rows that did not: the two outputs of every verb that can fail."""

import dataclasses
from typing import Any, NamedTuple

import apache_beam as beam

from transforms.records import Reject


class Outcome(NamedTuple):
    """Every input of a verb is in exactly one of `rows` and `rejects`."""

    rows: beam.PCollection
    rejects: beam.PCollection


class SourceOutcome(NamedTuple):
    """An `Outcome`, and (name, number) pairs that say how many rows it was made from."""

    rows: beam.PCollection
    rejects: beam.PCollection
    counts: beam.PCollection


@dataclasses.dataclass(eq=False)
class SplitRejects(beam.PTransform):
    """Send the `Reject` records of a mixed collection one way and all else the other.

    In:   records of `row_type` and `Reject` records.
    Out:  an `Outcome`; nothing is dropped or changed.
    """

    row_type: Any = Any

    def expand(self, items: beam.PCollection) -> Outcome:
        split = items | "Tag" >> beam.Map(_tagged).with_outputs("rejects", main="rows")
        rows = split.rows | "Rows" >> beam.Map(_same).with_output_types(self.row_type)
        rejects = split.rejects | "Rejects" >> beam.Map(_same).with_output_types(Reject)
        return Outcome(rows, rejects)


def _tagged(item: Any) -> Any:
    return beam.pvalue.TaggedOutput("rejects", item) if isinstance(item, Reject) else item


def _same(item: Any) -> Any:
    return item
