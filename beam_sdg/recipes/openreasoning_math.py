"""OpenReasoning's math data: solve, judge, mend expected answers by majority, judge again, export.

    problems ─ generate_solutions ─ judge_answers ─ fill_majority_answer ─ judge_again
             ─ prepare_for_sft

The method and the names are those of NVIDIA's OpenReasoning.
"""

import pydantic

from beam_sdg.recipes import answers
from beam_sdg.recipes.answers import AnswersConfig
from beam_sdg.recipes.problems import AnsweredProblemsConfig
from beam_sdg.recipes.recipe import Context, Recipe
from beam_sdg.recipes.solving import solutions
from beam_sdg.runs import Stage
from transforms.repairing import REPAIR

TEMPERATURE = 0.6  # published


class OpenReasoningMathConfig(AnsweredProblemsConfig, AnswersConfig):
    """The settings of OpenReasoning's math data."""

    samples: int = pydantic.Field(16, ge=1, description="solutions of each problem")

    def expected_rows(self) -> int:
        return self.num_records * self.samples


def stages(config: OpenReasoningMathConfig, context: Context) -> list[Stage]:
    """The stages."""
    return [
        config.read(context, config.sources()),
        solutions(
            context, "generate_solutions", "problems", config.samples, temperature=TEMPERATURE
        ),
        answers.compare("generate_solutions.compare", ("generate_solutions",)),
        *answers.judge(context, "judge_answers", "generate_solutions.compare", config),
        answers.agree("fill_majority_answer", "judge_answers.verdicts", REPAIR, config),
        *answers.judge(context, "judge_again", "fill_majority_answer", config),
        answers.join("judge_again.solutions", "judge_again.verdicts", ("generate_solutions",)),
    ]


OPENREASONING_MATH = Recipe(
    name="openreasoning-math",
    summary="solve math problems, judge answers, mend expected ones by majority, judge again",
    config=OpenReasoningMathConfig,
    stages=stages,
    citation="The method is NVIDIA's, published with OpenReasoning.",
)
