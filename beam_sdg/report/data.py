"""What the rows of a dataset hold: categories, numbers, texts, sources and calls.

Rows are read one after the other; kept are counts, and per row 16 bytes for each text column and
8 for each number.
"""

import dataclasses
import hashlib
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from beam_sdg.columns import Column, Path, leaves
from beam_sdg.formats import read_rows
from beam_sdg.report.spread import Spread, spread_of
from transforms.statements import squeezed

PROVENANCE = "provenance"
_DEPTH = 2
_MOST_VALUES = 20
_LONGEST_VALUE = 40


@dataclasses.dataclass(frozen=True, slots=True)
class Category:
    """A column with few distinct values and how often each occurs; `mean` only of numbers."""

    name: str
    counts: Mapping[Any, int]
    mean: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class Number:
    """A column of numbers with many distinct values."""

    name: str
    spread: Spread


@dataclasses.dataclass(frozen=True, slots=True)
class Text:
    """A column of texts: their lengths in characters, and how many repeat one before them.

    Texts are equal here when they differ in nothing but white space and case.
    """

    name: str
    lengths: Spread
    duplicates: int


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """A source of problems: its licence, and the rows of the dataset that were made from it."""

    source: str
    licence: str
    rows: int


@dataclasses.dataclass(frozen=True)
class DataFigures:
    """What the rows of a dataset hold.

    `licences` counts the rows with a source under each; `corrections`, by (stage, model), the turns
    after the first that made accepted rows.
    """

    rows: int
    categories: tuple[Category, ...]
    numbers: tuple[Number, ...]
    texts: tuple[Text, ...]
    origins: tuple[Origin, ...]
    licences: Mapping[str, int]
    corrections: Mapping[tuple[str, str], int]


def gather_data(columns: tuple[Column, ...], paths: Iterable[str]) -> DataFigures:
    """Read the files of a dataset once, and of Parquet only the columns that are told of.

    Raises:
        RunError: a file is missing or damaged.
    """
    told = [column for column in columns if column.name != PROVENANCE]
    collected = {path: _collector(leaf) for path, leaf in leaves(told, _DEPTH) if not _is_id(path)}
    provenance = _Provenance(columns)
    needed = [".".join(path) for path in collected] + provenance.needed
    rows = 0
    for row in (row for file in paths for row in read_rows(file, needed)):
        rows += 1
        for path, collector in collected.items():
            value = _value(row, path)
            if value is not None:
                collector.add(value)
        provenance.add(row)
    told_of = [
        said
        for path, collector in collected.items()
        if (said := collector.figures(".".join(path))) is not None
    ]
    return DataFigures(
        rows=rows,
        categories=tuple(said for said in told_of if isinstance(said, Category)),
        numbers=tuple(said for said in told_of if isinstance(said, Number)),
        texts=tuple(said for said in told_of if isinstance(said, Text)),
        origins=provenance.origins(),
        licences=dict(sorted(provenance.licences.items())),
        corrections=dict(sorted(provenance.corrections.items())),
    )


def _is_id(path: Path) -> bool:
    """An id says nothing about the data: its length is that of a hash."""
    name = path[-1]
    return name == "id" or name.startswith("id_") or name.endswith("_id")


def _value(row: Any, path: Path) -> Any:
    for name in path:
        row = row.get(name) if row is not None else None
    return row


class _Values:
    """Counts of distinct values, given up where there are many or long ones."""

    def __init__(self) -> None:
        self.counts: Counter[Any] | None = Counter()

    def add(self, value: Any) -> None:
        if self.counts is None:
            return
        self.counts[value] += 1
        too_long = isinstance(value, str) and len(value) > _LONGEST_VALUE
        if too_long or len(self.counts) > _MOST_VALUES:
            self.counts = None

    def category(self, name: str, mean: float | None = None) -> Category | None:
        if not self.counts:
            return None
        return Category(name, {value: self.counts[value] for value in sorted(self.counts)}, mean)


class _Labels(_Values):
    """A column of booleans."""

    def figures(self, name: str) -> Category | None:
        return self.category(name)


class _Numbers(_Values):
    """A column of numbers; those that are not finite are left out."""

    def __init__(self, typecode: str) -> None:
        super().__init__()
        self._numbers: array[Any] = array(typecode)

    def add(self, value: float) -> None:
        if math.isfinite(value):
            super().add(value)
            self._numbers.append(value)

    def figures(self, name: str) -> Category | Number | None:
        spread = spread_of(self._numbers)
        if spread is None:
            return None
        return self.category(name, spread.mean) or Number(name, spread)


class _Texts(_Values):
    """A column of texts: lengths and 64-bit hashes, from which duplicates are counted."""

    def __init__(self) -> None:
        super().__init__()
        self._lengths = array("q")
        self._hashes = array("Q")

    def add(self, value: str) -> None:
        super().add(value)
        self._lengths.append(len(value))
        hashed = hashlib.blake2b(squeezed(value).encode(errors="replace"), digest_size=8).digest()
        self._hashes.append(int.from_bytes(hashed, "big"))

    def figures(self, name: str) -> Category | Text | None:
        lengths = spread_of(self._lengths)
        if lengths is None:
            return None
        distinct = len(np.unique(np.frombuffer(self._hashes, dtype=np.uint64)))
        return self.category(name) or Text(name, lengths, lengths.count - distinct)


def _collector(leaf: Column) -> _Texts | _Numbers | _Labels:
    if leaf.is_number:
        return _Numbers("q" if leaf.type == "int64" else "d")
    return _Texts() if leaf.type == "string" else _Labels()


_SOURCE = ("source", "licence")
_CALL = ("ask", "model", "turns")


class _Provenance:
    """Sources and corrected calls, wherever in the provenance column they are.

    A struct with `source` and `licence` is a source; one with `ask`, `model` and `turns` a call.
    """

    def __init__(self, columns: Iterable[Column]) -> None:
        self.corrections: Counter[tuple[str, str]] = Counter()
        self.licences: Counter[str] = Counter()
        self._rows: Counter[tuple[str, str]] = Counter()
        within = [column for column in columns if column.name == PROVENANCE]
        self._sources = list(_having(within, _SOURCE))
        self._calls = list(_having(within, _CALL))
        self.needed = [
            ".".join((*path, *(("list", "element") if column.type == "list" else ()), name))
            for found, names in ((self._sources, _SOURCE), (self._calls, _CALL))
            for path, column in found
            for name in names
        ]

    def add(self, row: Mapping[str, Any]) -> None:
        found = _items(row, self._sources)
        sources = {(source["source"], source["licence"]) for source in found}
        self._rows.update(sources)
        self.licences.update({licence for _, licence in sources})
        for call in _items(row, self._calls):
            if call["turns"] > 1:
                self.corrections[call["ask"], call["model"]] += call["turns"] - 1

    def origins(self) -> tuple[Origin, ...]:
        return tuple(Origin(*key, rows) for key, rows in sorted(self._rows.items()))


Found = tuple[Path, Column]


def _having(columns: Iterable[Column], names: Sequence[str], within: Path = ()) -> Iterator[Found]:
    """The structs, or lists of structs, that have all the named fields."""
    for column in columns:
        path = (*within, column.name)
        inner = column.fields[0] if column.type == "list" else column
        if {*names} <= {field.name for field in inner.fields}:
            yield path, column
        elif column.type == "struct":
            yield from _having(column.fields, names, path)


def _items(row: Mapping[str, Any], found: Iterable[Found]) -> Iterator[Mapping[str, Any]]:
    for path, column in found:
        value = _value(row, path)
        if value is not None:
            yield from value if column.type == "list" else (value,)
