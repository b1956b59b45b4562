"""InfiniByte: cross two sets of problems into new, harder ones, judge them and solve them.

    problems_a ─┐
                ├─ seed ─ problem_candidates ─ best_problem ─ evals ─ solution ─ export
    problems_b ─┘

Published by NVIDIA as "Nemotron Nano InfiniByte".
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic

from beam_sdg.recipes.recipe import Context, Recipe, RecipeConfig
from beam_sdg.sources import Source
from beam_sdg.stages import Drawn, Stage, StageManifest
from transforms.cross_breed import (
    COMBINATION_TYPES,
    SeedPairs,
    check_best,
    check_candidates,
    check_solution,
    example_of,
    with_answer,
)
from transforms.errors import InputError
from transforms.reading import Structured, Text
from transforms.records import (
    CrossBreed,
    CrossBreedExample,
    NewProblemEvals,
    NewProblemList,
    NewProblemWithReasoning,
)

SAMPLES = Path(__file__).parents[1] / "samples"

# Side A and side B, as sources: a format alone is its published dataset.
STRATEGIES = {
    "ocr_omr": ("ocr", "omr"),
    "sample": (f"sample={SAMPLES / 'coding.jsonl'}", f"sample={SAMPLES / 'science.jsonl'}"),
}
MODES = {
    "demo": ("--endpoint=nvidia", "--model=meta/llama-3.3-70b-instruct", "--num_records=10"),
    "published": ("--strategy=ocr_omr", "--num_records=500", "--limit=10000"),
}


class InfiniByteConfig(RecipeConfig):
    """The settings of InfiniByte; the defaults are the published ones, on the bundled sample."""

    strategy: str = pydantic.Field("sample", description=f"one of {', '.join(STRATEGIES)}")
    problems_a: tuple[str, ...] = pydantic.Field(
        (), description="side A: [FORMAT=]FILE or a glob; several, separated by commas"
    )
    problems_b: tuple[str, ...] = pydantic.Field((), description="side B, likewise")
    column_a: str | None = pydantic.Field(None, description="side A's text column")
    column_b: str | None = pydantic.Field(None, description="side B's text column")
    id_column_a: str | None = pydantic.Field(None, description="side A's id column")
    id_column_b: str | None = pydantic.Field(None, description="side B's id column")
    licence_a: str | None = pydantic.Field(None, description="licence of side A's problems")
    licence_b: str | None = pydantic.Field(None, description="licence of side B's problems")
    max_records_a: int = pydantic.Field(500, ge=1, description="most problems drawn from side A")
    max_records_b: int = pydantic.Field(500, ge=1, description="most problems drawn from side B")
    seed_a: int = pydantic.Field(27, description="seed of side A's draw")
    seed_b: int = pydantic.Field(7, description="seed of side B's draw")
    deduplicate_a: bool = pydantic.Field(True, description="reject equal texts of side A")
    deduplicate_b: bool = pydantic.Field(True, description="reject equal texts of side B")
    limit: int = pydantic.Field(10_000, ge=1, description="most pairs of the cross join")
    num_records: int = pydantic.Field(5, ge=1, description="pairs that are made into problems")
    combination_weights: dict[str, float] = pydantic.Field(
        {name: 1.0 for name in COMBINATION_TYPES}, description="NAME=WEIGHT of each type"
    )
    num_candidates: int = pydantic.Field(2, ge=1, le=8, description="new problems per pair")

    @pydantic.field_validator("strategy")
    @classmethod
    def _known_strategy(cls, strategy: str) -> str:
        if strategy not in STRATEGIES:
            raise ValueError(f"{strategy!r} is not one of {', '.join(STRATEGIES)}")
        return strategy

    @pydantic.field_validator("combination_weights")
    @classmethod
    def _known_types(cls, weights: dict[str, float]) -> dict[str, float]:
        unknown = set(weights) - set(COMBINATION_TYPES)
        if unknown or min(weights.values(), default=0) < 0 or not sum(weights.values()) > 0:
            known = ", ".join(COMBINATION_TYPES)
            raise ValueError(f"{weights} are not weights of {known}, at least one above 0")
        return weights

    @pydantic.model_validator(mode="after")
    def _enough_pairs(self) -> "InfiniByteConfig":
        if self.num_records > self.limit:
            raise ValueError(
                f"--num_records {self.num_records} is more than --limit {self.limit} pairs; "
                "raise the limit"
            )
        return self

    @property
    def most_records(self) -> int:
        """All pairs that may be drawn."""
        return self.limit

    def sources(self, side: str) -> tuple[Source, ...]:
        """The sources of side "a" or "b", their files and columns looked at.

        Raises:
            UsageError: a format is unknown, or a dataset of the hub needs the extra `datasets`.
            InputError: a file, a dataset or a column is missing.
        """
        default = STRATEGIES[self.strategy]["ab".index(side)]
        given = getattr(self, f"problems_{side}")
        names = {"text": f"column_{side}", "id": f"id_column_{side}", "licence": f"licence_{side}"}
        own = {name: value for name, field in names.items() if (value := getattr(self, field))}
        return tuple(
            Source.parse(text, **own).resolve(f"--column_{side}") for text in given or (default,)
        )


def stages(config: InfiniByteConfig, context: Context) -> list[Stage]:
    """The stages, under the names of the columns that they fill."""
    ask = functools.partial(_ask, context)
    return [
        context.read(
            "problems_a",
            config.sources("a"),
            max_records=config.max_records_a,
            deduplicate=config.deduplicate_a,
            seed=config.seed_a,
        ),
        context.read(
            "problems_b",
            config.sources("b"),
            max_records=config.max_records_b,
            deduplicate=config.deduplicate_b,
            seed=config.seed_b,
        ),
        Stage(
            name="seed",
            transform=SeedPairs(config.num_records, context.seed, config.combination_weights),
            row_type=CrossBreed,
            settings=config.model_dump(include={"num_records", "combination_weights"}),
            inputs=("problems_a", "problems_b"),
            takes=Drawn(),
            verify=functools.partial(_verify_pairs, config.num_records),
        ),
        ask(
            "problem_candidates",
            after="seed",
            variables=functools.partial(_candidates_variables, config.num_candidates),
            reader=Structured(NewProblemList, items={"problems": config.num_candidates}),
            check=functools.partial(check_candidates, wanted=config.num_candidates),
            settings={"num_candidates": config.num_candidates},
        ),
        ask(
            "best_problem",
            after="problem_candidates",
            variables=_best_variables,
            reader=Structured(NewProblemWithReasoning),
            check=check_best,
            column="best_problem_json",
        ),
        ask(
            "evals",
            after="best_problem",
            variables=_evals_variables,
            reader=Structured(NewProblemEvals),
        ),
        ask(
            "solution",
            after="evals",
            variables=_solution_variables,
            reader=Text(),
            check=check_solution,
        ),
        context.export("solution", example_of, CrossBreedExample),
    ]


def _ask(context: Context, name: str, column: str = "", **arguments: Any) -> Stage:
    """A stage that fills a column, by the prompt of its name."""
    return context.ask(
        name,
        prompt=f"infinibyte/{name}",
        keep=functools.partial(with_answer, column=column or name),
        row_type=CrossBreed,
        **arguments,
    )


def _verify_pairs(wanted: int, inputs: Sequence[StageManifest], made: StageManifest) -> None:
    if made.rows < wanted:
        sides = " and ".join(
            f"{side.rows} of {side.rows_in} rows of {side.stage}"
            + (f" (rejects: {_listed(side.rejects)})" if side.rejects else "")
            for side in inputs
        )
        raise InputError(
            f"--num_records {wanted} is more than the {made.rows} pairs of {sides}; "
            "lower it, or give more problems"
        )


def _listed(rejects: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {reason}" for reason, number in rejects.items())


def _candidates_variables(num_candidates: int, record: CrossBreed) -> Mapping[str, object]:
    return {
        "problem_a": record.pair.a.text,
        "problem_b": record.pair.b.text,
        "combination_type": record.combination_type,
        "num_candidates": num_candidates,
    }


def _best_variables(record: CrossBreed) -> Mapping[str, object]:
    assert record.problem_candidates is not None
    return {
        "problem_a": record.pair.a.text,
        "combination_type": record.combination_type,
        "candidates": record.problem_candidates.problems,
    }


def _evals_variables(record: CrossBreed) -> Mapping[str, object]:
    assert record.best_problem_json is not None
    return {
        "problem_a": record.pair.a.text,
        "combination_type": record.combination_type,
        "new_problem": record.best_problem_json.problem,
    }


def _solution_variables(record: CrossBreed) -> Mapping[str, object]:
    assert record.best_problem_json is not None
    return {"new_problem": record.best_problem_json.problem}


INFINIBYTE = Recipe(
    name="infinibyte",
    summary="cross-breed two sets of problems into new ones, score them and solve them",
    config=InfiniByteConfig,
    stages=stages,
    modes=MODES,
    citation="The method is NVIDIA's, published as the recipe Nemotron Nano InfiniByte, which was "
    "used for post-training data of the Nemotron Nano models.",
)
