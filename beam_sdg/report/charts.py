"""Pictures of figures: SVG to be put into a page as it is, the same for the same figures.

Drawn small, so that their letters stay readable on a telephone. Letters are text, in the reader's
own font, and what they say is escaped; nothing in a picture is loaded from anywhere.
"""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from beam_sdg.report.shown import counted, line, measured, named
from beam_sdg.report.spread import Histogram
from beam_sdg.stages import StageManifest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _ROW, _FRAME = 4.0, 0.3, 0.3  # inches
_LONGEST = 26
_NARROW = 18  # letters that fit twice beside each other
_KEPT, _LINE = "#4878a8", "#c8ccd0"
_REASONS = (
    *("#c0504d", "#e39b3f", "#8064a2", "#9a7b4f", "#d98cb3", "#5f9e6e", "#a0a030", "#40a0a0"),
    "#888888",
)
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "beam-sdg",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _LINE,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": "#222222",
    "ytick.labelcolor": "#222222",
    "legend.frameon": False,
}


def histogram(name: str, drawn: Histogram, unit: str) -> str:
    """How many numbers are between each two edges."""

    def draw(axes: "Axes") -> None:
        axes.stairs(drawn.counts, drawn.edges, fill=True, color=_KEPT)
        axes.set_xlabel(f"{unit} ({counted(drawn.beyond)} beyond)" if drawn.beyond else unit)
        axes.set_xlim(drawn.edges[0], drawn.edges[-1])
        axes.set_ylim(bottom=0)
        axes.locator_params(axis="y", nbins=4, integer=True)
        axes.locator_params(axis="x", nbins=6)
        axes.xaxis.set_major_formatter(lambda number, _: measured(number))
        axes.yaxis.set_major_formatter(lambda number, _: measured(number))

    return _svg(name, 2.0, draw)


def bars(name: str, counts: Mapping[Any, int]) -> str:
    """A bar for each value, the first on top."""
    labels, numbers = [_label(named(value)) for value in counts], list(counts.values())

    def draw(axes: "Axes") -> None:
        drawn = axes.barh(range(len(labels)), numbers, color=_KEPT, height=0.7)
        axes.bar_label(drawn, [counted(number) for number in numbers], padding=3)
        _rows(axes, labels)
        axes.set_xlim(0, 1.15 * max(numbers))

    return _svg(name, _FRAME + _ROW * len(labels), draw)


def funnel(name: str, stages: Sequence[StageManifest]) -> str:
    """A bar for each stage: rows that went on, then rejects by reason."""
    reasons = sorted({reason for stage in stages for reason in stage.rejects})
    columns = 2 if max(map(len, reasons), default=0) <= _NARROW else 1
    widest = max((stage.rows + sum(stage.rejects.values()) for stage in stages), default=0)

    def draw(axes: "Axes") -> None:
        places = range(len(stages))
        ends = [stage.rows for stage in stages]
        axes.barh(places, ends, color=_KEPT, height=0.7, label="out")
        for number, reason in enumerate(reasons):
            widths = [stage.rejects.get(reason, 0) for stage in stages]
            colour = _REASONS[min(number, len(_REASONS) - 1)]
            axes.barh(places, widths, left=ends, color=colour, height=0.7, label=_label(reason))
            ends = [end + width for end, width in zip(ends, widths, strict=True)]
        _rows(axes, [_label(stage.stage) for stage in stages])
        for place, stage in zip(places, stages, strict=True):
            axes.text(ends[place] + 0.01 * widest, place, counted(stage.rows), va="center")
        axes.set_xlim(0, 1.15 * max(widest, 1))
        figure = axes.get_figure(root=True)
        assert figure is not None
        figure.legend(loc="outside lower left", ncols=columns, fontsize=9)

    return _svg(name, _FRAME + _ROW * len(stages) + 0.2 * (len(reasons) // columns + 1), draw)


def _label(text: str) -> str:
    label = line(text)
    return label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…"


def _rows(axes: "Axes", labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_visible(False)
    axes.spines["bottom"].set_visible(False)


def _svg(name: str, height: float, draw: "Callable[[Axes], None]") -> str:
    """The picture as an element of a page; `name`, unique in it, begins all of its ids."""
    import matplotlib as mpl  # takes a second, which only a page is worth
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    drawn = io.StringIO()
    with mpl.rc_context({**mpl.rcParamsDefault, **_STYLE}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the reader's has it
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(drawn, format="svg", transparent=True, metadata=nothing)
    return _embedded(name, drawn.getvalue())


def _embedded(name: str, document: str) -> str:
    """The svg element of a document: no size, no style sheet, ids that begin with `name`.

    Raises:
        AssertionError: matplotlib wrote something else than an svg element.
    """
    found = re.search(r"<svg\b[^>]*?(viewBox=\"[^\"]*\")[^>]*>(.*)</svg>", document, re.DOTALL)
    assert found is not None
    body = re.sub(r"<style\b.*?</style>", "", found[2], flags=re.DOTALL)
    body = re.sub(r'(<[^<>]*?\bid=")', rf"\1{name}-", body)
    body = re.sub(r'(url\(#|xlink:href="#)', rf"\1{name}-", body)
    return f'<svg {found[1]} role="img" aria-label="{name}">{body}</svg>'
