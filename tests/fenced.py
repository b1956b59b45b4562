"""Solutions with fenced Python, for tests."""

from collections.abc import Sequence
from typing import Any

from transforms.records import Problem, Solution, ToolUse
from transforms.seeding import digest
from transforms.tir.formats import CODE_FORMATS

FENCED = CODE_FORMATS["fenced"]


def call(code: str, output: str) -> str:
    """A call and its result."""
    return FENCED.written(code) + FENCED.result(output)


def used(executions: int, most: int | None, ended: str = "answer") -> ToolUse:
    """How often a sample called Python."""
    return ToolUse("fenced", most, executions + 1, executions, 0, 0, 0, 0, 100, 20, ended)


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
