"""InfiniByte: cross two sets of problems into new, harder ones, judge them and solve them.

    problems_a ─┐
                ├─ seed ─ problem_candidates ─ best_problem ─ evals ─ solution ─ export
    problems_b ─┘

Published by NVIDIA as "Nemotron Nano InfiniByte".
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic

from beam_sdg.recipes.recipe import Context, Recipe, RecipeConfig
from beam_sdg.runs import Stage, StageManifest
from beam_sdg.sources import ReadProblems, Source
from transforms.ask import Ask
from transforms.cross_breed import (
    COMBINATION_TYPES,
    SeedPairs,
    check_best,
    check_candidates,
    check_solution,
    example_of,
    with_answer,
)
from transforms.engines.handler import Check
from transforms.errors import InputError, RowsLost, UsageError
from transforms.export import ExportRows
from transforms.reading import Reader, Structured, Text
from transforms.records import (
    CrossBreed,
    CrossBreedExample,
    NewProblemEvals,
    NewProblemList,
    NewProblemWithReasoning,
    Problem,
)

SAMPLES = Path(__file__).parents[1] / "samples"

# Side A and side B: a format alone needs the files to be given, a source brings them.
STRATEGIES = {
    "ocr_omr": ("ocr", "omr"),
    "sample": (f"sample={SAMPLES / 'coding.jsonl'}", f"sample={SAMPLES / 'science.jsonl'}"),
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

    def expected_rows(self) -> int:
        """One row per pair, less what is rejected."""
        return self.num_records

    def sources(self, side: str) -> tuple[Source, ...]:
        """The sources of side "a" or "b", their files and columns looked at.

        Raises:
            UsageError: the strategy brings no files and none were given.
            InputError: a file or a column is missing.
        """
        default = STRATEGIES[self.strategy]["ab".index(side)]
        given = getattr(self, f"problems_{side}")
        if not given and "=" not in default:
            raise UsageError(
                f"strategy {self.strategy} brings no files for side {side.upper()}; "
                f"pass --problems_{side} {default}=FILE"
            )
        names = {"text": f"column_{side}", "id": f"id_column_{side}", "licence": f"licence_{side}"}
        own = {name: value for name, field in names.items() if (value := getattr(self, field))}
        return tuple(
            Source.parse(text, **own).resolve(f"--column_{side}") for text in given or (default,)
        )


def stages(config: InfiniByteConfig, context: Context) -> list[Stage]:
    """The stages, under the names of the columns that they fill."""
    ask = functools.partial(_ask_stage, context)
    return [
        _source_stage(config, "a", config.max_records_a, config.seed_a, config.deduplicate_a),
        _source_stage(config, "b", config.max_records_b, config.seed_b, config.deduplicate_b),
        Stage(
            name="seed",
            transform=SeedPairs(config.num_records, context.seed, config.combination_weights),
            row_type=CrossBreed,
            settings=config.model_dump(include={"num_records", "combination_weights"}),
            inputs=("problems_a", "problems_b"),
            samples=True,
            verify=functools.partial(_verify_pairs, config.num_records),
        ),
        ask(
            "problem_candidates",
            after="seed",
            variables=functools.partial(_candidates_variables, config.num_candidates),
            reader=Structured(NewProblemList),
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
        Stage(
            name="export",
            transform=ExportRows(example_of, CrossBreedExample),
            row_type=CrossBreedExample,
            settings={},
            inputs=("solution",),
        ),
    ]


def _source_stage(
    config: InfiniByteConfig, side: str, max_records: int, seed: int, deduplicate: bool
) -> Stage:
    sources = config.sources(side)
    name = f"problems_{side}"
    return Stage(
        name=name,
        transform=ReadProblems(name, sources, deduplicate, max_records, seed),
        row_type=Problem,
        settings={
            "sources": [source.settings() for source in sources],
            "deduplicate": deduplicate,
            "max_records": max_records,
            "seed": seed,
        },
        verify=functools.partial(_verify_sample, max_records),
    )


def _ask_stage(
    context: Context,
    name: str,
    after: str,
    variables: Callable[[CrossBreed], Mapping[str, object]],
    reader: Reader,
    check: Check | None = None,
    column: str = "",
    settings: Mapping[str, Any] | None = None,
) -> Stage:
    ask = Ask(
        name=name,
        prompt=f"infinibyte/{name}",
        variables=variables,
        reader=reader,
        check=check,
        keep=functools.partial(with_answer, column=column or name),
        engine=context.engine,
        sampling=context.sampling,
        store=context.store,
        seed=context.seed,
        prompt_overrides=context.prompt_overrides,
    )
    return Stage(
        name=name,
        transform=ask,
        row_type=CrossBreed,
        settings={**ask.settings(), **(settings or {})},
        inputs=(after,),
        engine=context.engine,
    )


def _verify_sample(most: int, inputs: Sequence[StageManifest], made: StageManifest) -> None:
    """Only what is beyond the limit may be left out."""
    if made.rows != min(most, made.rows + made.not_sampled):
        raise RowsLost(f"{made.stage} drew {made.rows} of {made.rows + made.not_sampled} problems")


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
    citation="InfiniByte was published by NVIDIA as the Nemotron Nano InfiniByte recipe.",
)
