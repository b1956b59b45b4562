"""Typed datasets in Parquet shards: the same records always make the same bytes.

A record's shard follows from its id, samples of one record are in the same, and a shard is sorted
by hash(seed, id), so neither the order of arrival nor the number of workers shows in a file.
"""

import contextlib
import dataclasses
import itertools
import operator
import os
import socket
import threading
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from transforms.codec import arrow_schema, from_row, to_json, to_row
from transforms.engines import store
from transforms.errors import RunError
from transforms.files import remove, writing
from transforms.grouping import Group
from transforms.records import lineage
from transforms.seeding import digest, integer

_BATCH_ROWS = 1024
_GROUP_ROWS = 8192
_GROUP_BYTES = 64 << 20
_PLACES = 1 << 32  # in each shard of the answer store


def shard_path(prefix: str, shard: int, num_shards: int, extension: str = "parquet") -> str:
    """The file of a shard: PREFIX-00003-of-00008.parquet."""
    return f"{prefix}-{shard:05d}-of-{num_shards:05d}.{extension}"


class Kind(NamedTuple):
    """One of the sets of shards that are written together: where, and what its records are."""

    prefix: str
    record_type: Any


@dataclasses.dataclass(eq=False)
class WriteShards(beam.PTransform):
    """Write records as Parquet, a file per shard that has any; `write_empty` makes the others.

    In:   a collection for each of `kinds`: records of its type with an `id`, all of them belonging
          to one of `shards`.
    Out:  the paths written.
    Cost: one shuffle of all; the records of a shard are sorted in memory.
    Once: a file appears whole, by renaming, and a retry writes the same bytes again.
    """

    kinds: tuple[Kind, ...]
    shards: tuple[int, ...]
    num_shards: int
    seed: int

    def expand(self, collections: tuple[beam.PCollection, ...]) -> beam.PCollection:
        keyed = tuple(
            records
            | f"KeyByShard{number}" >> beam.Map(_keyed, number, self.shards, self.num_shards)
            for number, records in enumerate(collections)
        )
        return keyed | "GroupShards" >> Group() | "Write" >> beam.MapTuple(self._write)

    def _write(self, key: int, records: Iterable[Any]) -> str:
        number, shard = divmod(key, self.num_shards)
        prefix, record_type = self.kinds[number]
        path = shard_path(prefix, shard, self.num_shards)
        _write_records(path, _in_order(records, self.seed), record_type)
        return path


def _in_order(records: Iterable[Any], seed: int) -> Iterator[Any]:
    """Records by hash(seed, id), those of one id by what they hold."""
    placed = sorted(
        ((digest(seed, record.id), record) for record in records), key=operator.itemgetter(0)
    )
    for _, same in itertools.groupby(placed, key=operator.itemgetter(0)):
        found = [record for _, record in same]
        yield from found if len(found) == 1 else sorted(found, key=to_json)


def shard_of(record_id: str, num_shards: int) -> int:
    """The shard of a record, and of all samples of it.

    A shard has the records of a few neighbouring shards of the answer store, so that a slice reads
    and holds few answers but its own.
    """
    root = lineage(record_id)[-1]
    place = store.shard_of(root) * _PLACES + integer(_PLACES, "shard", root)
    return place * num_shards // (store.SHARDS * _PLACES)


def _keyed(record: Any, number: int, shards: tuple[int, ...], num_shards: int) -> tuple[int, Any]:
    """A record of the kind with this number, by the file that it goes into."""
    shard = shard_of(record.id, num_shards)
    if shard not in shards:
        raise AssertionError(f"record {record.id} of shard {shard} appeared in a slice of {shards}")
    return number * num_shards + shard, record


def write_empty(path: str, record_type: Any) -> None:
    """Write a shard without rows, with the columns that it would have had."""
    _write_records(path, iter(()), record_type)


def _write_records(path: str, records: Iterator[Any], record_type: Any) -> None:
    schema = arrow_schema(record_type)
    batches = (
        pa.RecordBatch.from_pylist([to_row(record) for record in batch], schema=schema)
        for batch in iter(lambda: list(itertools.islice(records, _BATCH_ROWS)), [])
    )
    with whole_file(path) as file:
        write_parquet(file, batches, schema)


def write_parquet(file: Any, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> int:
    """Write batches of rows as a Parquet file, a row group in memory at a time; how many rows.

    A row group ends with the batch that brings it to 8,192 rows or 64 MiB. A file without rows has
    none: readers take one of no rows for damage.
    """
    rows = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _row_groups(batches):
            writer.write_table(group)
            rows += group.num_rows
    return rows


def _row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    group: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        group.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield pa.Table.from_batches(group)
            group, rows, size = [], 0, 0
    if rows:
        yield pa.Table.from_batches(group)


def write_whole(path: str, content: bytes) -> None:
    """Write a file so that no reader ever sees half of it, on any Beam filesystem."""
    with whole_file(path) as file:
        file.write(content)


@contextlib.contextmanager
def whole_file(path: str) -> Iterator[Any]:
    """A new file to write to, which appears at its end and whole, on any Beam filesystem.

    Raises:
        RunError: it cannot be written; nothing of it is left.
    """
    attempt = digest(socket.gethostname(), os.getpid(), threading.get_ident())
    partial = f"{path}.{attempt}.partial"
    try:
        with (
            writing(path),
            FileSystems.create(partial, compression_type=CompressionTypes.UNCOMPRESSED) as file,
        ):
            yield file
        with writing(path):
            FileSystems.rename([partial], [path])
    except RunError:
        with contextlib.suppress(OSError):
            remove(partial)
        raise


@dataclasses.dataclass(eq=False)
class ReadShards(beam.PTransform):
    """Read shards that `WriteShards` wrote: records of `record_type`.

    Cost: a shard is read by one worker, a batch of rows in memory at a time.
    """

    prefix: str
    record_type: Any
    shards: tuple[int, ...]
    num_shards: int

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection:
        paths = [shard_path(self.prefix, shard, self.num_shards) for shard in self.shards]
        return (
            begin
            | "Paths" >> beam.Create(paths)
            | "SpreadPaths" >> beam.Reshuffle()
            | "Read" >> beam.FlatMap(read_shard, self.record_type)
        )


def read_shard(path: str, record_type: Any) -> Iterator[Any]:
    """The records of one shard, in its order."""
    for batch in read_batches(path):
        for row in batch.to_pylist():
            yield from_row(record_type, row)


def column_values(path: str, column: str) -> Iterator[Any]:
    """One column of a shard, without reading the others."""
    for batch in read_batches(path, columns=[column]):
        yield from batch.column(0).to_pylist()


def read_batches(
    path: str, size: int = _BATCH_ROWS, columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a shard in batches of `size`."""
    with _parquet(path) as file:
        yield from file.iter_batches(size, columns=columns)


def row_count(path: str) -> int:
    """How many rows a shard has, from its footer."""
    with _parquet(path) as file:
        return file.metadata.num_rows


@contextlib.contextmanager
def _parquet(path: str) -> Iterator[pq.ParquetFile]:
    """An open shard; a missing or damaged one is a `RunError` that says how to make it anew."""
    try:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            yield pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise damaged(path) from error


def damaged(path: str) -> RunError:
    """What to say of a file of a stage that cannot be read."""
    return RunError(
        f"{path} is missing or damaged; delete {path.rpartition('/')[0]} and run the same command "
        "again: what was answered is not asked again"
    )
