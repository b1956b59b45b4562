"""The stages that write science questions by topic, from several models, and their flags.

topics ─ subtopic_expansion ─ plan_questions ─ generate_questions_1, _2, … ─ filter_questions
    ─ [augment_similar, augment_inspired_by ─ filter_problems] ─ [near_duplicates]
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import pydantic

from beam_sdg.recipes.near_duplicates import NearDuplicatesConfig, near_duplicates
from beam_sdg.recipes.problems import SAMPLES
from beam_sdg.recipes.recipe import Context, RecipeConfig
from beam_sdg.sources import Source
from beam_sdg.stages import Drawn, Every, Needed, Several, Stage, StageManifest
from transforms.engines.conversations import Check, Variables
from transforms.errors import RowsLost
from transforms.reading import Structured
from transforms.records import Problem
from transforms.science import questions, topics
from transforms.science.options import FORMATS
from transforms.science.plan import DIFFICULTIES, DrawSlots, Grid, PlanQuestions, SelectFormat
from transforms.science.questions import AUGMENTATIONS, FilterQuestions
from transforms.science.records import Question, Slot, Subtopic, SubtopicList, Subtopics
from transforms.science.topics import ListSubtopics, SelectUnexpanded

TEMPERATURE = 0.7
TOPIC_COLUMN = "topic"
MOST_AUGMENTATIONS = 1000


class QuestionsConfig(NearDuplicatesConfig, RecipeConfig):
    """Base of the configurations of recipes that write questions."""

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
        1,
        ge=0,
        le=MOST_AUGMENTATIONS,
        description="new questions of each kind that are made from one",
    )
    augment: tuple[str, ...] = pydantic.Field(
        AUGMENTATIONS, description=f"kinds of new questions, of {', '.join(AUGMENTATIONS)}"
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

    def sources(self) -> tuple[Source, ...]:
        """The topics, their files and columns looked at; by default the bundled ones.

        Raises:
            UsageError: a format is unknown, or a dataset of the hub needs the extra `datasets`.
            InputError: a file, a dataset or a column is missing.
        """
        given = self.topics or (f"sample={SAMPLES / 'topics.jsonl'}",)
        columns = {"text": self.topic_column, **({"licence": self.licence} if self.licence else {})}
        return tuple(Source.parse(text, **columns).resolve("--topic_column") for text in given)

    @property
    def most_questions(self) -> int:
        """All that may come of `num_records`, new questions made from others included."""
        return self.num_records * self.generators * (1 + self.augmentations * len(self.augment))


def questions_by_topic(config: QuestionsConfig, context: Context) -> Iterator[Stage]:
    """The stages from topics to `Question` records, of which no two say the same."""
    yield context.read("topics", config.sources())
    yield from _subtopics(config, context)
    yield from _plan(config, context)
    written = list(_written(config, context))
    yield from written
    kept = _filtered("filter_questions", written)
    yield kept
    if config.augmentations and config.augment:
        yield from _by_format(config, kept.name, Question)
        augmented = list(_augmented(config, context))
        yield from augmented
        kept = _filtered("filter_problems", [kept, *augmented])
        yield kept
    yield from near_duplicates(kept.name, config, Question)


def _subtopics(config: QuestionsConfig, context: Context) -> Iterator[Stage]:
    """The stages from topics to their subtopics."""
    name, most = "subtopic_expansion", config.max_subtopics
    yield Stage(
        name=f"{name}.pending",
        transform=SelectUnexpanded(),
        row_type=Problem,
        settings={},
        inputs=("topics",),
        takes=Needed(),
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
        temperature=TEMPERATURE,
        settings={"max_subtopics": most},
    )
    yield Stage(
        name=f"{name}.subtopics",
        transform=ListSubtopics(f"{name}.subtopics"),
        row_type=Subtopic,
        settings={},
        inputs=("topics", name),
        makes=Several(),
        takes=Every("topics"),
    )


def _plan(config: QuestionsConfig, context: Context) -> Iterator[Stage]:
    """The stages that say which questions are written, format by format."""
    name = "plan_questions"
    grid = Grid(config.difficulties, config.formats, config.questions_per_cell)
    yield Stage(
        name=name,
        transform=PlanQuestions(grid),
        row_type=Slot,
        settings=dataclasses.asdict(grid),
        inputs=("subtopic_expansion.subtopics",),
        makes=Several(),
    )
    yield Stage(
        name=f"{name}.drawn",
        transform=DrawSlots(grid, config.num_records, context.seed),
        row_type=Slot,
        settings={"num_records": config.num_records},
        inputs=(name,),
        takes=Drawn(),
        verify=functools.partial(_verify_draw, config.num_records),
    )
    yield from _by_format(config, f"{name}.drawn", Slot)


def _by_format(config: QuestionsConfig, after: str, row_type: type) -> Iterator[Stage]:
    """The stages that take apart what answers are held to another form for."""
    name = after.split(".")[0]
    for of_format in config.formats:
        yield Stage(
            name=f"{name}.{of_format}",
            transform=SelectFormat(of_format),
            row_type=row_type,
            settings={"format": of_format},
            inputs=(after,),
            takes=Needed(),
        )


def _written(config: QuestionsConfig, context: Context) -> Iterator[Stage]:
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


def _augmented(config: QuestionsConfig, context: Context) -> Iterator[Stage]:
    """The stages that make new questions from those that there are.

    Samples are numbered across the kinds, whatever the settings, so that each has an id of its own
    and keeps its answer where more are asked for.
    """
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
                first_sample=1 + AUGMENTATIONS.index(kind) * MOST_AUGMENTATIONS,
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
        temperature=TEMPERATURE,
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
        takes=Every(*inputs),
    )


def _verify_draw(number: int, inputs: Sequence[StageManifest], made: StageManifest) -> None:
    """As many slots are drawn as were asked for, or all."""
    if made.rows != min(number, inputs[0].rows):
        raise RowsLost(f"{made.stage} drew {made.rows} of {inputs[0].rows} rows, not {number}")
