"""The files of a published dataset: written from a stage's shards, read back row by row.

Memory is a batch of rows, whichever the format. The same rows always make the same bytes.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from beam_sdg.shards import read_batches, write_parquet
from transforms.errors import RunError
from transforms.files import writing

FileFormat = Literal["parquet", "jsonl"]
FORMATS: tuple[FileFormat, ...] = get_args(FileFormat)
SPLIT = "split"  # the column of a stage's rows that says in which files they are published
_READ = 1024
_CHUNK = 1 << 20


def write_file(
    path: str,
    shards: Sequence[str],
    schema: pa.Schema,
    format: FileFormat,
    split: str = "",
) -> int:
    """Write the rows of several Parquet shards as one file, in their order; how many there are.

    The columns are those of `schema`, the rows all of them or those of a split.

    Raises:
        RunError: it cannot be written.
    """
    batches = _batches(shards, schema, split)
    with (
        writing(path),
        FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED) as file,
    ):
        if format == "jsonl":
            return _write_jsonl(file, batches)
        return write_parquet(file, batches, schema)


def _write_jsonl(file: Any, batches: Iterator[pa.RecordBatch]) -> int:
    rows = 0
    for batch in batches:
        for row in batch.to_pylist():
            file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
            rows += 1
    return rows


def _batches(shards: Sequence[str], schema: pa.Schema, split: str) -> Iterator[pa.RecordBatch]:
    """The rows of several shards, all or those of a split, in batches, none of them empty."""
    for batch in (batch for path in shards for batch in read_batches(path, _READ)):
        rows = batch.filter(pc.equal(batch.column(SPLIT), split)) if split else batch
        if rows.num_rows:
            yield rows.select(schema.names)


def sha256(path: str) -> str:
    """The hash of a file, read in pieces."""
    hashed = hashlib.sha256()
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        while piece := file.read(_CHUNK):
            hashed.update(piece)
    return hashed.hexdigest()


def read_rows(path: str, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a published file as nested dicts.

    `columns` are the dotted names of those that are needed; a JSONL file gives all of them.

    Raises:
        RunError: the file is missing or damaged; says how to make it anew.
    """
    try:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            if path.endswith(".jsonl"):
                yield from map(json.loads, iter(file.readline, b""))
            else:
                for batch in pq.ParquetFile(file).iter_batches(_READ, columns=columns):
                    yield from batch.to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise RunError(_damaged(path)) from error


def read_schema(path: str) -> pa.Schema:
    """The Arrow schema of a published Parquet file.

    Raises:
        RunError: the file is missing or damaged; says how to make it anew.
    """
    try:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            return pq.ParquetFile(file).schema_arrow
    except (OSError, pa.ArrowException) as error:
        raise RunError(_damaged(path)) from error


def _damaged(path: str) -> str:
    output = path.rsplit("/", 2)[0]
    return (
        f"{path} is missing or damaged; delete {output}/manifest.json and run the same command "
        "again: what was answered is not asked again"
    )
