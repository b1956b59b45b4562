"""The Beam model handler: conversations with an engine, one element's fault one element's reject.

RunInference hands over a *window* of records. Each sample of each record is a conversation of its
own: render the prompt, ask, read, and where the answer cannot be used, ask once more and show what
was wrong. No sample waits for another, and every answer is in the store before it is looked at.
Prompts are rendered here, while other requests wait for their answers, and never shuffled.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from apache_beam.ml.inference.base import ModelHandler

import prompts
from transforms.codec import canonical_json, to_json
from transforms.engines.client import Client, shared_client
from transforms.engines.engine import Engine, Failure, Message, Reply, Sampling, Turn
from transforms.engines.store import AnswerStore, Window, shard_of
from transforms.errors import EngineDown
from transforms.reading import Fault, Reader
from transforms.records import Answered, Call, Reject
from transforms.seeding import digest, sampling_seed

Variables = Callable[[Any], Mapping[str, object]]
Check = Callable[[Any, Any], Fault | None]


_REFUSALS = 20


@dataclasses.dataclass
class _Tally:
    """What a window has met, answers from the store included."""

    replies: int = 0
    failures: int = 0
    last: str = ""

    def add(self, outcome: Reply | Failure) -> None:
        if isinstance(outcome, Failure):
            self.failures += 1
            self.last = outcome.detail
        else:
            self.replies += 1

    def check(self, at_least: int) -> None:
        """Raise `EngineDown` if there were that many failures and nothing else.

        Then the fault is in the settings or the server, not in the records: rejecting them all
        would publish an empty dataset.
        """
        if self.failures >= at_least and not self.replies:
            raise EngineDown(
                f"all of the first {self.failures} requests failed, the last with: {self.last}; "
                "mend what it says (a flag, the model, the server) and run the same command again"
            )


@dataclasses.dataclass(frozen=True)
class Asking:
    """All that is the same for every record of one ask.

    variables makes the template's variables from a record; reader makes a value from text; check
    looks at (record, value) and names what is wrong with it. samples is how many answers a record
    gets; corrections, how often a conversation goes on after an answer that cannot be used.
    """

    name: str
    prompt: str
    prompt_overrides: str
    variables: Variables
    reader: Reader
    check: Check | None
    sampling: Sampling
    samples: int
    corrections: int
    seed: int


class AskHandler(ModelHandler[Any, list[Answered | Reject], Client]):
    """Answers what is asked about records through an engine and its store.

    In:   a window of records with an `id`.
    Out:  for each, in order, one `Answered` or `Reject` per sample.
    Once: an answer in the store is never asked for again; a retried bundle finds what its first
          attempt paid for.

    Args:
        engine: where unanswered turns go.
        asking: what is asked and how the answers are read.
        store: where answers are kept.
        window: the most records taken at once; memory is a window's records and values.
    """

    def __init__(self, engine: Engine, asking: Asking, store: AnswerStore, window: int) -> None:
        super().__init__(min_batch_size=window, max_batch_size=window)
        self._engine = engine
        self._asking = asking
        self._store = store
        self._schema = asking.reader.schema()
        self._shared = {"answer_schema": canonical_json(self._schema)} if self._schema else {}
        self._prompt_hash = prompts.source_hash(asking.prompt, asking.prompt_overrides)
        self._sampling = canonical_json(asking.sampling.chosen())
        self._decided = digest(engine.identity(), self._sampling, canonical_json(self._schema))

    def load_model(self) -> Client:
        """The process's client of the engine; nothing is connected yet."""
        return shared_client(self._engine)

    def get_num_bytes(self, batch: Sequence[Any]) -> int:
        """0: Beam's default pickles the window only to measure it."""
        return 0

    def run_inference(
        self,
        batch: Sequence[Any],
        model: Client,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[list[Answered | Reject]]:
        """Work through a window.

        Raises:
            EngineDown: the engine cannot be reached, or has refused everything it was asked.
            RunError: the store cannot be written.
            PromptError: the template does not fit the variables.
        """
        samples = range(self._asking.samples)
        tally = _Tally()
        with self._store.window(shard_of(record.id) for record in batch) as answers:
            jobs = [
                functools.partial(self._converse, model, answers, tally, record, sample)
                for record in batch
                for sample in samples
            ]
            results = iter(model.run_window(jobs))
        tally.check(at_least=1)
        return [[next(results) for _ in samples] for _ in batch]

    async def _converse(
        self, client: Client, answers: Window, tally: "_Tally", record: Any, sample: int
    ) -> Answered | Reject:
        asking = self._asking
        seed = sampling_seed(asking.seed, asking.name, record.id, sample)
        variables = {**self._shared, **asking.variables(record)}
        messages = self._messages(asking.prompt, variables)
        replies: list[Reply] = []
        while True:
            outcome = await self._answer(client, answers, record.id, self._turn(messages, seed))
            tally.add(outcome)
            if isinstance(outcome, Failure):
                tally.check(at_least=_REFUSALS)
                return self._reject(record, Fault(outcome.reason, outcome.detail), replies)
            replies.append(outcome)
            value = self._read(record, outcome)
            if not isinstance(value, Fault):
                return Answered(record, value, self._call(seed, replies))
            if len(replies) > asking.corrections or outcome.finish_reason != "stop":
                return self._reject(record, value, replies)
            shown = self._messages("correction", {"fault": value.detail})
            messages = (*messages, Message("assistant", outcome.text), *shown)

    def _messages(self, prompt: str, variables: Mapping[str, object]) -> tuple[Message, ...]:
        rendered = prompts.render(prompt, variables, self._asking.prompt_overrides)
        return tuple(Message(role, text) for role, text in rendered)

    def _turn(self, messages: tuple[Message, ...], seed: int) -> Turn:
        spoken = [part for message in messages for part in (message.role, message.content)]
        key = digest(self._decided, seed, *spoken)
        asking = self._asking
        return Turn(key, asking.prompt, messages, asking.sampling, seed, self._schema)

    async def _answer(
        self, client: Client, answers: Window, record_id: str, turn: Turn
    ) -> Reply | Failure:
        kept = answers.get(turn.key)
        if kept is not None:
            return kept
        started = time.monotonic()
        attempted = await client.complete(turn)
        latency_s = time.monotonic() - started
        shard = shard_of(record_id)
        answers.append(shard, turn.key, attempted, self._engine.model, latency_s)
        return attempted.result

    def _read(self, record: Any, reply: Reply) -> Any:
        """The value, or the fault of an answer that cannot be used."""
        if reply.finish_reason == "content_filter":
            return Fault("content_filter", "the server withheld the answer")
        value = self._asking.reader.read(reply.text)
        if reply.finish_reason == "length" and (isinstance(value, Fault) or not self._schema):
            tokens = reply.completion_tokens
            return Fault("truncated_answer", f"cut off after {tokens} tokens; raise --max_tokens")
        if isinstance(value, Fault) or self._asking.check is None:
            return value
        return self._asking.check(record, value) or value

    def _call(self, seed: int, replies: Sequence[Reply]) -> Call:
        asking = self._asking
        return Call(
            ask=asking.name,
            prompt=asking.prompt,
            prompt_hash=self._prompt_hash,
            model=self._engine.model,
            sampling=self._sampling,
            seed=seed,
            turns=len(replies),
            finish_reason=replies[-1].finish_reason,
            prompt_tokens=sum(reply.prompt_tokens for reply in replies),
            completion_tokens=sum(reply.completion_tokens for reply in replies),
        )

    def _reject(self, record: Any, fault: Fault, replies: Sequence[Reply]) -> Reject:
        return Reject(
            stage=self._asking.name,
            reason=fault.reason,
            detail=fault.detail,
            id=record.id,
            row=to_json(record),
            reply=replies[-1].text if replies else "",
        )
