"""JSON lines, and what stands for a row that cannot be read."""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from typing import Any

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SHOWN = 10_000  # characters of a row that a reject keeps

Rows = Iterator[tuple[str, Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read: a reject's reason, what is wrong, and as much as can be shown."""

    reason: str
    fault: str
    raw: str


def bad_row(reason: str, fault: str, raw: bytes) -> BadRow:
    """A `BadRow` with the start of `raw`, undecodable bytes replaced."""
    return BadRow(reason, fault, raw[: 4 * SHOWN].decode(errors="replace")[:SHOWN])


def line_rows(lines: Iterable[bytes]) -> Rows:
    """(`line N, byte B`, value) of each line that is not blank; B is where the line begins."""
    offset = 0
    for number, line in enumerate(lines, start=1):
        if not offset and line.startswith(BYTE_ORDER_MARK):
            offset, line = len(BYTE_ORDER_MARK), line.removeprefix(BYTE_ORDER_MARK)
        if line.strip():
            yield f"line {number}, byte {offset}", decoded(line)
        offset += len(line)


def decoded(line: bytes) -> Any:
    """The JSON value in `line`, or a `BadRow`: `not_utf8` or `not_json`."""
    try:
        return json.loads(line.decode())
    except UnicodeDecodeError as error:
        fault = f"not UTF-8: {error.reason}, {error.start} bytes on"
        return bad_row("not_utf8", fault, line)
    except (ValueError, RecursionError) as error:
        return bad_row("not_json", f"not JSON: {json_fault(error)}", line)


def json_fault(error: ValueError | RecursionError) -> str:
    """What `json` found wrong, without a line number of its own."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, {error.pos} characters on"
    return str(error)
