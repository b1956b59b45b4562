"""The rows of CSV and TSV files, whose first row names the columns."""

import collections
import csv
import io
from collections.abc import Iterator

from beam_sdg.sources.lines import BYTE_ORDER_MARK, Rows, bad_row
from transforms.errors import InputError

_LONGEST_VALUE = 1 << 24  # characters; what an unclosed quote can make be read twice


def delimited_rows(path: str, file: io.BufferedReader, delimiter: str) -> Rows:
    """(`line N, byte B`, column -> text) of each row, as RFC 4180 has it; B is where it begins.

    A row may span lines inside quotes. Where it cannot be read, reading goes on with the line
    after its first, so that an unclosed quote costs one row.

    Raises:
        InputError: the first row is no list of distinct columns.
    """
    csv.field_size_limit(_LONGEST_VALUE)
    lines = _Lines(file)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    columns = _columns(path, lines, reader)
    while True:
        position = lines.begin_row()
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            lines.give_back()
            yield position, bad_row("not_csv", f"not CSV: {error}", lines.raw())
            continue
        if lines.not_utf8:
            yield position, bad_row("not_utf8", f"not UTF-8: {lines.not_utf8}", lines.raw())
        elif len(values) == len(columns):
            yield position, dict(zip(columns, values, strict=True))
        elif values:
            fault = f"it has {len(values)} values for {len(columns)} columns"
            yield position, bad_row("wrong_columns", fault, lines.raw())


def _columns(path: str, lines: "_Lines", reader: Iterator[list[str]]) -> list[str]:
    lines.begin_row()
    try:
        columns = next(reader, [])
    except csv.Error as error:
        raise InputError(f"{path}: its first row cannot be read as columns: {error}") from error
    if lines.not_utf8:
        raise InputError(f"{path}: its first row is not UTF-8: {lines.not_utf8}")
    twice = [name for name, times in collections.Counter(columns).items() if times > 1]
    if twice:
        raise InputError(f"{path}: its first row names column {twice[0]!r} twice; rename one")
    return columns


class _Lines:
    """The lines of a file as text, and those of the row being read as they were."""

    def __init__(self, file: io.BufferedReader) -> None:
        first = file.readline()
        self._file = file
        self._offset = len(first) - len(first.removeprefix(BYTE_ORDER_MARK))
        self._number = 1
        self._given_back = collections.deque([first[self._offset :]])
        self._row: list[bytes] = []
        self.not_utf8 = ""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._given_back.popleft() if self._given_back else self._file.readline()
        if not line:
            raise StopIteration
        self._row.append(line)
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            self.not_utf8 = error.reason
            return line.decode(errors="replace")

    def begin_row(self) -> str:
        """The position of the row that is read next."""
        self._number += len(self._row)
        self._offset += sum(map(len, self._row))
        self._row = []
        self.not_utf8 = ""
        return f"line {self._number}, byte {self._offset}"

    def give_back(self) -> None:
        """Let all lines of the row but its first be read again."""
        self._given_back.extendleft(reversed(self._row[1:]))
        del self._row[1:]

    def raw(self) -> bytes:
        """The row's lines."""
        return b"".join(self._row)
