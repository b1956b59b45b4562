"""How numbers are spread: quantiles and a histogram, without keeping more than the numbers."""

import dataclasses
from array import array

import numpy as np

BINS = 24
_CUT = 0.99  # the histogram's right edge: a few long rows would squeeze all others into one bar


@dataclasses.dataclass(frozen=True, slots=True)
class Histogram:
    """Counts between edges; `beyond` numbers are above the last edge and not drawn."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    beyond: int


@dataclasses.dataclass(frozen=True, slots=True)
class Spread:
    """What is said of a set of numbers; each quantile is one of them (nearest rank)."""

    count: int
    total: float
    least: float
    p5: float
    median: float
    p95: float
    most: float
    histogram: Histogram

    @property
    def mean(self) -> float:
        """The mean."""
        return self.total / self.count


def spread_of(numbers: array) -> Spread | None:
    """The spread of an array of finite numbers, which may be of whole ones; None of no numbers.

    Cost: a sorted copy.
    """
    if not numbers:
        return None
    ordered = np.sort(np.frombuffer(numbers, dtype=numbers.typecode))
    least, p5, median, p95, cut, most = (
        ordered[_rank(share, len(ordered))].item() for share in (0, 0.05, 0.5, 0.95, _CUT, 1)
    )
    whole = numbers.typecode != "d"
    histogram = _histogram(ordered[ordered <= cut], len(ordered), whole)
    total = sum(numbers) if whole else float(np.sum(ordered))
    return Spread(len(ordered), total, least, p5, median, p95, most, histogram)


def _rank(share: float, count: int) -> int:
    return max(0, int(np.ceil(share * count)) - 1)


def _histogram(drawn: np.ndarray, count: int, whole: bool) -> Histogram:
    low, high = drawn[0].item(), drawn[-1].item()
    if whole:
        step = -(-(high - low + 1) // BINS)
        edges = np.arange(low, high + step + 1, step)
    else:
        edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    counts, _ = np.histogram(drawn, edges)
    shown = tuple(edges.tolist())
    return Histogram(shown, tuple(counts.tolist()), count - len(drawn))
