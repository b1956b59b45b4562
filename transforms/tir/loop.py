"""The tool loop: the model writes until a call is complete; the call runs; the model goes on.

One solution is one coroutine, and while it waits, for the model or for its code, all others go on.
Each turn and each execution is in the store before the next begins: what dies in round 90 goes on
at round 90.

On the text endpoint the conversation is one text: the prompt as the model's own template renders
it, and then, byte for byte, what the model wrote and what it was shown. On the chat endpoint it is
a list of messages, which the server renders.
"""

import dataclasses
import itertools
import json
import re
from collections.abc import Sequence
from typing import Protocol

from transforms.engines.completions import PYTHON, TOOL_CALLS
from transforms.engines.engine import (
    Failure,
    Message,
    Reply,
    ToolCall,
    Turn,
    estimated_tokens,
)
from transforms.records import ToolUse
from transforms.seeding import digest
from transforms.tir.cells import CellLost, Cells
from transforms.tir.code_format import NOT_RUN
from transforms.tir.escaping import escaped
from transforms.tir.formats import CODE_FORMATS
from transforms.tir.python_tool import PythonTool

ANSWER, EXECUTIONS, BUDGET = "answer", "executions", "budget"
_TOKENS_AROUND = 8  # of what no server has counted
_MOST_REFUSALS = 3  # in one solution
_END_OF_TURN = re.compile(r"<\|\w+\|>\s*\Z")


class Turns(Protocol):
    """The turns of one solution."""

    async def complete(self, turn: Turn, said: Sequence[Message]) -> Reply | Failure:
        """The outcome of a turn: from the store, or from the engine into the store.

        `said` is what the model was told since its last turn.
        """
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """A call in what a model wrote: its code, or what is wrong with it."""

    code: str
    fault: str = ""


class Script(Protocol):
    """One solution's conversation, in the form that its endpoint takes.

    `text` is the solution so far, calls and results included.
    """

    text: str

    def turn(self, key: str, max_tokens: int | None) -> Turn:
        """The request for the model's next words."""
        ...

    def hear(self, reply: Reply) -> list[Call]:
        """Take what the model wrote; give the calls with which it ends."""
        ...

    def tell(self, results: Sequence[str]) -> list[Message]:
        """Show the model what came of its calls; those beyond the results were not run."""
        ...

    def is_paused(self) -> bool:
        """Whether the model was stopped where it had not come to its end."""
        ...

    def finish(self) -> None:
        """The model has come to its end."""
        ...


async def solve(
    tool: PythonTool, first: Turn, turns: Turns, cells: Cells
) -> tuple[Reply | Failure, ToolUse]:
    """A solution, as if it were one reply, and how Python was used for it.

    Its text is all that was written and shown; its tokens are those of all turns. With `length`
    as its finish_reason the tokens of the sample were used up: those of `first`'s sampling, of
    which results are counted too, by the server's own figures.

    Cost: one request a round, one execution a call.
    Once: a retry takes from the store what is there, and goes on in a fresh session.

    Raises:
        EngineDown, RunError: of the turns and the cells.
    """
    most = tool.drawn(first.seed)
    script = _ChatScript(first) if tool.code_format == TOOL_CALLS else _TextScript(tool, first)
    account = _Account(first.sampling.max_tokens)
    said: Sequence[Message] = first.messages
    key, ended = first.key, ""
    while not ended:
        left = account.left()
        if left is not None and left <= 0:
            ended = BUDGET
            break
        reply = await turns.complete(script.turn(key, left), said)
        if isinstance(reply, Failure):
            if reply.reason == "prompt_too_long" and account.replies:  # its own words fill it
                ended = BUDGET
                break
            return reply, account.use(tool, most, "")
        account.add(reply)
        calls = script.hear(reply)
        if reply.finish_reason == "length":
            ended = BUDGET
        elif calls:
            try:
                results = await _results(tool, most, account, cells, key, calls)
            except CellLost as error:
                return Failure("sandbox_failed", str(error)), account.use(tool, most, "")
            ended = EXECUTIONS if len(results) < len(calls) else ""
            said = script.tell(results)
            account.expect(results)
            key = digest(key, reply.text, *map(str, reply.calls), *results)
        elif script.is_paused():
            said = ()
            key = digest(key, reply.text)
        else:
            script.finish()
            ended = ANSWER
    return account.whole(script.text, ended), account.use(tool, most, ended)


async def _results(
    tool: PythonTool,
    most: int | None,
    account: "_Account",
    cells: Cells,
    key: str,
    calls: Sequence[Call],
) -> list[str]:
    """What the model is shown of its calls; fewer than there are where one ends the solution.

    Raises:
        CellLost, RunError: as `Cells.run`.
    """
    results: list[str] = []
    for number, call in enumerate(calls):
        is_spent = most is not None and account.executions >= most
        if is_spent and (tool.when_spent == "ends" or account.refused >= _MOST_REFUSALS):
            return results
        if is_spent or call.fault:
            account.refused += 1
            why = f"all {most} code executions are used" if is_spent else call.fault
            results.append(f"{NOT_RUN}{why}]")
            continue
        execution = await cells.run(digest(key, "execution", number, call.code), call.code)
        account.executions += 1
        account.errors += execution.status in ("error", "died")
        account.timeouts += execution.status == "timeout"
        account.state_losses += execution.state_lost
        results.append(execution.text + _left(tool, most, account.executions))
    return results


def _left(tool: PythonTool, most: int | None, executions: int) -> str:
    if most is None or not tool.announce_remaining:
        return ""
    left = most - executions
    return f"\n[{left} of {most} code executions left]" if left else "\n[no code executions left]"


class _Account:
    """What a solution has used."""

    def __init__(self, budget: int | None) -> None:
        self._budget = budget
        self._completion_tokens = self._result_tokens = self._expected = 0
        self.replies: list[Reply] = []
        self.executions = self.refused = self.errors = self.timeouts = self.state_losses = 0

    def left(self) -> int | None:
        """The tokens that the next turn may take; None where nobody counts."""
        if self._budget is None:
            return None
        return self._budget - self._completion_tokens - self._result_tokens - self._expected

    def add(self, reply: Reply) -> None:
        """Count a turn; its prompt tells how long the results before it were.

        Where the server does not tell, or leaves earlier reasoning out of the prompt, the estimate
        stands.
        """
        if self.replies:
            last = self.replies[-1]
            grown = reply.prompt_tokens - last.prompt_tokens - last.completion_tokens
            self._result_tokens += grown if grown > 0 else self._expected
        self._completion_tokens += reply.completion_tokens or estimated_tokens(reply.text)
        self._expected = 0
        self.replies.append(reply)

    def expect(self, results: Sequence[str]) -> None:
        """Results were shown, which the next turn will count: until then they are estimated."""
        self._expected = sum(estimated_tokens(result) + _TOKENS_AROUND for result in results)

    def whole(self, text: str, ended: str) -> Reply:
        """All turns as one reply."""
        replies = self.replies
        finish_reason = replies[-1].finish_reason if replies else "stop"
        if ended == BUDGET:
            finish_reason = "length"
        elif finish_reason == "tool_calls":
            finish_reason = "stop"
        return Reply(
            text=text,
            reasoning="",
            finish_reason=finish_reason,
            prompt_tokens=sum(reply.prompt_tokens for reply in replies),
            completion_tokens=self._completion_tokens,
            cached_tokens=sum(reply.cached_tokens for reply in replies),
            reasoning_tokens=sum(reply.reasoning_tokens for reply in replies),
            logprobs=tuple(logprob for reply in replies for logprob in reply.logprobs),
        )

    def use(self, tool: PythonTool, most: int | None, ended: str) -> ToolUse:
        """The figures of a solution."""
        return ToolUse(
            code_format=tool.code_format,
            max_executions=most,
            rounds=len(self.replies),
            executions=self.executions,
            refused=self.refused,
            errors=self.errors,
            timeouts=self.timeouts,
            state_losses=self.state_losses,
            completion_tokens=self._completion_tokens,
            result_tokens=self._result_tokens,
            ended=ended,
        )


class _TextScript:
    """A text that the server goes on with."""

    def __init__(self, tool: PythonTool, first: Turn) -> None:
        self.text = ""
        self._format = CODE_FORMATS[tool.code_format]
        self._prompt = tool.rendered(first)
        self._first = first
        self._sampling = first.sampling.model_copy(
            update={"stop": (*first.sampling.stop, *self._format.stop)}
        )
        self._messages = list(first.messages)
        self._new = ""  # since the last result

    def turn(self, key: str, max_tokens: int | None) -> Turn:
        return dataclasses.replace(
            self._first,
            key=key,
            messages=tuple(self._messages),
            sampling=self._sampling.model_copy(update={"max_tokens": max_tokens}),
            code_format=self._format.name,
            rendered=self._prompt + self.text,
            raw=self._format.has_special_tokens,
        )

    def hear(self, reply: Reply) -> list[Call]:
        """Take what the model wrote, up to the end of its first call.

        A server that does not stop there lets the model write on, results of its own making
        included: what it says behind a call that has not run is no part of a solution.
        """
        is_over = reply.finish_reason == "stop"
        text = _without_stop(reply.text, self._first.sampling.stop) if is_over else reply.text
        new = self._new + text
        if is_over and text == reply.text:
            new = self._format.ended(new)
        calls = [block for block in self._format.blocks(new) if block.is_complete]
        if calls:
            new = new[: calls[0].end]
        heard = new[len(self._new) :]
        self.text += heard
        self._new = new
        self._messages.append(Message("assistant", heard))
        code = self._format.call(new) if is_over else None
        return [] if code is None else [Call(code)]

    def tell(self, results: Sequence[str]) -> list[Message]:
        said = [Message("tool", result) for result in results]
        self.text += "".join(self._format.result(result, self._new) for result in results)
        self._new = ""
        self._messages += said
        return said

    def is_paused(self) -> bool:
        return self._messages[-1].content != "" and self._format.is_paused(self._new)

    def finish(self) -> None:
        """Leave out the mark with which a model ends its turn, where it is part of the text."""
        if self._format.has_special_tokens:
            self.text = _END_OF_TURN.sub("", self.text)


class _ChatScript:
    """Messages with calls of a tool; in `text` they are fenced Python, as elsewhere."""

    def __init__(self, first: Turn) -> None:
        self.text = ""
        self._format = CODE_FORMATS["fenced"]
        self._first = dataclasses.replace(first, code_format=TOOL_CALLS)
        self._messages = list(first.messages)
        self._calls: tuple[ToolCall, ...] = ()

    def turn(self, key: str, max_tokens: int | None) -> Turn:
        sampling = self._first.sampling.model_copy(update={"max_tokens": max_tokens})
        messages = tuple(self._messages)
        return dataclasses.replace(self._first, key=key, messages=messages, sampling=sampling)

    def hear(self, reply: Reply) -> list[Call]:
        self._calls = reply.calls
        self._messages.append(Message("assistant", reply.text, reply.calls, reply.reasoning))
        if reply.reasoning:
            self.text += f"<think>\n{reply.reasoning}\n</think>\n"
        self.text += reply.text
        return [_read(call) for call in reply.calls]

    def tell(self, results: Sequence[str]) -> list[Message]:
        said = [
            Message("tool", escaped(result), call_id=call.id)
            for call, result in zip(self._calls, results, strict=False)
        ]
        for call, result in itertools.zip_longest(self._calls, results):
            if self.text and not self.text.endswith("\n"):
                self.text += "\n"
            read = _read(call)
            fence = f"```json\n{escaped(call.arguments)}\n```\n"  # what is not Python is no call
            written = fence if read.fault else self._format.written(read.code)
            self.text += written
            self.text += "" if result is None else self._format.result(result, written)
        self._messages += said
        return said

    def is_paused(self) -> bool:
        return False

    def finish(self) -> None:
        """What a server ends a turn with is not part of its answer."""


def _without_stop(text: str, stops: Sequence[str]) -> str:
    """The text without the user's own stop, which servers keep as they keep the ends of calls."""
    return next((text.removesuffix(stop) for stop in stops if text.endswith(stop)), text)


def _read(call: ToolCall) -> Call:
    if call.name != PYTHON:
        return Call("", f"there is no tool {call.name!r}; the one there is is called {PYTHON}")
    try:
        code = json.loads(call.arguments)["code"]
    except (ValueError, LookupError, TypeError, RecursionError):
        code = None
    if not isinstance(code, str):
        return Call("", 'the arguments of a call are a JSON object: {"code": "…"}')
    return Call(code)
