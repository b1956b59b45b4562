"""Typed datasets in Parquet shards: the same records always make the same bytes.

A record is in shard hash(id) mod n, samples of one record in the same, and a shard is sorted by
hash(seed, id), so neither the order of arrival nor the number of workers shows in a file.
"""

import contextlib
import dataclasses
import io
import os
import socket
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from transforms.codec import arrow_schema, from_row, to_json, to_row
from transforms.errors import RunError
from transforms.grouping import Group
from transforms.records import lineage
from transforms.seeding import digest, integer


def shard_path(prefix: str, shard: int, num_shards: int, extension: str = "parquet") -> str:
    """The file of a shard: PREFIX-00003-of-00008.parquet."""
    return f"{prefix}-{shard:05d}-of-{num_shards:05d}.{extension}"


@dataclasses.dataclass(eq=False)
class WriteShards(beam.PTransform):
    """Write records as Parquet, a file per shard that has any; `write_empty` makes the others.

    In:   records of `record_type` with an `id`, all of them belonging to one of `shards`.
    Out:  the paths written.
    Cost: one shuffle; a shard is sorted in memory.
    Once: a file appears whole, by renaming, and a retry writes the same bytes again.
    """

    prefix: str
    record_type: Any
    shards: tuple[int, ...]
    num_shards: int
    seed: int

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        return (
            records
            | "KeyByShard" >> beam.Map(_keyed, self.shards, self.num_shards)
            | "GroupShards" >> Group()
            | "Write" >> beam.MapTuple(self._write)
        )

    def _write(self, shard: int, records: Iterable[Any]) -> str:
        ordered = sorted(
            ((digest(self.seed, record.id), to_json(record), record) for record in records),
            key=lambda item: item[:2],
        )
        path = shard_path(self.prefix, shard, self.num_shards)
        _write_rows(path, [to_row(record) for _, _, record in ordered], self.record_type)
        return path


def shard_of(record_id: str, num_shards: int) -> int:
    """The shard of a record, and of all samples of it."""
    return integer(num_shards, "shard", lineage(record_id)[-1])


def _keyed(record: Any, shards: tuple[int, ...], num_shards: int) -> tuple[int, Any]:
    shard = shard_of(record.id, num_shards)
    if shard not in shards:
        raise AssertionError(f"record {record.id} of shard {shard} appeared in a slice of {shards}")
    return shard, record


def write_empty(path: str, record_type: Any) -> None:
    """Write a shard without rows, with the columns that it would have had."""
    _write_rows(path, [], record_type)


def _write_rows(path: str, rows: list[dict[str, Any]], record_type: Any) -> None:
    buffer = io.BytesIO()
    table = pa.Table.from_pylist(rows, schema=arrow_schema(record_type))
    pq.write_table(table, buffer, compression="zstd")
    write_whole(path, buffer.getvalue())


def write_whole(path: str, content: bytes) -> None:
    """Write a file so that no reader ever sees half of it, on any Beam filesystem."""
    attempt = digest(socket.gethostname(), os.getpid(), threading.get_ident())
    partial = f"{path}.{attempt}.partial"
    with FileSystems.create(partial, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        file.write(content)
    FileSystems.rename([partial], [path])


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
    path: str, size: int = 1024, columns: list[str] | None = None
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
        folder = path.rpartition("/")[0]
        raise RunError(
            f"{path} is missing or damaged; delete {folder} and run the same command again: what "
            "was answered is not asked again"
        ) from error
