"""New summaries of correct solutions, as a part of recipes.

judged ─┬─ select_correct ─ generate_new_summaries ─┬─ merge_new_summaries
        └───────────────────────────────────────────┘

The step and the names of its stages are those of NVIDIA's OpenMathReasoning. The one that it has
between them, `judge_new_summaries`, is the check of each answer.
"""

import functools
from collections.abc import Iterator

from beam_sdg.recipes.recipe import Context
from beam_sdg.stages import Every, Needed, Stage
from transforms import summaries
from transforms.reading import Conclusion
from transforms.records import JudgedSolution, Summary
from transforms.summaries import MergeSummaries, SelectCorrect, SummarySettings

MERGED = "merge_new_summaries"


def new_summaries(context: Context, after: str, settings: SummarySettings) -> Iterator[Stage]:
    """The stages that give the correct ones of a stage's `JudgedSolution` rows new summaries.

    The last is `MERGED`. There are none where no summaries are asked for.
    """
    if not settings.new_summaries:
        return
    tags = {name: getattr(settings, name) for name in ("start_tag", "end_tag")}
    yield Stage(
        name="select_correct",
        transform=SelectCorrect(settings),
        row_type=JudgedSolution,
        settings={**tags, "strict_end_tag": settings.strict_end_tag},
        inputs=(after,),
        takes=Needed(),
    )
    yield context.ask(
        "generate_new_summaries",
        after="select_correct",
        prompt=summaries.PROMPT,
        variables=summaries.variables_of,
        reader=Conclusion(),
        check=functools.partial(summaries.fault_of, settings=settings),
        keep=summaries.summary_of,
        row_type=Summary,
        samples=settings.new_summaries,
        temperature=summaries.PUBLISHED_TEMPERATURE,
        max_tokens=summaries.PUBLISHED_MAX_TOKENS,
        settings=tags,
    )
    yield Stage(
        name=MERGED,
        transform=MergeSummaries(MERGED, settings),
        row_type=JudgedSolution,
        settings=settings.model_dump(),
        inputs=(after, "generate_new_summaries"),
        takes=Every(after),
    )
