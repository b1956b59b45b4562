"""Calls in fences of Markdown: three backticks and `python`, and a line of backticks to end it."""

import dataclasses
import re

from transforms.tir.code_format import Block
from transforms.tir.escaping import escaped, unescaped
from transforms.tir.tags import code_at_the_end, on_lines, without_last_break, without_line_feed

_BEGIN, _RESULT_BEGIN, _END = "```python\n", "```output\n", "```\n"
_CALL = r"```python[ \t]*\r?\n"
_OPENING = re.compile(
    rf"(?P<call>(?<![`\\]){_CALL})"
    rf"|^[ \t]*(?!{_CALL})(?P<fence>`{{3,}})[ \t]*(?P<info>[^`\n]*)$",
    re.MULTILINE,
)
_CLOSING = re.compile(r"^[ \t]*`{3,}[ \t]*\r?(?:\n|\Z)", re.MULTILINE)
_RESULT = re.compile(r"```output[ \t]*\r?\n")


@dataclasses.dataclass(frozen=True, slots=True)
class FenceFormat:
    r"""Code between "```python" and a line that is "```"; its result in a fence `output`.

    Backticks within a line end nothing, so they may stand in code. Neither a fence of another
    language nor what is in it is a call, nor is a longer fence; but in a bare fence a call may
    begin, for a stray end of a fence looks like one.
    """

    name: str = "fenced"
    stop: tuple[str, ...] = (_END, "```\r\n")
    has_special_tokens: bool = False

    def ended(self, text: str) -> str:
        found = self.blocks(text)
        if not found or found[-1].end != len(text) or text.endswith(self.stop):
            return text
        last = found[-1]
        at_a_line = text.endswith("\n")
        if last.is_complete:
            return text if at_a_line else f"{text}\n"
        if _OPENING.search(last.code):
            return text
        return text + (_END if at_a_line else f"\n{_END}")

    def call(self, text: str) -> str | None:
        return code_at_the_end(self.blocks(text), text)

    def is_paused(self, text: str) -> bool:
        return text.endswith(self.stop) and self.call(text) is None

    def written(self, code: str) -> str:
        return _BEGIN + on_lines(code) + _END

    def result(self, output: str, call_text: str = "") -> str:
        return _RESULT_BEGIN + on_lines(escaped(output)) + _END

    def blocks(self, text: str) -> list[Block]:
        found: list[Block] = []
        at = 0
        while opening := _next_call(text, at):
            start, inside = opening.span("call")
            closing = _CLOSING.search(text, inside)
            end = closing.end() if closing else len(text)
            code = _unindented(text[inside : closing.start() if closing else end], text, start)
            output, at = _result(text, end) if closing else (None, end)
            found.append(Block(code, start, end, closing is not None, output, at))
        return found


def _next_call(text: str, at: int) -> re.Match[str] | None:
    while opening := _OPENING.search(text, at):
        if opening["call"]:
            return opening
        at = opening.end()
        if opening["info"].strip():
            closing = re.compile(rf"^[ \t]*{opening['fence']}`*[ \t]*\r?$", re.MULTILINE)
            closed = closing.search(text, at)
            if closed is None:
                return None
            at = closed.end()
    return None


def _result(text: str, at: int) -> tuple[str | None, int]:
    """The output in the fence that begins there, and where that ends."""
    opening = _RESULT.match(text, at)
    closing = _CLOSING.search(text, opening.end()) if opening else None
    if opening is None or closing is None:
        return None, at
    return unescaped(without_line_feed(text[opening.end() : closing.start()])), closing.end()


def _unindented(code: str, text: str, start: int) -> str:
    """Code without the indent of its fence, which may stand in a list."""
    before = text[text.rfind("\n", 0, start) + 1 : start]
    if before and not before.strip():
        code = re.sub(rf"^[ \t]{{1,{len(before)}}}", "", code, flags=re.MULTILINE)
    return without_last_break(code)
