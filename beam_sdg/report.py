"""What came out of a run, what was lost on the way and why, and what it took."""

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import rich.box
import rich.console
import rich.table

from beam_sdg.publish import RunManifest
from beam_sdg.runs import StageManifest
from beam_sdg.shards import column_values
from transforms.engines.store import AnswerStore


def print_report(console: rich.console.Console, manifest: RunManifest, output: str) -> None:
    """Print the funnel, the figures of the rows and what the model was asked."""
    accepted = manifest.stages[-1].rows
    console.print(f"{manifest.recipe}: {accepted} rows in {output}/data, by {manifest.model}")
    console.print(_funnel(manifest.stages))
    columns = _shares(manifest, output)
    if accepted and columns:
        console.print(columns)
    usage = _usage(manifest, output)
    if usage.row_count:
        console.print(usage)
    rejected = sum(sum(stage.rejects.values()) for stage in manifest.stages)
    if rejected:
        console.print(f"{rejected} rejects, with reasons and raw replies: {output}/rejects")


def report_text(manifest: RunManifest, output: str) -> str:
    """The report as plain text, for a file."""
    console = rich.console.Console(file=io.StringIO(), width=100, color_system=None)
    print_report(console, manifest, output)
    return console.file.getvalue()  # type: ignore[attr-defined]


def _table(title: str, *columns: str) -> rich.table.Table:
    table = rich.table.Table(title=title, title_justify="left", box=rich.box.SIMPLE_HEAD)
    for number, column in enumerate(columns):
        first = number == 0
        table.add_column(column, justify="left" if first else "right", no_wrap=first)
    return table


def _funnel(stages: Sequence[StageManifest]) -> rich.table.Table:
    table = _table("Rows", "stage", "in", "out", "rejected", "not sampled")
    table.add_column("reasons", no_wrap=True)
    for stage in stages:
        reasons = "\n".join(f"{number:,} {reason}" for reason, number in stage.rejects.items())
        counts = (stage.rows_in, stage.rows, sum(stage.rejects.values()), stage.not_sampled)
        table.add_row(stage.stage, *(f"{count:,}" for count in counts), reasons)
    return table


def _shares(manifest: RunManifest, output: str) -> rich.table.Table | None:
    """How often each value of the columns with few values occurs."""
    paths = [f"{output}/{file.path}" for file in manifest.files if file.path.startswith("data/")]
    table = _table("Columns", "column")
    table.add_column("values")
    for column in ("combination_type", "evals"):
        for name, counts in _counted(column, paths):
            shown = ", ".join(f"{value}: {counts[value]}" for value in sorted(counts))
            table.add_row(name, shown)
    return table if table.row_count else None


def _counted(column: str, paths: Iterable[str]) -> list[tuple[str, Counter[Any]]]:
    counts: dict[str, Counter[Any]] = {}
    for path in paths:
        for value in column_values(path, column):
            for name, item in value.items() if isinstance(value, dict) else ((column, value),):
                counts.setdefault(name, Counter())[item] += 1
    return list(counts.items())


def _usage(manifest: RunManifest, output: str) -> rich.table.Table:
    """Requests and tokens, from the answer store: what this and earlier runs on it have asked."""
    table = _table(
        "Asked, by the answer store",
        "stage",
        "answers",
        "failed",
        "retries",
        "tokens in",
        "tokens out",
        "seconds",
    )
    for stage in manifest.stages:
        totals: Counter[str] = Counter()
        for line in AnswerStore(str(Path(output, manifest.store)), stage.stage).attempts():
            reply = line.get("reply", {})
            totals["answers" if reply else "failed"] += 1
            totals["retries"] += line["attempts"] - 1
            totals["in"] += reply.get("prompt_tokens", 0)
            totals["out"] += reply.get("completion_tokens", 0)
            totals["milliseconds"] += round(1000 * line["latency_s"])
        asked = totals["answers"] + totals["failed"]
        if asked:
            counts = [totals[name] for name in ("answers", "failed", "retries", "in", "out")]
            seconds = totals["milliseconds"] / 1000 / asked
            table.add_row(stage.stage, *(f"{count:,}" for count in counts), f"{seconds:.2f}")
    return table
