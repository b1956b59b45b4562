"""The benchmarks' rows as one process holds them, and what of them a text is like."""

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, Protocol, runtime_checkable

import pydantic

from transforms.decontamination.embedding import EmbeddingModel, NeighbourIndex
from transforms.decontamination.records import BenchmarkRow, Match
from transforms.decontamination.texts import bracketed_text, canonical_text, ngrams, tokens

Method = Literal["exact", "ngrams", "neighbours"]
EXACT: Method = "exact"
NGRAMS: Method = "ngrams"
NEIGHBOURS: Method = "neighbours"


class MatchSettings(pydantic.BaseModel, frozen=True, extra="forbid"):
    """How records are compared with benchmarks.

    The defaults of n-grams are those that find the most on GSM8K's real questions without calling
    one contaminated that is not (`benchmarks/decontamination.py`).
    """

    contamination_methods: tuple[Method, ...] = pydantic.Field(
        (EXACT, NGRAMS),
        min_length=1,
        description="exact, ngrams, neighbours: what a record may share with a benchmark's row",
    )
    ngram_size: int = pydantic.Field(8, ge=2, description="words of an n-gram")
    ngram_share: float = pydantic.Field(
        0.5,
        gt=0,
        le=1,
        description="the share of a benchmark's row's n-grams from which a record is contaminated; "
        "with fewer a model is asked",
    )
    similar_top_k: int = pydantic.Field(
        3,
        ge=1,
        description="benchmark rows that each method finds for a record, at most, but for certain "
        "ones",
    )
    similarity_threshold: float = pydantic.Field(
        0.7, ge=-1, le=1, description="the least cosine of a neighbour"
    )


@runtime_checkable
class Benchmarks(Protocol):
    """What gives the rows of benchmarks, the same in every process; hashable."""

    def rows(self) -> Sequence[BenchmarkRow]:
        """All rows."""
        ...

    def __hash__(self) -> int: ...


class Reference:
    """The distinct texts of benchmarks, indexed for each method."""

    def __init__(
        self, rows: Iterable[BenchmarkRow], settings: MatchSettings, model: EmbeddingModel
    ) -> None:
        self._settings = settings
        by_text: dict[str, list[BenchmarkRow]] = {}
        for row in sorted(rows, key=lambda row: (row.text, row.benchmark, row.row)):
            by_text.setdefault(bracketed_text(row.text), []).append(row)
        self._bracketed = list(by_text)
        self._rows = list(by_text.values())
        texts = [canonical_text(rows[0].text) for rows in self._rows]
        self._exact: dict[str, list[int]] = {}
        for number, text in enumerate(texts):
            self._exact.setdefault(text, []).append(number)
        self._runs: dict[int, list[int]] = {}
        self._totals: list[int] = []
        methods = settings.contamination_methods
        if NGRAMS in methods:
            for number, text in enumerate(texts):
                found = ngrams(text.split(" "), settings.ngram_size)
                self._totals.append(len(found))
                for run in found:
                    self._runs.setdefault(run, []).append(number)
        self._index = None
        if NEIGHBOURS in methods:
            self._index = NeighbourIndex(model, [rows[0].text for rows in self._rows])

    def matches(self, texts: Sequence[str]) -> list[tuple[Match, ...]]:
        """What each text is like: certain matches first, then by score, benchmark and row.

        A benchmark's text is found once, by the first of the methods that is certain of it, or the
        first that finds it. An empty n-gram is none: a row with fewer words than one has is found
        by the other methods.
        """
        neighbours: list[list[tuple[int, str, float, bool]]] = [[] for _ in texts]
        if self._index is not None:
            threshold = self._settings.similarity_threshold
            for found, nearest in zip(
                neighbours,
                self._index.nearest(texts, self._settings.similar_top_k),
                strict=True,
            ):
                found.extend(
                    (number, NEIGHBOURS, score, False)
                    for number, score in nearest
                    if score >= threshold
                )
        return [
            tuple(self._merged([*self._by_words(text), *found]))
            for text, found in zip(texts, neighbours, strict=True)
        ]

    def _by_words(self, text: str) -> Iterator[tuple[int, str, float, bool]]:
        methods = self._settings.contamination_methods
        if EXACT in methods:
            for number in self._exact.get(canonical_text(text), ()):
                yield number, EXACT, 1.0, self._bracketed[number] == bracketed_text(text)
        if NGRAMS not in methods:
            return
        own = ngrams(tokens(text), self._settings.ngram_size)
        shared = Counter(number for run in own for number in self._runs.get(run, ()))
        shares = {number: count / self._totals[number] for number, count in shared.items()}
        best = sorted(shares, key=lambda number: (-shares[number], number))
        for rank, number in enumerate(best):
            is_certain = shares[number] >= self._settings.ngram_share
            if rank >= self._settings.similar_top_k and not is_certain:
                break
            yield number, NGRAMS, round(shares[number], 4), is_certain

    def _merged(self, found: Iterable[tuple[int, str, float, bool]]) -> list[Match]:
        best: dict[int, tuple[str, float, bool]] = {}
        for number, method, score, is_certain in found:
            if number not in best or (is_certain and not best[number][2]):
                best[number] = (method, score, is_certain)
        made = [
            Match(row.benchmark, row.row, row.text, method, score, is_certain)
            for number, (method, score, is_certain) in best.items()
            for row in self._rows[number]
        ]
        return sorted(made, key=lambda m: (not m.is_certain, -m.score, m.benchmark, m.row))


@functools.lru_cache(maxsize=2)
def reference_of(
    benchmarks: Benchmarks, settings: MatchSettings, model: EmbeddingModel
) -> Reference:
    """The reference of this process: benchmarks are read and embedded once in each.

    Raises:
        InputError: a benchmark or the model cannot be read.
    """
    return Reference(benchmarks.rows(), settings, model)
