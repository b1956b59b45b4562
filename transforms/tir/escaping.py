r"""Outputs of code made harmless: what would be read as a tag or a special token is none.

A prompt is a text, and a server takes `<|im_end|>` in it for the end of a message, wherever it is
from. So a backslash is put into what might be one, and into three backticks:

    <|im_end|>  ->  <\|im_end|>        </tool_call>  ->  <\/tool_call>        ```  ->  \```

One with a backslash there gets one more, so that all can be taken out again. The rule is the same
for all formats: an output reads the same in each of them.
"""

import re

_NAMES = (
    *("tool_call", "tool_response", "llm-code", "think", "s>", "bos>", "eos>", "pad>", "unk>"),
    *("start_of_turn", "end_of_turn"),
)
_BRACKETED = ("INST", "SYSTEM_PROMPT", "AVAILABLE_TOOLS", "TOOL_CALLS", "TOOL_RESULTS", "THINK")
_MARK = (
    rf"(<)%s(\\*(?:[|｜]|/?(?:{'|'.join(_NAMES)})))"
    rf"|(\[)%s(\\*/?(?:{'|'.join(_BRACKETED)})\])"
    r"|()%s(\\*```)"
)
_HARMFUL = re.compile(_MARK.replace("%s", ""))
_ESCAPED = re.compile(_MARK.replace("%s", r"\\"))


def escaped(output: str) -> str:
    """An output as it can stand in a prompt."""
    return _HARMFUL.sub(lambda mark: "\\".join(_around(mark)), output)


def unescaped(written: str) -> str:
    """The output that was escaped."""
    return _ESCAPED.sub(lambda mark: "".join(_around(mark)), written)


def _around(mark: re.Match[str]) -> list[str]:
    """What stands before the backslash, and what after it."""
    return [part for part in mark.groups() if part is not None]
