"""Datasets for training, published by runs of hand-made stages: messages, strings, several splits.

A row, as a sample:

    Example(id="…", split="low", input="Problem 4?", output="It is 16.", messages=(
        Message("user", "Problem 4?", None), Message("assistant", None, (ToolCall(…),)), …))
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_sdg.columns import columns_of
from beam_sdg.formats import FileFormat
from beam_sdg.publish import CARD, RunManifest, data_schema, publish, write_manifest
from beam_sdg.report import gather
from beam_sdg.report.card import card
from beam_sdg.runs import Run
from beam_sdg.stages import Stage
from transforms.codec import to_row
from transforms.outcome import SourceOutcome
from transforms.records import Reject
from transforms.seeding import digest


@dataclasses.dataclass(frozen=True, slots=True)
class Function:
    name: str
    arguments: str


@dataclasses.dataclass(frozen=True, slots=True)
class ToolCall:
    id: str
    type: str
    function: Function


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    role: str
    content: str | None
    tool_calls: tuple[ToolCall, ...] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    id: str
    split: str
    input: str
    output: str
    messages: tuple[Message, ...]
    expected_answer: str | None = None
    pass_rate: float | None = None
    votes: int | None = None
    is_correct: bool | None = None
    tags: tuple[str, ...] | None = None
    judge: Function | None = None


def plain(number: int, split: str = "low") -> Example:
    """A row without any of what is optional."""
    question, answer = f"What is {number} squared?", f'It is "{number * number}".\n\u2028'
    messages = (Message("user", question), Message("assistant", answer))
    return Example(digest("example", number), split, question, answer, messages)


def with_tools(number: int, split: str = "high_with_python") -> Example:
    """A row with all of it: a call to Python, and its result."""
    row = plain(number, split)
    call = ToolCall(f"call{number}", "function", Function("python", f"print({number} ** 2)"))
    question, answer = row.messages
    asked = Message("assistant", None, (call,))
    return dataclasses.replace(
        row,
        messages=(question, asked, Message("tool", str(number**2)), answer),
        expected_answer=str(number**2),
        pass_rate=number / 7,
        votes=number,
        is_correct=number % 2 == 0,
        tags=("square",) * (number % 2),
        judge=Function("judge", "{}"),
    )


@dataclasses.dataclass(eq=False)
class Rows(beam.PTransform):
    """A source of rows and rejects as they are given."""

    rows: Sequence[Any]
    rejects: Sequence[Reject]

    def expand(self, begin: beam.pvalue.PBegin) -> SourceOutcome:
        rejects = begin | "Rejects" >> beam.Create(self.rejects).with_output_types(Reject)
        said = [("read", len(self.rows) + len(self.rejects)), ("usable", len(self.rows))]
        rows = begin | "Rows" >> beam.Create(self.rows)
        return SourceOutcome(rows, rejects, begin | "Said" >> beam.Create(said))


def published(
    folder: Path,
    rows: Sequence[Any],
    format: FileFormat = "parquet",
    num_shards: int = 2,
    rejects: Sequence[Reject] = (),
) -> tuple[RunManifest, Path]:
    """Publish rows and rejects, with manifest and card; the manifest and the output folder."""
    row_type = type(rows[0]) if rows else Example
    stage = Stage("rows", Rows(rows, rejects), row_type, {"rows": [to_row(row) for row in rows]})
    options = PipelineOptions(["--runner=FnApiRunner"])
    run = Run((stage,), str(folder / "work"), 0, num_shards, options)
    stages = run.execute()
    output = folder / "out"
    manifest = RunManifest(
        recipe="squares", fingerprint="f" * 16, seed=0, model="m", engine="e", settings={},
        store="work/store", versions={"beam_sdg": "0.1.0"}, stages=stages, format=format,
        files=publish(run, stages, str(output), format), columns=columns_of(data_schema(row_type)),
    )  # fmt: skip
    (output / CARD).write_text(card(gather(manifest, str(output))))
    write_manifest(manifest, str(output))
    return manifest, output
