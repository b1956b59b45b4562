"""OpenReasoning's science data: questions by topic from several models, solved and voted on.

    topics ─ subtopic_expansion ─ plan_questions ─ generate_questions_1, _2, … ─ filter_questions
        ─ augment_similar, augment_inspired_by ─ filter_problems ─ generate_solutions
        ─ fill_majority_answer ─ judge_answers ─ filter_solutions
        ─ [difficulty_estimation ─ judge_difficulty ─ filter_difficulty] ─ prepare_for_sft

The method is that of NVIDIA's OpenReasoning and OpenScience, and the names of the stages are theirs
where they have some.
"""

from collections.abc import Iterator

import pydantic

from beam_sdg.recipes import answers
from beam_sdg.recipes.answers import VotesConfig
from beam_sdg.recipes.recipe import Context, Recipe
from beam_sdg.recipes.science_questions import QuestionsConfig, questions_by_topic
from beam_sdg.recipes.sft import TracesTo, training_data
from beam_sdg.stages import Every, Needed, Stage
from transforms.reading import Text
from transforms.records import JudgedSolution, Judgement, Problem, Solution
from transforms.repairing import FILL
from transforms.science import solving
from transforms.science.agreement import ALL, FilterByAgreement, Range
from transforms.science.difficulty import FilterByDifficulty, TakeProblems
from transforms.science.solving import SettleLetters
from transforms.sft.options import SftFilters
from transforms.sft.render import variables_of as variables_of_trace
from transforms.sft.traces import trace_of

TEMPERATURE = 0.6  # published, of solutions
_FULL = (
    "--model=Qwen/Qwen2.5-32B-Instruct",
    "--set=generate_questions_2.model=Qwen/Qwen3-235B-A22B",
    "--set=generate_solutions.model=deepseek-ai/DeepSeek-R1-0528",
    "--set=generate_solutions.max_tokens=32768",
    "--set=generate_solutions.top_p=0.95",
    "--sft_tokenizer=Qwen/Qwen2.5-32B-Instruct",
    "--questions_per_cell=100",
    "--num_records=1000000",
)
MODES = {
    "demo": (
        "--endpoint=nvidia",
        "--model=meta/llama-3.3-70b-instruct",
        "--set=generate_questions_2.model=deepseek-ai/deepseek-r1-distill-qwen-32b",
        "--set=generate_solutions.model=deepseek-ai/deepseek-r1-distill-qwen-32b",
        "--samples=4",
        "--max_tokens=8192",
        "--num_records=10",
    ),
    "published": (*_FULL, "--formats=mcq_4"),
    "openscience": (
        *_FULL,
        "--formats=mcq_4,mcq_10",
        "--generators=3",
        "--set=generate_questions_3.model=Qwen/Qwen2.5-72B-Instruct",
    ),
}


class OpenReasoningScienceConfig(QuestionsConfig, VotesConfig):
    """The settings of OpenReasoning's science data; rates are from 0 to 1, bounds included."""

    samples: int = pydantic.Field(16, ge=1, description="solutions of each question")
    majority_voting_agreement_rate_range: Range = pydantic.Field(
        ALL, description="LEAST,MOST of a question's solutions that must have its answer"
    )
    generation_model_pass_rate_range: Range = pydantic.Field(
        ALL, description="LEAST,MOST of them that must be judged correct"
    )
    difficulty_samples: int = pydantic.Field(
        0, ge=0, description="solutions of each question by the model of difficulty_estimation"
    )
    difficulty_model_pass_rate_range: Range = pydantic.Field(
        ALL, description="LEAST,MOST of those that must be judged correct"
    )
    remove_no_think_tags: bool = pydantic.Field(
        True, description=SftFilters.model_fields["remove_no_think_tags"].description
    )

    @pydantic.field_validator(
        "majority_voting_agreement_rate_range",
        "generation_model_pass_rate_range",
        "difficulty_model_pass_rate_range",
    )
    @classmethod
    def _hold_a_rate(cls, rates: Range) -> Range:
        low, high = rates
        if not 0 <= low <= high <= 1:
            raise ValueError(f"no rate is from {low:g} to {high:g}; write LEAST,MOST, from 0 to 1")
        return rates

    @pydantic.model_validator(mode="after")
    def _has_what_it_filters_by(self) -> "OpenReasoningScienceConfig":
        self.refuse_filters_of_code()
        if self.difficulty_model_pass_rate_range != ALL and not self.difficulty_samples:
            raise ValueError(
                "difficulty_model_pass_rate_range is of another model's solutions, and there are "
                "none; add --difficulty_samples"
            )
        return self

    def expected_rows(self) -> int:
        """At most; questions that are rejected have no solutions."""
        return self.most_questions * self.samples


def stages(config: OpenReasoningScienceConfig, context: Context) -> list[Stage]:
    """The stages."""
    found = list(questions_by_topic(config, context))
    found += _solved(config, context, found[-1].name)
    if config.difficulty_samples:
        found += _estimated(config, context)
    to = TracesTo(trace_of, solving.PROMPT, variables_of_trace)
    return [*found, *training_data(config, context, {found[-1].name: to})]


def _solved(config: OpenReasoningScienceConfig, context: Context, after: str) -> Iterator[Stage]:
    """The stages from questions to solutions that have the majority's answer, or have not."""
    solve, vote, judge = "generate_solutions", "fill_majority_answer", "judge_answers"
    yield context.ask(
        solve,
        after=after,
        prompt=solving.PROMPT,
        variables=solving.variables_of,
        reader=Text(),
        keep=solving.solution_of,
        row_type=Solution,
        samples=config.samples,
        temperature=TEMPERATURE,
    )
    yield answers.compare(f"{solve}.compare", [solve])
    yield answers.agree(vote, f"{solve}.compare", FILL, config)
    yield from _judged(config, context, judge, vote)
    yield answers.join(f"{judge}.solutions", f"{judge}.verdicts", [solve], config.samples)
    ranges = (config.majority_voting_agreement_rate_range, config.generation_model_pass_rate_range)
    yield Stage(
        name="filter_solutions",
        transform=FilterByAgreement("filter_solutions", config.samples, *ranges),
        row_type=JudgedSolution,
        settings={"asked": config.samples, "ranges": ranges},
        inputs=(f"{judge}.solutions",),
    )


def _estimated(config: OpenReasoningScienceConfig, context: Context) -> Iterator[Stage]:
    """The stages that ask another model about what was kept, and keep what is hard enough."""
    name, judge, kept = "difficulty_estimation", "judge_difficulty", "filter_solutions"
    yield Stage(
        name=f"{name}.problems",
        transform=TakeProblems(),
        row_type=Problem,
        settings={},
        inputs=(kept,),
        takes=Needed(),
    )
    yield context.ask(
        name,
        after=f"{name}.problems",
        prompt=solving.PROMPT,
        variables=solving.variables_of_problem,
        reader=Text(),
        keep=solving.estimate_of,
        row_type=Solution,
        samples=config.difficulty_samples,
        temperature=TEMPERATURE,
    )
    yield answers.compare(f"{name}.compare", [name])
    yield from _judged(config, context, judge, f"{name}.compare")
    rates = config.difficulty_model_pass_rate_range
    yield Stage(
        name="filter_difficulty",
        transform=FilterByDifficulty("filter_difficulty", config.difficulty_samples, rates),
        row_type=JudgedSolution,
        settings={"asked": config.difficulty_samples, "rates": rates},
        inputs=(kept, f"{judge}.verdicts"),
        takes=Every(kept),
    )


def _judged(
    config: OpenReasoningScienceConfig, context: Context, name: str, after: str
) -> Iterator[Stage]:
    """The stages that settle what equality leaves open: letters by themselves, else by a judge."""
    yield Stage(
        name=f"{name}.letters",
        transform=SettleLetters(),
        row_type=Judgement,
        settings={},
        inputs=(after,),
    )
    yield from answers.judge(context, name, f"{name}.letters", config, solving.JUDGE_PROMPT)


OPENREASONING_SCIENCE = Recipe(
    name="openreasoning-science",
    summary="write science questions by topic with several models, solve them, keep what agrees",
    config=OpenReasoningScienceConfig,
    stages=stages,
    modes=MODES,
    citation="The method is NVIDIA's, published with OpenReasoning and OpenScience.",
)
