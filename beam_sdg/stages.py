"""Stages: the named steps of a recipe, and what is written of one that is done."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import apache_beam as beam
import pydantic

from sandbox import SandboxSettings
from transforms.ask import Ask
from transforms.engines.engine import NOT_SENT, Engine


class StageManifest(pydantic.BaseModel, frozen=True, extra="forbid"):
    """What a published stage is, and what became of the rows it took.

    `rows_in` is the rows read by a source, the rows of a single input, or the size of the product
    of several, if they are not joined; `samples`, how often each was asked about; `not_sampled`,
    the rows that a limit, or a stage that selects, left out; `made_from`, of a stage that fans out
    or gathers, the rows in that became rows. `rows_in` × `samples` = `rows` (or `made_from`) +
    rejects + `not_sampled`. `partial` says that the run was stopped before all samples were sent,
    here or in a stage before: the same command makes the stage again. `told` is what else the
    report tells of the rows: of each name some numbers.
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


Verify = Callable[[Sequence[StageManifest], StageManifest], None]
Tell = Callable[[Sequence[str]], dict[str, dict[str, int]]]


@dataclasses.dataclass(frozen=True)
class Stage:
    """One named step of a recipe.

    `transform` takes a pipeline, a collection or a tuple of collections, as there are `inputs`,
    and makes an `Outcome`, or a `SourceOutcome` where there are none. `settings` is all that
    decides its rows beside its inputs and the code. `verify` may raise on the manifests of its
    inputs and its own, before anything after it is run. `samples` says whether it may leave out
    rows of the product of its inputs, and `selects` whether it takes no more of its input than is
    needed after it; other stages must account for every row.

    A stage called `NAME.step` is a step of the stage NAME, and is run where that is asked for.

    A stage that `fans_out` makes of each row one or more, with the ids `ID-0`, `ID-1`, …, or a
    reject: `most_per_row` of them at most, where that is known. One that `gathers` makes one row of
    several, of how many its column of that name says; each that is in none is a reject. `one_per`
    is for a stage that joins its inputs: those of which each row, or where one fans out each that
    it was made from, is a row or a reject here; with `takes_parts` it is each row there, too.
    """

    name: str
    transform: beam.PTransform
    row_type: type
    settings: Mapping[str, Any]
    inputs: tuple[str, ...] = ()
    verify: Verify | None = None
    samples: bool = False
    selects: bool = False
    fans_out: bool = False
    most_per_row: int | None = None
    one_per: tuple[str, ...] = ()
    gathers: str = ""
    takes_parts: bool = False
    tell: Tell | None = None

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
