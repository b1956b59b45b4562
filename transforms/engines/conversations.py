"""The conversations of one ask: from a record to a model's answer, and what is made of it.

Each sample of each record is a conversation of its own: render the prompt, ask, read, and where the
answer cannot be used, ask once more and show what was wrong. A solution with Python is one answer,
of many turns. Every turn is in the store before it is looked at.
"""

import asyncio
import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import prompts
from sandbox import Execution
from transforms.codec import canonical_json, to_json
from transforms.engines.client import Client
from transforms.engines.engine import (
    NOT_SENT,
    Attempted,
    Engine,
    Failure,
    Message,
    Reply,
    Sampling,
    Turn,
)
from transforms.engines.progress import progress_of
from transforms.engines.stops import Withheld, stops_of
from transforms.engines.store import Window, shard_of
from transforms.engines.usage import EngineUsage
from transforms.errors import EngineDown, RunError
from transforms.reading import Fault, Reader
from transforms.records import Answered, Call, Reject, ToolUse, sample_id
from transforms.seeding import digest, sampling_seed
from transforms.tir.cells import Cells, ready, shared_sandbox
from transforms.tir.loop import solve
from transforms.tir.python_tool import PythonTool

Variables = Callable[[Any], Mapping[str, object]]
Check = Callable[[Any, Any], Fault | None]


_REFUSALS = 20
_CHECKS = concurrent.futures.ThreadPoolExecutor(4, "check")  # the loop's own looks up hosts


@dataclasses.dataclass
class Tally:
    """What an ask has met in this process, answers from the store included."""

    asked: int = 0
    replies: int = 0
    failures: int = 0
    last: str = ""

    def add(self, outcome: Reply | Failure) -> None:
        if isinstance(outcome, Failure):
            self.failures += 1
            self.last = outcome.detail
        else:
            self.replies += 1

    def check(self) -> None:
        """Raise `EngineDown` if the first requests failed and no other has been answered.

        Then the fault is in the settings or the server, not in the records: rejecting them all
        would publish an empty dataset. A refusal comes sooner than an answer, so it takes at least
        half of all that was asked.
        """
        most = max(_REFUSALS, self.asked // 2)
        if self.failures >= most and not self.replies:
            raise EngineDown(
                f"all of the first {self.failures} requests failed, the last with: {self.last}; "
                "mend what it says (a flag, the model, the server) and run the same command again"
            )


@dataclasses.dataclass(frozen=True)
class Asking:
    """One ask: all that is the same for every record.

    variables makes the template's variables from a record; reader makes a value from text; check
    looks at (record, value) and names what is wrong with it; keep makes the record that goes on,
    under the `Answered`'s id.
    samples is how many answers a record gets, numbered from first_sample; corrections, how often a
    conversation goes on after an answer that cannot be used; retries, the sampling of each further
    try at a sample whose try before was a reject; python, what a model may call on its way to one.
    """

    name: str
    prompt: str
    prompt_folders: tuple[str, ...]
    variables: Variables
    reader: Reader
    check: Check | None
    keep: Callable[[Answered], Any]
    sampling: Sampling
    samples: int
    corrections: int
    seed: int
    store: str
    python: PythonTool | None = None
    first_sample: int = 0
    retries: tuple[Sampling, ...] = ()

    @property
    def numbers(self) -> range:
        """Those of a record's samples."""
        return range(self.first_sample, self.first_sample + self.samples)

    def id_of(self, record_id: str, sample: int) -> str:
        """What a sample is known by: the record's own id where it is the only one."""
        return record_id if self.numbers == range(1) else sample_id(record_id, sample)


class _Try:
    """How a sample is asked for: its sampling, and a hash of what decides it beside the prompt."""

    def __init__(self, engine: Engine, asking: Asking, number: int, sampling: Sampling) -> None:
        self.sampling = sampling
        self._seeded = (asking.seed, asking.name)
        self._number = ("retry", number) if number else ()
        chosen = sampling.chosen()
        self.shown = canonical_json(chosen)
        chosen.pop("fit_context", None)  # an answer that is there fits
        constraint = asking.reader.constraint()
        form = canonical_json(constraint and dataclasses.astuple(constraint))
        decided = [engine.identity(), canonical_json(chosen), form]
        if asking.python is not None:
            decided.append(canonical_json(asking.python.settings()))
        self.decided = digest(*decided)

    def seed_of(self, record_id: str, sample: int) -> int:
        """The seed of a sample's draws, another for each try."""
        return sampling_seed(*self._seeded, record_id, sample, *self._number)


class Conversations:
    """Those of one ask within a window."""

    def __init__(
        self, engine: Engine, asking: Asking, client: Client, answers: Window, tally: Tally
    ) -> None:
        self._tally = tally
        self._has_asked = False
        self.numbers = asking.numbers
        self._asking = asking
        self._client = client
        self.answers = answers
        self._model = engine.model
        self._progress = progress_of(asking.name)
        self._stops = stops_of(asking.store)
        self._constraint = asking.reader.constraint()
        schema = self._constraint.schema if self._constraint else None
        self._shared = {"answer_schema": canonical_json(schema)} if schema else {}
        self._prompt_hash = prompts.source_hash(asking.prompt, asking.prompt_folders)
        samplings = (asking.sampling, *asking.retries)
        self._tries = [
            _Try(engine, asking, number, sampling) for number, sampling in enumerate(samplings)
        ]

    async def converse(self, record: Any, sample: int) -> Any:
        """The record that one sample's answer makes, or its reject."""
        asked = False
        for way in self._tries:
            talk = _Talk(record, sample, way)
            item = await self._outcome(talk)
            asked = asked or talk.asked
            reason = item.reason if isinstance(item, Reject) else None
            if reason in (None, NOT_SENT):
                break
        self._progress.finish(reason, asked=asked)
        if asked:
            self._stops.ended(self._asking.name, reason or "")
        return item

    def note(self, usage: EngineUsage) -> None:
        """Keep what the engine did during this window, if this ask has asked it anything."""
        if self._has_asked:
            self.answers.note(usage)

    async def _outcome(self, talk: "_Talk") -> Any:
        asking, record = self._asking, talk.record
        variables = {**self._shared, **asking.variables(record)}
        if asking.python is not None:
            variables["max_executions"] = asking.python.drawn(talk.seed)
        talk.say(*self._messages(asking.prompt, variables))
        while True:
            turn = self._turn(talk)
            if asking.python is None:
                outcome = await self.complete(talk, turn, talk.unrecorded())
            else:
                outcome = await self._solution(talk, turn, asking.python)
            if isinstance(outcome, Failure):
                return self._reject(talk, Fault(outcome.reason, outcome.detail))
            talk.replies.append(outcome)
            value = await self._value(talk, outcome)
            if not isinstance(value, Fault):
                return self._kept(talk, value)
            if len(talk.replies) > asking.corrections or outcome.finish_reason != "stop":
                return self._reject(talk, value)
            shown = self._messages("correction", {"fault": value.detail})
            talk.say(Message("assistant", outcome.text), *shown)

    def _kept(self, talk: "_Talk", value: Any) -> Any:
        """What goes on, under the id by which later stages and the store know the sample.

        Raises:
            RunError: it has another id.
        """
        record = talk.record
        of_sample = self._asking.id_of(record.id, talk.sample)
        kept = self._asking.keep(
            Answered(
                of_sample,
                record,
                value,
                self._call(talk),
                talk.replies[-1].logprobs,
                talk.tool_use,
                talk.replies[-1].reasoning,
            )
        )
        if kept.id != of_sample:
            raise RunError(
                f"{self._asking.name}: keep made a record with the id {kept.id!r} out of "
                f"{of_sample!r}; give it the id of the Answered"
            )
        return kept

    def _messages(self, prompt: str, variables: Mapping[str, object]) -> list[Message]:
        rendered = prompts.render(prompt, variables, self._asking.prompt_folders)
        return [Message(role, text) for role, text in rendered]

    def _turn(self, talk: "_Talk") -> Turn:
        spoken = [part for message in talk.messages for part in (message.role, message.content)]
        asking = self._asking
        return Turn(
            key=digest(talk.way.decided, talk.seed, *spoken),
            prompt=asking.prompt,
            messages=tuple(talk.messages),
            sampling=talk.way.sampling,
            seed=talk.seed,
            constraint=self._constraint,
        )

    async def _solution(self, talk: "_Talk", first: Turn, tool: PythonTool) -> Reply | Failure:
        """What a model that may call Python has come to."""
        turns, shared = _TurnsOf(self, talk), shared_sandbox(tool.sandbox)
        cells = Cells(
            sandbox=shared.sandbox,
            name=sample_id(talk.record.id, talk.sample),
            seed=self._asking.seed,
            kept=turns,
            timeout_s=tool.timeout_s,
            output_limit=tool.output_limit,
        )
        async with shared.places:  # else prompts would wait for sessions until they leave the cache
            try:
                outcome, talk.tool_use = await solve(tool, first, turns, cells)
            finally:
                await cells.close()
        return outcome

    async def complete(self, talk: "_Talk", turn: Turn, said: Sequence[Message]) -> Reply | Failure:
        """The outcome of a turn: from the store, or from the engine into the store.

        `said` is what the model was told since its last turn.
        """
        talk.keys.append(turn.key)
        shard = shard_of(talk.record.id)
        kept = self.answers.get(shard, turn.key)
        if kept is not None:
            self._progress.recalled += 1
            self._tally.add(kept)
            return kept
        if self._asking.python is not None:  # else nothing is to be spent
            await ready(shared_sandbox(self._asking.python.sandbox).sandbox)
        send = functools.partial(self._send, talk)
        attempted = await self._stops.sent(self._asking.name, turn, send)
        if attempted is None:
            return Failure("not_sent", self._stops.why)
        charged = {"charged": attempted.charged} if any(attempted.charged) else {}
        outcome = attempted.result
        is_withheld = isinstance(outcome, Failure) and outcome.reason == NOT_SENT
        late = Failure("timed_out", "and not sent again, for the run was stopped")
        self.answers.append(
            shard,
            turn.key,
            dataclasses.replace(attempted, result=late) if is_withheld else attempted,
            model=self._model,
            latency_s=round(attempted.latency_s, 4),
            record=talk.record.id,
            sample=talk.sample,
            turn=len(talk.keys),
            sent=[[message.role, message.content] for message in said],
            **charged,
        )
        self._progress.add(attempted)
        if is_withheld:
            return outcome
        self._tally.add(outcome)
        if isinstance(outcome, Failure):
            self._tally.check()
        return outcome

    async def _send(self, talk: "_Talk", turn: Turn) -> Attempted:
        self._tally.asked += 1
        try:
            with self._progress.asking():
                attempted = await self._client.complete(turn)
        except Withheld:
            self._tally.asked -= 1
            raise
        talk.asked = self._has_asked = True
        return attempted

    async def _value(self, talk: "_Talk", reply: Reply) -> Any:
        """The value, or the fault of an answer that cannot be used.

        A check may take long, as that of two formulas does: no other conversation waits for it.
        """
        if reply.finish_reason == "content_filter":
            return Fault("content_filter", "the server withheld the answer")
        if reply.finish_reason == "refusal":
            return Fault("model_refused", reply.text or "the model refused without a word")
        python = self._asking.python
        is_kept = python is not None and python.when_cut == "kept"
        if reply.finish_reason == "length" and not is_kept:  # even a complete object may be a draft
            return Fault("truncated_answer", self._cut_off(talk, reply))
        value = self._asking.reader.read(reply.text)
        if isinstance(value, Fault) or self._asking.check is None:
            return value
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(_CHECKS, self._asking.check, talk.record, value)
        return found or value

    def _cut_off(self, talk: "_Talk", reply: Reply) -> str:
        tokens, most, use = reply.completion_tokens, talk.way.sampling.max_tokens, talk.tool_use
        if use is not None:
            return (
                f"cut off in round {use.rounds}, after {tokens} tokens that the model wrote and "
                f"{use.result_tokens} of results; raise --max_tokens"
            )
        if most is None:
            return f"cut off after {tokens} tokens by the server's own limit; set --max_tokens"
        if tokens >= most:
            return f"cut off after {tokens} tokens; raise --max_tokens"
        return (
            f"cut off after {tokens} tokens by the end of the model's context, of which the prompt "
            f"takes {reply.prompt_tokens}; serve it with a larger one"
        )

    def _call(self, talk: "_Talk") -> Call:
        asking, replies = self._asking, talk.replies
        return Call(
            ask=asking.name,
            prompt=asking.prompt,
            prompt_hash=self._prompt_hash,
            model=self._model,
            sampling=talk.way.shown,
            seed=talk.seed,
            sample=talk.sample,
            turns=len(replies),
            keys=tuple(talk.keys),
            finish_reason=replies[-1].finish_reason,
            prompt_tokens=sum(reply.prompt_tokens for reply in replies),
            completion_tokens=sum(reply.completion_tokens for reply in replies),
        )

    def _reject(self, talk: "_Talk", fault: Fault) -> Reject:
        return Reject(
            stage=self._asking.name,
            reason=fault.reason,
            detail=fault.detail,
            id=talk.record.id,
            row=to_json(talk.record),
            reply=talk.replies[-1].text if talk.replies else "",
            sample=talk.sample,
            keys=tuple(talk.keys),
        )


class _TurnsOf:
    """The turns and executions of one solution, in the store."""

    def __init__(self, of: Conversations, talk: "_Talk") -> None:
        self._of, self._talk = of, talk

    async def complete(self, turn: Turn, said: Sequence[Message]) -> Reply | Failure:
        return await self._of.complete(self._talk, turn, said)

    def execution(self, key: str) -> Execution | None:
        return self._of.answers.execution(shard_of(self._talk.record.id), key)

    def append_execution(self, key: str, execution: Execution) -> None:
        record = self._talk.record.id
        facts = {"record": record, "sample": self._talk.sample}
        self._of.answers.append_execution(shard_of(record), key, execution, **facts)


class _Talk:
    """One sample's conversation so far."""

    def __init__(self, record: Any, sample: int, way: _Try) -> None:
        self.record = record
        self.sample = sample
        self.way = way
        self.seed = way.seed_of(record.id, sample)
        self.messages: list[Message] = []
        self.replies: list[Reply] = []
        self.keys: list[str] = []
        self.tool_use: ToolUse | None = None
        self.asked = False
        self._recorded = 0

    def say(self, *messages: Message) -> None:
        """Go on with these messages."""
        self.messages += messages

    def unrecorded(self) -> list[Message]:
        """What was said since the last turn that was recorded, but for the model's own words."""
        new = self.messages[self._recorded :]
        self._recorded = len(self.messages)
        return [message for message in new if message.role != "assistant"]
