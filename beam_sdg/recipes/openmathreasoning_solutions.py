"""OpenMathReasoning's solutions: solve, fill missing answers by majority, judge, export.

    problems ─ generate_solutions ─ fill_majority_answer ─ judge_answers ─┐
      ┌───────────────────────────────────────────────────────────────────┘
      ├─ with Python: postprocess_tir_generations ─ [extract_python_fragments ─ … filter_fragments]
      └─ [generate_new_summaries ─ merge_new_summaries] ─ prepare_for_sft

With `--threads`, the stages of `forum_problems` come first. The method and the names are those of
NVIDIA's OpenMathReasoning.
"""

from collections.abc import Iterator

import pydantic

from beam_sdg.recipes import answers
from beam_sdg.recipes.answers import AnswersConfig
from beam_sdg.recipes.forum_problems import MODEL_OF_STAGES, FromThreadsConfig, problems
from beam_sdg.recipes.fragments import CodeConfig, with_useful_code
from beam_sdg.recipes.recipe import Context, Recipe
from beam_sdg.recipes.sft import training_data
from beam_sdg.recipes.solving import solutions, traces_to
from beam_sdg.recipes.summaries import new_summaries
from beam_sdg.stages import Every, Stage
from transforms.judging import KeepCorrect
from transforms.records import Solution
from transforms.repairing import FILL
from transforms.summaries import SummarySettings

TEMPERATURE, TOP_P = 0.7, 0.95  # published
_JUDGE = "--set=judge.model=Qwen/Qwen2.5-32B-Instruct"
_SUMMARIES = (
    "--new_summaries=4",
    "--set=generate_new_summaries.model=Qwen/Qwen2.5-32B-Instruct",
    "--set=generate_new_summaries.max_tokens=2048",
)
_FULL = (
    "--problems=omr_cot,omr_additional",
    "--max_tokens=16384",
    f"--top_p={TOP_P}",
    _JUDGE,
    *MODEL_OF_STAGES,
)
MODES = {
    "demo": answers.DEMO,
    "full-qwq": ("--model=Qwen/QwQ-32B", "--samples=32", *_FULL, *_SUMMARIES),
    "full-r1": ("--model=deepseek-ai/DeepSeek-R1", "--samples=16", *_FULL),
    "tir-limo": (
        "--model=GAIR/LIMO",
        "--samples=16",
        *_FULL,
        "--tir",
        "--max_executions=8",
        "--judge_fragments",
        "--remove_matplotlib",
    ),
    "tir-openmath": (
        "--model=nvidia/OpenMath-Nemotron-14B",
        "--samples=16",
        *_FULL,
        "--tir",
        "--code_format=openmath",
        "--set=generate_solutions.api=text",
        "--max_executions=1-8",
        "--announce_remaining",
        *_SUMMARIES,
        "--remove_matplotlib",
    ),
}


class OpenMathReasoningConfig(FromThreadsConfig, AnswersConfig, CodeConfig, SummarySettings):
    """The settings of OpenMathReasoning's solutions; filters have the names of their reasons."""

    samples: int = pydantic.Field(4, ge=1, description="solutions of each problem")
    tir: bool = pydantic.Field(False, description="solve with Python")
    convert_proofs: bool = pydantic.Field(
        True, description="make problems with an answer of statements to be proved"
    )

    @pydantic.model_validator(mode="after")
    def _has_code(self) -> "OpenMathReasoningConfig":
        if self.judge_fragments and not self.tir:
            raise ValueError("judge_fragments is of solutions with Python; add --tir or drop it")
        if not self.tir:
            self.refuse_filters_of_code()
        return self

    def expected_rows(self) -> int:
        return self.num_records * self.samples


def stages(config: OpenMathReasoningConfig, context: Context) -> list[Stage]:
    """The stages."""
    tool = config.python(context.models_of("generate_solutions")) if config.tir else None
    found = problems(config, context)
    found += [
        solutions(
            context,
            "generate_solutions",
            found[-1].name,
            config.samples,
            temperature=TEMPERATURE,
            python=tool,
        ),
        answers.compare("generate_solutions.compare", ["generate_solutions"]),
        answers.agree("fill_majority_answer", "generate_solutions.compare", FILL, config),
        *answers.judge(context, "judge_answers", "fill_majority_answer", config),
    ]
    if config.tir:
        found += _with_code(config, context)
    solved = found[-1].name if config.tir else "generate_solutions"
    joined = f"{solved if config.tir else 'judge_answers'}.judged"
    found.append(answers.join(joined, "judge_answers.verdicts", [solved], config.samples))
    found += new_summaries(context, found[-1].name, config.part(SummarySettings))
    to = traces_to(config if config.tir else None)
    return [*found, *training_data(config, context, {found[-1].name: to})]


def _with_code(config: OpenMathReasoningConfig, context: Context) -> Iterator[Stage]:
    """The stages that keep correct solutions that use Python well."""
    name = "postprocess_tir_generations"
    yield Stage(
        name=f"{name}.correct",
        transform=KeepCorrect(f"{name}.correct"),
        row_type=Solution,
        settings={},
        inputs=("judge_answers.verdicts", "generate_solutions"),
        takes=Every("generate_solutions"),
    )
    yield from with_useful_code(
        context, config, name, f"{name}.correct", "extract_python_fragments"
    )


OPENMATHREASONING_SOLUTIONS = Recipe(
    name="openmathreasoning-solutions",
    summary="solve math problems, plain or with Python, judge, summarise anew",
    config=OpenMathReasoningConfig,
    stages=stages,
    modes=MODES,
    citation="The method is NVIDIA's, published with OpenMathReasoning (arXiv:2504.16891).",
)
