"""Tool-integrated reasoning: solve problems with Python, and keep the solutions that use it well.

    problems ─ solution ─ filter ─┬─────────────────────────────────────── filter_fragments ─ export
                                  └ fragments ─┬─ judge_novelty ──────┬───────┘
                                               └─ judge_significance ─┘

The loop, the filters and their names are those of NVIDIA's OpenMathReasoning.
"""

import dataclasses
import functools

import pydantic

from beam_sdg.recipes.fragments import CodeConfig, with_useful_code
from beam_sdg.recipes.problems import ProblemsConfig
from beam_sdg.recipes.recipe import Context, Recipe
from beam_sdg.stages import Stage
from transforms.engines.completions import TOOL_CALLS
from transforms.records import (
    Call,
    InsightfulSolution,
    JudgedFragment,
    Origin,
    Solution,
    ToolUse,
)
from transforms.tir.formats import CODE_FORMATS, GPT_OSS
from transforms.tir.solve import PROMPT, SolutionText, solution_of, variables_of

_TAGGED = tuple(name for name in CODE_FORMATS if name != GPT_OSS)


class TirConfig(ProblemsConfig, CodeConfig):
    """The settings of solving with Python; filters have the names of their reasons."""

    samples: int = pydantic.Field(4, ge=1, description="solutions of each")
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
    found = [
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
        *with_useful_code(context, config, "filter", "solution", "fragments", config.into),
    ]
    return [*found, context.export(found[-1].name, example_of, TirExample)]


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
