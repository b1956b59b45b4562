"""The facts of a run as tables of plain text, whole at 80 columns."""

import io
import re

import rich.box
import rich.console
import rich.table
import rich.text

from beam_sdg.report.figures import Figures
from beam_sdg.report.shown import counted
from beam_sdg.report.tables import Table, faults_of_store, hints, tables

_LONG_NAME = 26
_WIDTH = 100


def print_report(console: rich.console.Console, figures: Figures, output: str) -> None:
    """Print what came out, all tables, and where the rejects are."""
    manifest = figures.manifest
    by = f", by {manifest.model}" if manifest.model else ""
    _say(console, f"{manifest.recipe}: {figures.data.rows} rows in {output}/data{by}")
    if manifest.stopped:
        _say(console, f"partial: {manifest.why_partial}")
    for table in tables(figures):
        console.print(drawn(table))
    for hint in (*hints(figures), *faults_of_store(figures.store_faults, output)):
        _say(console, hint)
    if figures.rejected:
        duplicates = figures.rejected_duplicates
        of_them = f" ({counted(duplicates)} duplicates)" if duplicates else ""
        rejects = f"{counted(figures.rejected)} rejects{of_them}"
        _say(console, f"{rejects}, with reasons and raw replies: {output}/rejects")


def report_text(figures: Figures, output: str) -> str:
    """The report as plain text, for a file."""
    console = rich.console.Console(file=io.StringIO(), width=_WIDTH, color_system=None)
    print_report(console, figures, output)
    return console.file.getvalue()  # type: ignore[attr-defined]


def _say(console: rich.console.Console, line: str) -> None:
    console.print(line, soft_wrap=True, markup=False)


def drawn(table: Table) -> rich.table.Table:
    """A table for the terminal: numbers are never broken; a long name is, between its words."""
    drawn = rich.table.Table(
        title=table.title, title_justify="left", box=rich.box.SIMPLE_HEAD, pad_edge=False
    )
    drawn.add_column(table.headers[0], overflow="fold", min_width=12)
    for header in table.headers[1:]:
        drawn.add_column(header, justify="right", no_wrap=header != "licence", overflow="fold")
    for row in table.rows:
        name = _broken(f"  {row.name}" if row.part else row.name)
        drawn.add_row(rich.text.Text(name), *map(rich.text.Text, row.cells))
    return drawn


def _broken(name: str) -> str:
    """A long name on several lines, the next one begun after one of its marks."""
    lines = [""]
    for piece in re.findall(r"[^\s./:_-]+[\s./:_-]*|[\s./:_-]+", name):
        if lines[-1].strip() and len(lines[-1]) + len(piece.rstrip()) > _LONG_NAME:
            lines.append("  ")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)
