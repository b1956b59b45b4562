"""The Beam model handler: conversations with an engine, one element's fault one element's reject.

RunInference hands over a *window* of records. What comes of a record's conversation goes straight
on to the next ask of the chain, if there is one: no record waits for another. Prompts are rendered
here, while other requests wait for their answers, and never shuffled.
"""

import asyncio
import contextlib
import dataclasses
import functools
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from transforms.engines.client import Client, shared_client
from transforms.engines.conversations import Asking, Conversations, Tally
from transforms.engines.engine import Engine
from transforms.engines.store import AnswerStore, shard_of
from transforms.engines.usage import EngineUsage
from transforms.engines.windows import opened
from transforms.records import Reject
from transforms.run_inference import ModelHandler
from transforms.tir.cells import shared_sandbox

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """What one ask of a chain made of one sample: a row that goes on, or a reject."""

    ask: int
    item: Any


class AskHandler(ModelHandler[Any, list[Step], Client]):
    """Asks about records, each ask about what the one before it has kept.

    In:   a window of records with an `id`.
    Out:  for each, in order, the steps of all its samples through all asks.
    Once: an answer in the store is never asked for again; a retried bundle finds what its first
          attempt paid for.

    Args:
        engine: where unanswered turns go.
        askings: what is asked, in turn, and how the answers are read.
        window: the most records taken at once; memory is a window's records and rows.
    """

    def __init__(self, engine: Engine, askings: Sequence[Asking], window: int) -> None:
        super().__init__(min_batch_size=window, max_batch_size=window)
        self._engine = engine
        self._askings = tuple(askings)
        self._tallies = [Tally() for _ in askings]

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
    ) -> Iterable[list[Step]]:
        """Work through a window.

        Raises:
            EngineDown: the engine cannot be reached, or has refused the first 20 requests.
            RunError: the store cannot be written, or `keep` changes an id.
            PromptError: the template does not fit the variables.
            CancelledError: the runner has given the records to another worker.
        """
        samples = self._askings[0].numbers
        shards = {shard_of(record.id) for record in batch}
        places = {(asking.store, asking.name, n) for asking in self._askings for n in shards}
        with contextlib.ExitStack() as stack:
            window = stack.enter_context(opened(places))
            asks = [
                Conversations(
                    self._engine,
                    asking,
                    model,
                    stack.enter_context(AnswerStore(asking.store, asking.name).window(shards)),
                    tally,
                )
                for asking, tally in zip(self._askings, self._tallies, strict=True)
            ]
            jobs = [
                functools.partial(_follow, asks, 0, record, sample)
                for record in batch
                for sample in samples
            ]

            names = ", ".join(asking.name for asking in self._askings)
            _log.info("%s: a window of %d records, %d requests", names, len(batch), len(jobs))

            def note(usage: EngineUsage) -> None:
                for ask in asks:
                    ask.note(usage)

            sandboxes = [
                shared_sandbox(asking.python.sandbox).used()
                for asking in self._askings
                if asking.python is not None
            ]
            results = iter(model.run_window(jobs, note, sandboxes, window.runs))
        return [[step for _ in samples for step in next(results)] for _ in batch]


async def _follow(
    asks: Sequence[Conversations], number: int, record: Any, sample: int
) -> list[Step]:
    """One sample of one ask, and then all that follows from it."""
    item = await asks[number].converse(record, sample)
    steps = [Step(number, item)]
    if isinstance(item, Reject) or number + 1 == len(asks):
        return steps
    async with asyncio.TaskGroup() as group:
        following = [
            group.create_task(_follow(asks, number + 1, item, k)) for k in asks[number + 1].numbers
        ]
    return steps + [step for way in following for step in way.result()]
