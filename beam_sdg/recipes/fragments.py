"""The stages that keep solutions by what their code is worth, fragment by fragment if asked for.

solutions ─ filter ─┬────────────────────────────────────────── filter_fragments
                    └ fragments ─┬─ judge_novelty ──────┬───────┘
                                 └─ judge_significance ─┘
"""

import functools
from collections.abc import Iterator

import pydantic

from beam_sdg.python_flags import PythonConfig
from beam_sdg.recipes.recipe import Context
from beam_sdg.stages import Every, Several, Stage
from transforms.records import Fragment, FragmentVote, InsightfulSolution, Solution
from transforms.tir import insight
from transforms.tir.filters import FilterTir, TirFilters
from transforms.tir.formats import CODE_FORMATS
from transforms.tir.fragments import ExtractFragments
from transforms.tir.insight import InsightSettings, KeepInsightful


class CodeConfig(PythonConfig, TirFilters, InsightSettings):
    """Base of the configurations of such recipes; filters have the names of their reasons."""

    judge_fragments: bool = pydantic.Field(
        False, description="keep only solutions in which a call finds out something that matters"
    )


def with_useful_code(
    context: Context, config: CodeConfig, name: str, after: str, fragments: str, into: str = ""
) -> Iterator[Stage]:
    """The stages that keep those solutions of the stage `after` that use Python well.

    `name` is that of the filter, which may rewrite calls `into` another code format, and
    `fragments` that of the stage that takes fragments; the last is `filter_fragments`, if any.
    """
    written_as, filters = config.written_as(), config.part(TirFilters)
    rewritten = CODE_FORMATS[into] if into else None
    yield Stage(
        name=name,
        transform=FilterTir(name, CODE_FORMATS[written_as], filters, rewritten),
        row_type=Solution,
        settings={"code_format": written_as, "into": into, **filters.model_dump()},
        inputs=(after,),
    )
    if config.judge_fragments:
        yield from _judged(
            context, config.part(InsightSettings), fragments, name, into or written_as
        )


def _judged(
    context: Context, settings: InsightSettings, name: str, after: str, code_format: str
) -> Iterator[Stage]:
    """The stages that take fragments of solutions, show them to judges and count the votes."""
    yield Stage(
        name=name,
        transform=ExtractFragments(name, CODE_FORMATS[code_format], settings.window),
        row_type=Fragment,
        settings={"code_format": code_format, "window": settings.window},
        inputs=(after,),
        makes=Several(),
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
        takes=Every(name),
    )
