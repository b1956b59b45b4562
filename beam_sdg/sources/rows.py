"""The rows of a file, each with its position; a row that cannot be read is one too.

line 7, byte 812    of JSON lines, CSV and TSV: where the row begins, decompressed
row 7, byte 812     of an element of a JSON array
row 7               of Parquet
"""

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from beam_sdg.sources.delimited import delimited_rows
from beam_sdg.sources.documents import document_rows
from beam_sdg.sources.files import kind_of, opened
from beam_sdg.sources.lines import SHOWN, BadRow, Rows, line_rows
from transforms.codec import canonical_json

_BATCH = 1024


def rows_of(path: str) -> Rows:
    """(position, row) of a file; a row that cannot be read is a `BadRow` at its position.

    Memory: a buffer and a row; of Parquet, what its writer put into a row group.

    Raises:
        InputError: the file itself cannot be read.
    """
    content = kind_of(path).content
    with opened(path) as file:
        if content == "parquet":
            yield from _table_rows(file)
        elif content in ("csv", "tsv"):
            yield from delimited_rows(path, file, "," if content == "csv" else "\t")
        elif content == "json":
            yield from document_rows(file)
        else:
            yield from line_rows(file)


def _table_rows(file: io.BufferedReader) -> Rows:
    number = 0
    for batch in pq.ParquetFile(file).iter_batches(_BATCH):
        for row in _batch_rows(batch):
            number += 1
            yield f"row {number}", row


def _batch_rows(batch: pa.RecordBatch) -> list[Any]:
    try:
        return batch.to_pylist()
    except (ValueError, OverflowError):  # of one value in it
        return [_batch_row(batch.slice(number, 1)) for number in range(batch.num_rows)]


def _batch_row(batch: pa.RecordBatch) -> Any:
    try:
        return batch.to_pylist()[0]
    except UnicodeDecodeError as error:
        raw = error.object.decode(errors="replace")[:SHOWN]
        return BadRow("not_utf8", f"a value is not UTF-8: {error.reason}", raw)
    except (ValueError, OverflowError) as error:
        return BadRow("not_readable", f"a value has no Python form: {error}", _as_text(batch))


def _as_text(batch: pa.RecordBatch) -> str:
    """A row as JSON, with Arrow's own words for values that have no Python form."""
    values = zip(batch.column_names, batch.columns, strict=True)
    return canonical_json({name: _value_as_text(column) for name, column in values})


def _value_as_text(column: pa.Array) -> Any:
    try:
        return str(column[0].as_py())
    except (ValueError, OverflowError):
        return column.to_string().strip("[] \n")
