"""From a JSON value to a record: what may differ in form, and what does not fit.

In form: the case, spaces and hyphens of names, numbers and booleans written as texts, fields that
nobody asked for, one more object or a list of one around the answer, and the values put into the
schema. The content is held to the type strictly.
"""

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import pydantic

from transforms.codec import adapter, well_formed
from transforms.eaten import spoilt_text
from transforms.json_answers import DECODER, Ambiguous

V = TypeVar("V")

_MOST_WRAPPED = 8
_MOST_WRAPPINGS = 2
_SHOWN = 60
_NUMBER = re.compile(r"\s*[+-]?\d{1,300}(?:\.\d{1,300})?\s*", re.ASCII)
_SCHEMA_WORDS = frozenset(
    ("$defs", "$schema", "additionalProperties", "description", "properties")
    + ("required", "title", "type")
)


class MisfitError(ValueError):
    """A JSON value is none of the type; `is_close` if it has some of the type's fields."""

    def __init__(self, detail: str, is_close: bool = False) -> None:
        super().__init__(detail)
        self.is_close = is_close


class Shape(Generic[V]):
    """What a record's type asks of a JSON value."""

    def __init__(self, record_type: type[V]) -> None:
        self._adapter = adapter(record_type)
        schema = self._adapter.json_schema()
        self._definitions: dict[str, Any] = schema.get("$defs", {})
        self._properties: dict[str, Any] = self._resolved(schema).get("properties", {})
        self._names = {_plain(name) for name in self._properties}
        kinds = [self._resolved(part).get("type") for part in self._properties.values()]
        self._only_list = next(iter(self._properties)) if kinds == ["array"] else None

    def record(self, value: Any, beside_stray: bool = False) -> V:
        """The record that `value` is.

        `beside_stray` says that a text of it had a backslash that makes no escape.

        Raises:
            MisfitError: it is none, or it may be several.
        """
        try:
            return self._read(value, beside_stray, _MOST_WRAPPINGS)
        except RecursionError:
            raise MisfitError("its values are nested too deeply") from None

    def _read(self, value: Any, beside_stray: bool, wrappings: int) -> V:
        misfits = []
        if own := self._own(value):
            try:
                return self._validated(own, beside_stray)
            except MisfitError as misfit:
                misfits.append(misfit)
        records = []
        for item in self._wrapped(value) if wrappings else ():
            try:
                records.append(self._read(item, beside_stray, wrappings - 1))
            except MisfitError as misfit:
                misfits.append(misfit)
        if len(records) == 1:
            return records[0]
        if records:
            raise MisfitError(f"it holds {len(records)} answers, and one is wanted")
        if isinstance(value, dict) and self._is_schema(value):
            raise MisfitError("it repeats the schema and puts no values into it", is_close=True)
        if own or len(misfits) == 1:
            raise misfits[0]
        if isinstance(value, dict):
            return self._validated(value, beside_stray)
        raise MisfitError(f"it is a list of {len(value)} values, and one object is wanted")

    def _own(self, value: Any) -> dict[str, Any] | None:
        """`value` as an object with fields of the type, if it is one or the type's only list."""
        if isinstance(value, list):
            return {self._only_list: value} if self._only_list else None
        ignored = _SCHEMA_WORDS if self._echoed_properties(value) else frozenset()
        known = any(_plain(name) in self._names for name in value if name not in ignored)
        return value if known else None

    def _wrapped(self, value: Any) -> list[Any]:
        """The values within `value` that may be the answer."""
        _check_names(value)
        if isinstance(value, list):
            return value if len(value) == 1 and isinstance(value[0], dict | list) else []
        if echoed := self._echoed_properties(value):
            return [echoed]
        if len(value) > (1 if self._own(value) else _MOST_WRAPPED):
            return []
        items = (_parsed(item) for item in value.values())
        return [item for item in items if isinstance(item, dict | list)]

    def _echoed_properties(self, value: dict[str, Any]) -> dict[str, Any] | None:
        """The properties of a JSON schema that a model has repeated or filled in."""
        properties = value.get("properties")
        is_schema = isinstance(properties, dict) and "properties" not in self._properties
        return properties if is_schema else None

    def _is_schema(self, value: dict[str, Any]) -> bool:
        echoed = self._echoed_properties(value)
        return bool(echoed and all(isinstance(part, dict) for part in echoed.values()))

    def _validated(self, value: dict[str, Any], beside_stray: bool) -> V:
        converted = self._renamed(value, self._properties)
        for text in _texts(converted):
            if spoilt := spoilt_text(text, beside_stray):
                detail = f"the backslash of {spoilt} is not doubled, as JSON wants it"
                raise MisfitError(detail, is_close=True)
        written = well_formed(json.dumps(converted, ensure_ascii=False))
        try:
            return self._adapter.validate_json(written, strict=True)
        except pydantic.ValidationError as error:
            raise MisfitError(_violations(error, value), is_close=bool(converted)) from None

    def _converted(self, value: Any, schema: dict[str, Any]) -> Any:
        """`value` in the form that `schema` wants, as far as it differs in form only."""
        if schema.get("type") == "string" and "enum" not in schema:
            return value
        schema = self._resolved(schema)
        if isinstance(value, dict) and "properties" in schema:
            return self._renamed(value, schema["properties"])
        if isinstance(value, list) and "items" in schema:
            return [self._converted(item, schema["items"]) for item in value]
        if isinstance(value, str):
            return _scalar(value, schema)
        if isinstance(value, float) and schema.get("type") == "integer" and value.is_integer():
            return int(value)
        return value

    def _renamed(self, value: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any]:
        """The fields of `value` that are in `properties`, under their names there."""
        _check_names(value)
        keys = {name: name for name in properties if name in value}
        if len(keys) < len(properties):
            alike: dict[str, list[str]] = {}
            for key in value:
                if key not in keys:
                    alike.setdefault(_plain(key), []).append(key)
            for name in properties:
                if len(candidates := alike.get(_plain(name), [])) == 1:
                    keys.setdefault(name, candidates[0])
        return {name: self._converted(value[key], properties[name]) for name, key in keys.items()}

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        """`schema` without a reference or a "or null" around it."""
        if "$ref" in schema:
            return self._definitions[schema["$ref"].rpartition("/")[2]]
        present = [part for part in schema.get("anyOf", ()) if part.get("type") != "null"]
        return self._resolved(present[0]) if len(present) == 1 else schema


def _check_names(value: Any) -> None:
    if isinstance(value, Ambiguous):
        raise MisfitError(f"it names {value.name} twice, with different values", is_close=True)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _parsed(value: Any) -> Any:
    """The JSON that is in a text, or else `value`."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        with contextlib.suppress(ValueError, RecursionError):
            return DECODER.decode(value)
    return value


def _scalar(text: str, schema: dict[str, Any]) -> Any:
    """The number, the truth value or the allowed word that is written as `text`, or `text`."""
    kind = schema.get("type")
    if kind in ("integer", "number") and _NUMBER.fullmatch(text):
        number = float(text) if "." in text else int(text)
        return int(number) if kind == "integer" and number == int(number) else number
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.strip().casefold(), text)
    if text not in schema.get("enum", (text,)):
        alike = [word for word in schema["enum"] if _plain(str(word)) == _plain(text)]
        return alike[0] if len(alike) == 1 else text
    return text


def _texts(value: Any) -> Iterator[str]:
    """Every text that `value` is or holds."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _violations(error: pydantic.ValidationError, value: dict[str, Any]) -> str:
    """The first three violations: each the field, what is wanted, and what was got."""
    said = []
    for violation in error.errors(include_url=False, include_context=False)[:3]:
        where = ".".join(map(str, violation["loc"])) or "the object"
        wanted = re.sub(r"^\w+ (?=should )", "", violation["msg"])
        if violation["type"] == "missing":
            said.append(f"{where}: is missing")
        else:
            said.append(f"{where}: {wanted}, not {_shown(violation['input'])}")
    if "is missing" in said[-1]:
        said[-1] += f" in {_shown(value)}"
    return "; ".join(said)


def _shown(value: Any) -> str:
    text = well_formed(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
