"""The loop on vLLM itself: calls are forced in every format; the model goes on behind results."""

import asyncio
import json
import urllib.request
from collections.abc import Sequence
from typing import Any

import pytest

from tests.transforms.tir.test_loop import Interpreter, Kept, Settings
from transforms.chat_template import ChatTemplate
from transforms.constraint import Constraint
from transforms.engines.completions import TOOL_CALLS, body_of
from transforms.engines.engine import Failure, Message, Reply, Sampling, Transport, Turn
from transforms.engines.hold import held
from transforms.engines.vllm import Vllm
from transforms.records import ToolUse
from transforms.seeding import digest
from transforms.tir.cells import Cells
from transforms.tir.formats import CODE_FORMATS
from transforms.tir.loop import solve
from transforms.tir.python_tool import PythonTool


class Asked:
    """The turns of a solution, straight to the engine."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.turns: list[Turn] = []
        self.replies: list[Reply] = []

    async def complete(self, turn: Turn, said: Sequence[Message]) -> Reply | Failure:
        self.turns.append(turn)
        attempted = await self._transport.complete(turn)
        assert isinstance(attempted.result, Reply), attempted
        self.replies.append(attempted.result)
        return attempted.result


async def solved(
    settings: Vllm, tool: PythonTool, turn: Turn
) -> tuple[Asked, Interpreter, Reply | Failure, ToolUse]:
    """The turns of a solution, what it ran, what it is and how it came to be."""
    transport = settings.open()
    asked = Asked(transport)
    cells = Cells(sandbox := Interpreter(), "sample", 1, Kept(), 10.0, 1000)
    reply, use = await solve(tool, turn, asked, cells)
    await transport.close()
    return asked, sandbox, reply, use


@pytest.mark.parametrize("name", CODE_FORMATS)
def test_each_prompt_begins_with_the_one_before(settings, served_model, name):
    """Byte for byte: the prompt, what the model wrote, and what it was shown; as the server saw."""
    code_format = CODE_FORMATS[name]
    first, last = (escaped(part) for part in code_format.written("@").split("@"))
    held_to = Constraint("regex", f"Look: {first}print\\([0-9]{{1,3}}\\){last}")
    template = ChatTemplate.of_model(served_model.model)
    tool = PythonTool(Settings(), name, template, max_executions=2)
    opening = (Message("user", "How many?"),)
    sampling = Sampling(max_tokens=400, temperature=1.0)
    turn = Turn(digest(name), "story", opening, sampling, 11, held_to)
    asked, sandbox, reply, use = asyncio.run(solved(settings, tool, turn))
    assert (use.executions, use.ended) == (2, "executions")
    assert [code.strip()[:6] for code in sandbox.ran] == ["print("] * 2
    prompts = [turn.rendered for turn in asked.turns]
    assert prompts[0] == template.render([("user", "How many?")], **arguments_of(name))
    for number in (0, 1):
        wrote = code_format.ended(asked.replies[number].text)
        result = code_format.result(f"ran {sandbox.ran[number]}", wrote)
        assert prompts[number + 1] == prompts[number] + wrote + result
    counted = [reply.prompt_tokens for reply in asked.replies]
    assert [tokens(settings, prompt) for prompt in prompts] == counted
    assert reply.text == prompts[2].removeprefix(prompts[0]) + code_format.ended(
        asked.replies[2].text
    )


def test_each_chat_begins_with_the_one_before(settings):
    """Calls of a tool, too: as the server renders and reads them, nothing of a round changes."""
    code = r"print\([0-9]{1,3}\)"
    form = r'Look: <tool_call>\n\{"name": "python", "arguments": \{"code": "CODE"\}\}\n</tool_call>'
    held_to = Constraint("regex", form.replace("CODE", code))
    tool = PythonTool(Settings(), TOOL_CALLS, None, max_executions=2)
    sampling = Sampling(max_tokens=400, temperature=1.0)
    turn = Turn(digest("chat"), "story", (Message("user", "How many?"),), sampling, 11, held_to)
    asked, sandbox, _, use = asyncio.run(solved(settings, tool, turn))
    assert (use.executions, use.ended) == (2, "executions")
    assert len(sandbox.ran) == 2
    prompts = [rendered(settings, turn) for turn in asked.turns]
    for number, ran in enumerate(sandbox.ran):
        wrote = form.replace("CODE", ran).replace(r"\n", "\n").replace("\\", "")
        shown = f"<|im_start|>tool\nran {ran}<|im_end|>\n<|im_start|>assistant\n"
        assert prompts[number + 1] == f"{prompts[number]}{wrote}<|im_end|>\n{shown}"
    counted = [reply.prompt_tokens for reply in asked.replies]
    assert [tokens(settings, prompt) for prompt in prompts] == counted


def rendered(settings: Vllm, turn: Turn) -> str:
    """What the server makes of a turn's messages."""
    body = body_of(settings.model, turn)
    chat = {name: body[name] for name in ("model", "messages", "tools")}
    found = posted(settings, "tokenize", {**chat, "add_generation_prompt": True})
    return posted(settings, "detokenize", {"model": settings.model, "tokens": found["tokens"]})[
        "prompt"
    ]


def tokens(settings: Vllm, prompt: str) -> int:
    """How many the server makes of a text."""
    body = {"model": settings.model, "prompt": prompt, "add_special_tokens": False}
    return posted(settings, "tokenize", body)["count"]


def posted(settings: Vllm, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """What the server says to a request of its own."""
    request = urllib.request.Request(
        f"{held(settings.kept(), '').url}/{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def arguments_of(name: str) -> dict[str, object]:
    return {"builtin_tools": ["python"]} if name == "gpt-oss" else {}


def escaped(text: str) -> str:
    """As a regular expression of the engine's, which has fewer special characters than Python's."""
    return "".join(f"\\{one}" if one in r"\^$.|?*+()[]{}" else one for one in text).replace(
        "\n", "\\n"
    )
