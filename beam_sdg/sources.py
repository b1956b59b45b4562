"""Rows of files as problems: which files, which columns, and what becomes of a bad row.

A source is written FORMAT=PATTERN or just PATTERN. A format names the columns of a published
dataset; without one the text column is guessed from the first row. The pattern may be a glob on
any filesystem that Beam knows.
"""

import bz2
import contextlib
import dataclasses
import gzip
import hashlib
import itertools
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
from apache_beam.io.filesystem import CompressionTypes, FileMetadata
from apache_beam.io.filesystems import FileSystems

from transforms.codec import canonical_json, well_formed
from transforms.errors import InputError, UsageError
from transforms.identify import IdentifyProblems, SampleProblems
from transforms.outcome import SourceOutcome, SplitRejects
from transforms.records import Problem, Reject
from transforms.seeding import digest

_LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz", ".jsonl.bz2")
_DOCUMENTS = (".json", ".json.gz")
_TABLES = (".parquet",)
_PEEKED = 100
TEXT_COLUMNS = ("problem", "question", "Question", "prompt", "input", "problem_text", "text")


class Format(pydantic.BaseModel, frozen=True, extra="forbid"):
    """The columns of a dataset.

    text, id: the columns of the problem and of its id; a row without an id gets its text's hash.
    picture: a column that, where it is filled, says that the problem cannot be posed without it.
    """

    text: str | None = None
    id: str | None = None
    picture: str | None = None
    licence: str = ""


FORMATS = {
    "gsm8k": Format(text="question", licence="MIT"),
    "humaneval": Format(text="prompt", id="task_id", licence="MIT"),
    "ocr": Format(text="input", id="id", licence="CC-BY-4.0"),
    "omr": Format(text="problem", licence="CC-BY-4.0"),
    "sample": Format(text="problem", id="id", licence="Apache-2.0"),
    "scibench": Format(text="problem_text", licence="MIT"),
    "theoremqa": Format(text="Question", id="id", picture="Picture", licence="MIT"),
}


class Source(pydantic.BaseModel, frozen=True, extra="forbid"):
    """One pattern of files in one format; `name` is what its rows' provenance says."""

    name: str
    pattern: str
    format: Format

    @classmethod
    def parse(cls, written: str, **columns: str) -> "Source":
        """The source that FORMAT=PATTERN or PATTERN names; `columns` of a `Format` come first.

        Raises:
            UsageError: an unknown format.
        """
        name, named, pattern = written.partition("=")
        if named and name in FORMATS:
            known = FORMATS[name]
        elif re.fullmatch(r"\w+=.*", written) and not _matches(written):
            names = ", ".join(FORMATS)
            raise UsageError(f"unknown format {name!r} in {written!r}; known: {names}")
        else:
            name, pattern, known = PurePath(written).name, written, Format()
        return cls(name=name, pattern=pattern, format=known.model_copy(update=columns))

    def resolve(self, flag: str) -> "Source":
        """This source with its text column settled, after a look at the first rows.

        `flag` is the one that an error tells the user to name the column with.

        Raises:
            InputError: no file matches, a file is of no known kind, or the column is missing.
        """
        path = self.files()[0].path
        peeked = [row for _, row in itertools.islice(rows_of(path), _PEEKED)]
        columns = sorted({column for row in peeked if isinstance(row, dict) for column in row})
        if not columns:
            raise InputError(f"{path} holds no rows; give a file with JSON objects")
        wanted = [self.format.text] if self.format.text else list(TEXT_COLUMNS)
        found = next((column for column in wanted if column in columns), None)
        if found is None:
            raise InputError(
                f"{path} has no column {' or '.join(map(repr, wanted))} (its first rows have "
                f"{', '.join(columns)}); name the text column with {flag}"
            )
        return self.model_copy(update={"format": self.format.model_copy(update={"text": found})})

    def files(self) -> list[FileMetadata]:
        """The files that match, sorted by path.

        Raises:
            InputError: none does, or one is of no known kind.
        """
        matched = _matches(self.pattern)
        if not matched:
            raise InputError(f"no file matches {self.pattern}; check the path")
        for file in matched:
            if not file.path.endswith(_LINES + _DOCUMENTS + _TABLES):
                known = ", ".join(_LINES + _DOCUMENTS + _TABLES)
                raise InputError(f"{file.path} is of no kind that can be read ({known})")
        return sorted(matched, key=lambda file: file.path)

    def settings(self) -> dict[str, Any]:
        """What decides its rows: columns and the files' contents, wherever they are."""
        files = [[PurePath(file.path).name, _content_hash(file)] for file in self.files()]
        return {"name": self.name, "format": self.format.model_dump(), "files": files}


def _matches(pattern: str) -> list[FileMetadata]:
    try:
        return FileSystems.match([pattern])[0].metadata_list
    except Exception as error:  # each filesystem raises its own
        raise InputError(f"cannot look for {pattern}: {error}") from error


def _content_hash(file: FileMetadata) -> str:
    """A hash of a local file's bytes, about a second a gigabyte; elsewhere of size and time."""
    if "://" in file.path:
        return digest(file.path, file.size_in_bytes, file.last_updated_in_seconds)
    with Path(file.path).open("rb") as content:
        return hashlib.file_digest(content, "blake2b").hexdigest()[:32]


@dataclasses.dataclass(eq=False)
class ReadProblems(beam.PTransform):
    """Read problems: parse, identify, deduplicate, sample.

    Out:  `rows`, at most `max_records` problems; `rejects`, rows that are no problem, by reason,
          and duplicates; `counts`, the numbers of rows `read` and of `usable` ones, from which
          the rows are drawn.
    Cost: a file is read by one worker; one shuffle to deduplicate, one to sample.
    """

    stage: str
    sources: tuple[Source, ...]
    deduplicate: bool
    max_records: int | None
    seed: int

    def expand(self, begin: beam.pvalue.PBegin) -> SourceOutcome:
        read = (
            begin
            | "Sources" >> beam.Create(self.sources)
            | "Files" >> beam.FlatMap(_files)
            | "SpreadFiles" >> beam.Reshuffle()
            | "Read" >> beam.FlatMap(_problems, self.stage)
        )
        parsed = read | "SplitParsed" >> SplitRejects()
        identified = parsed.rows | "Identify" >> IdentifyProblems(self.stage, self.deduplicate)
        rows = identified.rows | "Sample" >> SampleProblems(self.max_records, self.seed)
        rejects = (parsed.rejects, identified.rejects) | "MergeRejects" >> beam.Flatten()
        counts = (
            (
                read | "OneRead" >> beam.Map(_one, "read"),
                identified.rows | "OneUsable" >> beam.Map(_one, "usable"),
            )
            | "MergeCounts" >> beam.Flatten()
            | "Count" >> beam.CombinePerKey(sum)
        )
        return SourceOutcome(rows, rejects, counts)


def _one(element: object, name: str) -> tuple[str, int]:
    return name, 1


def _files(source: Source) -> list[tuple[Source, str]]:
    return [(source, file.path) for file in source.files()]


def _problems(file: tuple[Source, str], stage: str) -> Iterator[Problem | Reject]:
    source, path = file
    for position, row in rows_of(path):
        yield problem_of(source, path, position, row, stage)


def problem_of(source: Source, path: str, position: str, row: Any, stage: str) -> Problem | Reject:
    """The problem in a row, without an id; or a reject that names the file, the row and the fault.

    Rejects: `not_json`, `not_an_object`, `missing_text`, `not_text`, `empty_text`,
    `needs_picture`.
    """
    columns = source.format
    reason, fault = _row_fault(row, columns)
    if reason:
        raw = well_formed(row.raw) if isinstance(row, BadLine) else canonical_json(row)
        file = PurePath(path).name
        reject_id = digest("row", source.name, file, position)
        return Reject(stage, reason, f"{file}, {position}: {fault}", reject_id, raw, reply="")
    text = row[columns.text]
    own_id = row.get(columns.id) if columns.id else None
    extra = {name: row[name] for name in row if name not in (columns.text, columns.id)}
    return Problem(
        id="",
        text=text,
        source=source.name,
        source_id=digest(text) if own_id in (None, "") else str(own_id).strip(),
        licence=columns.licence,
        extra=canonical_json(extra),
    )


def _row_fault(row: Any, columns: Format) -> tuple[str, str]:
    """(reason, what is wrong) of a row; ("", "") where nothing is."""
    if isinstance(row, BadLine):
        return "not_json", row.error
    if not isinstance(row, dict):
        return "not_an_object", f"a row is an object, not {type(row).__name__}"
    text = row.get(columns.text or "")
    if text is None:
        return "missing_text", f"column {columns.text!r} is missing or null"
    if not isinstance(text, str):
        return "not_text", f"column {columns.text!r} is {type(text).__name__}, not text"
    if well_formed(text) != text:
        return "not_text", f"column {columns.text!r} holds half of a surrogate pair"
    if not text.strip():
        return "empty_text", f"column {columns.text!r} is empty"
    if columns.picture and row.get(columns.picture):
        return "needs_picture", f"the problem needs the picture {row[columns.picture]!r}"
    return "", ""


@dataclasses.dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is not JSON in UTF-8, as far as it can be shown."""

    raw: str
    error: str


def rows_of(path: str) -> Iterator[tuple[str, Any]]:
    """(position, row) of a file; a line that cannot be read is a `BadLine` at its position.

    Raises:
        InputError: the file itself cannot be read.
    """
    try:
        with _opened(path) as file:
            if path.endswith(_TABLES):
                yield from _table_rows(file)
            elif path.endswith(_DOCUMENTS):
                yield from _document_rows(file.read())
            else:
                yield from _line_rows(iter(file.readline, b""))
    except (OSError, EOFError, pa.ArrowException, zlib.error) as error:
        raise InputError(f"cannot read {path}: {error}") from error


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Any]:
    """A file's bytes, decompressed; Beam's own decompression is quiet where a file was cut off."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        if path.endswith(".gz"):
            yield gzip.GzipFile(fileobj=file)
        elif path.endswith(".bz2"):
            yield bz2.BZ2File(file)
        else:
            yield file


def _line_rows(lines: Iterable[bytes]) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield f"line {number}", _decoded(line)


def _document_rows(content: bytes) -> Iterator[tuple[str, Any]]:
    document = _decoded(content)
    if isinstance(document, BadLine):
        yield from _line_rows(content.splitlines())
    elif isinstance(document, list):
        yield from ((f"row {number}", row) for number, row in enumerate(document, start=1))
    else:
        yield "row 1", document


def _table_rows(file: Any) -> Iterator[tuple[str, Any]]:
    rows = (row for batch in pq.ParquetFile(file).iter_batches(1024) for row in batch.to_pylist())
    return ((f"row {number}", row) for number, row in enumerate(rows, start=1))


def _decoded(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return BadLine(line[:10_000].decode(errors="replace"), f"not JSON: {error}")
