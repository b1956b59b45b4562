"""A small code format for tests of what takes any format, and solutions written in it."""

import re
from collections.abc import Sequence
from typing import Any

from transforms.records import Problem, Solution, ToolUse
from transforms.seeding import digest
from transforms.tir.code_format import Block

_CALL = re.compile(
    r"```python\n(?P<code>.*?)(?P<end>```\n|\Z)(?:```output\n(?P<output>.*?)```\n)?", re.DOTALL
)


class Fenced:
    """Calls and results between fences, each fence on a line of its own."""

    name = "fenced"
    stop = ("```\n",)
    has_special_tokens = False

    def ended(self, text: str) -> str:
        return text

    def call(self, text: str) -> str | None:
        calls = self.blocks(text)
        return calls[-1].code if calls and calls[-1].end == len(text) else None

    def written(self, code: str) -> str:
        return f"```python\n{code}\n```\n"

    def result(self, output: str) -> str:
        return f"```output\n{output}\n```\n"

    def blocks(self, text: str) -> list[Block]:
        return [
            Block(
                found["code"],
                found.start(),
                found.end("end"),
                bool(found["end"]),
                found["output"],
                found.end(),
            )
            for found in _CALL.finditer(text)
        ]


FENCED = Fenced()


def call(code: str, output: str) -> str:
    """A call and its result."""
    return FENCED.written(code) + FENCED.result(output)


def used(executions: int, most: int | None, ended: str = "answer") -> ToolUse:
    """How often a sample called Python."""
    return ToolUse("fenced", most, executions + 1, executions, 0, 0, 0, 100, 20, ended)


def solution(
    text: str,
    answer: str | None = None,
    problem: str = "How many are there?",
    number: int = 0,
    **fields: Any,
) -> Solution:
    """A solution of a problem of its own."""
    of = Problem(digest("problem", number), problem, "test", str(number), "", "{}")
    return Solution(f"{of.id}-0", of, text, answer, (), **fields)


def reasons(rejects: Sequence[Any]) -> dict[str, str]:
    """The reason of each reject by its id."""
    return {reject.id: reject.reason for reject in rejects}
