"""Calls of gpt-oss: messages in the harmony format whose recipient is python.

    <|start|>assistant<|channel|>analysis to=python code<|message|>print(1)<|call|>
    <|start|>python to=assistant<|channel|>analysis<|message|>1<|end|><|start|>assistant

The prompt, and every result, ends with `<|start|>assistant`, so a round begins behind that.
"""

import dataclasses
import itertools
import json
import re
from typing import NamedTuple

from transforms.tir.code_format import Block
from transforms.tir.escaping import escaped, unescaped
from transforms.tir.tags import code_at_the_end, without_line_feed

_MARK = re.compile(r"<\|(start|message|end|call|return)\|>")
_START, _CHANNEL, _CALL, _NEXT = "<|start|>", "<|channel|>", "<|call|>", "<|start|>assistant"
_RECIPIENT = re.compile(r"to=\s*([\w.-]+)")
_ASSISTANT = re.compile(r"\s*(?:<\|start\|>\s*)?(?:assistant\s*)?(?:to=.*)?", re.DOTALL)
_PYTHON = re.compile(r"(?:functions\.)?python(?:\.\w+)?")
_RESULT_AUTHOR = re.compile(r"<\|start\|>\s*python\b")
_CHANNELS = ("analysis", "commentary")


class _Message(NamedTuple):
    """A message in a text; `ended` is the mark with which it ends, or ""."""

    start: int
    header: str
    body: str
    end: int
    ended: str


@dataclasses.dataclass(frozen=True, slots=True)
class HarmonyFormat:
    """Every spelling of a call to python that the harmony format allows.

    The recipient stands before or behind the channel; the channel is analysis or commentary, or
    left out; the content type is `code`, `json` (an object with the member `code`) or left out,
    with or without `<|constrain|>`. The recipients `python.NAME` and `functions.python` are python
    too: models that know other tools write them, and what they mean is plain. The result is from
    `python` in any case, on the call's channel.
    """

    name: str = "gpt-oss"
    stop: tuple[str, ...] = (_CALL,)
    has_special_tokens: bool = True

    def ended(self, text: str) -> str:
        last = _messages(text)[-1:]
        is_open = any(_is_call(message) and not message.ended for message in last)
        return text + _CALL if is_open and last[0].end == len(text) else text

    def call(self, text: str) -> str | None:
        return code_at_the_end(self.blocks(text), text)

    def is_paused(self, text: str) -> bool:
        """Never: after a call to another tool, there is nothing to go on with."""
        return False

    def written(self, code: str) -> str:
        header = f"{_CHANNEL}analysis to=python code<|message|>"
        return f"{header}{without_line_feed(code)}{_CALL}"

    def result(self, output: str, call_text: str = "") -> str:
        calls = [message for message in _messages(call_text) if _is_call(message)]
        channel = _channel(calls[-1].header) if calls else _CHANNELS[0]
        header = f"{_START}python to=assistant{_CHANNEL}{channel}<|message|>"
        return f"{header}{escaped(without_line_feed(output))}<|end|>{_NEXT}"

    def blocks(self, text: str) -> list[Block]:
        found: list[Block] = []
        messages = _messages(text)
        at = 0  # the end of the last call or result
        for message, after in itertools.zip_longest(messages, messages[1:]):
            if not _is_call(message):
                continue
            is_complete = message.ended == _CALL
            output, result_end = None, message.end
            if (
                is_complete
                and after
                and _RESULT_AUTHOR.match(after.header)
                and after.ended == "<|end|>"
            ):
                output, result_end = unescaped(after.body), after.end
                result_end += len(_NEXT) * text.startswith(_NEXT, result_end)
            start = max(at, message.start)
            code = _code(message)
            found.append(Block(code, start, message.end, is_complete, output, result_end))
            at = result_end
        return found


def spoken(text: str) -> list[tuple[str, str]]:
    """The channel and the words of each message of the model in a text without calls.

    Words that stand in no message are on the channel "", and so are those of one that names none.
    """
    found: list[tuple[str, str]] = []
    at = 0
    for message in _messages(text):
        before = _MARK.sub("", text[at : message.start]).removesuffix("assistant")
        channel = message.header.partition(_CHANNEL)[2].split()
        found += [("", before), (channel[0] if channel else "", message.body)]
        at = message.end
    rest = text[at:]
    if rest.startswith(_START):  # a header without its message, which a prompt begins too
        rest = ""
    return [(channel, words) for channel, words in [*found, ("", rest)] if words.strip()]


def _messages(text: str) -> list[_Message]:
    """All that have a header with its end; a text begins behind `<|start|>assistant`."""
    found: list[_Message] = []
    start, body = 0, -1  # of the message that the scan is in; no body yet
    header = ""
    for mark in _MARK.finditer(text):
        kind = mark[1]
        if kind == "message" and body < 0:
            header, body = text[start : mark.start()], mark.end()
        elif kind == "start":
            if body >= 0:
                found.append(_message(text, start, header, body, mark.start(), ""))
            start, body = mark.start(), -1
        elif kind != "message":
            if body >= 0:
                found.append(_message(text, start, header, body, mark.start(), mark[0]))
            start, body = mark.end(), -1
    if body >= 0:
        found.append(_message(text, start, header, body, len(text), ""))
    return found


def _message(text: str, start: int, header: str, body: int, end: int, ended: str) -> _Message:
    """A message; of what stands before its header without being of it, nothing."""
    role, channel, _ = header.partition(_CHANNEL)
    if channel and not role.startswith(_START) and not _ASSISTANT.fullmatch(role):
        start, header = start + len(role), header[len(role) :]
    return _Message(start, header, text[body:end], end + len(ended), ended)


def _is_call(message: _Message) -> bool:
    role, _, rest = message.header.partition(_CHANNEL)
    recipient = _RECIPIENT.search(role) or _RECIPIENT.search(rest)
    is_python = recipient is not None and _PYTHON.fullmatch(_split(recipient[1])[0]) is not None
    return is_python and _ASSISTANT.fullmatch(role) is not None


def _split(recipient: str) -> tuple[str, str]:
    """A recipient, and the content type that may follow without a space."""
    for kind in ("code", "json"):
        if recipient in (f"python{kind}", f"functions.python{kind}"):
            return recipient.removesuffix(kind), kind
    return recipient, ""


def _channel(header: str) -> str:
    named = header.partition(_CHANNEL)[2]
    return next(
        (channel for channel in _CHANNELS if named.lstrip().startswith(channel)), "analysis"
    )


def _code(message: _Message) -> str:
    """The code of a call, which stands in an object unless it is said to be code."""
    types = re.findall(r"(code|json)\s*$", message.header)
    if types != ["code"]:
        try:
            arguments = json.loads(message.body, strict=False)
        except (ValueError, RecursionError):
            arguments = None
        if isinstance(arguments, dict) and isinstance(arguments.get("code"), str):
            return str(arguments["code"])
    return message.body
