"""OpenMathReasoning's problems: out of a forum's threads, of the right kinds, with their answers.

    threads ─ extract_problems ─ classify_problems ─ extract_answers ─┬─ merge_data ─┐
                                       └─ convert_proofs ─────────────┘              │
                                                            export ─ decontaminate ──┘

The method and the names are those of NVIDIA's OpenMathReasoning; without `convert_proofs`, and of
Stack Exchange, of Nemotron-Math-v2.
"""

import pydantic

from beam_sdg.recipes.forum_problems import MODEL, ForumProblemsConfig, problem_stages
from beam_sdg.recipes.recipe import Context, Recipe
from beam_sdg.stages import Stage
from transforms.forum_problems.merging import example_of
from transforms.forum_problems.records import ForumProblemExample

_FULL = (
    f"--model={MODEL}",
    "--benchmarks=published",
    "--contamination_methods=exact,neighbours",
    "--similar_top_k=1",
    "--similarity_threshold=-1",
    "--num_records=1000000",
)
MODES = {
    "demo": ("--endpoint=nvidia", "--model=meta/llama-3.3-70b-instruct", "--num_records=10"),
    "qwen-instruct": ("--threads=aops", *_FULL),
    "stackexchange": ("--threads=stackexchange", "--convert_proofs=false", *_FULL),
}


class OpenMathReasoningProblemsConfig(ForumProblemsConfig):
    """The settings of problems out of threads."""

    num_records: int = pydantic.Field(10, ge=1, description="threads that are read")
    convert_proofs: bool = pydantic.Field(
        True, description="make problems with an answer of statements to be proved"
    )

    def expected_rows(self) -> int:
        return self.threads_read()


def stages(config: OpenMathReasoningProblemsConfig, context: Context) -> list[Stage]:
    """The stages."""
    if not config.threads and not config.benchmarks:
        config = config.model_copy(update={"benchmarks": ("sample",)})
    found = list(problem_stages(config, context))
    return [*found, context.export(found[-1].name, example_of, ForumProblemExample)]


OPENMATHREASONING_PROBLEMS = Recipe(
    name="openmathreasoning-problems",
    summary="make problems of a forum's threads: extract, classify, find answers, convert proofs",
    config=OpenMathReasoningProblemsConfig,
    stages=stages,
    modes=MODES,
    citation="The method is NVIDIA's, published with OpenMathReasoning (arXiv:2504.16891).",
)
