"""OpenReasoning's math data: solve, judge, mend expected answers by majority, judge again, export.

    problems ─ generate_solutions ─ judge_answers ─ fill_majority_answer ─ judge_again
             ─ prepare_for_sft

The method and the names are those of NVIDIA's OpenReasoning.
"""

import pydantic

from beam_sdg.recipes import answers
from beam_sdg.recipes.answers import RepairConfig
from beam_sdg.recipes.recipe import Context, Recipe
from beam_sdg.recipes.sft import training_data
from beam_sdg.recipes.solving import solutions, traces_to
from beam_sdg.recipes.summaries import new_summaries
from beam_sdg.stages import Stage
from transforms.repairing import REPAIR
from transforms.sft.options import SftFilters
from transforms.summaries import SummarySettings

TEMPERATURE = 0.6  # published
MODES = {
    "demo": answers.DEMO,
    "published": (
        "--problems=omr_cot,omr_additional",
        "--model=deepseek-ai/DeepSeek-R1-0528",
        "--max_tokens=32768",
        "--top_p=0.95",
        "--set=judge.model=Qwen/Qwen2.5-32B-Instruct",
        "--sft_tokenizer=Qwen/Qwen2.5-32B-Instruct",
        "--num_records=1000000",
    ),
}


class OpenReasoningMathConfig(RepairConfig, SummarySettings):
    """The settings of OpenReasoning's math data; the defaults are the published ones."""

    samples: int = pydantic.Field(16, ge=1, description="solutions of each problem")
    remove_no_think_tags: bool = pydantic.Field(
        True, description=SftFilters.model_fields["remove_no_think_tags"].description
    )
    min_pass_rate: float = pydantic.Field(
        0.0,
        ge=0,
        le=1,
        description="drop problems of which a smaller share of solutions is correct",
    )
    max_pass_rate: float | None = pydantic.Field(
        None, gt=0, le=1, description="drop problems of which this share is correct, or more"
    )

    @pydantic.model_validator(mode="after")
    def _holds_a_rate(self) -> "OpenReasoningMathConfig":
        self.refuse_filters_of_code()
        most = self.max_pass_rate
        if most is not None and self.min_pass_rate >= most:
            raise ValueError(
                f"no pass rate is from min_pass_rate {self.min_pass_rate:g} to below max_pass_rate "
                f"{most:g}; swap them or drop one"
            )
        return self

    def expected_rows(self) -> int:
        return self.num_records * self.samples


def stages(config: OpenReasoningMathConfig, context: Context) -> list[Stage]:
    """The stages."""
    found = [
        config.read(context, config.sources()),
        solutions(
            context, "generate_solutions", "problems", config.samples, temperature=TEMPERATURE
        ),
        answers.compare("generate_solutions.compare", ["generate_solutions"]),
        *answers.judge(context, "judge_answers", "generate_solutions.compare", config),
        answers.agree("fill_majority_answer", "judge_answers.verdicts", REPAIR, config),
        *answers.judge(context, "judge_again", "fill_majority_answer", config),
        answers.join(
            "judge_again.solutions", "judge_again.verdicts", ["generate_solutions"], config.samples
        ),
    ]
    if config.min_pass_rate or config.max_pass_rate is not None:
        rates = (config.min_pass_rate, config.max_pass_rate)
        found.append(
            answers.filter_by_pass_rate(
                "filter_solutions",
                found[-1],
                ["judge_again.verdicts"],
                range(config.samples),
                *rates,
            )
        )
    found += new_summaries(context, found[-1].name, config.part(SummarySettings))
    return [*found, *training_data(config, context, {found[-1].name: traces_to()})]


OPENREASONING_MATH = Recipe(
    name="openreasoning-math",
    summary="solve math problems, judge answers, mend expected ones by majority, judge again",
    config=OpenReasoningMathConfig,
    stages=stages,
    modes=MODES,
    citation="The method is NVIDIA's, published with OpenReasoning.",
)
