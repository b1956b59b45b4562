"""The tool loop: what the model sees, what is kept, and how a solution comes to its end."""

import asyncio
import dataclasses
import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest

from sandbox import Execution, SandboxDown, SandboxError
from transforms.engines.engine import Failure, Message, Reply, Sampling, ToolCall, Turn
from transforms.errors import RunError
from transforms.tir.cells import FRESH, Cells
from transforms.tir.formats import CODE_FORMATS
from transforms.tir.loop import solve
from transforms.tir.python_tool import PythonTool


class Settings:
    """Of a sandbox that is never opened."""

    isolated = True

    def identity(self) -> str:
        return "none"

    def open(self) -> Any:
        raise AssertionError


class Interpreter:
    """A sandbox that answers `x` with `ran x`, and breaks as often as it is told to."""

    sessions = running = 1

    def __init__(self, breaks: int = 0, down: bool = False) -> None:
        self.breaks, self.down = breaks, down
        self.opened: list[str] = []
        self.ran: list[str] = []
        self.closed = 0

    async def ready(self) -> None:
        """It is."""

    async def open(self, name: str, seed: int) -> "Interpreter":
        if self.down:
            raise SandboxDown("there is no engine")
        self.opened.append(name)
        return self

    async def execute(self, code: str, timeout_s: float, output_limit: int) -> Execution:
        if self.breaks:
            self.breaks -= 1
            raise SandboxError("the container is gone")
        self.ran.append(code)
        status = {"slow": "timeout", "bad": "error"}.get(code, "ok")
        return Execution(status, f"ran {code}")

    async def close(self) -> None:
        self.closed += 1


class Kept:
    """Executions by key."""

    def __init__(self) -> None:
        self.executions: dict[str, Execution] = {}

    def execution(self, key: str) -> Execution | None:
        return self.executions.get(key)

    def append_execution(self, key: str, execution: Execution) -> None:
        assert key not in self.executions
        self.executions[key] = execution


class Model:
    """Says its lines one after the other; each token is a character."""

    def __init__(self, *lines: str | Reply | Failure) -> None:
        self.lines = list(lines)
        self.turns: list[Turn] = []
        self.said: list[Sequence[Message]] = []

    async def complete(self, turn: Turn, said: Sequence[Message]) -> Reply | Failure:
        self.turns.append(turn)
        self.said.append(said)
        line = self.lines[len(self.turns) - 1]
        if not isinstance(line, str):
            return line
        seen = turn.rendered or "".join(message.content for message in turn.messages)
        return Reply(line, "", "stop", len(seen), len(line))


def turn(max_tokens: int | None = None) -> Turn:
    messages = (Message("user", "What is it?"),)
    return Turn("0" * 32, "tir/solution", messages, Sampling(max_tokens=max_tokens), 7, None)


def solved(model: Model, sandbox: Any = None, kept: Kept | None = None, max_tokens=None, **tool):
    tool = PythonTool(Settings(), **tool)
    sandbox = sandbox or Interpreter()
    cells = Cells(sandbox, "sample", 1, kept or Kept(), 10.0, 1000)
    return asyncio.run(solve(tool, turn(max_tokens), model, cells))


def fenced(code: str) -> str:
    return f"```python\n{code}\n```\n"


def test_a_call_runs_and_the_model_goes_on_behind_its_result():
    """Each prompt begins with the one before it, what was written, and what was shown."""
    model = Model(f"Look: {fenced('x')}", f"Again: {fenced('bad')}", "It is \\boxed{1}.")
    reply, use = solved(model)
    prompts = [turn.rendered for turn in model.turns]
    assert prompts[0] == "What is it?"
    assert prompts[1] == f"{prompts[0]}Look: {fenced('x')}```output\nran x\n```\n"
    assert prompts[2] == f"{prompts[1]}Again: {fenced('bad')}```output\nran bad\n```\n"
    assert reply.text == prompts[2].removeprefix("What is it?") + "It is \\boxed{1}."
    assert reply.finish_reason == "stop"
    assert (use.rounds, use.executions, use.errors, use.ended) == (3, 2, 1, "answer")
    assert use.result_tokens == 2 * len("```output\n```\n") + len("ran x\nran bad\n")
    assert len({turn.key for turn in model.turns}) == 3
    assert [[message.content for message in said] for said in model.said] == [
        ["What is it?"], ["ran x"], ["ran bad"],
    ]  # fmt: skip


def test_the_calls_of_a_chat_are_messages():
    """Tools of a chat: arguments that cannot be used are told to the model and not run."""
    calls = (ToolCall("a", "python", '{"code": "x"}'), ToolCall("b", "python", "x"))
    other = (ToolCall("c", "shell", "{}"),)
    model = Model(
        Reply("Look.", "Hm.", "tool_calls", 10, 5, calls=calls),
        Reply("", "", "tool_calls", 30, 5, calls=other),
        "Done.",
    )
    sandbox = Interpreter()
    reply, use = solved(model, sandbox, code_format="tool-calls")
    assert sandbox.ran == ["x"]
    assert (use.executions, use.refused, use.errors) == (1, 2, 0)
    messages = model.turns[2].messages
    assert [message.role for message in messages] == [
        "user", "assistant", "tool", "tool", "assistant", "tool",
    ]  # fmt: skip
    assert (messages[1].calls, messages[1].reasoning) == (calls, "Hm.")
    assert [message.call_id for message in messages[2:4]] == ["a", "b"]
    assert "JSON object" in messages[3].content
    assert "no tool 'shell'" in messages[5].content
    assert all(turn.rendered is None for turn in model.turns)
    assert len(CODE_FORMATS["fenced"].blocks(reply.text)) == 1
    assert reply.text.startswith("<think>\nHm.\n</think>\nLook.\n```python\nx\n```\n```output\n")
    assert reply.finish_reason == "stop"


@pytest.mark.parametrize(("lost", "state"), [(0, 2), (1, 1), (2, 0)])
def test_a_solution_that_died_goes_on_where_it_was(lost, state):
    """What is in the store is not run again; the first cell after it says what was lost."""
    lines = [fenced("1"), fenced("2"), "Done."]
    kept = Kept()
    before, _ = solved(Model(*lines), kept=kept)
    keys = list(kept.executions)
    for key in keys[len(keys) - lost :]:
        del kept.executions[key]
    sandbox = Interpreter()
    after, use = solved(Model(*lines), sandbox, kept)
    assert sandbox.ran == ["1", "2"][2 - lost :]
    assert len(sandbox.opened) == (1 if lost else 0)
    assert (FRESH in after.text) == (lost == 1)
    assert use.state_losses == (lost == 1)
    assert (after.text == before.text) == (lost != 1)


def test_a_broken_sandbox_is_another_session_and_never_an_error_of_the_code():
    """The cell runs again in a fresh one, and the model is told only if it loses something."""
    reply, use = solved(Model(fenced("x"), "Done."), Interpreter(breaks=1))
    assert (use.errors, use.state_losses) == (0, 0)
    assert FRESH not in reply.text


def test_a_sandbox_that_breaks_each_time_costs_the_sample():
    """It is a failure of the machinery, and no answer."""
    failure, _ = solved(Model(fenced("x")), Interpreter(breaks=99))
    assert failure == Failure(
        "sandbox_failed", "5 sessions broke, the last with: the container is gone"
    )


def test_an_engine_that_is_away_for_a_while_costs_nothing(monkeypatch):
    """Sessions that cannot be opened are waited for, and after two minutes the run ends."""
    monkeypatch.setattr("transforms.tir.cells._PAUSE_S", 0.001)
    away = Interpreter()
    faults = iter([SandboxError("dockerd restarts")] * 9)
    opened = away.open

    async def open_(name: str, seed: int) -> Interpreter:
        for fault in faults:
            raise fault
        return await opened(name, seed)

    monkeypatch.setattr(away, "open", open_)
    _, use = solved(Model(fenced("x"), "Done."), away)
    assert (use.executions, use.errors, use.state_losses) == (1, 0, 0)
    monkeypatch.setattr("transforms.tir.cells._PATIENCE_S", 0.02)
    faults = itertools.repeat(SandboxError("dockerd is gone"))
    with pytest.raises(RunError, match="no session could be opened for 0.02 s: dockerd is gone"):
        solved(Model(fenced("x"), "Done."), away)


INVENTED = "```output\n999\n```\n"


@pytest.mark.parametrize(
    "lines",
    [
        [fenced("x") + INVENTED + "So \\boxed{999}."],
        ["```python\nx\n``` \n" + INVENTED + "So \\boxed{999}."],
        ['```python\ns = """\nabc```\n', '"""\nx\n```\n'],
        ['```python\ns = """\nabc```\n', '"""\nx\n```\n' + INVENTED],
    ],
    ids=["no stop", "another fence's end", "stopped in the code", "both"],
)
def test_no_result_is_of_the_models_own_making(lines):
    """Whatever a server does with stops, a call runs, and what the model says it gives is cut."""
    sandbox = Interpreter()
    reply, use = solved(Model(*lines, "Done."), sandbox)
    assert len(sandbox.ran) == use.executions == 1
    [block] = CODE_FORMATS["fenced"].blocks(reply.text)
    assert block.code == sandbox.ran[0]
    assert block.output == f"ran {sandbox.ran[0]}".replace("```", "\\```").replace("\\```", "```")
    assert "999" not in reply.text


def test_other_calls_are_other_turns():
    """Of a chat too, whose text and results may be the same."""
    keys = []
    for code in ("1 + 1", "2"):
        call = ToolCall("a", "python", json.dumps({"code": code}))
        model = Model(Reply("", "", "tool_calls", 10, 5, calls=(call,)), "Done.")
        sandbox = Interpreter()
        sandbox.execute = lambda *_: asyncio.sleep(0, Execution("ok", "2"))
        solved(model, sandbox, code_format="tool-calls")
        keys.append(model.turns[1].key)
    assert keys[0] != keys[1]


def test_results_are_counted_where_the_server_does_not_tell():
    """By an estimate: else a solution would have no end."""
    silent = [Reply(fenced("x" * 90), "", "stop", 0, 0)] * 50
    reply, use = solved(Model(*silent), max_tokens=200, max_executions=None)
    assert (use.ended, reply.finish_reason) == ("budget", "length")
    assert use.rounds < 5


def test_without_a_sandbox_the_run_ends():
    with pytest.raises(RunError, match="no sandbox can run Python: there is no engine"):
        solved(Model(fenced("x")), Interpreter(down=True))


def test_executions_end():
    """As published: one more round after the last, whose call is not run."""
    model = Model(fenced("1"), fenced("2"), "never said")
    sandbox = Interpreter()
    reply, use = solved(model, sandbox, max_executions=1, announce_remaining=True)
    assert sandbox.ran == ["1"]
    assert "ran 1\n[no code executions left]" in reply.text
    assert reply.text.endswith(fenced("2"))
    assert (use.ended, use.executions, use.max_executions) == ("executions", 1, 1)
    assert reply.finish_reason == "stop"


def test_a_refused_call_lets_the_model_go_on():
    reply, use = solved(
        Model(fenced("1"), fenced("2"), "So be it."), max_executions=1, when_spent="refused"
    )
    assert "[not run: all 1 code executions are used]" in reply.text
    assert (use.ended, use.executions) == ("answer", 1)


def test_a_model_that_does_not_take_no_for_an_answer_ends():
    model = Model(*[fenced("1")] * 9)
    _, use = solved(model, max_executions=1, when_spent="refused")
    assert (use.ended, use.rounds) == ("executions", 5)


def test_the_budget_counts_results():
    """Written and shown tokens together: what is left is what the next turn may take."""
    model = Model(fenced("1"), fenced("2"), "Done.")
    solved(model, max_tokens=200)
    asked = [turn.sampling.max_tokens for turn in model.turns]
    assert asked[0] == 200
    shown = len("```output\nran 1\n```\n")
    assert 200 - len(fenced("1")) - shown <= asked[1] < 200 - len(fenced("1"))
    assert asked[2] < 200 - 2 * len(fenced("1")) - shown


def test_a_budget_that_is_used_up_ends_the_solution():
    reply, use = solved(Model(fenced("1"), "never said"), max_tokens=20)
    assert (reply.finish_reason, use.ended, use.rounds) == ("length", "budget", 1)


def test_an_answer_that_is_cut_off_is_not_run():
    """A call is complete, and yet the tokens ended there: no next turn could read its result."""
    cut = Reply(fenced("1"), "", "length", 3, 3)
    sandbox = Interpreter()
    reply, use = solved(Model(cut), sandbox)
    assert (sandbox.ran, reply.finish_reason, use.ended) == ([], "length", "budget")


def test_a_conversation_that_fills_the_context_ends():
    """The first prompt is the record's own fault; later ones are full of the model's words."""
    full = Failure("prompt_too_long", "HTTP 400: …")
    reply, use = solved(Model(fenced("1"), full))
    assert (reply.finish_reason, use.ended) == ("length", "budget")
    failure, _ = solved(Model(full))
    assert failure == full


def test_a_stop_that_ends_no_call_is_gone_on_from():
    """A fence of another kind ends like a call."""
    model = Model("```text\nabc\n```\n", "Done.")
    reply, use = solved(model)
    assert reply.text == "```text\nabc\n```\nDone."
    assert (use.rounds, use.executions) == (2, 0)


def test_a_stop_of_the_users_own_ends_the_solution_and_is_not_in_it():
    """The server is told to keep stops, for the sake of the ends of calls."""
    model = Model("It is 4.\nEND")
    tool = PythonTool(Settings())
    first = dataclasses.replace(turn(), sampling=Sampling(stop=("\nEND",)))
    cells = Cells(Interpreter(), "sample", 1, Kept(), 10.0, 1000)
    reply, use = asyncio.run(solve(tool, first, model, cells))
    assert model.turns[0].sampling.stop == ("\nEND", "```\n", "```\r\n")
    assert (reply.text, use.ended, use.rounds) == ("It is 4.", "answer", 1)


def test_executions_are_drawn_for_each_sample():
    tool = PythonTool(Settings(), max_executions=(1, 8))
    drawn = {tool.drawn(seed) for seed in range(200)}
    assert drawn == set(range(1, 9))
    assert tool.drawn(5) == tool.drawn(5)


@pytest.mark.parametrize(
    "settings",
    [{"code_format": "perl"}, {"max_executions": -1}, {"max_executions": (3, 2)}],
    ids=json.dumps,
)
def test_settings_that_make_no_sense(settings):
    with pytest.raises(ValueError, match="none of|must be|no range"):
        PythonTool(Settings(), **settings)
