"""What a trace is trimmed to, and the number of executions that it was told of."""

import dataclasses
import re

from transforms.answers import boxed_spans
from transforms.records import Trace
from transforms.sft.parsed import ParsedTrace, answer_start

_PREFIX = re.compile(r"[*#_ ]*+(?:(?:my|the) +)?solution *:[*_ \t]*+\n*", re.IGNORECASE)
# A line that only closes the formula which the box stands in.
_CLOSES_FORMULA = re.compile(r"\n[ \t]*(?:\$\$?|\\\]|\\\)|\\end\{\w+\*?\})[^\n\w]*")
_LEFT = re.compile(
    r"^\[(?P<left>\d+) of (?P<most>\d+) code executions left\]"
    r"|^\[(?P<none>no) code executions left\]"
    r"|Remaining code executions: (?P<remaining>\d+)"
    r"|(?P<over>You have run out of code executions)",
    re.MULTILINE,
)


def outer_boxes(text: str) -> list[tuple[int, int]]:
    """The complete boxes of a text that lie in no other."""
    outer: list[tuple[int, int]] = []
    for start, end in boxed_spans(text):
        if not outer or start >= outer[-1][1]:
            outer.append((start, end))
    return outer


def without_prefix(generation: str) -> str:
    """A generation without "My solution:" at the beginning of what follows its reasoning."""
    start = answer_start(generation)
    start = len(generation) - len(generation[start:].lstrip())
    prefix = _PREFIX.match(generation, start)
    return generation[:start] + generation[prefix.end() :] if prefix else generation


def without_what_follows(generation: str, conclusion: int) -> str:
    r"""A generation up to the end of the line with its last box, behind `conclusion`.

    Where the box stands in a formula whose end has a line of its own, that line is kept too.
    Without such a box nothing is cut.
    """
    boxes = outer_boxes(generation[conclusion:])
    if not boxes:
        return generation
    at = generation.find("\n", conclusion + boxes[-1][1])
    if at < 0:
        return generation
    closing = _CLOSES_FORMULA.match(generation, at)
    return generation[: closing.end() if closing else at]


def with_code_execution_counts(parsed: ParsedTrace) -> Trace:
    """The trace with the number of executions that it was allowed, if it does not say so.

    It stands in the first output that announces what is left; a trace without an announcement was
    told of no number.
    """
    if parsed.trace.total_code_executions is not None:
        return parsed.trace
    for block in parsed.blocks:
        if told := _LEFT.search(block.output or ""):
            count = int(told["most"] or 0) or int(told["remaining"] or 0) + 1
            return dataclasses.replace(parsed.trace, total_code_executions=count)
    return parsed.trace
