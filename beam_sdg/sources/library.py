"""A library: datasets whose rows others point at, each split wherever the user has it.

taco:train=taco/train/*.parquet          files, whose rows are numbered on from one to the next
codeforces:train=hf://open-r1/codeforces:train
"""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pydantic

from beam_sdg.sources.formats import FORMATS
from beam_sdg.sources.problems import Place, problem_of
from beam_sdg.sources.rows import rows_of
from beam_sdg.sources.source import Source
from transforms.coding.questions import Entry, dataset_name, key_of
from transforms.errors import UsageError

_WRITTEN = re.compile(r"([\w./-]+):([\w.-]+)=(.+)", re.DOTALL)
_STAGE = "library"


class Shelf(pydantic.BaseModel, frozen=True, extra="forbid"):
    """A split of a dataset, and where its rows are, in the order that they were published in."""

    dataset: str
    split: str
    source: Source

    @classmethod
    def parse(cls, written: str) -> "Shelf":
        """The split that DATASET:SPLIT=PATTERN names, its files or dataset looked at.

        Raises:
            UsageError: it is not of that form, or the dataset is unknown.
            InputError: no file matches, or a column is missing.
        """
        found = _WRITTEN.fullmatch(written)
        if found is None:
            raise UsageError(
                f"--library {written!r} names no split; write DATASET:SPLIT=FILE, as in "
                "taco:train=taco/train.parquet"
            )
        dataset, split, pattern = dataset_name(found[1]), found[2], found[3]
        if dataset not in FORMATS or FORMATS[dataset].points:
            names = ", ".join(name for name in FORMATS if not FORMATS[name].points)
            raise UsageError(f"--library {written!r}: unknown dataset {dataset!r}; known: {names}")
        source = Source.parse(f"{dataset}={pattern}").resolve()
        return cls(dataset=dataset, split=split, source=source)

    def settings(self) -> dict[str, Any]:
        """What decides its rows."""
        return {"dataset": self.dataset, "split": self.split, **self.source.settings()}


@dataclasses.dataclass(eq=False)
class ReadLibrary(beam.PTransform):
    """Read the rows that others point at.

    Out:  (key, `Entry`) of each row of the shelves, by `key_of`; a row that cannot be used is an
          `Entry` with its reject.
    Cost: a shelf is read by one worker, one row in memory.
    Once: a retry reads the same rows.

    Args:
        shelves: the splits.
    """

    shelves: tuple[Shelf, ...]

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection:
        return (
            begin
            | "Shelves" >> beam.Create(self.shelves)
            | "Spread" >> beam.Reshuffle()
            | "ReadShelf" >> beam.FlatMap(entries)
        )


def entries(shelf: Shelf) -> Iterator[tuple[str, Entry]]:
    """The rows of a split under their keys, numbered from 0."""
    columns = shelf.source.format
    for number, (label, position, row) in enumerate(_rows(shelf.source)):
        place = Place(shelf.source.name, label, position)
        key = key_of(shelf.dataset, shelf.split, number)
        yield key, Entry(problem_of(row, columns, place, _STAGE))


def _rows(source: Source) -> Iterator[tuple[str, str, Any]]:
    """(file, position, row) of all rows, one file after the other."""
    if source.dataset is not None:
        for number, row in enumerate(source.dataset.rows(), start=1):
            yield source.dataset.label, f"row {number}", row
    for file in source.files():
        for position, row in rows_of(file.path):
            yield source.label(file.path), position, row
