"""The Beam model handler: conversations with an engine, one element's fault one element's reject.

RunInference hands over a *window* of questions. Each sample of each question is a conversation of
its own: ask, read, and where the answer cannot be used, ask once more and show what was wrong. No
sample waits for another, and every answer is in the store before it is looked at.
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
from transforms.engines.engine import Engine, Failure, Reply, Sampling, Turn
from transforms.engines.store import AnswerStore, Window, shard_of
from transforms.reading import Fault, Reader
from transforms.records import Answered, Call, Message, Question, Reject
from transforms.seeding import digest

Check = Callable[[Any, Any], Fault | None]


@dataclasses.dataclass(frozen=True)
class Asking:
    """All that is the same for every question of one ask.

    reader turns text into a value; check looks at (record, value) and names what is wrong with it.
    corrections is how many times a conversation goes on after an answer that cannot be used.
    """

    name: str
    prompt: str
    prompt_hash: str
    prompt_overrides: str
    sampling: Sampling
    reader: Reader
    check: Check | None
    corrections: int


class AskHandler(ModelHandler[Question, list[Answered | Reject], Client]):
    """Answers questions through an engine and its store.

    In:   a window of `Question`.
    Out:  for each, in order, one `Answered` or `Reject` per sample.
    Once: an answer in the store is never asked for again; a retried bundle finds what its first
          attempt paid for.

    Args:
        engine: where unanswered turns go.
        asking: what is asked and how the answers are read.
        store: where answers are kept.
        window: the most questions taken at once; memory is a window's prompts and answers.
    """

    def __init__(self, engine: Engine, asking: Asking, store: AnswerStore, window: int) -> None:
        super().__init__(min_batch_size=window, max_batch_size=window)
        self._engine = engine
        self._asking = asking
        self._store = store
        self._schema = asking.reader.schema()
        self._decided = canonical_json(
            {
                "engine": engine.identity(),
                "sampling": asking.sampling.chosen(),
                "schema": self._schema,
            }
        )

    def load_model(self) -> Client:
        """The process's client of the engine; nothing is connected yet."""
        return shared_client(self._engine)

    def get_num_bytes(self, batch: Sequence[Question]) -> int:
        """The size of the window's prompts, for Beam's metrics."""
        return sum(len(m.content) for question in batch for m in question.request.messages)

    def run_inference(
        self,
        batch: Sequence[Question],
        model: Client,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[list[Answered | Reject]]:
        """Work through a window.

        Raises:
            EngineDown: the engine cannot be reached.
            RunError: the store cannot be written.
        """
        with self._store.window(shard_of(q.request.digest) for q in batch) as answers:
            samples = [(question, seed) for question in batch for seed in question.request.seeds]
            jobs = [
                functools.partial(self._converse, model, answers, question, seed)
                for question, seed in samples
            ]
            results = iter(model.run_window(jobs))
        return [[next(results) for _ in question.request.seeds] for question in batch]

    async def _converse(
        self, client: Client, answers: Window, question: Question, seed: int
    ) -> Answered | Reject:
        messages = question.request.messages
        replies: list[Reply] = []
        while True:
            turn = self._turn(messages, seed)
            outcome = await self._answer(client, answers, question, turn)
            if isinstance(outcome, Failure):
                return self._reject(question, Fault(outcome.reason, outcome.detail), replies)
            replies.append(outcome)
            value = self._read(question.record, outcome)
            if not isinstance(value, Fault):
                return Answered(question.record, value, self._call(seed, replies))
            if len(replies) > self._asking.corrections or outcome.finish_reason != "stop":
                return self._reject(question, value, replies)
            messages = (*messages, *self._correction(outcome, value))

    def _turn(self, messages: tuple[Message, ...], seed: int) -> Turn:
        asking = self._asking
        spoken = [part for message in messages for part in (message.role, message.content)]
        key = digest(self._decided, seed, *spoken)
        return Turn(key, asking.prompt, messages, asking.sampling, seed, self._schema)

    async def _answer(
        self, client: Client, answers: Window, question: Question, turn: Turn
    ) -> Reply | Failure:
        kept = answers.get(turn.key)
        if kept is not None:
            return kept
        started = time.monotonic()
        attempted = await client.complete(turn)
        answers.append(
            shard_of(question.request.digest),
            turn.key,
            attempted,
            self._engine.model,
            time.monotonic() - started,
        )
        return attempted.outcome

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

    def _correction(self, reply: Reply, fault: Fault) -> tuple[Message, ...]:
        variables: Mapping[str, object] = {"fault": fault.detail}
        rendered = prompts.render("correction", variables, self._asking.prompt_overrides)
        shown = tuple(Message(role, text) for role, text in rendered)
        return (Message("assistant", reply.text), *shown)

    def _call(self, seed: int, replies: Sequence[Reply]) -> Call:
        asking = self._asking
        return Call(
            ask=asking.name,
            prompt=asking.prompt,
            prompt_hash=asking.prompt_hash,
            model=self._engine.model,
            sampling=canonical_json(asking.sampling.chosen()),
            seed=seed,
            turns=len(replies),
            finish_reason=replies[-1].finish_reason,
            prompt_tokens=sum(reply.prompt_tokens for reply in replies),
            completion_tokens=sum(reply.completion_tokens for reply in replies),
        )

    def _reject(self, question: Question, fault: Fault, replies: Sequence[Reply]) -> Reject:
        return Reject(
            stage=self._asking.name,
            reason=fault.reason,
            detail=fault.detail,
            id=question.record.id,
            row=to_json(question.record),
            reply=replies[-1].text if replies else "",
        )
