"""OpenReasoning's science data: questions by topic from several models, solved and voted on.

    topics ─ subtopic_expansion ─ plan_questions ─ generate_questions_1, _2, … ─ filter_questions
        ─ augment_similar, augment_inspired_by ─ filter_problems ─ generate_solutions
        ─ fill_majority_answer ─ judge_answers ─ filter_solutions
        ─ [difficulty_estimation ─ judge_difficulty ─ filter_difficulty] ─ prepare_for_sft

The method is that of NVIDIA's OpenReasoning and OpenScience, and the names of the stages are theirs
where they have some.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import pydantic

from beam_sdg.recipes import answers
from beam_sdg.recipes.answers import VotesConfig
from beam_sdg.recipes.problems import SAMPLES
from beam_sdg.recipes.recipe import Context, Recipe
from beam_sdg.recipes.sft import TracesTo, training_data
from beam_sdg.runs import Stage, StageManifest
from beam_sdg.sources import Source
from transforms.engines.conversations import Check, Variables
from transforms.errors import RowsLost
from transforms.reading import Structured, Text
from transforms.records import JudgedSolution, Judgement, Problem, Solution
from transforms.repairing import FILL
from transforms.science import questions, solving, topics
from transforms.science.agreement import ALL, FilterByAgreement, Range
from transforms.science.difficulty import FilterByDifficulty, TakeProblems
from transforms.science.options import FORMATS
from transforms.science.plan import DIFFICULTIES, DrawSlots, PlanQuestions, SelectFormat
from transforms.science.questions import AUGMENTATIONS, FilterQuestions
from transforms.science.records import Question, Slot, Subtopic, SubtopicList, Subtopics
from transforms.science.solving import SettleLetters
from transforms.science.topics import ListSubtopics, SelectUnexpanded
from transforms.sft.options import SftFilters
from transforms.sft.render import variables_of as variables_of_trace
from transforms.sft.traces import trace_of

TEMPERATURE = 0.6  # published, of solutions
QUESTION_TEMPERATURE = 0.7
TOPIC_COLUMN = "topic"
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


class OpenReasoningScienceConfig(VotesConfig):
    """The settings of OpenReasoning's science data; rates are from 0 to 1, bounds included."""

    topics: tuple[str, ...] = pydantic.Field(
        (), description="[FORMAT=]FILE or a glob of topics; several, separated by commas"
    )
    topic_column: str = pydantic.Field(TOPIC_COLUMN, description="the column of topics' names")
    licence: str | None = pydantic.Field(None, description="licence of the topics")
    max_subtopics: int = pydantic.Field(
        10, ge=1, description="subtopics of a topic whose row has no column subtopics"
    )
    difficulties: tuple[str, ...] = pydantic.Field(
        DIFFICULTIES, min_length=1, description="levels of difficulty"
    )
    formats: tuple[str, ...] = pydantic.Field(
        tuple(FORMATS), min_length=1, description=f"of questions, of {', '.join(FORMATS)}"
    )
    questions_per_cell: int = pydantic.Field(
        1, ge=1, description="questions of each topic, subtopic, difficulty and format"
    )
    num_records: int = pydantic.Field(
        10, ge=1, description="questions that each generator writes, drawn from all of these"
    )
    generators: int = pydantic.Field(
        2,
        ge=1,
        description="models that write questions: the k-th is --set generate_questions_k.model=…",
    )
    augmentations: int = pydantic.Field(
        1, ge=0, description="new questions of each kind that are made from one"
    )
    augment: tuple[str, ...] = pydantic.Field(
        AUGMENTATIONS, description=f"kinds of new questions, of {', '.join(AUGMENTATIONS)}"
    )
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

    @pydantic.field_validator("difficulties", "formats", "augment")
    @classmethod
    def _are_known(cls, names: tuple[str, ...], info: pydantic.ValidationInfo) -> tuple[str, ...]:
        known = {"difficulties": DIFFICULTIES, "formats": FORMATS, "augment": AUGMENTATIONS}
        for name in names:
            if name not in known[info.field_name or ""] or names.count(name) > 1:
                known_names = ", ".join(known[info.field_name or ""])
                raise ValueError(f"{name!r} is not one of {known_names}, each once")
        return names

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
        per_question = 1 + self.augmentations * len(self.augment)
        return self.num_records * self.generators * per_question * self.samples

    def sources(self) -> tuple[Source, ...]:
        """The topics, their files and columns looked at; by default the bundled ones.

        Raises:
            UsageError: a format is unknown, or a dataset of the hub needs the extra `datasets`.
            InputError: a file, a dataset or a column is missing.
        """
        given = self.topics or (f"sample={SAMPLES / 'topics.jsonl'}",)
        columns = {"text": self.topic_column, **({"licence": self.licence} if self.licence else {})}
        return tuple(Source.parse(text, **columns).resolve("--topic_column") for text in given)


def stages(config: OpenReasoningScienceConfig, context: Context) -> list[Stage]:
    """The stages."""
    found = [
        context.read("topics", config.sources()),
        *_subtopics(config, context),
        *_plan(config, context),
    ]
    written = list(_written(config, context))
    found += [*written, _filtered("filter_questions", written)]
    if config.augmentations and config.augment:
        augmented = list(_augmented(config, context))
        asked = [stage for stage in augmented if stage.ask]
        found += [*augmented, _filtered("filter_problems", [found[-1], *asked])]
    found += _solved(config, context, found[-1].name)
    if config.difficulty_samples:
        found += _estimated(config, context)
    to = TracesTo(trace_of, solving.PROMPT, variables_of_trace)
    return [*found, *training_data(config, context, {found[-1].name: to})]


def _subtopics(config: OpenReasoningScienceConfig, context: Context) -> Iterator[Stage]:
    """The stages from topics to their subtopics."""
    name, most = "subtopic_expansion", config.max_subtopics
    yield Stage(
        name=f"{name}.pending",
        transform=SelectUnexpanded(),
        row_type=Problem,
        settings={},
        inputs=("topics",),
        selects=True,
    )
    yield context.ask(
        name,
        after=f"{name}.pending",
        prompt=topics.PROMPT,
        variables=functools.partial(topics.variables_of, most),
        reader=Structured(Subtopics, items={"subtopics": most}),
        check=functools.partial(topics.fault_of, most=most),
        keep=topics.list_of,
        row_type=SubtopicList,
        temperature=QUESTION_TEMPERATURE,
        settings={"max_subtopics": most},
    )
    yield Stage(
        name=f"{name}.subtopics",
        transform=ListSubtopics(f"{name}.subtopics"),
        row_type=Subtopic,
        settings={},
        inputs=("topics", name),
        fans_out=True,
        one_per=("topics",),
    )


def _plan(config: OpenReasoningScienceConfig, context: Context) -> Iterator[Stage]:
    """The stages that say which questions are written, format by format."""
    name = "plan_questions"
    cells = (config.difficulties, config.formats, config.questions_per_cell)
    yield Stage(
        name=name,
        transform=PlanQuestions(*cells),
        row_type=Slot,
        settings={"cells": cells},
        inputs=("subtopic_expansion.subtopics",),
        fans_out=True,
    )
    yield Stage(
        name=f"{name}.drawn",
        transform=DrawSlots(config.num_records, config.formats, context.seed),
        row_type=Slot,
        settings={"num_records": config.num_records},
        inputs=(name,),
        samples=True,
        verify=functools.partial(_verify_draw, config.num_records),
    )
    yield from _by_format(config, name, f"{name}.drawn", Slot)


def _by_format(
    config: OpenReasoningScienceConfig, name: str, after: str, row_type: type
) -> Iterator[Stage]:
    """The stages that take apart what answers are held to another form for."""
    for of_format in config.formats:
        yield Stage(
            name=f"{name}.{of_format}",
            transform=SelectFormat(of_format),
            row_type=row_type,
            settings={"format": of_format},
            inputs=(after,),
            selects=True,
        )


def _written(config: OpenReasoningScienceConfig, context: Context) -> Iterator[Stage]:
    """The stages that write questions: every generator one for each slot."""
    for generator in range(1, config.generators + 1):
        for of_format in config.formats:
            yield _asked(
                context,
                f"generate_questions_{generator}_{of_format}",
                f"plan_questions.{of_format}",
                questions.PROMPT,
                of_format,
                variables=questions.variables_of_slot,
                check=questions.check_question,
                keep=questions.question_of,
                first_sample=generator,
            )


def _augmented(config: OpenReasoningScienceConfig, context: Context) -> Iterator[Stage]:
    """The stages that make new questions from those that there are."""
    yield from _by_format(config, "filter_questions", "filter_questions", Question)
    for kind in config.augment:
        for of_format in config.formats:
            yield _asked(
                context,
                f"augment_{kind}_{of_format}",
                f"filter_questions.{of_format}",
                f"science/augment_{kind}",
                of_format,
                variables=questions.variables_of_question,
                check=questions.check_augmented,
                keep=functools.partial(questions.augmented_of, kind=kind),
                samples=config.augmentations,
                first_sample=1 + AUGMENTATIONS.index(kind) * config.augmentations,
            )


def _asked(
    context: Context,
    name: str,
    after: str,
    prompt: str,
    of_format: str,
    *,
    variables: Variables,
    check: Check,
    **arguments: Any,
) -> Stage:
    """A stage that asks for questions of a format."""
    return context.ask(
        name,
        after=after,
        prompt=prompt,
        variables=variables,
        reader=questions.reader_of(of_format),
        check=check,
        row_type=Question,
        temperature=QUESTION_TEMPERATURE,
        **arguments,
    )


def _filtered(name: str, after: Sequence[Stage]) -> Stage:
    """Each question once, of all of these stages."""
    inputs = tuple(stage.name for stage in after)
    return Stage(
        name=name,
        transform=FilterQuestions(name),
        row_type=Question,
        settings={},
        inputs=inputs,
        one_per=inputs,
    )


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
        selects=True,
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
        one_per=(kept,),
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


def _verify_draw(number: int, inputs: Sequence[StageManifest], made: StageManifest) -> None:
    """As many slots are drawn as were asked for, or all."""
    if made.rows != min(number, inputs[0].rows):
        raise RowsLost(f"{made.stage} drew {made.rows} of {inputs[0].rows} rows, not {number}")


OPENREASONING_SCIENCE = Recipe(
    name="openreasoning-science",
    summary="write science questions by topic with several models, solve them, keep what agrees",
    config=OpenReasoningScienceConfig,
    stages=stages,
    modes=MODES,
    citation="The method is NVIDIA's, published with OpenReasoning and OpenScience.",
)
