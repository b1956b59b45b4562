"""Content ids: two records that say the same get different ids, or the later ones are rejects."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam

from transforms.answers import has_answer
from transforms.codec import to_json
from transforms.grouping import Group
from transforms.outcome import Outcome, SplitRejects
from transforms.ranking import RankByHash, unpack
from transforms.records import Problem, Reject, Thread
from transforms.seeding import digest


class Identity(NamedTuple):
    """What makes a record of a kind what it is: a hash of what it says.

    `said` is that in the words of a reject; `order` is the one in which equal records are numbered.
    """

    kind: str
    said: str
    hash_of: Callable[[Any], str]
    order: Callable[[Any], Any]


@dataclasses.dataclass(eq=False)
class Identify(beam.PTransform):
    """Give each record an id from what it says and the number of equal ones before it.

    In:   records with an empty id.
    Out:  `rows` with ids; with `deduplicate`, `rejects` has every occurrence but the first
          (`duplicate`). Equal records are numbered in the order of their other columns.
    Cost: one shuffle; the records that say the same in memory.
    Once: independent of input order, so retries are harmless.
    """

    stage: str
    identity: Identity
    deduplicate: bool

    def expand(self, records: beam.PCollection) -> Outcome:
        return (
            records
            | "Key" >> beam.Map(_keyed, self.identity.hash_of)
            | "GroupEqual" >> Group()
            | "Number" >> beam.FlatMap(_numbered, self.stage, self.identity, self.deduplicate)
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


def _keyed(record: Any, hash_of: Callable[[Any], str]) -> tuple[str, Any]:
    return hash_of(record), record


def _numbered(
    equals: tuple[str, Iterable[Any]], stage: str, identity: Identity, deduplicate: bool
) -> Iterator[Any]:
    key, records = equals
    for number, record in enumerate(sorted(records, key=identity.order)):
        identified = dataclasses.replace(record, id=digest(identity.kind, key, number))
        if number and deduplicate:
            detail = f"the same {identity.said} as occurrence 1 of {number + 1}"
            yield Reject(stage, "duplicate", detail, identified.id, to_json(identified), reply="")
        else:
            yield identified


def _taken(ranked: tuple[int, bytes], max_records: int) -> Iterator[Any]:
    rank, packed = ranked
    if rank < max_records:
        yield unpack(packed)


def _hash_of_problem(problem: Problem) -> str:
    return digest("text", problem.text)


def _order_of_problems(problem: Problem) -> tuple[bool, tuple[str, ...]]:
    """Of equal texts, those that come with an answer go first."""
    fields = tuple(value or "" for value in dataclasses.astuple(problem))
    return not has_answer(problem.expected_answer), fields


def _hash_of_thread(thread: Thread) -> str:
    return digest("thread", thread.post, thread.discussion)


PROBLEM = Identity("problem", "text", _hash_of_problem, _order_of_problems)
THREAD = Identity("thread", "texts", _hash_of_thread, to_json)
