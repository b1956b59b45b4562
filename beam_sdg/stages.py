"""Stages: the named steps of a recipe, and what is written of one that is done."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import apache_beam as beam
import pydantic

from beam_sdg.shards import column_values
from sandbox import SandboxSettings
from transforms.ask import Ask
from transforms.engines.engine import NOT_SENT, Engine


class StageManifest(pydantic.BaseModel, frozen=True, extra="forbid"):
    """What a published stage is, and what became of the rows it took.

    `rows_in` is the rows read by a source, or those that the stage `Takes`; `samples`, how often
    each was asked about; `not_sampled`, the rows that a limit, or a stage that takes but some, left
    out; `made_from`, of a stage that does not make one row of each, the rows in that became rows.
    `rows_in` × `samples` = `rows` (or `made_from`) + rejects + `not_sampled`. `partial` says that
    the run was stopped before all samples were sent, here or in a stage before: the same command
    makes the stage again. `told` is what else the report tells of the rows: of each name some
    numbers.
    """

    stage: str
    fingerprint: str
    settings: dict[str, Any]
    inputs: dict[str, str]
    rows_in: int
    samples: int = 1
    rows: int
    rejects: dict[str, int]
    not_sampled: int
    made_from: int | None = None
    partial: bool = False
    told: dict[str, dict[str, int]] = {}

    @property
    def not_sent(self) -> int:
        """The samples that a stopped run has not asked about."""
        return self.rejects.get(NOT_SENT, 0)

    @property
    def passed(self) -> int:
        """Of what it took, what became rows."""
        return self.rows if self.made_from is None else self.made_from


class Takes:
    """Which rows a stage accounts for: each becomes a row, or is a reject or left out.

    They are those of its only input, or the product of several. Where it joins several, they are
    the rows of those `of` them that are named; of one that makes `Several`, the rows that these are
    made from, or with `parts` each of them.
    """

    leaves_out = False

    def __init__(self, *of: str, parts: bool = False) -> None:
        self.of = of
        self.parts = parts

    def rows_in(self, inputs: Mapping[str, StageManifest]) -> int:
        """How many there are, of the published inputs by name."""
        if not self.of:
            return math.prod(made.rows for made in inputs.values())
        each = [inputs[name] for name in self.of]
        return sum(made.rows if self.parts else made.passed for made in each)


class Every(Takes):
    """Each of them becomes a row or a reject."""


class Needed(Takes):
    """Those that are needed after it; the others are counted as left out."""

    leaves_out = True


class Drawn(Takes):
    """A sample of them, as many as the run is to make; the others are counted as left out."""

    leaves_out = True


class Makes:
    """What a stage makes of what it takes: a row of each."""

    def made_from(self, rows: Sequence[str]) -> int | None:
        """How many it took that became the rows in these files; None where it is one of each."""
        return None


class Several(Makes):
    """One or more rows of each, whose ids end in -0, -1, …: `most` at most, where that is known."""

    def __init__(self, most: int | None = None) -> None:
        self.most = most

    def made_from(self, rows: Sequence[str]) -> int:
        return sum(found.endswith("-0") for path in rows for found in column_values(path, "id"))


class OneOfSeveral(Makes):
    """One row of several, of how many its integer in `column` says."""

    def __init__(self, column: str) -> None:
        self.column = column

    def made_from(self, rows: Sequence[str]) -> int:
        return sum(number for path in rows for number in column_values(path, self.column))


Verify = Callable[[Sequence[StageManifest], StageManifest], None]
Tell = Callable[[Sequence[str]], dict[str, dict[str, int]]]
Reports = Callable[[Sequence[str], str], None]


@dataclasses.dataclass(frozen=True)
class Stage:
    """One named step of a recipe.

    `transform` takes a pipeline, a collection or a tuple of collections, as there are `inputs`,
    and makes an `Outcome`, or a `SourceOutcome` where there are none. `settings` is all that
    decides its rows beside its inputs and the code. `takes` and `makes` say how its rows are
    counted, so that none is lost. `verify` may raise on the manifests of its inputs and its own,
    before anything after it is run; `tell` makes of the files of its rows what else the report
    tells, and `reports` writes, of the same, files into a folder beside the data.

    A stage called `NAME.step` is a step of the stage NAME, and is run where that is asked for.
    """

    name: str
    transform: beam.PTransform
    row_type: type
    settings: Mapping[str, Any]
    inputs: tuple[str, ...] = ()
    takes: Takes = Every()
    makes: Makes = Makes()
    verify: Verify | None = None
    tell: Tell | None = None
    reports: Reports | None = None

    @property
    def ask(self) -> Ask | None:
        """The question this stage asks a model, if it does."""
        return self.transform if isinstance(self.transform, Ask) else None

    @property
    def engine(self) -> Engine | None:
        """Where it asks, itself or within its transform."""
        return getattr(self.transform, "engine", None)

    @property
    def runs_code_in(self) -> SandboxSettings | None:
        """Where it runs what models wrote, if it does."""
        if self.ask is not None:
            return self.ask.python.sandbox if self.ask.python else None
        return getattr(self.transform, "sandbox", None)

    @property
    def shard_by_shard(self) -> bool:
        """Whether all that a row is made from is in its own shard: then each can be run alone."""
        return getattr(self.transform, "shard_by_shard", False)
