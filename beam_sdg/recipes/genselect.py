"""GenSelect: choose the best of several solutions to a problem, and learn to.

    rows ─ prepare_labeling_data ─ label_data ─ extract_judgment ─┬─ merge_new_summaries
                                                                  └ generate_new_summaries ┘
    merge_new_summaries ─ prepare_for_sft ─ export

The method and the names are those of NVIDIA's OpenMathReasoning.
"""

import functools
from collections.abc import Iterator
from typing import Any, ClassVar

import pydantic

from beam_sdg.recipes.problems import JudgedRowsConfig
from beam_sdg.recipes.recipe import Context, Recipe
from beam_sdg.recipes.sft import SftConfig, TracesTo, training_data, verify_draw
from beam_sdg.stages import Drawn, Every, OneOfSeveral, Several, Stage
from beam_sdg.template_flags import pinned
from transforms.genselect import comparison, summaries
from transforms.genselect.candidates import PUBLISHED_CHARACTERS, CandidatesOfRows
from transforms.genselect.comparison import JudgedText, KeepRightChoices
from transforms.genselect.instances import InstanceRules, MakeInstances
from transforms.genselect.problems import GatherCandidates
from transforms.genselect.records import (
    Comparison,
    ComparisonSummary,
    Instance,
    JudgedCandidate,
    JudgedProblem,
)
from transforms.genselect.summaries import MergeComparisonSummaries
from transforms.sft.downsample import Downsample
from transforms.sft.lengths import Lengths
from transforms.summaries import PUBLISHED_MAX_TOKENS, PUBLISHED_TEMPERATURE

PREPARED, LABELED, EXTRACTED = "prepare_labeling_data", "label_data", "extract_judgment"
SUMMARISED, MERGED = "generate_new_summaries", "merge_new_summaries"
MODES = {
    "demo": (
        "--endpoint=nvidia",
        "--model=deepseek-ai/deepseek-r1-distill-qwen-32b",
        f"--set={SUMMARISED}.model=meta/llama-3.3-70b-instruct",
        f"--set={SUMMARISED}.endpoint=nvidia",
        "--max_instances_per_problem=1",
        "--num_records=10",
    ),
    "full": (
        "--model=Qwen/QwQ-32B",
        f"--set={SUMMARISED}.model=Qwen/Qwen2.5-32B-Instruct",
        "--instance_tokenizer=Qwen/QwQ-32B",
        "--num_records=1000000",
    ),
}
# What rows that were made here have beside the columns that are read: the same texts again.
_DROPPED = ("input", "output", "messages", "metadata", "extra")


class GenSelectConfig(JudgedRowsConfig, SftConfig, InstanceRules):
    """The settings of GenSelect; the defaults are the published ones."""

    rows_per_shard: ClassVar[int] = 2_000  # each with up to 16 solutions

    num_records: int = pydantic.Field(10, ge=1, description="problems whose solutions are compared")
    max_solution_characters: int = pydantic.Field(
        PUBLISHED_CHARACTERS, ge=1, description="most characters that are shown of a solution"
    )
    instance_tokenizer: str = pydantic.Field(
        "",
        description="folder, or NAME[@REVISION] on the hub, of the tokenizer for "
        "max_instance_tokens (default: 3 characters are a token)",
    )
    new_summaries: int = pydantic.Field(
        summaries.PUBLISHED_SAMPLES,
        ge=0,
        description="summaries of each right comparison, the longest of which replaces it; 0 keeps "
        "the comparison",
    )
    deduplicate_solutions: bool = pydantic.Field(
        False, description="reject equal comparisons of a problem, be it of other solutions"
    )

    @pydantic.model_validator(mode="after")
    def _are_comparisons(self) -> "GenSelectConfig":
        self.refuse_filters_of_code()
        if self.rl_manifest:
            raise ValueError(
                "rl_manifest is of problems, and these rows compare solutions; drop it"
            )
        return self

    def _columns(self) -> dict[str, Any]:
        return {"id": "id", "dropped": _DROPPED, **super()._columns()}

    def expected_rows(self) -> int:
        """As many as are wanted, but of files one for each KB at most, and for each 20 KB one."""
        wanted = self.num_records * self.max_instances_per_problem
        there = self.bytes_there("judged")
        return max(min(wanted, there // 1000 + 1), there // 20_000) if there else wanted

    def of_rows(self, rows: int) -> "GenSelectConfig":
        """So many problems with one instance each, which the full run has too."""
        fewer = {"num_records": min(rows, self.num_records), "max_instances_per_problem": 1}
        return self.model_copy(update=fewer)

    def counter(self) -> Lengths:
        """What counts the tokens of an instance."""
        name = self.instance_tokenizer
        return Lengths(*pinned(name)) if name else Lengths()


def stages(config: GenSelectConfig, context: Context) -> list[Stage]:
    """The stages."""
    found = [
        context.read("rows", config.sources("judged"), deduplicate=False),
        *_instances(config, context, "rows"),
        *_comparisons(context, PREPARED),
        *_summaries(context, EXTRACTED, config.new_summaries),
    ]
    to = TracesTo(
        comparison.trace_of, comparison.PROMPT, comparison.variables_of_trace, shows_prompt=True
    )
    return [*found, *training_data(config, context, {found[-1].name: to})]


def _instances(config: GenSelectConfig, context: Context, after: str) -> Iterator[Stage]:
    """The stages that draw instances of judged solutions; the last is `PREPARED`."""
    solutions, problems, taken = (
        f"{PREPARED}.{step}" for step in ("solutions", "problems", "drawn")
    )
    most = config.max_solution_characters
    yield Stage(
        name=solutions,
        transform=CandidatesOfRows(solutions, config.use_judgement, most),
        row_type=JudgedCandidate,
        settings={"use_judgement": config.use_judgement, "most_characters": most},
        inputs=(after,),
    )
    yield Stage(
        name=problems,
        transform=GatherCandidates(problems),
        row_type=JudgedProblem,
        settings={},
        inputs=(solutions,),
        makes=OneOfSeveral("num_solutions"),
    )
    yield Stage(
        name=taken,
        transform=Downsample(config.num_records, "random", context.seed),
        row_type=JudgedProblem,
        settings={"number": config.num_records, "seed": context.seed},
        inputs=(problems,),
        takes=Drawn(),
        verify=functools.partial(verify_draw, config.num_records),
    )
    rules, lengths = config.part(InstanceRules), config.counter()
    yield Stage(
        name=PREPARED,
        transform=MakeInstances(PREPARED, context.seed, rules, lengths),
        row_type=Instance,
        settings={
            "seed": context.seed,
            "rules": rules.model_dump(),
            "lengths": lengths.content_hash(),
        },
        inputs=(taken,),
        makes=Several(rules.max_instances_per_problem),
    )


def _comparisons(context: Context, after: str) -> Iterator[Stage]:
    """The stages that have instances compared, and keep right choices; the last is `EXTRACTED`."""
    yield context.ask(
        LABELED,
        after=after,
        prompt=comparison.PROMPT,
        variables=comparison.variables_of,
        reader=JudgedText(keeps_reasoning=True),
        check=comparison.fault_of,
        keep=comparison.comparison_of,
        row_type=Comparison,
        temperature=comparison.PUBLISHED_TEMPERATURE,
        max_tokens=comparison.PUBLISHED_MAX_TOKENS,
    )
    yield Stage(
        name=EXTRACTED,
        transform=KeepRightChoices(EXTRACTED),
        row_type=Comparison,
        settings={},
        inputs=(LABELED,),
    )


def _summaries(context: Context, after: str, samples: int) -> Iterator[Stage]:
    """The stages that tell comparisons again; none where no summaries are asked for."""
    if not samples:
        return
    yield context.ask(
        SUMMARISED,
        after=after,
        prompt=summaries.PROMPT,
        variables=summaries.variables_of,
        reader=JudgedText(),
        check=summaries.fault_of,
        keep=summaries.summary_of,
        row_type=ComparisonSummary,
        samples=samples,
        temperature=PUBLISHED_TEMPERATURE,
        max_tokens=PUBLISHED_MAX_TOKENS,
    )
    yield Stage(
        name=MERGED,
        transform=MergeComparisonSummaries(MERGED),
        row_type=Comparison,
        settings={},
        inputs=(after, SUMMARISED),
        takes=Every(after),
    )


GENSELECT = Recipe(
    name="genselect",
    summary="choose among right and wrong solutions of a problem, and tell why",
    config=GenSelectConfig,
    stages=stages,
    modes=MODES,
    citation="The method is NVIDIA's, published with OpenMathReasoning (arXiv:2504.16891).",
)
