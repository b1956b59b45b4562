"""Problems that a benchmark has too, by a file of labels that decontamination has left."""

import dataclasses
import functools
import gzip
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.errors import InputError
from transforms.seeding import digest

PROBLEM, CONTAMINATED = "problem", "contaminated"


class Labelled(NamedTuple):
    """Hashes of problems' texts: of those with a label, and of those that are contaminated."""

    known: frozenset[str]
    contaminated: frozenset[str]


@dataclasses.dataclass(frozen=True, slots=True)
class Labels:
    """A file of labels, read once in each process; every worker must see it.

    path: JSON lines, packed by gzip or not, or Parquet, with the columns `problem` and
        `contaminated`.
    """

    path: str

    def of(self, problem: str) -> bool | None:
        """Whether a problem is contaminated; None where it has no label.

        Raises:
            InputError: the file cannot be read, or a row is no label.
        """
        labelled, key = _read(self.path), digest(problem)
        return key in labelled.contaminated if key in labelled.known else None

    def content_hash(self) -> str:
        """What decides the labels.

        Raises:
            InputError: as `of`.
        """
        labelled = _read(self.path)
        return digest(*sorted(labelled.known), "", *sorted(labelled.contaminated))


@functools.lru_cache(maxsize=2)
def _read(path: str) -> Labelled:
    known, contaminated = set(), set()
    for number, row in enumerate(_rows(path), start=1):
        text, label = row.get(PROBLEM), row.get(CONTAMINATED)
        if not isinstance(text, str) or not isinstance(label, bool):
            raise InputError(
                f"{path}, row {number}: a label is a text in {PROBLEM!r} and true or false in "
                f"{CONTAMINATED!r}; mend the row"
            )
        known.add(digest(text))
        if label:
            contaminated.add(digest(text))
    return Labelled(frozenset(known), frozenset(contaminated))


def _rows(path: str) -> Iterator[dict[str, Any]]:
    try:
        if path.endswith(".parquet"):
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(columns=[PROBLEM, CONTAMINATED]):
                    yield from batch.to_pylist()
            return
        with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line) if line.strip() else None
                if row is not None:
                    yield row if isinstance(row, dict) else {}
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"the labels in {path} cannot be read: {error}; check the file") from error
