"""Benchmarks that training data must not hold: files or datasets of the hub, by their names."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

from beam_sdg.sources.formats import Format
from beam_sdg.sources.read import dataset_problems, file_problems
from beam_sdg.sources.source import Source
from transforms.codec import canonical_json
from transforms.decontamination.records import BenchmarkRow
from transforms.errors import InputError, UsageError
from transforms.records import Problem, Reject
from transforms.seeding import digest

SAMPLE = Path(__file__).parents[1] / "samples" / "benchmark.jsonl"
_MATH = "hf://EleutherAI/hendrycks_math"
_SUBJECTS = (
    *("algebra", "counting_and_probability", "geometry", "intermediate_algebra"),
    *("number_theory", "prealgebra", "precalculus"),
)
# The list of OpenMathReasoning under its names, and where each is on the hub.
PUBLISHED: dict[str, tuple[str, ...]] = {
    "hendrycks_math": tuple(f"{_MATH}#{subject}:test" for subject in _SUBJECTS),
    "aime24": ("hf://math-ai/aime24:test",),
    "aime25": ("hf://math-ai/aime25:test",),
    "amc23": ("hf://math-ai/amc23:test",),
    "college_math": ("hf://di-zhang-fdu/College_Math_Test:test",),
    "gaokao2023en": ("hf://MARIO-Math-Reasoning/Gaokao2023-Math-En:train",),
    "gsm8k": ("hf://openai/gsm8k#main:test",),
    "minerva_math": ("hf://math-ai/minervamath:test",),
    "olympiadbench": ("hf://math-ai/olympiadbench:test",),
    "omni-math": ("hf://KbsdJames/Omni-MATH:test",),
}
ALL_PUBLISHED = "published"


@dataclasses.dataclass(frozen=True)
class BenchmarkSources:
    """The files and datasets of some benchmarks, each source under its benchmark's name.

    Every worker must be able to read them; it does so once in each process. `content` is what
    decides their rows.
    """

    sources: tuple[Source, ...]
    content: str = ""

    @classmethod
    def parse(cls, written: Sequence[str]) -> "BenchmarkSources":
        """The benchmarks that NAME, NAME=FILE or FILE mean, found and their columns looked at.

        NAME is one of `PUBLISHED`, `published` for all of these, `sample` for the bundled one, or
        before a file any name. The column of its text is found by its name. Asks the hub for the
        commits of its datasets.

        Raises:
            UsageError: a name without a file is no known one; or a dataset of the hub needs the
                extra `datasets`.
            InputError: a file, a dataset or a column is missing.
        """
        sources = tuple(source.resolve() for text in written for source in _sources(text))
        return cls(sources, digest(canonical_json([source.settings() for source in sources])))

    def rows(self) -> tuple[BenchmarkRow, ...]:
        """All rows, each benchmark's in its order; read once in each process.

        Raises:
            InputError: a source cannot be read, or a row in it has no text.
        """
        return _read(self)

    def counts(self) -> dict[str, int]:
        """How many rows each benchmark has.

        Raises:
            InputError: as `rows`.
        """
        names = [row.benchmark for row in self.rows()]
        return {name: names.count(name) for name in dict.fromkeys(names)}


def _sources(written: str) -> Iterator[Source]:
    name, named, pattern = written.partition("=")
    if written == ALL_PUBLISHED:
        for each in PUBLISHED:
            yield from _sources(each)
    elif written in PUBLISHED:
        for place in PUBLISHED[written]:
            yield Source(name=written, pattern=place, format=Format())
    elif written == "sample":
        yield Source(name="sample", pattern=str(SAMPLE), format=Format(id="id"))
    elif named and name.replace("-", "_").isidentifier():
        yield Source(name=name, pattern=pattern, format=Format())
    elif written.isidentifier():
        known = ", ".join((*PUBLISHED, ALL_PUBLISHED, "sample"))
        raise UsageError(f"--benchmarks {written}: no such benchmark; write NAME=FILE, or {known}")
    else:
        yield Source.parse(written)


@functools.lru_cache(maxsize=4)
def _read(benchmarks: BenchmarkSources) -> tuple[BenchmarkRow, ...]:
    numbers: dict[str, int] = {}
    found = []
    for source in benchmarks.sources:
        for item in _items(source):
            number = numbers[source.name] = numbers.get(source.name, 0) + 1
            if isinstance(item, Reject):
                raise InputError(
                    f"benchmark {source.name}, {item.detail}; mend the row, since one that cannot "
                    "be read cannot be looked for"
                )
            row = item.source_id if source.format.id else str(number)
            found.append(BenchmarkRow(source.name, row, item.text))
    return tuple(found)


def _items(source: Source) -> Iterator[Problem | Reject]:
    """Each row of a source."""
    if source.dataset is not None:
        yield from dataset_problems(source, source.dataset, "", False, None, 0)
        return
    for file in source.files():
        yield from file_problems(source, file.path, "")
