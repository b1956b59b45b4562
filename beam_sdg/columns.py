"""The columns of a published dataset: what its manifest, card and report know of a schema."""

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pydantic

_NUMBERS = ("int64", "float64")


class Column(pydantic.BaseModel, frozen=True):
    """A column and what is nested in it.

    `type` is string, int64, float64, bool, struct or list; a struct has `fields`, a list one field
    that stands for its elements.
    """

    name: str
    type: str
    fields: tuple["Column", ...] = ()

    def shown_type(self) -> str:
        """The type in one line: list<struct<problem: string>>."""
        if self.type == "list":
            return f"list<{self.fields[0].shown_type()}>"
        if self.type == "struct":
            inner = ", ".join(f"{field.name}: {field.shown_type()}" for field in self.fields)
            return f"struct<{inner}>"
        return self.type

    def feature(self) -> dict[str, Any]:
        """The column as the `datasets` library declares it in a card's header."""
        return {"name": self.name, **self._declared()}

    def _declared(self) -> dict[str, Any]:
        if self.type == "struct":
            return {"struct": [field.feature() for field in self.fields]}
        if self.type == "list":
            [element] = self.fields
            declared = element._declared()
            return {"list": declared if "list" in declared else next(iter(declared.values()))}
        return {"dtype": self.type}

    @property
    def is_number(self) -> bool:
        """Whether its values can be added up."""
        return self.type in _NUMBERS


def columns_of(schema: pa.Schema | pa.StructType) -> tuple[Column, ...]:
    """The columns of an Arrow schema."""
    return tuple(_column(field) for field in schema)


def _column(field: pa.Field) -> Column:
    kind = field.type
    if pa.types.is_struct(kind):
        return Column(name=field.name, type="struct", fields=columns_of(kind))
    if pa.types.is_list(kind):
        return Column(name=field.name, type="list", fields=(_column(kind.value_field),))
    name = {"double": "float64"}.get(str(kind), str(kind))
    return Column(name=field.name, type=name)


Path = tuple[str, ...]


def leaves(columns: Iterable[Column], depth: int) -> Iterator[tuple[Path, Column]]:
    """(path, column) of the scalars, those in structs down to `depth` included; no lists."""
    for column in columns:
        if column.type == "struct" and depth:
            for path, leaf in leaves(column.fields, depth - 1):
                yield (column.name, *path), leaf
        elif column.type not in ("struct", "list"):
            yield (column.name,), column
