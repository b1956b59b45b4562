"""From a model's text to a value: how an answer is read, and what is wrong with one that cannot be.

A reader is tolerant of the wrapping (reasoning, prose, code fences) and strict about the content.
"""

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar

import pydantic

from transforms.codec import adapter, well_formed

V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)
_FENCED = re.compile(r"```[\w-]*\n(.*?)```", re.DOTALL)
_DECODER = json.JSONDecoder(strict=False)
_MOST_BRACES = 1000
# What is left of \frac, \beta, \theta or \times after JSON took its backslash for an escape.
_EATEN_BACKSLASH = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]|\t(?:heta|imes|ext|au\b|an\b|ilde)")


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """Why an answer is no use: a word for reports and a sentence for the model and for people."""

    reason: str
    detail: str


class Reader(Protocol[V_co]):
    """How one kind of answer is read."""

    def read(self, text: str) -> V_co | Fault:
        """The value in `text`, or what is wrong with it; never an exception."""
        ...

    def schema(self) -> dict[str, Any] | None:
        """The JSON schema an engine can hold the answer to, or None for free text."""
        ...


@dataclasses.dataclass(frozen=True)
class Text:
    """An answer that is any text but none at all."""

    def read(self, text: str) -> str | Fault:
        """The text without surrounding white space; `empty_answer` where nothing is left."""
        stripped = well_formed(text).strip()
        return stripped or Fault("empty_answer", "the answer is empty")

    def schema(self) -> None:
        """Free text has none."""
        return


@dataclasses.dataclass(frozen=True)
class Structured(Generic[V]):
    """An answer that is one JSON object of a record's type.

    It is looked for alone, then in code fences, then within prose; of several the last that fits
    the type is taken, since a model that thinks aloud concludes at the end.
    """

    record_type: type[V]

    def read(self, text: str) -> V | Fault:
        """The record, or `malformed_answer` with the first few violations."""
        detail = "there is no JSON object in it"
        for candidate in _json_objects(text):
            if spoilt := _spoilt_text(candidate):
                detail = f"a backslash in {spoilt!r} is not doubled, as JSON wants it"
                continue
            try:
                return adapter(self.record_type).validate_python(candidate)
            except pydantic.ValidationError as error:
                detail = _violations(error)
        return Fault("malformed_answer", detail)

    def schema(self) -> dict[str, Any]:
        """The type's JSON schema, closed: every property required, no others allowed."""
        return _closed(adapter(self.record_type).json_schema())


def _json_objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in `text`: all of it, then its fences, then its prose, each from the end."""
    whole = _decoded(text.strip())
    if whole is not None:
        yield whole
        return
    for fence in reversed(_FENCED.findall(text)):
        inner = _decoded(fence.strip())
        if inner is not None:
            yield inner
    yield from reversed(list(_embedded(text)))


def _decoded(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    return well_formed(value) if isinstance(value, dict) else None


def _embedded(text: str) -> Iterator[dict[str, Any]]:
    """The outermost objects among the first braces of `text`, in order."""
    start = text.find("{")
    for _ in range(_MOST_BRACES):
        if start < 0:
            return
        try:
            value, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            yield well_formed(value)
        start = text.find("{", end)


def _spoilt_text(value: Any) -> str:
    """A text within `value` in which an escape has eaten the beginning of a TeX command, or ""."""
    if isinstance(value, str):
        found = _EATEN_BACKSLASH.search(value)
        return value[found.start() : found.start() + 20] if found else ""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((spoilt for item in items if (spoilt := _spoilt_text(item))), "")


def _violations(error: pydantic.ValidationError) -> str:
    lines = [
        f"{'.'.join(str(part) for part in violation['loc']) or 'the object'}: {violation['msg']}"
        for violation in error.errors(include_url=False, include_context=False)
    ]
    return "; ".join(lines[:3])


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` with every object closed, as servers with strict structured output ask for."""
    closed = {key: value for key, value in schema.items() if key != "default"}
    for key in ("properties", "$defs"):
        if key in closed:
            closed[key] = {name: _closed(part) for name, part in closed[key].items()}
    if "items" in closed:
        closed["items"] = _closed(closed["items"])
    if "anyOf" in closed:
        closed["anyOf"] = [_closed(part) for part in closed["anyOf"]]
    if "properties" in closed:
        closed |= {"additionalProperties": False, "required": list(closed["properties"])}
    return closed
