"""Reading sources in a pipeline: every row becomes a problem or a reject, and is counted."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import apache_beam as beam

from beam_sdg.sources.hub import Dataset
from beam_sdg.sources.problems import Place, problem_of, row_reject
from beam_sdg.sources.rows import rows_of
from beam_sdg.sources.source import Source
from transforms.identify import PROBLEM, Identify, SampleProblems
from transforms.outcome import SourceOutcome, SplitRejects
from transforms.records import Problem, Reject
from transforms.seeding import digest


@dataclasses.dataclass(eq=False)
class ReadProblems(beam.PTransform):
    """Read problems: parse, identify, deduplicate, sample.

    Out:  `rows`, at most `max_records` problems; `rejects`, rows that are no problem, by reason,
          and duplicates; `counts`, the numbers of rows `read` and of `usable` ones, from which
          the rows are drawn.
    Cost: a file is read by one worker. So is a dataset of the hub, and only until it has given
          `max_records` usable rows, in the order of a shuffle by `seed` through a buffer; the
          rows are then drawn from these. One shuffle to deduplicate, one to sample.
    Once: a retry reads the same rows, of the hub too, since its commit is pinned.
    From: InfiniByte, which streams, deduplicates and cuts each dataset so.
    """

    stage: str
    sources: tuple[Source, ...]
    deduplicate: bool
    max_records: int | None
    seed: int

    def expand(self, begin: beam.pvalue.PBegin) -> SourceOutcome:
        read = (
            begin
            | "Sources" >> beam.Create(self.sources)
            | "Parts" >> beam.FlatMap(parts_of)
            | "SpreadParts" >> beam.Reshuffle()
            | "Read"
            >> beam.FlatMap(_read, self.stage, self.deduplicate, self.max_records, self.seed)
        )
        parsed = read | "SplitParsed" >> SplitRejects()
        identified = parsed.rows | "Identify" >> Identify(self.stage, PROBLEM, self.deduplicate)
        rows = identified.rows | "Sample" >> SampleProblems(self.max_records, self.seed)
        rejects = (parsed.rejects, identified.rejects) | "MergeRejects" >> beam.Flatten()
        counts = (
            read | "CountRead" >> Counted("read"),
            identified.rows | "CountUsable" >> Counted("usable"),
        ) | "MergeCounts" >> beam.Flatten()
        return SourceOutcome(rows, rejects, counts)


@dataclasses.dataclass(eq=False)
class Counted(beam.PTransform):
    """(name, the number of elements), or nothing where there are none."""

    name: str

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        return elements | "One" >> beam.Map(_one, self.name) | "Sum" >> beam.CombinePerKey(sum)


def _one(element: object, name: str) -> tuple[str, int]:
    return name, 1


def parts_of(source: Any) -> list[tuple[Any, str]]:
    """What one worker reads: (source, path) of each file, (source, "") of a dataset."""
    if source.dataset is not None:
        return [(source, "")]
    return [(source, file.path) for file in source.files()]


def _read(
    part: tuple[Source, str], stage: str, deduplicate: bool, max_records: int | None, seed: int
) -> Iterator[Problem | Reject]:
    source, path = part
    if source.dataset is None:
        return file_problems(source, path, stage)
    return dataset_problems(source, source.dataset, stage, deduplicate, max_records, seed)


def file_problems(source: Source, path: str, stage: str) -> Iterator[Problem | Reject]:
    """Each row of a file as a problem or a reject."""
    label = source.label(path)
    for position, row in rows_of(path):
        yield problem_of(row, source.format, Place(source.name, label, position), stage)


def dataset_problems(
    source: Source,
    dataset: Dataset,
    stage: str,
    deduplicate: bool,
    max_records: int | None,
    seed: int,
) -> Iterator[Problem | Reject]:
    """Each row of a pinned dataset as a problem or a reject, until `max_records` are problems.

    Without a limit the rows come as they lie, and equal texts are left to `Identify`.
    With one they are shuffled by `seed`, and an equal text is a `duplicate` already here, so that
    it does not count. `row N` is then the N-th of the shuffled stream.
    """
    limited = max_records is not None
    first_rows: dict[str, int] = {}
    usable = 0
    for number, row in enumerate(dataset.rows(seed if limited else None), start=1):
        place = Place(source.name, dataset.label, f"row {number}")
        item = problem_of(row, source.format, place, stage)
        if isinstance(item, Problem) and deduplicate and limited:
            first = first_rows.setdefault(digest(item.text), number)
            if first != number:
                fault = f"the same text as row {first}"
                item = row_reject(row, place, stage, "duplicate", fault)
        yield item
        usable += isinstance(item, Problem)
        if usable == max_records:
            return
