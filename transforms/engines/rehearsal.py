"""A stand-in for a model that needs nothing: deterministic answers with planted faults.

The text of an answer comes from the generator beside the prompt's template; whether it is good is
its *fate*, a function of the rehearsal's seed, the prompt and the request's sampling seed. So what
a run must accept and reject can be computed before it starts, in process as well as behind a
server, and compared with what came out.
"""

import asyncio
import json
import random

import pydantic

import prompts
from transforms import seeding
from transforms.engines.completions import PYTHON, TOOL_CALLS, split_reasoning
from transforms.engines.engine import Attempted, Failure, Reply, ToolCall, Turn
from transforms.engines.progress import under_way
from transforms.engines.stops import waiting
from transforms.tir.formats import CODE_FORMATS, GPT_OSS

GOOD, CORRECTABLE, MALFORMED, FAILING = "good", "correctable", "malformed", "failing"


class Rehearsal(pydantic.BaseModel, frozen=True, extra="forbid"):
    """A rehearsed model: shares of planted faults, and how long it takes to answer.

    malformed: cannot be read, nor can the correction; free text is cut off at the limit.
    correctable: cannot be read at first, but the correction can; free text is good.
    failing: refused by the server.
    """

    seed: int = 0
    malformed: float = pydantic.Field(0.0, ge=0, le=1)
    correctable: float = pydantic.Field(0.0, ge=0, le=1)
    failing: float = pydantic.Field(0.0, ge=0, le=1)
    latency_s: float = pydantic.Field(0.0, ge=0)
    in_flight: int = pydantic.Field(64, ge=1)
    prompts: tuple[str, ...] = ()

    @pydantic.model_validator(mode="after")
    def _shares_fit(self) -> "Rehearsal":
        if self.malformed + self.correctable + self.failing > 1:
            raise ValueError("the shares of malformed, correctable and failing add up to over 1")
        return self

    @property
    def model(self) -> str:
        """The label in the provenance of rehearsed rows."""
        return "rehearsal"

    def identity(self) -> str:
        """Everything but the pace: the faults, and the generators of all answers."""
        settings = self.model_dump_json(exclude={"latency_s", "in_flight", "prompts"})
        return f"rehearsal:{prompts.rehearsals_hash(self.prompts)}:{settings}"

    def resource_hints(self) -> dict[str, str]:
        """None: any worker will do."""
        return {}

    def open(self) -> "RehearsedTransport":
        """A transport that answers from the prompts' generators."""
        return RehearsedTransport(self)

    def fate(self, prompt: str, seed: int) -> str:
        """What becomes of the request for `prompt` with sampling seed `seed`."""
        draw = seeding.uniform("fate", self.seed, prompt, seed)
        for share, fate in (
            (self.malformed, MALFORMED),
            (self.correctable, CORRECTABLE),
            (self.failing, FAILING),
        ):
            draw -= share
            if draw < 0:
                return fate
        return GOOD

    def outcome(self, turn: Turn) -> Reply | Failure:
        """The rehearsed answer to a turn."""
        fate = self.fate(turn.prompt, turn.seed)
        corrected = len(turn.opening) < len(turn.messages)
        if fate == FAILING:
            return Failure("request_refused", "HTTP 400: this request was planted to fail")
        messages = [{"role": one.role, "content": one.content} for one in turn.messages]
        rng = seeding.stream("rehearsal", self.seed, turn.prompt, turn.seed)
        text = prompts.rehearsal(turn.prompt, self.prompts)(messages, rng)
        finish_reason = "stop"
        if turn.constraint is None and fate == MALFORMED:
            text, finish_reason = text[: len(text) // 2], "length"
        elif turn.constraint and (fate == MALFORMED or (fate == CORRECTABLE and not corrected)):
            text = _malformed(text, rng)
        asked = sum(len(message.content) for message in turn.messages)
        if turn.code_format and finish_reason == "stop":
            return _with_a_call(text, turn.code_format, asked // 4)
        answer, reasoning = split_reasoning(text) if finish_reason == "stop" else (text, "")
        return Reply(answer, reasoning, finish_reason, asked // 4, len(text) // 4)


def _with_a_call(text: str, code_format: str, asked: int) -> Reply:
    """The reply up to the end of its first fenced Python, which is its call, as the format has it.

    So the generator writes for all formats alike.
    """
    found = [block for block in CODE_FORMATS["fenced"].blocks(text) if block.is_complete]
    tokens = len(text[: found[0].end] if found else text) // 4
    is_harmony = code_format == GPT_OSS
    if not found:
        whole = f"<|channel|>final<|message|>{text}" if is_harmony else text
        return Reply(whole, "", "stop", asked, tokens)
    before, code = text[: found[0].start], found[0].code
    if is_harmony:  # where all that is written is a message
        before = f"<|channel|>analysis<|message|>{before}<|end|><|start|>assistant"
    if code_format == TOOL_CALLS:
        call = ToolCall(f"call-{asked}", PYTHON, json.dumps({"code": code}))
        return Reply(before, "", "tool_calls", asked, tokens, calls=(call,))
    return Reply(before + CODE_FORMATS[code_format].written(code), "", "stop", asked, tokens)


def _malformed(text: str, rng: random.Random) -> str:
    """`text`, a JSON object or some other form, in one of the ways that models get it wrong."""
    prose = "I would rather explain my answer in words than in the requested format."
    if not text.startswith("{"):
        return prose
    fields = json.loads(text)
    return rng.choice(
        (
            text[: len(text) // 2],
            prose,
            json.dumps({**fields, next(iter(fields)): None}),
            json.dumps({"properties": {name: {"type": "string"} for name in fields}}),
        )
    )


class RehearsedTransport:
    """Answers after `latency_s`, from this process."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        self._rehearsal = rehearsal
        self._slots = asyncio.Semaphore(rehearsal.in_flight)

    async def complete(self, turn: Turn) -> Attempted:
        """The rehearsed answer.

        Raises:
            Withheld: the run is stopped before its turn has come.
        """
        latency_s = self._rehearsal.latency_s
        if latency_s:
            async with waiting():
                await self._slots.acquire()
            try:
                with under_way():
                    await asyncio.sleep(latency_s)
            finally:
                self._slots.release()
        return Attempted(self._rehearsal.outcome(turn), 1, latency_s)

    def meter(self) -> None:
        """None: there is no engine to look at."""

    async def close(self) -> None:
        """Nothing is held open."""
