"""What a recipe is: a configuration, and the stages it stands for."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pydantic

from beam_sdg.runs import Stage
from transforms.engines.engine import Engine, Sampling


class RecipeConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Base of recipes' configurations; every field is a flag of the same name."""

    def expected_rows(self) -> int:
        """About how many rows the run will make: decides the number of shards."""
        raise TypeError(f"{type(self).__name__} does not say how many rows it makes")


@dataclasses.dataclass(frozen=True)
class Context:
    """What a run gives to every recipe."""

    engine: Engine
    sampling: Sampling
    store: str
    seed: int
    prompt_overrides: str


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A dataset that can be made: its name, its settings and its stages.

    The rows of the last stage are the dataset; `citation` says who published the method.
    """

    name: str
    summary: str
    config: type[RecipeConfig]
    stages: Callable[[Any, Context], list[Stage]]
    citation: str = ""
