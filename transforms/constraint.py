"""What an engine holds an answer to while it is drawn, token by token."""

import dataclasses
from typing import Any, Literal

Kind = Literal["json_schema", "regex", "choice", "grammar"]


@dataclasses.dataclass(frozen=True, slots=True)
class Constraint:
    """The form of an answer; engines that cannot hold it to that are told in the prompt alone.

    kind, form: json_schema, the schema; regex, a pattern that matches all of the answer; choice,
        the list of all possible answers; grammar, in the engine's own EBNF.
    """

    kind: Kind
    form: Any

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON schema, if it is one."""
        return self.form if self.kind == "json_schema" else None
