"""A trace taken apart: what is reasoning, prose, code and output in it."""

import dataclasses
import functools
import re

from transforms.engines.completions import TOOL_CALLS
from transforms.records import Trace
from transforms.tir.code_format import Block, CodeFormat
from transforms.tir.formats import CODE_FORMATS

THINK, THOUGHT = "<think>", "</think>"
_REASONING_ENDS = re.compile(r"</think>|<\|channel\|>final<\|message\|>")
_REASONING_BEGINS = re.compile(r"\s*(?:<think>|<\|channel\|>analysis)")


def code_format_of(trace: Trace) -> CodeFormat | None:
    """How the trace's calls are written; None where it has none.

    Raises:
        ValueError: there is no format of this name.
    """
    name = "fenced" if trace.code_format == TOOL_CALLS else trace.code_format
    if name and name not in CODE_FORMATS:
        raise ValueError(f"{name!r} is none of: {', '.join(CODE_FORMATS)}")
    return CODE_FORMATS[name] if name else None


def reasoning_ends(text: str) -> bool:
    """Whether a text has reasoning in it that has come to its end."""
    return bool(_REASONING_ENDS.search(text))


def answer_start(text: str) -> int:
    """Where reasoning that is part of a text ends; its length if it never does."""
    ends = [end.end() for end in _REASONING_ENDS.finditer(text)]
    if ends:
        return ends[-1]
    return len(text) if _REASONING_BEGINS.match(text) else 0


@dataclasses.dataclass(frozen=True)
class ParsedTrace:
    """A trace and the calls in its generation."""

    trace: Trace
    blocks: tuple[Block, ...]

    @classmethod
    def of(cls, trace: Trace) -> "ParsedTrace":
        """Parse a trace.

        Raises:
            ValueError: its code format is unknown.
        """
        code_format = code_format_of(trace)
        return cls(trace, tuple(code_format.blocks(trace.generation)) if code_format else ())

    @functools.cached_property
    def pieces(self) -> list[str]:
        """What the model wrote around its calls, one text more than there are calls."""
        starts = [0, *(block.result_end for block in self.blocks)]
        ends = [*(block.start for block in self.blocks), len(self.trace.generation)]
        return [self.trace.generation[a:b] for a, b in zip(starts, ends, strict=True)]

    @property
    def prose(self) -> str:
        """All words of the model, reasoning included, without code and outputs."""
        return "\n".join([self.trace.reasoning_content, *self.pieces])

    @property
    def conclusion(self) -> int:
        """Where, in the generation, all reasoning and the last call with its result are over."""
        after_code = self.blocks[-1].result_end if self.blocks else 0
        return max(after_code, answer_start(self.trace.generation))

    @property
    def answer(self) -> str:
        """What the model wrote behind its reasoning, without code and outputs."""
        text = "\n".join(self.pieces)
        return text[answer_start(text) :]
