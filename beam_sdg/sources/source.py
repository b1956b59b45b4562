"""A source: files or a dataset of the hub, and its columns."""

import itertools
import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, Self

import pydantic
from apache_beam.io.filesystem import FileMetadata

from beam_sdg.sources.files import content_hash, kind_of, matching
from beam_sdg.sources.formats import FORMATS, TEXT_COLUMNS, Format
from beam_sdg.sources.hub import SCHEME, Dataset
from beam_sdg.sources.lines import BadRow
from beam_sdg.sources.rows import rows_of
from transforms.errors import InputError, UsageError

_PEEKED = 100


class Source(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Files or a dataset in one format; `name` is what its rows' provenance says.

    pattern: a path or glob on any filesystem that Beam knows, or `hf://…`.
    """

    name: str
    pattern: str
    format: Format

    @classmethod
    def parse(cls, written: str, **columns: Any) -> "Source":
        """The source that FORMAT=PATTERN, PATTERN or FORMAT names.

        A bare FORMAT means the dataset as it is published. `columns` of a `Format` come before
        the format's own; a `licence` among them also before those of the rows.

        Raises:
            UsageError: an unknown format, one that is not published on the hub, or `hf://` and
                something that is no dataset.
        """
        name, pattern, known = _parsed(written)
        dataset = Dataset.parse(pattern) if pattern.startswith(SCHEME) else None
        own: dict[str, str | None] = {"licence_column": None} if "licence" in columns else {}
        return cls(
            name=name or (dataset.name if dataset else PurePath(pattern).name),
            pattern=pattern,
            format=known.model_copy(update=own | columns),
        )

    @property
    def dataset(self) -> Dataset | None:
        """The dataset of the hub that it is, if it is one."""
        return Dataset.parse(self.pattern) if self.pattern.startswith(SCHEME) else None

    @property
    def licences(self) -> tuple[str, ...]:
        """The licences that its format declares for the whole of it; rows may name their own."""
        return (self.format.licence,) if self.format.licence else ()

    def resolve(self, flag: str = "") -> Self:
        """This source with its text column settled, and of a dataset the commit and the split.

        `flag` is the one that an error tells the user to name the column with, if there is one.
        Reads the first 100 rows.

        Raises:
            UsageError: a dataset of the hub, and the library for it is not installed.
            InputError: no file matches, a file is of no known kind, there is no such dataset, or
                the column is missing.
        """
        dataset = self.dataset
        if dataset is not None:
            pinned = dataset.pinned()
            settled = self.model_copy(update={"pattern": str(pinned)})
            numbered = enumerate(pinned.rows(), start=1)
            return settled._with_text(((f"row {n}", row) for n, row in numbered), flag)
        peeked = (placed for file in self.files() for placed in rows_of(file.path))
        return self._with_text(peeked, flag)

    def files(self) -> list[FileMetadata]:
        """The files that match, sorted by path; none for a dataset of the hub.

        Raises:
            InputError: none does, or one is of no known kind.
        """
        if self.dataset is not None:
            return []
        files = matching(self.pattern)
        if not files:
            raise InputError(f"no file matches {self.pattern}; check the path")
        for file in files:
            kind_of(file.path)
        return files

    def settings(self) -> dict[str, Any]:
        """What decides its rows: columns and content, wherever that is.

        Cost: reads local files once, a second a gigabyte; asks the hub for a dataset's commit
        unless it is resolved.

        Raises:
            UsageError, InputError: as `resolve`.
        """
        dataset = self.dataset
        content: Any
        if dataset is not None:
            content = dataset.identity()
        else:
            content = [[self.label(file.path), content_hash(file)] for file in self.files()]
        return {"name": self.name, "format": self.format.model_dump(), "content": content}

    def label(self, path: str) -> str:
        """How rejects call one of its files: as the pattern has it after its fixed folders."""
        fixed = re.split(r"[*?\[]", self.pattern, maxsplit=1)[0]
        folder = fixed[: fixed.rfind("/") + 1]
        return path.removeprefix(folder) if path.startswith(folder) else PurePath(path).name

    def _with_text(self, placed: Iterator[tuple[str, Any]], flag: str) -> Self:
        first = list(itertools.islice(placed, _PEEKED))
        peeked = [row for _, row in first]
        columns = sorted({column for row in peeked if isinstance(row, dict) for column in row})
        if not peeked:
            raise InputError(f"{self.pattern} is empty: it holds no row; check the path")
        if not columns:
            bad = ((where, row) for where, row in first if isinstance(row, BadRow))
            why = next(
                (f"; its first, {where}, is {row.fault}{_mend(row)}" for where, row in bad), ""
            )
            raise InputError(f"{self.pattern} holds no rows with columns{why}")
        wanted = [self.format.text] if self.format.text else list(TEXT_COLUMNS)
        found = next((column for column in wanted if column in columns), None)
        if found is None:
            mend = f"name the text column with {flag}" if flag else f"rename one to {wanted[0]!r}"
            raise InputError(
                f"{self.pattern} has no column {' or '.join(map(repr, wanted))} (its first rows "
                f"have {', '.join(columns)}); {mend}"
            )
        for name in self.format.needed:
            if name not in columns:
                raise InputError(
                    f"{self.pattern} has no column {name!r}, without which its rows are of no use "
                    f"(its first rows have {', '.join(columns)}); rename one, or name another"
                )
        return self.model_copy(update={"format": self.format.model_copy(update={"text": found})})


def _mend(row: BadRow) -> str:
    """What helps where the fault is likely that of the whole file."""
    return "; convert the file, as in iconv -f latin1 -t utf8" if row.reason == "not_utf8" else ""


def _parsed(written: str) -> tuple[str, str, Format]:
    """(name of the format or "", pattern, format)."""
    name, named, pattern = written.partition("=")
    if name in FORMATS and named:
        return name, pattern, FORMATS[name]
    if name in FORMATS:
        published = FORMATS[name].published
        if published is None:
            raise UsageError(f"{name} is not read from the hub; write {name}=FILE")
        return name, published, FORMATS[name]
    if re.fullmatch(r"\w+=.*", written) and not matching(written):
        names = ", ".join(FORMATS)
        raise UsageError(f"unknown format {name!r} in {written!r}; known: {names}")
    return "", written, Format()
