"""The last verb of a recipe: from its own records to the rows of the dataset."""

import dataclasses
from collections.abc import Callable
from typing import Any

import apache_beam as beam

from transforms.errors import RunError
from transforms.outcome import Outcome, without_rejects


@dataclasses.dataclass(eq=False)
class ExportRows(beam.PTransform):
    """Turn finished records into rows of the dataset.

    In:   records with an `id`, in one collection or a tuple of several.
    Out:  `rows`, one per record and with its id; `rejects`, empty.
    """

    shard_by_shard = True

    convert: Callable[[Any], Any]
    row_type: Any

    def expand(self, records: beam.PCollection | tuple[beam.PCollection, ...]) -> Outcome:
        every = records if isinstance(records, tuple) else (records,)
        convert = beam.Map(_converted, self.convert).with_output_types(self.row_type)
        return without_rejects(every | "Merge" >> beam.Flatten() | "Convert" >> convert)


def _converted(record: Any, convert: Callable[[Any], Any]) -> Any:
    row = convert(record)
    if row.id != record.id:
        raise RunError(
            f"export made a row with the id {row.id!r} out of {record.id!r}; give it the record's"
        )
    return row
