"""Records to and from plain rows, and the Arrow schema of a record's type.

A record is a frozen, slotted dataclass of strings, numbers, booleans, tuples of them and other
records. pydantic does the conversion; the Arrow schema is read off the annotations, so that an
empty dataset has the same columns and types as a full one.
"""

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import pyarrow as pa
import pydantic

R = TypeVar("R")

_SCALARS: dict[type, pa.DataType] = {
    str: pa.string(),
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
}


_CANONICAL = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str, allow_nan=False
)

# The converter and validator of a record's type, built once per process.
adapter: Callable[[Any], pydantic.TypeAdapter[Any]] = functools.cache(pydantic.TypeAdapter)


def to_row(record: object) -> dict[str, Any]:
    """A record as nested dicts, lists and scalars, columns in the order of its fields."""
    return adapter(type(record)).dump_python(record, mode="json")


def from_row(record_type: type[R], row: dict[str, Any]) -> R:
    """The record that `to_row` made `row` from.

    Raises:
        pydantic.ValidationError: `row` is not one of `record_type`.
    """
    return adapter(record_type).validate_python(row)


def to_json(record: object) -> str:
    """A record as canonical JSON: keys sorted, no spaces, non-ASCII text kept."""
    return canonical_json(to_row(record))


def canonical_json(value: object) -> str:
    """`value` as JSON that is the same for equal values.

    What JSON has no form for is text, and NaN and the infinities are null: Python reads and writes
    them, Parquet holds them, and no other reader of JSON takes them.
    """
    try:
        return well_formed(_CANONICAL.encode(value))
    except ValueError:
        read = json.loads(json.dumps(value, default=str), parse_constant=lambda name: None)
        return well_formed(_CANONICAL.encode(read))


def well_formed(value: Any) -> Any:
    """`value`, text or JSON, with halves of surrogate pairs replaced: no file can hold them."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return value
    if isinstance(value, dict):
        return {well_formed(key): well_formed(item) for key, item in value.items()}
    return [well_formed(item) for item in value] if isinstance(value, list) else value


def arrow_schema(record_type: type) -> pa.Schema:
    """The Arrow schema of a record's type: one column per field, in their order."""
    return pa.schema(_arrow_fields(record_type))


def _arrow_fields(record_type: type) -> list[pa.Field]:
    hints = typing.get_type_hints(record_type)
    return [
        pa.field(field.name, _arrow_type(hints[field.name]))
        for field in dataclasses.fields(record_type)
    ]


def _arrow_type(annotation: Any) -> pa.DataType:
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if dataclasses.is_dataclass(annotation):
        return pa.struct(_arrow_fields(typing.cast(type, annotation)))
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is tuple and len(arguments) == 2 and arguments[1] is ...:
        return pa.list_(_arrow_type(arguments[0]))
    if origin in (typing.Union, types.UnionType):
        present = [argument for argument in arguments if argument is not type(None)]
        if len(present) == 1:
            return _arrow_type(present[0])
    raise TypeError(f"{annotation!r} has no Arrow type; a record holds scalars, tuples and records")
