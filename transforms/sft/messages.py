r"""A trace as the messages of a conversation with a tool: calls, replies, reasoning kept apart.

We add. <think>?</think>        assistant   content "We add.", reasoning "?", call_0
```python … ```                 tool        what the code printed, for call_0
So it is \boxed{3}.            assistant   content "So it is \boxed{3}."
"""

import json
import re
from collections.abc import Iterable, Sequence

from transforms.engines.completions import PYTHON
from transforms.records import SftFunction, SftMessage, SftToolCall, Trace
from transforms.sft.parsed import THINK, THOUGHT, ParsedTrace
from transforms.tir.escaping import escaped
from transforms.tir.formats import GPT_OSS
from transforms.tir.harmony import spoken

_TAGS = re.compile(r"</?think>")


def prompt_messages(prompt: Iterable[tuple[str, str]]) -> tuple[SftMessage, ...]:
    """The messages of a rendered prompt, (role, content) each."""
    return tuple(SftMessage(role, content) for role, content in prompt)


def answer_messages(trace: Trace) -> tuple[SftMessage, ...]:
    """What the model said and was shown: an assistant's message, then for each call a reply.

    Reasoning that is part of the text is taken out of `content`. A call that is not complete is no
    call, but part of the content; a complete one without a result has no reply. Replies are as the
    model was shown them, where nothing in them can be read as a special token.

    Raises:
        ValueError: the trace's code format is unknown.
    """
    parsed = ParsedTrace.of(trace)
    complete = [block for block in parsed.blocks if block.is_complete]
    pieces = parsed.pieces[: len(complete)]
    pieces.append(trace.generation[complete[-1].result_end if complete else 0 :])
    said = _harmony(pieces) if trace.code_format == GPT_OSS else _tagged(pieces)
    said[0] = (_joined(trace.reasoning_content, said[0][0]), said[0][1])
    messages: list[SftMessage] = []
    for number, (block, (reasoning, content)) in enumerate(zip(complete, said, strict=False)):
        name = f"call_{number}"
        call = SftToolCall(name, SftFunction(PYTHON, json.dumps({"code": block.code})))
        messages.append(SftMessage("assistant", content, reasoning, (call,)))
        if block.output is not None:
            messages.append(SftMessage("tool", escaped(block.output), tool_call_id=name))
    reasoning, content = said[-1]
    if reasoning or content or not messages:
        messages.append(SftMessage("assistant", content, reasoning))
    return tuple(messages)


def _tagged(pieces: Sequence[str]) -> list[tuple[str, str]]:
    """The reasoning and the content of each piece, where reasoning is between think tags.

    It may begin in one piece and end in another. Where the first tag is one that ends reasoning,
    the prompt began it.
    """
    first = next((tag[0] for piece in pieces for tag in _TAGS.finditer(piece)), "")
    is_reasoning = first == THOUGHT
    split: list[tuple[str, str]] = []
    for piece in pieces:
        parts: tuple[list[str], list[str]] = ([], [])
        at = 0
        for tag in _TAGS.finditer(piece):
            parts[not is_reasoning].append(piece[at : tag.start()])
            is_reasoning, at = tag[0] == THINK, tag.end()
        parts[not is_reasoning].append(piece[at:])
        split.append((_joined(*parts[0]), _joined(*parts[1])))
    return split


def _harmony(pieces: Sequence[str]) -> list[tuple[str, str]]:
    """As `_tagged`, where reasoning is on the channel analysis."""
    split = []
    for piece in pieces:
        said = spoken(piece)
        reasoning = _joined(*(words for channel, words in said if channel == "analysis"))
        content = _joined(*(words for channel, words in said if channel != "analysis"))
        split.append((reasoning, content))
    return split


def _joined(*parts: str) -> str:
    return "\n\n".join(filter(None, (part.strip() for part in parts)))
