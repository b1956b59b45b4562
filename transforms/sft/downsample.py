"""A number of rows drawn from many: at random, or as evenly from all problems as can be.

Every row has a place in an order that is a function of the seed and the ids alone; the first rows
are kept. No worker holds more than a problem's rows, or a 1024th of all rows that are in turn.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import apache_beam as beam

from transforms.grouping import Group
from transforms.outcome import Outcome, without_rejects
from transforms.ranking import pack, unpack
from transforms.records import lineage
from transforms.seeding import digest

BUCKETS = 1024
_HASH_BYTES = 16


@dataclasses.dataclass(eq=False)
class Downsample(beam.PTransform):
    """Keep so many rows.

    In:   records with a unique `id`, which begins with that of the problem.
    Out:  `rows`, `num_output_samples` of them, or all if there are no more; `rejects`, empty: rows
          that are not drawn have no fault, and are counted as not sampled.
    Cost: one shuffle, of `fair` two; a problem's rows in memory, and a 1024th of those that are
          in the same turn.
    Once: a pure function of ids and seed, so retries, order and sharding change nothing.
    From: NeMo-Skills, "prepare_data"; there the order of the files decides, and `fair` keeps no
          row at all where there are exactly as many as asked for.

    Args:
        num_output_samples: how many rows.
        method: `random` takes each row with the same chance; `fair` takes a row of each problem in
            turn, until there are enough, so that no problem has two rows more than another that
            has rows left.
        seed: of the draw.

    Raises:
        ValueError: the number is less than 1, or the method is neither.
    """

    num_output_samples: int
    method: Literal["random", "fair"] = "random"
    seed: int = 42

    def __post_init__(self) -> None:
        if self.num_output_samples < 1:
            raise ValueError(f"num_output_samples must be 1 or more, not {self.num_output_samples}")
        if self.method not in ("random", "fair"):
            raise ValueError(f"downsampling_method {self.method!r} is neither random nor fair")

    def expand(self, records: beam.PCollection) -> Outcome:
        if self.method == "fair":
            keyed = (
                records
                | "KeyByProblem" >> beam.Map(_by_problem, seed=self.seed)
                | "GroupProblems" >> Group()
                | "TakeTurns" >> beam.FlatMap(_in_turns, seed=self.seed)
            )
        else:
            keyed = records | "KeyByHash" >> beam.Map(_by_hash, seed=self.seed)
        first_places = (
            keyed
            | "BucketSizes" >> beam.combiners.Count.PerKey()
            | "GatherSizes" >> beam.combiners.ToDict()
            | "FirstPlaces" >> beam.Map(first_places_of)
        )
        rows = (
            keyed
            | "GroupBuckets" >> Group()
            | "Draw"
            >> beam.FlatMap(
                _drawn, beam.pvalue.AsSingleton(first_places), number=self.num_output_samples
            ).with_output_types(records.element_type or Any)
        )
        return without_rejects(rows)


def first_places_of(sizes: Mapping[int, int]) -> dict[int, int]:
    """The place of each bucket's first row, by the numbers of the buckets."""
    places: dict[int, int] = {}
    at = 0
    for bucket in sorted(sizes):
        places[bucket] = at
        at += sizes[bucket]
    return places


def _placed(turn: int, order: bytes, packed: bytes) -> tuple[int, bytes]:
    bucket = int.from_bytes(order[:2], "big") * BUCKETS >> 16
    return turn * BUCKETS + bucket, order + packed


def _by_hash(record: Any, seed: int) -> tuple[int, bytes]:
    return _placed(0, bytes.fromhex(digest(seed, record.id)), pack(record))


def _by_problem(record: Any, seed: int) -> tuple[str, bytes]:
    return lineage(record.id)[-1], bytes.fromhex(digest(seed, record.id)) + pack(record)


def _in_turns(grouped: tuple[str, Iterable[bytes]], seed: int) -> Iterator[tuple[int, bytes]]:
    """A problem's rows, one in each turn; within a turn the order of problems is by hash."""
    problem, members = grouped
    for turn, member in enumerate(sorted(members)):
        order = bytes.fromhex(digest(seed, turn, problem))
        yield _placed(turn, order, member[_HASH_BYTES:])


def _drawn(
    grouped: tuple[int, Iterable[bytes]], first_places: dict[int, int], number: int
) -> Iterator[Any]:
    bucket, members = grouped
    left = max(0, number - first_places[bucket])
    return (unpack(member[_HASH_BYTES:]) for member in sorted(members)[:left])
