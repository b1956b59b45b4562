"""The stages that judge what the code of solutions is worth, fragment by fragment.

solutions ─┬────────────────────────────────────────── filter_fragments
           └ fragments ─┬─ judge_novelty ──────┬───────┘
                        └─ judge_significance ─┘
"""

import functools
from collections.abc import Iterator

from beam_sdg.recipes.recipe import Context
from beam_sdg.runs import Stage
from transforms.records import Fragment, FragmentVote, InsightfulSolution
from transforms.tir import insight
from transforms.tir.formats import CODE_FORMATS
from transforms.tir.fragments import ExtractFragments
from transforms.tir.insight import InsightSettings, KeepInsightful


def judged_fragments(
    context: Context, settings: InsightSettings, name: str, after: str, code_format: str
) -> Iterator[Stage]:
    """The stages that take fragments of solutions, show them to judges and count the votes.

    `name` is that of the first, which takes the solutions of the stage `after`, whose calls are in
    `code_format`; the last is `filter_fragments`.
    """
    yield Stage(
        name=name,
        transform=ExtractFragments(name, CODE_FORMATS[code_format], settings.window),
        row_type=Fragment,
        settings={"code_format": code_format, "window": settings.window},
        inputs=(after,),
        fans_out=True,
    )
    judges = {question: f"judge_{question}" for question in insight.LABELS}
    for question, judge in judges.items():
        yield context.ask(
            judge,
            after=name,
            prompt=insight.prompt_of(question),
            variables=insight.variables_of,
            reader=insight.reader_of(question),
            keep=functools.partial(insight.vote_of, question=question),
            row_type=FragmentVote,
            samples=settings.votes,
            temperature=insight.PUBLISHED_TEMPERATURE,
        )
    yield Stage(
        name="filter_fragments",
        transform=KeepInsightful("filter_fragments", settings),
        row_type=InsightfulSolution,
        settings=settings.model_dump(),
        inputs=(after, name, *judges.values()),
        one_per=(name,),
    )
