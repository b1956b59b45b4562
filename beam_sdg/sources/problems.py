"""Rows as problems: which column is what, and what becomes of a row that is no problem."""

import re
from typing import Any, NamedTuple

from beam_sdg.sources.formats import Format
from beam_sdg.sources.lines import SHOWN, BadRow
from transforms.answers import last_match
from transforms.codec import canonical_json, well_formed
from transforms.records import Problem, Reject
from transforms.seeding import digest


class Place(NamedTuple):
    """Where a row came from: its source's name, a file's or dataset's, and where in that."""

    source: str
    file: str
    position: str


def problem_of(row: Any, columns: Format, place: Place, stage: str) -> Problem | Reject:
    """The problem in a row, without an id; or a reject that names the file, the row and the fault.

    Rejects: the reasons of a `BadRow`, `not_an_object`, `missing_text`, `not_text`, `empty_text`,
    `placeholder`, `needs_picture`, `excluded`, `bad_answer`.
    """
    reason, fault = _row_fault(row, columns)
    if reason:
        return row_reject(row, place, stage, reason, fault)
    text = row[columns.text]
    own_id = row.get(columns.id) if columns.id else None
    own = {columns.text, columns.id, *columns.dropped}
    if columns.answer and not columns.answer_pattern:
        own.add(columns.answer)
    extra = {name: row[name] for name in row if name not in own}
    return Problem(
        id="",
        text=text,
        source=place.source,
        source_id=digest(text) if own_id in (None, "") else str(own_id).strip(),
        licence=_licence(row, columns),
        extra=canonical_json(extra),
        expected_answer=_answer(row, columns),
    )


def row_reject(row: Any, place: Place, stage: str, reason: str, fault: str) -> Reject:
    """A row of a source as a reject: canonical JSON, or as it stands if it cannot be read."""
    raw = well_formed(row.raw) if isinstance(row, BadRow) else canonical_json(row)[:SHOWN]
    detail = f"{place.file}, {place.position}: {fault}"
    return Reject(stage, reason, detail, digest("row", *place), raw, reply="")


def _answer(row: dict[str, Any], columns: Format) -> str | None:
    """The expected answer of a row without a fault; None where it has none."""
    answer = row.get(columns.answer) if columns.answer else None
    if answer is None:
        return None
    if columns.answer_pattern:
        return last_match(str(answer), re.compile(columns.answer_pattern, re.MULTILINE))
    return str(answer).strip() or None


def _licence(row: dict[str, Any], columns: Format) -> str:
    own = row.get(columns.licence_column) if columns.licence_column else None
    return own if isinstance(own, str) and own.strip() else columns.licence


def _row_fault(row: Any, columns: Format) -> tuple[str, str]:
    """(reason, what is wrong) of a row; ("", "") where nothing is."""
    if isinstance(row, BadRow):
        return row.reason, row.fault
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
    if columns.placeholder and text.strip() == columns.placeholder:
        return "placeholder", f"column {columns.text!r} holds {text!r} in place of a text"
    answer = row.get(columns.answer) if columns.answer else None
    if isinstance(answer, bool) or not isinstance(answer, str | int | float | None):
        kind = type(answer).__name__
        return "bad_answer", f"column {columns.answer!r} is {kind}, not a text or a number"
    for column, value in columns.excluded:
        if row.get(column) == value:
            return "excluded", f"column {column!r} holds {value!r}, which is not wanted"
    for name in (columns.id, columns.licence_column, columns.answer):
        own = str(row.get(name)) if name else ""
        if well_formed(own) != own:
            return "not_text", f"column {name!r} holds half of a surrogate pair"
    if columns.picture and row.get(columns.picture):
        return "needs_picture", f"the problem needs the picture {row[columns.picture]!r}"
    return "", ""
