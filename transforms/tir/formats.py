"""The code formats by name, and solutions rewritten from one into another."""

from collections.abc import Mapping

from transforms.tir.code_format import Block, CodeFormat
from transforms.tir.fences import FenceFormat
from transforms.tir.harmony import HarmonyFormat
from transforms.tir.tags import TagFormat

GPT_OSS = HarmonyFormat().name
_ALL: tuple[CodeFormat, ...] = (
    FenceFormat(),
    TagFormat(
        name="openmath",
        begin="<tool_call>\n",
        end="</tool_call>",
        result_begin="\n```output\n",
        result_end="```\n",
    ),
    TagFormat(
        name="nemotron",
        begin="<llm-code>\n",
        end="</llm-code>\n",
        result_begin="<llm-code-output>\n",
        result_end="</llm-code-output>\n",
    ),
    TagFormat(
        name="llama3",
        begin="<|python_tag|>",
        end="<|eom_id|>",
        result_begin="<|start_header_id|>ipython<|end_header_id|>\n\n",
        result_end="<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        also_ends=("<|eot_id|>",),
        has_special_tokens=True,
    ),
    HarmonyFormat(),
)
CODE_FORMATS: Mapping[str, CodeFormat] = {code_format.name: code_format for code_format in _ALL}


def rewritten(text: str, of: CodeFormat, into: CodeFormat) -> str:
    """A solution with its calls and results in another format; what is between them stays.

    Args:
        text: a whole solution.
        of: the format that it is in.
        into: the one that it is to be in.

    Raises:
        ValueError: it would not read the same there: its last call has no end, its code or its
            prose holds a tag of the other format, or one of the formats is made of messages and
            the other is not.
    """
    if of.name == into.name:
        return text
    if GPT_OSS in (of.name, into.name):
        raise ValueError(f"{of.name} cannot be rewritten into {into.name}: messages are no tags")
    blocks = of.blocks(text)
    parts: list[str] = []
    at = 0
    for block in blocks:
        call = into.written(f"{block.code}\n")
        result = "" if block.output is None else into.result(f"{block.output}\n", call)
        parts += [text[at : block.start], call, result]
        at = block.result_end
    new = "".join([*parts, text[at:]])
    if list(map(_content, into.blocks(new))) != list(map(_content, blocks)):
        raise ValueError(f"not every call in {of.name} can be told from the rest in {into.name}")
    return new


def _content(block: Block) -> tuple[str, str | None, bool]:
    return block.code, block.output, block.is_complete
