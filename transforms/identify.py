"""Content ids: two rows with the same text get different ids, or the later ones are rejects."""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from transforms.answers import has_answer
from transforms.codec import to_json
from transforms.grouping import Group
from transforms.outcome import Outcome, SplitRejects
from transforms.ranking import RankByHash, unpack
from transforms.records import Problem, Reject
from transforms.seeding import digest


@dataclasses.dataclass(eq=False)
class IdentifyProblems(beam.PTransform):
    """Give each problem an id from its text and the occurrence number of equal texts.

    In:   `Problem` records with an empty id.
    Out:  `rows` with ids; with `deduplicate`, `rejects` has every occurrence but the first
          (`duplicate`). Equal texts are numbered in the order of their other columns.
    Cost: one shuffle; the rows of one text in memory.
    Once: independent of input order, so retries are harmless.
    """

    stage: str
    deduplicate: bool

    def expand(self, problems: beam.PCollection) -> Outcome:
        return (
            problems
            | "KeyByText" >> beam.Map(_keyed_by_text)
            | "GroupTexts" >> Group()
            | "Number" >> beam.FlatMap(_numbered, self.stage, self.deduplicate)
            | "Split" >> SplitRejects()
        )


@dataclasses.dataclass(eq=False)
class SampleProblems(beam.PTransform):
    """Keep `max_records` problems, drawn uniformly by `seed`; None keeps all.

    In:   `Problem` records with ids, or any others that have some.
    Out:  at most `max_records` of them; a larger number keeps those of a smaller one.
    Cost: one shuffle; no worker holds the collection.
    Once: a pure function of ids and seed.
    From: InfiniByte, `max_records` of each source after a seeded shuffle.
    """

    max_records: int | None
    seed: int

    def expand(self, problems: beam.PCollection) -> beam.PCollection:
        if self.max_records is None:
            return problems
        return (
            problems
            | "Rank" >> RankByHash(self.seed)
            | "Take" >> beam.FlatMap(_taken, self.max_records)
        )


def _keyed_by_text(problem: Problem) -> tuple[str, Problem]:
    return digest("text", problem.text), problem


def _numbered(
    equals: tuple[str, Iterable[Problem]], stage: str, deduplicate: bool
) -> Iterator[Problem | Reject]:
    text_digest, problems = equals
    for number, problem in enumerate(sorted(problems, key=_order)):
        identified = dataclasses.replace(problem, id=digest("problem", text_digest, number))
        if number and deduplicate:
            detail = f"the same text as occurrence 1 of {number + 1}"
            row = to_json(identified)
            yield Reject(stage, "duplicate", detail, identified.id, row, reply="")
        else:
            yield identified


def _order(problem: Problem) -> tuple[bool, tuple[str, ...]]:
    """Of equal texts, those that come with an answer go first."""
    fields = tuple(value or "" for value in dataclasses.astuple(problem))
    return not has_answer(problem.expected_answer), fields


def _taken(ranked: tuple[int, bytes], max_records: int) -> Iterator[Any]:
    rank, packed = ranked
    if rank < max_records:
        yield unpack(packed)
