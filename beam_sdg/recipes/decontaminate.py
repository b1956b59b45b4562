"""Problems of one's own, compared with benchmarks: labelled, or without those that are in one.

    problems ─ [near_duplicates] ─ decontaminate ─ export

The method is that of NVIDIA's OpenMathReasoning.
"""

import dataclasses
from typing import ClassVar

import pydantic

from beam_sdg.recipes.decontamination import NO_BENCHMARKS, DecontaminationConfig, decontaminate
from beam_sdg.recipes.near_duplicates import NearDuplicatesConfig, near_duplicates
from beam_sdg.recipes.problems import AnsweredProblemsConfig
from beam_sdg.recipes.recipe import Context, Recipe
from beam_sdg.recipes.sft import same
from beam_sdg.stages import Stage
from transforms.decontamination.labels import calls_of, evidence, is_contaminated
from transforms.decontamination.records import ContaminationLabel
from transforms.records import Call, Origin, Problem


@dataclasses.dataclass(frozen=True, slots=True)
class FoundIn:
    """A benchmark's row that a problem is like, and what the model said of it, if it was asked."""

    benchmark: str
    row: str
    text: str
    method: str
    score: float
    votes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class DecontaminationProvenance:
    """Where a problem came from, and how a model was asked about it."""

    problem: Origin
    calls: tuple[Call, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class DecontaminatedProblem:
    """A row of the dataset.

    `contaminated` is true of `verdict` contaminated and unchecked; `found_in` says why. `extra` is
    canonical JSON of the columns that the problem came with.
    """

    id: str
    problem: str
    expected_answer: str | None
    contaminated: bool
    verdict: str
    found_in: tuple[FoundIn, ...]
    extra: str
    provenance: DecontaminationProvenance


class DecontaminateConfig(AnsweredProblemsConfig, DecontaminationConfig, NearDuplicatesConfig):
    """The settings of comparing problems with benchmarks, whose rows are short."""

    rows_per_shard: ClassVar[int] = 50_000

    num_records: int = pydantic.Field(1_000_000, ge=1, description="most problems that are taken")
    deduplicate: bool = pydantic.Field(False, description="reject equal problems")

    def expected_rows(self) -> int:
        """No more than the files' sizes allow."""
        return self.rows_at_most("math")

    @pydantic.model_validator(mode="after")
    def _names_benchmarks(self) -> "DecontaminateConfig":
        if (self.problems and not self.benchmarks) or self.benchmarks == NO_BENCHMARKS:
            raise ValueError(
                "benchmarks are missing, with which the problems are to be compared; write "
                "--benchmarks published, or NAME=FILE"
            )
        return self


def put(problem: Problem, label: ContaminationLabel) -> DecontaminatedProblem:
    """A problem and its label as a row."""
    found = tuple(
        FoundIn(
            finding.match.benchmark,
            finding.match.row,
            finding.match.text,
            finding.match.method,
            finding.match.score,
            finding.votes,
        )
        for finding in evidence(label)
    )
    origin = Origin(problem.id, problem.source, problem.source_id, problem.licence, problem.extra)
    return DecontaminatedProblem(
        id=problem.id,
        problem=problem.text,
        expected_answer=problem.expected_answer,
        contaminated=is_contaminated(label),
        verdict=label.verdict,
        found_in=found,
        extra=problem.extra,
        provenance=DecontaminationProvenance(origin, calls_of(label)),
    )


def stages(config: DecontaminateConfig, context: Context) -> list[Stage]:
    """The stages."""
    if not config.benchmarks:
        config = config.model_copy(update={"benchmarks": ("sample",)})
    found = [config.read(context, config.sources())]
    found += near_duplicates(found[-1].name, config, Problem)
    found += decontaminate(context, found[-1].name, config, DecontaminatedProblem, put)
    return [*found, context.export(found[-1].name, same, DecontaminatedProblem)]


DECONTAMINATE = Recipe(
    name="decontaminate",
    summary="find problems that benchmarks have too: by words, by meaning, checked by a model",
    config=DecontaminateConfig,
    stages=stages,
    modes={
        "demo": (
            "--endpoint=nvidia",
            "--model=meta/llama-3.3-70b-instruct",
            "--num_records=10",
        ),
        "published": (
            "--model=Qwen/Qwen2.5-32B-Instruct",
            "--benchmarks=published",
            "--contamination_methods=exact,neighbours",
            "--similar_top_k=1",
            "--similarity_threshold=-1",
            "--remove_contaminated",
        ),
    },
    citation="The method is NVIDIA's, published with OpenMathReasoning (arXiv:2504.16891).",
)
