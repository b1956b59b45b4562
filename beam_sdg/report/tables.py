"""The facts as tables: terminal, page and card render these same ones."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

from beam_sdg.publish import TRAIN
from beam_sdg.report.asked import AskFigures
from beam_sdg.report.figures import Figures
from beam_sdg.report.shown import counted, dollars, line, measured, named, share
from beam_sdg.report.spread import Spread
from beam_sdg.stages import StageManifest
from transforms.engines.store import FAULTS

_ENGINES_NOTE = (
    "Of vLLM that was run here, whoever asked it meanwhile: prompt tokens found in its prefix "
    "cache; requests that it ran on average, how many it has room for, and the one by the other."
)


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """A name and numbers; `part` says that it is a part of the row above that is none."""

    name: str
    cells: tuple[str, ...]
    part: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """A table; `key` is unique among all of them and `note` says how to read it."""

    key: str
    title: str
    note: str
    headers: tuple[str, ...]
    rows: tuple[Row, ...]


def tables(figures: Figures) -> list[Table]:
    """All tables that have something to say, in the order of reading."""
    every = (
        Table(
            "funnel",
            "Rows by stage",
            "In × samples = out + rejected + left out. A stage of several inputs takes their "
            "product, or joins them; one that makes several rows of one says of how many.",
            ("stage", "in", "out", "rejected", "left out"),
            tuple(_funnel(figures)),
        ),
        Table(
            "splits",
            "Splits",
            "",
            ("split", "rows", "share"),
            tuple(_splits(figures)),
        ),
        *(_told(stage) for stage in figures.manifest.stages if stage.told),
        Table(
            "values",
            "Columns of few values",
            "Rows with each value, of those that have one.",
            ("column", "rows", "share", "mean"),
            tuple(_values(figures)),
        ),
        Table(
            "numbers",
            "Columns of numbers",
            "",
            ("column", "mean", "p5", "median", "p95", "most"),
            tuple(
                Row(number.name, (measured(number.spread.mean), *_quantiles(number.spread)))
                for number in figures.data.numbers
            ),
        ),
        Table(
            "texts",
            "Lengths of texts, in characters",
            "Repeats are texts that equal one before them, white space and case aside.",
            ("column", "p5", "median", "p95", "longest", "repeats"),
            tuple(
                Row(text.name, (*_quantiles(text.lengths), counted(text.duplicates)))
                for text in figures.data.texts
            ),
        ),
        Table(
            "sources",
            "Sources",
            "A row that was made from several sources counts for each.",
            ("source", "licence", "rows"),
            tuple(
                Row(line(origin.source), (line(origin.licence) or "not said", counted(origin.rows)))
                for origin in figures.data.origins
            ),
        ),
        Table(
            "asked",
            "Asked, by the answer store",
            "All that the store holds, also from runs with other settings. Corrections are further "
            "turns that made accepted rows. "
            + " ".join(faults_of_store(figures.store_faults, "DIR")),
            ("stage", "answers", "failed", "retries", "corrections"),
            tuple(_asked(figures)),
        ),
        Table(
            "tokens",
            "Asked: tokens, and seconds an answer",
            "",
            ("stage", "of", "total", "median", "p95", "most"),
            tuple(_tokens(figures)),
        ),
        Table(
            "engines",
            "Engines",
            " ".join((_ENGINES_NOTE, *hints(figures))),
            ("stage", "prefix hits", "running", "of", "used", "tokens/s"),
            tuple(_engines(figures)),
        ),
        Table(
            "cost",
            "Cost",
            "US dollars for all tokens above, at the prices given for a million.",
            ("stage", "price in", "price out", "cost"),
            tuple(_cost(figures)),
        ),
    )
    return [table for table in every if table.rows]


def hints(figures: Figures) -> list[str]:
    """What to change about engines that were not used well, where that is known."""
    return [
        f"{stage}: {hint}."
        for stage, asked in figures.manifest.asks.items()
        for one in asked.served
        if (hint := one.hint())
    ]


def faults_of_store(counts: Mapping[str, int], folder: str) -> list[str]:
    """What is wrong with the answer store, in a line, if anything is."""
    found = [
        f"{counted(counts[kind])} {fault.one if counts[kind] == 1 else fault.several}"
        for kind, fault in FAULTS.items()
        if counts.get(kind)
    ]
    if not found:
        return []
    said = " and ".join(filter(None, (", ".join(found[:-1]), found[-1])))
    return [f"Answer store: {said}; beam-sdg store {folder} shows where"]


def asked_of(asked: AskFigures, figures: Figures) -> str:
    """The stage, and its model where there are several."""
    several = len({one.model for one in figures.asked}) > 1
    return f"{asked.stage}: {asked.model}" if several else asked.stage


def _quantiles(spread: Spread) -> tuple[str, ...]:
    return tuple(map(measured, (spread.p5, spread.median, spread.p95, spread.most)))


def _funnel(figures: Figures) -> Iterator[Row]:
    for stage in figures.manifest.stages:
        counts = (stage.rows_in, stage.rows, sum(stage.rejects.values()), stage.not_sampled)
        yield Row(stage.stage, tuple(map(counted, counts)))
        if stage.samples > 1:
            yield Row("samples of each", (counted(stage.samples), "", "", ""), part=True)
        if stage.made_from is not None:
            yield Row("made from", ("", counted(stage.made_from), "", ""), part=True)
        for reason, number in stage.rejects.items():
            yield Row(reason, ("", "", counted(number), ""), part=True)


def _told(stage: StageManifest) -> Table:
    """What a stage tells of its rows."""
    headers = next(iter(stage.told.values()))
    rows = (Row(line(name), tuple(map(counted, of.values()))) for name, of in stage.told.items())
    return Table(f"told-{stage.stage}", stage.stage, "", ("of", *headers), tuple(rows))


def _splits(figures: Figures) -> Iterator[Row]:
    splits = figures.manifest.splits
    for split, rows in splits.items() if [*splits] != [TRAIN] else ():
        yield Row(split, (counted(rows), share(rows / figures.data.rows)))


def _values(figures: Figures) -> Iterator[Row]:
    for column in figures.data.categories:
        rows = sum(column.counts.values())
        mean = "" if column.mean is None else f"{column.mean:.2f}"
        yield Row(column.name, (counted(rows), "", mean))
        for value, number in column.counts.items():
            yield Row(named(value), (counted(number), share(number / rows), ""), part=True)


def _asked(figures: Figures) -> Iterator[Row]:
    for asked in figures.asked:
        counts = (asked.answers, asked.failed, asked.retries, asked.corrections)
        yield Row(asked_of(asked, figures), tuple(map(counted, counts)))
        for reason, number in asked.finish_reasons.items():
            if reason != "stop":
                yield Row(f"finish_reason {reason}", (counted(number), "", "", ""), part=True)
        for reason, number in asked.failures.items():
            yield Row(reason, ("", counted(number), "", ""), part=True)


def _tokens(figures: Figures) -> Iterator[Row]:
    for asked in figures.asked:
        label = asked_of(asked, figures)
        for unit, spread, part, of_them in (
            ("tokens in", asked.tokens_in, "cached", asked.cached),
            ("tokens out", asked.tokens_out, "reasoning", asked.reasoning),
            ("seconds", asked.latency_s, "", 0),
        ):
            if spread is not None:
                yield Row(label, (unit, measured(spread.total), *_quantiles(spread)[1:]))
                label = ""
            if spread is not None and of_them:
                found = (f"– {part}", measured(of_them), share(of_them / spread.total), "", "")
                yield Row("", found)
        if charged := asked.charged_in + asked.charged_out:
            yield Row(label, ("tokens not told, estimated", measured(charged), "", "", ""))


def _engines(figures: Figures) -> Iterator[Row]:
    told: list[str] = []
    for stage, asked in figures.manifest.asks.items():
        for one in asked.served:
            yield Row(
                stage,
                (
                    _known(one.prefix_cache_hit_rate, share),
                    _known(one.running, measured),
                    counted(one.slots),
                    _known(one.utilisation, share),
                    _known(one.tokens_per_s, measured),
                ),
            )
            revision = f"revision {asked.revision}" if asked.revision else ""
            commit = f"commit {one.commit}" if one.commit else ""
            engine = f"{one.engine} {one.version}".strip()
            about = [part for part in (engine, asked.model, revision, commit, one.args) if part]
            if about != told:
                yield from (Row(line(part), ("",) * 5, part=True) for part in about)
            told = about


def _known(figure: float | None, written: Callable[[float], str]) -> str:
    return "" if figure is None else written(figure)


def _cost(figures: Figures) -> Iterator[Row]:
    for asked in figures.asked:
        if asked.cost is not None:
            prices = (dollars(asked.price_in or 0), dollars(asked.price_out or 0))
            yield Row(asked_of(asked, figures), (*prices, dollars(asked.cost)))
    if figures.cost is not None:
        yield Row("all", ("", "", dollars(figures.cost)))
    if figures.cost_per_row is not None:
        yield Row("an accepted row", ("", "", dollars(figures.cost_per_row)))
