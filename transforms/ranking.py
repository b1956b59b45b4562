"""Dense ranks by hash: a shuffle of a collection that no worker has to hold.

Each record falls into one of `BUCKETS` by the first digits of its hash; buckets are sorted one by
one, and the bucket sizes, a dictionary small enough for every worker, say where each begins.
Records travel packed, because a shuffle of short byte strings costs a fraction of one of objects.
"""

import dataclasses
import itertools
import pickle
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam

from transforms.grouping import Group
from transforms.seeding import digest

BUCKETS = 4096
_HASH_BYTES = 16


def pack(record: object) -> bytes:
    """A record as bytes for a shuffle: pickled once, however often it is passed on."""
    return pickle.dumps(record, protocol=5)


def unpack(packed: bytes) -> Any:
    """The record that `pack` made `packed` from."""
    return pickle.loads(packed)


@dataclasses.dataclass(eq=False)
class RankByHash(beam.PTransform):
    """Give each record its place, from 0, in the order of hash(seed, record id).

    In:   records with a unique `id`.
    Out:  (rank, packed record); the ranks are 0, 1, … without a gap, the same on every runner.
    Cost: one shuffle; a bucket, 1/4096 of the records, is sorted in memory.
    Once: a pure function of ids and seed, so retries are harmless.
    """

    seed: int

    def expand(self, records: beam.PCollection) -> beam.PCollection:
        keyed = records | "KeyByBucket" >> beam.Map(_keyed_by_bucket, seed=self.seed)
        first_ranks = (
            keyed
            | "BucketSizes" >> beam.combiners.Count.PerKey()
            | "GatherSizes" >> beam.combiners.ToDict()
            | "FirstRanks" >> beam.Map(_first_ranks)
        )
        return (
            keyed
            | "GroupBuckets" >> Group()
            | "Rank" >> beam.FlatMap(_ranked, beam.pvalue.AsSingleton(first_ranks))
        )


def _keyed_by_bucket(record: Any, seed: int) -> tuple[int, bytes]:
    order = bytes.fromhex(digest(seed, record.id))
    return int.from_bytes(order[:2], "big") * BUCKETS >> 16, order + pack(record)


def _first_ranks(sizes: Mapping[int, int]) -> list[int]:
    """The rank of each bucket's first record."""
    counts = (sizes.get(bucket, 0) for bucket in range(BUCKETS))
    return list(itertools.accumulate(counts, initial=0))


def _ranked(
    grouped: tuple[int, Iterable[bytes]], first_ranks: list[int]
) -> Iterator[tuple[int, bytes]]:
    bucket, members = grouped
    ordered = (member[_HASH_BYTES:] for member in sorted(members))
    return zip(itertools.count(first_ranks[bucket]), ordered, strict=False)
