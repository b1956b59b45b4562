"""`beam-sdg store`: what an answer store holds, by stage and model, and what is wrong with it."""

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import rich.console

from beam_sdg.publish import read_manifest
from beam_sdg.report.shown import counted, line
from beam_sdg.report.tables import Row, Table
from beam_sdg.report.terminal import drawn
from transforms.engines.store import FAULTS, AnswerStore, Faults, is_store, stores_in
from transforms.errors import UsageError
from transforms.files import joined


@dataclasses.dataclass
class Held:
    """What is held of one stage and model; requests are all that were sent, retries included."""

    answers: int = 0
    requests: int = 0
    refused: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    def add(self, line: Mapping[str, Any]) -> None:
        """Count a turn."""
        self.requests += line.get("attempts", 1)
        if "failure" in line:
            self.refused += 1
            return
        self.answers += 1
        self.tokens_in += line["reply"]["prompt_tokens"]
        self.tokens_out += line["reply"]["completion_tokens"]

    def cells(self) -> tuple[str, ...]:
        """The counts, as they are shown."""
        return tuple(map(counted, dataclasses.astuple(self)))


@dataclasses.dataclass(frozen=True)
class StageHeld:
    """What is held of one stage, by model; `size` is in bytes."""

    stage: str
    models: Mapping[str, Held]
    executions: int
    segments: int
    size: int


@dataclasses.dataclass(frozen=True)
class Holdings:
    """All that a store holds."""

    store: str
    stages: tuple[StageHeld, ...]
    faults: Faults


def store_of(folder: str) -> str:
    """The answer store of an output folder or a work folder, or the folder itself if it is one.

    "" of a finished dataset for which no model was asked.

    Raises:
        UsageError: there is none.
    """
    manifest = read_manifest(folder)
    named = [joined(folder, manifest.store)] if manifest else []
    for place in (*named, f"{folder}/.work/store", f"{folder}/store", folder):
        if is_store(place):
            return place
    if manifest is not None and not manifest.asks:
        return ""
    raise UsageError(
        f"{folder} holds no answers; name an output folder, a work folder or a store in one"
    )


def holdings(store: str) -> Holdings:
    """Read a store once, a line in memory at a time; it may be in use.

    Cost: about 300 bytes of memory for each answer of a shard.
    """
    faults = Faults()
    stages = (_held(ask, faults) for ask in stores_in(store, faults))
    return Holdings(store, tuple(stage for stage in stages if stage.segments), faults)


def _held(ask: AnswerStore, faults: Faults) -> StageHeld:
    segments = ask.segments()
    models: dict[str, Held] = defaultdict(Held)
    executions = 0
    for turn in ask.lines(faults):
        if "execution" in turn:
            executions += 1
        else:
            models[turn.get("model", "")].add(turn)
    for _ in ask.engines(faults):
        pass  # what is wrong with them is told
    size = sum(segment.size for segment in segments)
    return StageHeld(ask.ask, dict(sorted(models.items())), executions, len(segments), size)


def print_holdings(console: rich.console.Console, held: Holdings) -> None:
    """Print what a store holds, then what is wrong with it and where."""
    console.print(f"answers in {held.store}", soft_wrap=True, markup=False)
    for table in _tables(held):
        console.print(drawn(table))
    faults = held.faults
    if not faults.counts:
        console.print("Nothing is wrong with it.")
    for kind, fault in FAULTS.items():
        if number := faults.counts[kind]:
            name = fault.one if number == 1 else fault.several
            said = [f"{counted(number)} {name}: {fault.meaning}"]
            said += [f"  {line(where)}" for where in faults.examples[kind]]
            if number > len(faults.examples[kind]):
                said.append(f"  … and {counted(number - len(faults.examples[kind]))} more")
            console.print(*said, sep="\n", soft_wrap=True, markup=False)


def _tables(held: Holdings) -> Iterator[Table]:
    by_model = [
        Row(line(f"{stage.stage}: {model}" if model else stage.stage), of_it.cells())
        for stage in held.stages
        for model, of_it in stage.models.items()
    ]
    headers = ("stage: model", "answers", "requests", "refused", "tokens in", "tokens out")
    yield Table("models", "Asked", "", headers, tuple(by_model))
    on_disk = [(stage.executions, stage.segments, stage.size) for stage in held.stages]
    rows = [
        Row(line(stage.stage), (counted(executions), counted(segments), _size(size)))
        for stage, (executions, segments, size) in zip(held.stages, on_disk, strict=True)
    ]
    if len(rows) > 1:
        executions, segments, size = map(sum, zip(*on_disk, strict=True))
        rows.append(Row("all", (counted(executions), counted(segments), _size(size))))
    columns = ("stage", "executions of Python", "segments", "size")
    yield Table("stages", "Kept", "", columns, tuple(rows))


def _size(number: float) -> str:
    """Bytes in the unit that suits them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:,.0f} {unit}" if unit == "B" else f"{number:,.1f} {unit}"
        number /= 1024
    return f"{number:,.1f} TiB"
