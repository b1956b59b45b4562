"""Calls between two tags, such as <llm-code> and </llm-code>."""

import dataclasses
import functools
import re

from transforms.tir.code_format import Block
from transforms.tir.escaping import escaped, unescaped


@dataclasses.dataclass(frozen=True)
class TagFormat:
    """Calls and results, each between two tags; a call's code lies behind its last opening tag.

    begin, end: the tags of a call, with the line breaks that belong to them.
    result_begin, result_end: those of a result.
    also_ends: other tags that end a call.
    has_special_tokens: whether the tags are tokens of the model's own, and end its messages.
    """

    name: str
    begin: str
    end: str
    result_begin: str
    result_end: str
    also_ends: tuple[str, ...] = ()
    has_special_tokens: bool = False

    @property
    def stop(self) -> tuple[str, ...]:
        return (self.end.rstrip("\n"),)

    def ended(self, text: str) -> str:
        found = self.blocks(text)
        if not found or found[-1].end != len(text):
            return text
        last = found[-1]
        if last.is_complete:
            return text + "\n" * (self.end.endswith("\n") and not text.endswith("\n"))
        since = found[-2].result_end if found[1:] else 0
        return text + self.end if len(self._begins.findall(text, since)) == 1 else text

    def call(self, text: str) -> str | None:
        return code_at_the_end(self.blocks(text), text)

    def is_paused(self, text: str) -> bool:
        return not self.has_special_tokens and text.endswith(self.stop) and self.call(text) is None

    def written(self, code: str) -> str:
        return self.begin + _inside(self.begin, code) + self.end

    def result(self, output: str, call_text: str = "") -> str:
        return self.result_begin + _inside(self.result_begin, escaped(output)) + self.result_end

    def blocks(self, text: str) -> list[Block]:
        found: list[Block] = []
        at = 0
        while ending := self._ends.search(text, at):
            begins = list(self._begins.finditer(text, at, ending.start()))
            at = ending.end()
            if begins:
                code = self._code(text[begins[-1].end() : ending.start()])
                result = self._results.match(text, at)
                output = self._output(result["output"]) if result else None
                end, at = at, result.end() if result else at
                found.append(Block(code, begins[-1].start(), end, True, output, at))
        if begins := list(self._begins.finditer(text, at)):
            code, end = self._code(text[begins[-1].end() :]), len(text)
            found.append(Block(code, begins[-1].start(), end, False, None, end))
        return found

    def _code(self, written: str) -> str:
        return without_last_break(written) if _has_lines(self.begin) else written

    def _output(self, shown: str) -> str:
        return unescaped(without_line_feed(shown) if _has_lines(self.result_begin) else shown)

    @functools.cached_property
    def _begins(self) -> re.Pattern[str]:
        return re.compile(_lenient(self.begin))

    @functools.cached_property
    def _ends(self) -> re.Pattern[str]:
        return re.compile("|".join(map(_lenient, (self.end, *self.also_ends))))

    @functools.cached_property
    def _results(self) -> re.Pattern[str]:
        begin, end = map(_lenient, (self.result_begin, self.result_end))
        at_a_line = r"(?<=\n)" if _has_lines(self.result_begin) else ""
        return re.compile(rf"{begin}(?P<output>.*?){at_a_line}{end}", re.DOTALL)


def _lenient(tag: str) -> str:
    """A pattern for a tag: a line break at its end may be missing, and may be that of Windows."""
    if _has_lines(tag):
        return re.escape(tag.removesuffix("\n")) + r"(?:[ \t]*\r?\n)?"
    return re.escape(tag)


def _has_lines(tag: str) -> bool:
    """Whether what is behind a tag has lines of its own; an empty line is of the tag's own."""
    return tag.endswith("\n") and not tag.endswith("\n\n")


def _inside(tag: str, text: str) -> str:
    """A text as it stands behind a tag, without its last line break or on lines of its own."""
    return on_lines(text) if _has_lines(tag) else without_line_feed(text)


def code_at_the_end(blocks: list[Block], text: str) -> str | None:
    """The code of the complete call with which a text ends."""
    if blocks and blocks[-1].is_complete and blocks[-1].end == len(text):
        return blocks[-1].code
    return None


def without_line_feed(text: str) -> str:
    """A text without its last line feed."""
    return text.removesuffix("\n")


def without_last_break(code: str) -> str:
    """Code without its last line break, be it that of Windows."""
    return code.removesuffix("\n").removesuffix("\r")


def on_lines(text: str) -> str:
    """A text as lines, of which the last one is ended too; no text is no line."""
    return f"{without_line_feed(text)}\n" if without_line_feed(text) else ""
