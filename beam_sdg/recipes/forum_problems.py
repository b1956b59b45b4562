"""The stages that make problems of a forum's threads, for recipes that begin with them.

threads ─ extract_problems ─ classify_problems (proof, mcq, binary, invalid) ─ extract_answers ─┐
                                 └─ convert_proofs ─ classify_converted ─────────────────────────┤
  ┌──────────────────────────────────────────────────────────────────────────────────────────────┘
  └─ merge_data ─ [near_duplicates] ─ [decontaminate]

The stages' names are those of NVIDIA's OpenMathReasoning.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import ClassVar, Self

import pydantic

from beam_sdg.recipes.decontamination import (
    DecontaminationConfig,
    decontaminate,
    require_benchmarks,
)
from beam_sdg.recipes.near_duplicates import NearDuplicatesConfig, near_duplicates
from beam_sdg.recipes.problems import SAMPLES, AnsweredProblemsConfig
from beam_sdg.recipes.recipe import Context, RecipeConfig
from beam_sdg.sources.threads import ThreadsConfig, read_threads
from beam_sdg.stages import Every, Needed, Several, Stage, StageManifest
from transforms.errors import RowsLost
from transforms.forum_problems import answering, classification, conversion, extraction
from transforms.forum_problems.answering import JoinThreads
from transforms.forum_problems.classification import CLASSES, PROOF, RemoveClass, SelectClass
from transforms.forum_problems.extraction import SplitProblems
from transforms.forum_problems.merging import (
    MergeProblems,
    TakeProblems,
    labelled_problem,
    rank_of,
)
from transforms.forum_problems.records import (
    ClassVote,
    Extraction,
    ForumProblem,
    ProblemInThread,
)
from transforms.records import Problem

VOTES_TEMPERATURE = 0.7  # of several votes; a single one draws nothing
MODEL = "Qwen/Qwen2.5-32B-Instruct"  # published
# The model of these stages, in modes whose other stages have one of their own.
MODEL_OF_STAGES = tuple(
    f"--set={of}.model={MODEL}" for of in ("extract", "classify", "convert", "decontaminate")
)


class ForumProblemsConfig(ThreadsConfig, DecontaminationConfig, NearDuplicatesConfig, RecipeConfig):
    """Base of the configurations of recipes that make problems of threads.

    Threads are long: with 24,000 tokens of discussion, a row has 100 KB.
    """

    rows_per_shard: ClassVar[int] = 10_000

    num_threads: int | None = pydantic.Field(
        None,
        ge=1,
        description="threads that are read, drawn by the seed (default: as many as num_records)",
    )
    class_votes: int = pydantic.Field(
        1, ge=1, description="votes on whether a problem is a proof, mcq, binary or invalid"
    )
    convert_proofs: bool = pydantic.Field(
        False, description="make problems with an answer of statements to be proved"
    )

    def of_rows(self, rows: int) -> Self:
        """As `RecipeConfig`; of as few threads."""
        fewer = super().of_rows(rows)
        threads = min(rows, self.num_threads or self.num_records)
        return fewer.model_copy(update={"num_threads": threads})

    def threads_read(self) -> int:
        """The most threads that are read."""
        return self.num_threads or self.num_records


class FromThreadsConfig(ForumProblemsConfig, AnsweredProblemsConfig):
    """Base of those that solve problems, of files or out of threads."""

    remove_contaminated: bool = pydantic.Field(
        False,
        description="reject contaminated rows before they are solved; without, they are labelled "
        "(default with --threads: true)",
    )

    @pydantic.model_validator(mode="after")
    def _reads_one_thing(self) -> Self:
        if self.threads and self.problems:
            raise ValueError(
                "threads and problems are both given, and problems are read or made of threads; "
                "drop one, a mode's own by an empty --problems="
            )
        return self


def problems(config: FromThreadsConfig, context: Context) -> list[Stage]:
    """The stages whose last has the problems to solve: of files, or made of threads.

    Raises:
        UsageError, InputError: something that is named cannot be had.
    """
    if config.threads:
        if "remove_contaminated" not in config.model_fields_set:
            config = config.model_copy(update={"remove_contaminated": True})
        found = list(problem_stages(config, context))
        most = config.num_records
        take = Stage(
            name="problems",
            transform=TakeProblems(most, context.seed),
            row_type=Problem,
            settings={"max_records": most, "seed": context.seed},
            inputs=(found[-1].name,),
            takes=Needed(),
            verify=functools.partial(_verify_draw, most),
        )
        return [*found, take]
    found = [config.read(context, config.sources())]
    found += near_duplicates(found[-1].name, config, Problem)
    found += decontaminate(context, found[-1].name, config)
    return found


def problem_stages(config: ForumProblemsConfig, context: Context) -> Iterator[Stage]:
    """The stages from threads to problems; the rows of the last are `ForumProblem` records.

    Raises:
        UsageError, InputError: something that is named cannot be had.
    """
    if config.threads:
        require_benchmarks(context, config, "extract_problems")
    threads = config.part(ThreadsConfig).model_copy(update={"num_threads": config.threads_read()})
    yield read_threads(context, threads, sample=f"forum={SAMPLES / 'forum.jsonl'}")
    yield context.ask(
        "extract_problems",
        after="threads",
        prompt=extraction.PROMPT,
        variables=extraction.variables_of,
        reader=extraction.READER,
        keep=extraction.extraction_of,
        row_type=Extraction,
        greedy=True,
    )
    yield Stage(
        name="extract_problems.split",
        transform=SplitProblems("extract_problems.split"),
        row_type=ForumProblem,
        settings={},
        inputs=("extract_problems",),
        makes=Several(),
    )
    last = "extract_problems.split"
    for stage in _classified(context, "classify_problems", last, config):
        yield stage
        last = stage.name
    yield from _answered(context, last)
    merged = ["extract_answers"]
    if config.convert_proofs:
        for stage in _converted(context, config):
            yield stage
            last = stage.name
        merged.append(last)
    yield Stage(
        name="merge_data",
        transform=MergeProblems("merge_data"),
        row_type=ForumProblem,
        settings={},
        inputs=tuple(merged),
        takes=Every(*merged),
    )
    last = "merge_data"
    for stage in near_duplicates(last, config, ForumProblem, rank_of):
        yield stage
        last = stage.name
    yield from decontaminate(context, last, config, ForumProblem, labelled_problem)


def _classified(
    context: Context, name: str, after: str, config: ForumProblemsConfig, converts: bool = False
) -> Iterator[Stage]:
    """The stages that take out the problems of one class after the other."""
    for of_class in CLASSES:
        asked = f"{name}_{of_class}"
        yield context.ask(
            asked,
            after=after,
            prompt=classification.prompt_of(of_class),
            variables=classification.variables_of,
            reader=classification.reader_of(of_class),
            keep=functools.partial(classification.vote_of, name=of_class),
            row_type=ClassVote,
            samples=config.class_votes,
            temperature=VOTES_TEMPERATURE,
            greedy=config.class_votes == 1,
        )
        # Proofs that are to be converted are left to the stage that selects them.
        rejects = of_class != PROOF or converts or not config.convert_proofs
        yield Stage(
            name=f"{asked}.no",
            transform=RemoveClass(f"{asked}.no", of_class, rejects),
            row_type=ForumProblem,
            settings={"class": of_class, "rejects": rejects},
            inputs=(after, asked),
            takes=(Every if rejects else Needed)(after, parts=True),
        )
        after = f"{asked}.no"


def _answered(context: Context, after: str) -> Iterator[Stage]:
    """The stages that look for each problem's answer in its thread."""
    yield Stage(
        name="extract_answers.threads",
        transform=JoinThreads(),
        row_type=ProblemInThread,
        settings={},
        inputs=(after, "threads"),
        takes=Every(after),
    )
    yield context.ask(
        "extract_answers",
        after="extract_answers.threads",
        prompt=answering.PROMPT,
        variables=answering.variables_of,
        reader=answering.READER,
        check=answering.fault_of,
        keep=answering.answered_problem,
        row_type=ForumProblem,
        greedy=True,
    )


def _converted(context: Context, config: ForumProblemsConfig) -> Iterator[Stage]:
    """The stages that make problems of proofs, and classify these like any other."""
    asked = f"classify_problems_{PROOF}"
    yield Stage(
        name="convert_proofs.proofs",
        transform=SelectClass(),
        row_type=ForumProblem,
        settings={},
        inputs=("extract_problems.split", asked),
        takes=Needed("extract_problems.split", parts=True),
    )
    yield context.ask(
        "convert_proofs",
        after="convert_proofs.proofs",
        prompt=conversion.PROMPT,
        variables=conversion.variables_of,
        reader=conversion.READER,
        check=conversion.fault_of,
        keep=conversion.converted_problem,
        row_type=ForumProblem,
        greedy=True,
    )
    yield from _classified(context, "classify_converted", "convert_proofs", config, converts=True)


def _verify_draw(most: int, inputs: Sequence[StageManifest], made: StageManifest) -> None:
    """Only what is beyond the limit may be left out."""
    if made.rows != min(most, made.rows_in):
        raise RowsLost(f"{made.stage} drew {made.rows} of {made.rows_in} problems")
