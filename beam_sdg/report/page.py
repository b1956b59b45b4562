"""The report as one HTML file that needs no network and runs nothing.

Rows are untrusted: whatever they hold is escaped, and a policy in the page forbids scripts and
anything that would have to be loaded.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from beam_sdg.publish import CARD, MANIFEST
from beam_sdg.report import charts
from beam_sdg.report.figures import Figures
from beam_sdg.report.shown import counted, cut, dollars
from beam_sdg.report.spread import Spread
from beam_sdg.report.tables import Table, asked_of, tables

_LONGEST = 1_500
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Chart:
    """A picture and what is to be said of it."""

    caption: str
    svg: markupsafe.Markup


@dataclasses.dataclass(frozen=True, slots=True)
class Section:
    """A heading, pictures and a table."""

    table: Table
    charts: tuple[Chart, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """A row or a reject: a title and texts by name, cut to a readable length."""

    title: str
    texts: tuple[tuple[str, str], ...]


def page(figures: Figures) -> str:
    """The report as HTML.

    Cost: two to five seconds, nearly all of it drawing.
    """
    return _TEMPLATES.get_template("page.html.jinja").render(
        manifest=figures.manifest,
        columns=figures.columns,
        key_figures=list(_key_figures(figures)),
        sections=[Section(table, _charts(table.key, figures)) for table in tables(figures)],
        examples=_examples(figures),
        rejects=_rejects(figures),
        prompts=[stage for stage in figures.manifest.stages if "prompt_hash" in stage.settings],
        settings=_settings(figures.manifest.settings),
        card=CARD,
        manifest_name=MANIFEST,
    )


def _key_figures(figures: Figures) -> Iterator[tuple[str, str]]:
    yield "rows", counted(figures.data.rows)
    yield "rejects", counted(figures.rejected)
    if figures.rejected_duplicates:
        yield "of them duplicates", counted(figures.rejected_duplicates)
    if figures.asked:
        yield "answers", counted(sum(asked.answers for asked in figures.asked))
        yield "tokens in", counted(sum(asked.total_in for asked in figures.asked))
        yield "tokens out", counted(sum(asked.total_out for asked in figures.asked))
    if figures.cost is not None:
        yield "cost", dollars(figures.cost)
    if figures.cost_per_row is not None:
        yield "cost of an accepted row", dollars(figures.cost_per_row)


def _charts(key: str, figures: Figures) -> tuple[Chart, ...]:
    """The pictures that belong to the table `key`."""
    if key == "funnel":
        svg = charts.funnel("funnel-chart", figures.manifest.stages)
        return (Chart("Rows that each stage let through, and its rejects by reason", _safe(svg)),)
    if key == "values":
        return tuple(
            Chart(column.name, _safe(charts.bars(f"values-{number}", column.counts)))
            for number, column in enumerate(figures.data.categories)
        )
    return tuple(
        _histogram(f"{key}-{number}", name, spread, unit)
        for number, (name, spread, unit) in enumerate(_spreads(key, figures))
        if spread is not None
    )


def _spreads(key: str, figures: Figures) -> Iterator[tuple[str, Spread | None, str]]:
    if key == "texts":
        for text in figures.data.texts:
            yield text.name, text.lengths, "characters"
    if key == "numbers":
        for number in figures.data.numbers:
            yield number.name, number.spread, "value"
    if key == "tokens":
        for asked in figures.asked:
            name = asked_of(asked, figures)
            yield f"{name}: tokens in", asked.tokens_in, "tokens of a prompt"
            yield f"{name}: tokens out", asked.tokens_out, "tokens of an answer"
            yield f"{name}: latency", asked.latency_s, "seconds an answer"


def _histogram(key: str, name: str, spread: Spread, unit: str) -> Chart:
    return Chart(name, _safe(charts.histogram(key, spread.histogram, unit)))


def _safe(svg: str) -> markupsafe.Markup:
    return markupsafe.Markup(svg)  # noqa: S704


def _examples(figures: Figures) -> list[Example]:
    return [
        Example(f"Row {number}", tuple((name, _shown(value)) for name, value in row.items()))
        for number, row in enumerate(figures.examples, start=1)
    ]


def _rejects(figures: Figures) -> list[Example]:
    names = ("detail", "reply", "row")
    return [
        Example(
            f"{reject['stage']}: {reject['reason']}",
            tuple((name, cut(reject[name], _LONGEST)) for name in names if reject[name]),
        )
        for reject in figures.rejects
    ]


def _shown(value: Any) -> str:
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, indent=1)
    return cut(value, _LONGEST)


def _settings(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in settings.items()
    ]
