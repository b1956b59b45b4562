"""The rows of a JSON document, which is an array as a rule and is never held whole then."""

import codecs
import io
import itertools
import json
import re
from typing import Any

from beam_sdg.sources.lines import (
    BYTE_ORDER_MARK,
    SHOWN,
    BadRow,
    Rows,
    bad_row,
    decoded,
    json_fault,
    line_rows,
)

_LONGEST_TOKEN = 16  # characters of a literal or an escape that a buffer's end may cut through
_SPACE = re.compile(r"[ \t\n\r]*")
_scan = json.JSONDecoder().raw_decode


def document_rows(file: io.BufferedReader, chunk: int = 1 << 20) -> Rows:
    """(position, element) of an array's elements; JSON lines and a single value are read too.

    After a fault nothing in an array can be told from the next element, so it is the last row.
    Memory: of an array `chunk` bytes and an element, of JSON lines a line, of anything else all.
    """
    head = b""
    while not _begun(head) and (part := file.readline(chunk)):
        head += part
    if _begun(head).startswith(b"["):
        yield from _array_rows(_Text(head, file, chunk))
        return
    if not head.endswith(b"\n"):
        head += file.readline()
    if not isinstance(decoded(_begun(head)), BadRow):
        yield from line_rows(itertools.chain(io.BytesIO(head), file))
        return
    content = head + file.read()
    value = decoded(_begun(content))
    if isinstance(value, BadRow):
        yield from line_rows(io.BytesIO(content))
    else:
        yield f"row 1, byte {len(content) - len(_begun(content))}", value


def _begun(content: bytes) -> bytes:
    return content.removeprefix(BYTE_ORDER_MARK).lstrip()


def _array_rows(text: "_Text") -> Rows:
    number = 1
    try:
        text.take_one_of("[")
        more = text.next() != "]"
        while more:
            text.next()
            position = f"row {number}, byte {text.offset}"
            yield position, text.take_value()
            number += 1
            more = text.take_one_of(",]") == ","
        if number == 1:
            text.take_one_of("]")
        if text.next():
            raise ValueError("something follows the array")
    except (ValueError, RecursionError) as error:
        fault = f"not JSON: {json_fault(error)}; nothing after it can be read"
        yield f"row {number}, byte {text.offset}", bad_row("not_json", fault, text.shown())


class _Text:
    """A JSON text, read a buffer at a time; `offset` is the byte that comes next.

    Bytes that are not UTF-8 are read as lone surrogates, so that they spoil one value only and
    every byte is still counted.
    """

    def __init__(self, head: bytes, file: io.BufferedReader, chunk: int) -> None:
        self.offset = len(head) - len(head.removeprefix(BYTE_ORDER_MARK))
        self._file = file
        self._chunk = chunk
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text = self._decoder.decode(head[self.offset :])
        self._at = 0
        self._whole = False  # whether the file has been read to its end

    def next(self) -> str:
        """The character after any space, "" at the end of the file; it is not taken."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._take(space.end() if space else self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take_one_of(self, characters: str) -> str:
        """Take the next character, which must be one of these, or raise ValueError."""
        found = self.next()
        if not found or found not in characters:
            wanted = " or ".join(map(repr, characters))
            raise ValueError(f"{wanted} is missing" if found else f"it ends without {wanted}")
        self._take(self._at + 1)
        return found

    def take_value(self) -> Any:
        """Take a value, a `BadRow` if it is not UTF-8; ValueError or RecursionError if broken."""
        value, end = self._value()
        raw = self._take(end)
        try:
            raw.decode()
        except UnicodeDecodeError as error:
            fault = f"not UTF-8: {error.reason}, {error.start} bytes on"
            return bad_row("not_utf8", fault, raw)
        return value

    def shown(self) -> bytes:
        """As much of what comes next as a reject keeps."""
        return self._text[self._at : self._at + SHOWN].encode(errors="surrogateescape")

    def _value(self) -> tuple[Any, int]:
        """The value that comes next and the index after it, with as much of the file as it takes.

        The buffer may end inside the value or a token of it. Then more is read, twice as much
        each time.
        """
        while True:
            try:
                value, end = _scan(self._text, self._at)
            except json.JSONDecodeError as error:
                cut_off = error.msg.startswith("Unterminated") or self._is_near_end(error.pos)
                if not (cut_off and self._more()):
                    fault = f"{error.msg}, {error.pos - self._at} characters on"
                    raise ValueError(fault) from error
            else:
                if not (self._is_near_end(end) and self._more()):
                    return value, end

    def _is_near_end(self, index: int) -> bool:
        return len(self._text) - index < _LONGEST_TOKEN

    def _take(self, end: int) -> bytes:
        raw = self._text[self._at : end].encode(errors="surrogateescape")
        self.offset += len(raw)
        self._at = end
        return raw

    def _more(self) -> bool:
        """Read on, and forget what was taken; False at the end of the file."""
        if self._whole:
            return False
        chunk = self._file.read(max(self._chunk, len(self._text) - self._at))
        self._whole = not chunk
        self._text = self._text[self._at :] + self._decoder.decode(chunk, self._whole)
        self._at = 0
        return True
