"""Ask a model about every record: the only way from a record to a model's answer and back."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam

import prompts
from transforms.engines.conversations import Asking, Check, Variables
from transforms.engines.engine import Engine, Sampling
from transforms.engines.handler import AskHandler, Step
from transforms.engines.store import shard_of
from transforms.grouping import Group
from transforms.outcome import Outcome
from transforms.reading import Reader
from transforms.records import Answered, Reject
from transforms.run_inference import RunInference
from transforms.tir.python_tool import PythonTool

WHOLE_SLICE = 1 << 20


@dataclasses.dataclass(eq=False)
class Ask(beam.PTransform):
    """Ask a model about each record, `samples` times, and read its answers.

    In:   records with an `id`.
    Out:  `rows`, what `keep` makes of each sample's `Answered` that could be read and passed the
          check; `rejects`, a `Reject` per sample that could not. Inputs × samples = rows +
          rejects. A row has the id of its `Answered`: the record's, or `ID-k` of several samples.
    Cost: one shuffle by the store's shard, and one request per sample without a stored answer,
          plus at most one for its correction; and as much for each retry that it takes. At most
          `engine.in_flight` at once per process.
    Once: answers are stored as they arrive; a retry asks only what has no answer.

    Args:
        name: of the stage; the store keeps its answers under it.
        prompt: the template's name below `prompts/`.
        variables: from a record to the template's variables; `answer_schema` is added to them.
        reader: how an answer is read, and what it is held to.
        engine: where to ask.
        store: the folder of the answer store.
        keep: from an `Answered` to the record that goes on.
        seed: of the run; each sample's own seed is drawn from it, the record and its number.
        check: what a program can find wrong with a value that was read; several run at once, in
            threads, and no request waits for them.
        sampling: how the model draws.
        samples: answers wanted per record.
        first_sample: the number of the first of them; their seeds follow from it, and their ids,
            so that several asks about the same records can be taken together.
        corrections: further turns after an answer that cannot be used.
        retries: how a sample that would be a reject is asked for anew, once for each of these.
        window: the most records an engine works through at once; in process, all of a slice.
        python: what the model may call while it answers: then an answer is its whole solution,
            calls and results included, and none is corrected.
    """

    shard_by_shard = True

    name: str
    prompt: str
    variables: Variables
    reader: Reader
    engine: Engine
    store: str
    seed: int
    keep: Callable[[Answered], Any]
    check: Check | None = None
    sampling: Sampling = Sampling()
    samples: int = 1
    corrections: int = 1
    window: int = WHOLE_SLICE
    prompt_folders: tuple[str, ...] = ()
    python: PythonTool | None = None
    first_sample: int = 0
    retries: tuple[Sampling, ...] = ()

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise ValueError(f"samples must be 1 or more, not {self.samples}")
        if self.python is not None:
            self.corrections = 0

    def expand(self, records: beam.PCollection) -> Outcome:
        return (records | "Ask" >> AskInTurn((self,)))[0]

    def asking(self) -> Asking:
        """What the model handler needs to know of this ask."""
        return Asking(
            name=self.name,
            prompt=self.prompt,
            prompt_folders=self.prompt_folders,
            variables=self.variables,
            reader=self.reader,
            check=self.check,
            keep=self.keep,
            sampling=self.sampling,
            samples=self.samples,
            corrections=self.corrections,
            seed=self.seed,
            store=self.store,
            python=self.python,
            first_sample=self.first_sample,
            retries=self.retries,
        )

    def settings(self) -> dict[str, Any]:
        """What decides the rows beside the records and the engine: for a stage's fingerprint."""
        constraint = self.reader.constraint()
        return {
            "prompt": self.prompt,
            "prompt_hash": prompts.source_hash(self.prompt, self.prompt_folders),
            "correction_hash": prompts.source_hash("correction", self.prompt_folders),
            "sampling": self.sampling.chosen(),
            "samples": self.samples,
            "first_sample": self.first_sample,
            "corrections": self.corrections,
            "constraint": constraint and dataclasses.astuple(constraint),
            **({"python": self.python.settings()} if self.python else {}),
            **({"retries": [one.chosen() for one in self.retries]} if self.retries else {}),
        }


@dataclasses.dataclass(eq=False)
class AskInTurn(beam.PTransform):
    """Ask one thing after another about each record: what an ask keeps goes on to the next.

    The same rows, rejects and answers as one `Ask` after the other, but no record waits for the
    others between two asks: a slow answer holds up its own record and nothing else.

    In:   records with an `id`.
    Out:  an `Outcome` for each ask, in their order.
    Cost: as `Ask`, with one shuffle for all of them.
    Once: as `Ask`.
    """

    asks: tuple[Ask, ...]

    def __post_init__(self) -> None:
        if len({ask.engine for ask in self.asks}) != 1:
            raise ValueError(f"asks in turn share one engine; {len(self.asks)} asks do not")

    def expand(self, records: beam.PCollection) -> list[Outcome]:
        window = min(ask.window for ask in self.asks)
        engine = self.asks[0].engine
        handler = AskHandler(engine, [ask.asking() for ask in self.asks], window)
        infer = RunInference(handler).with_resource_hints(**engine.resource_hints())
        tags = [f"{kind}_{n}" for n in range(len(self.asks)) for kind in ("rows", "rejects")]
        steps = (
            records
            | "KeyByShard" >> beam.Map(_keyed_by_shard)
            | "GroupShards" >> Group()
            | "Ungroup" >> beam.FlatMapTuple(_members)
            | "Infer" >> infer
            | "Split" >> beam.FlatMap(_tagged).with_outputs(*tags)
        )
        return [
            Outcome(steps[f"rows_{number}"], steps[f"rejects_{number}"])
            for number in range(len(self.asks))
        ]


def _keyed_by_shard(record: Any) -> tuple[int, Any]:
    return shard_of(record.id), record


def _members(shard: int, records: Iterable[Any]) -> Iterable[Any]:
    return records


def _tagged(steps: list[Step]) -> Iterable[Any]:
    for step in steps:
        kind = "rejects" if isinstance(step.item, Reject) else "rows"
        yield beam.pvalue.TaggedOutput(f"{kind}_{step.ask}", step.item)
