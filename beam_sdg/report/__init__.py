"""The report on a finished run: its facts, on the terminal, as a page and as a dataset card."""

from beam_sdg.publish import CARD, PAGE, TEXT
from beam_sdg.report.card import card
from beam_sdg.report.figures import Figures, gather
from beam_sdg.report.page import page
from beam_sdg.report.terminal import print_report, report_text
from beam_sdg.shards import write_whole

__all__ = ["Figures", "gather", "print_report", "write_report"]


def write_report(figures: Figures, output: str, aside: str = "") -> None:
    """Write the report as text, as a page and as the dataset's card, into its folder or aside."""
    for name, content in (
        (TEXT, report_text(figures, output)),
        (PAGE, page(figures)),
        (CARD, card(figures)),
    ):
        write_whole(f"{aside or output}/{name}", content.encode())
