"""Rows that passed and rows that did not: the two outputs of every verb that can fail."""

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


def without_rejects(rows: beam.PCollection) -> Outcome:
    """The outcome of a verb that cannot fail."""
    nothing = rows.pipeline | "NoRejects" >> beam.Create([]).with_output_types(Reject)
    return Outcome(rows, nothing)


class SplitRejects(beam.PTransform):
    """Send the `Reject` records of a mixed collection one way and all else the other.

    In:   records and `Reject` records.
    Out:  an `Outcome`; nothing is dropped or changed.
    """

    def expand(self, items: beam.PCollection) -> Outcome:
        split = items | "Tag" >> beam.Map(_tagged).with_outputs("rejects", main="rows")
        return Outcome(split.rows, split.rejects)


def _tagged(item: Any) -> Any:
    return beam.pvalue.TaggedOutput("rejects", item) if isinstance(item, Reject) else item
