"""What a recipe is: a configuration, and the stages it stands for."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pydantic

from beam_sdg.models import ModelSettings
from beam_sdg.sources import ReadProblems, Source
from beam_sdg.stages import Every, Stage, StageManifest
from transforms.ask import Ask
from transforms.engines.conversations import Check, Variables
from transforms.engines.engine import Engine, Sampling
from transforms.errors import RowsLost, UsageError
from transforms.export import ExportRows
from transforms.reading import Reader
from transforms.records import Answered, Problem
from transforms.tir.python_tool import PythonTool

C = TypeVar("C", bound="RecipeConfig")
P = TypeVar("P", bound=pydantic.BaseModel)
_GREEDY = {"temperature": 0.0}


class RecipeConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Base of recipes' configurations; every field is a flag of the same name.

    `rows_per_shard` bounds what is in memory at once: the rows of one shard.
    """

    rows_per_shard: ClassVar[int] = 50_000

    num_records: int = pydantic.Field(10, ge=1, description="rows to make")

    def expected_rows(self) -> int:
        """About how many rows the run will make: decides the number of shards."""
        return self.num_records

    @property
    def most_records(self) -> int | None:
        """The largest `num_records` that can be asked for; None where inputs alone decide."""
        return None

    def of_rows(self: C, rows: int) -> C:
        """These settings for fewer rows: a preview, whose rows a full run must begin with."""
        return self.model_copy(update={"num_records": min(rows, self.num_records)})

    def part(self, kind: type[P]) -> P:
        """Those of these settings that a class among the bases has."""
        return kind(**self.model_dump(include=set(kind.model_fields)))


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A dataset that can be made: its name, its settings and its stages.

    The rows of the last stage are the dataset. A recipe that `asks` no model has no flags about
    models. `modes` are sets of flags with a name; `citation` is
    of the published method. A recipe in a file of its own finds its prompts in the folder `prompts`
    beside it (`prompts`), and its text is part of its runs' fingerprints (`code`).
    """

    name: str
    summary: str
    config: type[RecipeConfig]
    stages: Callable[[Any, "Context"], list[Stage]]
    modes: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    prompts: Path | None = None
    code: Path | None = None
    citation: str = ""
    asks: bool = True

    @property
    def command(self) -> str:
        """What it is called by on the command line."""
        return self.code.name if self.code else self.name


@dataclasses.dataclass(frozen=True)
class Context:
    """What a run gives to every recipe: where things are, and the makers of its stages.

    `stage_settings` are those of single stages; there need be none for the names in `of_mode`.
    `retries` are the model settings of each further try at a stage's rejects.
    """

    models: ModelSettings = ModelSettings()
    stage_settings: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    store: str = ""
    seed: int = 0
    prompt_folders: tuple[str, ...] = ()
    of_mode: frozenset[str] = frozenset()
    retries: Mapping[str, Sequence[Mapping[str, Any]]] = dataclasses.field(default_factory=dict)

    def models_of(self, stage: str) -> ModelSettings:
        """The model settings of one stage: those of its own name, then of what that begins with.

        What is set for `judge` is for `judge_answers` and `judge_again`, if they do not say
        otherwise.
        """
        models = self.models
        for name in sorted({stage, *self.stage_settings}, key=len):
            if is_named(stage, name):
                models = models.changed(name, self.stage_settings.get(name, {}))
        return models

    def _sets(self, stage: str, setting: str) -> bool:
        """Whether a setting is a stage's own."""
        every = self.stage_settings.items()
        return any(setting in values for name, values in every if is_named(stage, name))

    def engine_of(self, stage: str) -> Engine:
        """The engine of one stage; stages with the same one share a phase."""
        return self.models_of(stage).engine(self.prompt_folders)

    def read(
        self,
        name: str,
        sources: Sequence[Source],
        *,
        max_records: int | None = None,
        deduplicate: bool = True,
        seed: int | None = None,
    ) -> Stage:
        """A stage that reads problems: at most `max_records`, drawn by `seed` (the run's)."""
        seed = self.seed if seed is None else seed
        return Stage(
            name=name,
            transform=ReadProblems(name, tuple(sources), deduplicate, max_records, seed),
            row_type=Problem,
            settings={
                "sources": [source.settings() for source in sources],
                "deduplicate": deduplicate,
                "max_records": max_records,
                "seed": seed,
            },
            verify=functools.partial(_verify_sample, max_records),
        )

    def ask(
        self,
        name: str,
        *,
        after: str,
        prompt: str,
        variables: Variables,
        reader: Reader,
        keep: Callable[[Answered], Any],
        row_type: type,
        check: Check | None = None,
        samples: int = 1,
        first_sample: int = 0,
        temperature: float | None = None,
        max_tokens: int | None = None,
        reasoning_effort: str | None = None,
        greedy: bool = False,
        logprobs: int | None = None,
        python: PythonTool | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Stage:
        """A stage that asks a model about every row of the stage `after`.

        The arguments are those of `Ask`; `row_type` is what `keep` makes; `temperature`,
        `max_tokens` and `reasoning_effort` are for where none is set; `greedy` draws nothing unless
        a temperature is set for this very stage; `logprobs` asks for the log probabilities of that
        many likely tokens in each place; `python` is what the model may call; `settings` are what
        decides the rows and is not seen otherwise: what `variables`, `check` and `keep` know.
        """
        own = {
            "temperature": temperature,
            "max_tokens": max_tokens,
            "reasoning_effort": reasoning_effort,
        }

        def sampling_of(models: ModelSettings, is_greedy: bool) -> Sampling:
            sampling = models.sampling(logprobs)
            unset = {name: value for name, value in own.items() if getattr(sampling, name) is None}
            return sampling.model_copy(update={**unset, **_GREEDY} if is_greedy else unset)

        models, engine = self.models_of(name), self.engine_of(name)
        is_greedy = greedy and not self._sets(name, "temperature")
        retries = []
        for changes in self.retries.get(name, ()):
            changed = models.changed(name, changes)
            if changed.engine(self.prompt_folders) != engine:
                raise UsageError(
                    f"--retry {name}: {', '.join(changes)} is not of the sampling, and rejects are "
                    "asked of the same model; run the stage anew to have another"
                )
            retries.append(sampling_of(changed, is_greedy and "temperature" not in changes))
        ask = Ask(
            name=name,
            prompt=prompt,
            variables=variables,
            reader=reader,
            check=check,
            keep=keep,
            engine=engine,
            sampling=sampling_of(models, is_greedy),
            retries=tuple(retries),
            samples=samples,
            first_sample=first_sample,
            store=self.store,
            seed=self.seed,
            prompt_folders=self.prompt_folders,
            python=python,
        )
        return Stage(
            name=name,
            transform=ask,
            row_type=row_type,
            settings={**ask.settings(), **(settings or {})},
            inputs=(after,),
        )

    def export(
        self, after: str | Sequence[str], convert: Callable[[Any], Any], row_type: type
    ) -> Stage:
        """The last stage: rows of the dataset, one per row of the stage `after`, or of several."""
        inputs = (after,) if isinstance(after, str) else tuple(after)
        return Stage(
            name="export",
            transform=ExportRows(convert, row_type),
            row_type=row_type,
            settings={},
            inputs=inputs,
            takes=Every(*inputs),
        )


def stages_of(recipe: Recipe, config: RecipeConfig, context: Context) -> list[Stage]:
    """A recipe's stages.

    Raises:
        UsageError: settings were given for a stage that asks no model.
    """
    stages = list(recipe.stages(config, context))
    asked = [stage.name for stage in stages if stage.engine is not None]
    for name in context.stage_settings:
        if name not in context.of_mode and not any(is_named(stage, name) for stage in asked):
            raise UsageError(
                f"--set {name}.…: {recipe.name} has neither a setting nor an asked stage {name!r}; "
                f"its asked stages are {', '.join(asked)}"
            )
    for name in context.retries:
        if name not in asked:
            raise UsageError(f"--retry {name}: it is none of {', '.join(asked)}, which ask a model")
    return stages


def is_named(stage: str, name: str) -> bool:
    """Whether `name` means a stage: it is its name, or the words that its name begins with."""
    return f"{stage}_".startswith(f"{name}_")


def _verify_sample(most: int | None, inputs: Sequence[StageManifest], made: StageManifest) -> None:
    """Only what is beyond the limit may be left out."""
    usable = made.rows + made.not_sampled
    if made.rows != (usable if most is None else min(most, usable)):
        raise RowsLost(f"{made.stage} drew {made.rows} of {usable} problems")
