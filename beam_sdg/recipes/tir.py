"""Tool-integrated reasoning: solve problems with Python, and keep the solutions that use it well.

    problems ─ solution ─ filter ─┬─────────────────────────────────────── filter_fragments ─ export
                                  └ fragments ─┬─ judge_novelty ──────┬───────┘
                                               └─ judge_significance ─┘

The loop, the filters and their names are those of NVIDIA's OpenMathReasoning.
"""

import dataclasses
import functools

import pydantic

from beam_sdg.python_flags import PythonConfig
from beam_sdg.recipes.fragments import judged_fragments
from beam_sdg.recipes.problems import ProblemsConfig
from beam_sdg.recipes.recipe import Context, Recipe
from beam_sdg.runs import Stage
from transforms.engines.completions import TOOL_CALLS
from transforms.records import (
    Call,
    InsightfulSolution,
    JudgedFragment,
    Origin,
    Solution,
    ToolUse,
)
from transforms.tir.filters import FilterTir, TirFilters
from transforms.tir.formats import CODE_FORMATS, GPT_OSS
from transforms.tir.insight import InsightSettings
from transforms.tir.solve import PROMPT, SolutionText, solution_of, variables_of

_TAGGED = tuple(name for name in CODE_FORMATS if name != GPT_OSS)


class TirConfig(PythonConfig, ProblemsConfig, TirFilters, InsightSettings):
    """The settings of solving with Python; filters have the names of their reasons."""

    samples: int = pydantic.Field(4, ge=1, description="solutions of each")
    judge_fragments: bool = pydantic.Field(
        False, description="keep only solutions in which a call finds out something that matters"
    )
    into: str = pydantic.Field(
        "", description=f"rewrite the calls in another format: {', '.join(_TAGGED)}"
    )

    @pydantic.field_validator("into")
    @classmethod
    def _is_a_format(cls, name: str) -> str:
        if name and name not in _TAGGED:
            raise ValueError(f"{name!r} is none of: {', '.join(_TAGGED)}")
        return name

    @pydantic.model_validator(mode="after")
    def _can_be_rewritten(self) -> "TirConfig":
        if self.into and self.code_format not in (*_TAGGED, TOOL_CALLS):
            raise ValueError(f"calls of {self.code_format} are messages: drop --into {self.into}")
        return self

    def expected_rows(self) -> int:
        return self.num_records * self.samples

    def insight(self) -> InsightSettings:
        """How fragments are judged."""
        return InsightSettings(**self.model_dump(include=set(InsightSettings.model_fields)))

    def filters(self) -> TirFilters:
        """Which filters are applied."""
        return TirFilters(**self.model_dump(include=set(TirFilters.model_fields)))


@dataclasses.dataclass(frozen=True, slots=True)
class TirProvenance:
    """What a solution was made from and by."""

    problem: Origin
    calls: tuple[Call, ...]
    tool_use: ToolUse
    fragments: tuple[JudgedFragment, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class TirExample:
    """A row of the dataset, under the published names of its columns."""

    problem: str
    generated_solution: str
    predicted_answer: str | None
    id: str
    provenance: TirProvenance


def stages(config: TirConfig, context: Context) -> list[Stage]:
    """The stages."""
    written_as = config.written_as()
    into = CODE_FORMATS[config.into] if config.into else None
    filters = config.filters()
    return [
        config.read(context, config.sources()),
        context.ask(
            "solution",
            after="problems",
            prompt=PROMPT,
            variables=functools.partial(variables_of, config.code_format),
            reader=SolutionText(),
            keep=solution_of,
            row_type=Solution,
            samples=config.samples,
            python=config.python(context.models_of("solution")),
        ),
        Stage(
            name="filter",
            transform=FilterTir("filter", CODE_FORMATS[written_as], filters, into),
            row_type=Solution,
            settings={"code_format": written_as, "into": config.into, **filters.model_dump()},
            inputs=("solution",),
        ),
        *(
            judged_fragments(
                context, config.insight(), "fragments", "filter", config.into or written_as
            )
            if config.judge_fragments
            else ()
        ),
        context.export(
            "filter_fragments" if config.judge_fragments else "filter", example_of, TirExample
        ),
    ]


def example_of(row: Solution | InsightfulSolution) -> TirExample:
    """The finished row of a solution."""
    fragments = row.fragments if isinstance(row, InsightfulSolution) else ()
    solution = row.solution if isinstance(row, InsightfulSolution) else row
    problem = solution.problem
    assert solution.tool_use is not None
    origin = Origin(problem.id, problem.source, problem.source_id, problem.licence, problem.extra)
    return TirExample(
        problem=problem.text,
        generated_solution=solution.text,
        predicted_answer=solution.predicted_answer,
        id=solution.id,
        provenance=TirProvenance(origin, solution.calls, solution.tool_use, fragments),
    )


TIR = Recipe(
    name="tir",
    summary="solve problems with Python, and keep the solutions that use it well",
    config=TirConfig,
    stages=stages,
    citation="The method is NVIDIA's, published with OpenMathReasoning (arXiv:2504.16891).",
)
