"""Cross-join sampling: distinct pairs of two sets, uniformly, without the product.

Both sides get dense ranks by hash. The k-th pair is the k-th value of a keyed permutation of
[0, |A|·|B|), so pairs are distinct by construction, need no shared state, and the first L of them
are a uniform sample in random order: a larger limit keeps every pair of a smaller one.

Between the joins a pair is bytes: an A record is packed once for all its pairs. B records go
through the first join unchanged, so that what is large, the pairs with their A records, is shuffled
once.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np

from transforms.grouping import Group
from transforms.permutation import permute
from transforms.ranking import RankByHash, unpack
from transforms.records import Pair, Problem
from transforms.seeding import digest

BLOCK = 4096
_A, _B = 0, 1
_RECORD, _WANTED = b"r", b"w"


@dataclasses.dataclass(eq=False)
class SampleCrossJoin(beam.PTransform):
    """Draw pairs of A × B without replacement.

    In:   a tuple of two collections of `Problem`, with ids unique on their side.
    Out:  min(limit, |A|·|B|) distinct `Pair` records, a uniform sample of the product.
    Cost: one shuffle to rank each side and one to join it; time and memory grow with the rows and
          the pairs, never with the product. No worker holds a side.
    Once: a pure function of ids and seed: input order, workers and retries change nothing.
    From: InfiniByte, "cross-join with random sampling".
    """

    limit: int
    seed: int

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise ValueError(f"limit must be 0 or more, not {self.limit}")

    def expand(self, sides: Any) -> beam.PCollection:
        a, b = sides
        ranked_a = a | "RankA" >> RankByHash(self.seed)
        ranked_b = b | "RankB" >> RankByHash(self.seed)
        wanted = (
            a.pipeline
            | "Blocks" >> beam.Create(list(range(-(-self.limit // BLOCK))))
            | "SpreadBlocks" >> beam.Reshuffle()
            | "Draw"
            >> beam.FlatMap(
                drawn_ranks,
                limit=self.limit,
                seed=self.seed,
                size_a=_size(ranked_a, "SizeA"),
                size_b=_size(ranked_b, "SizeB"),
            )
            | "Want" >> beam.MapTuple(_wanted)
        )
        records_a = ranked_a | "RecordA" >> beam.MapTuple(_record, side=_A)
        records_b = ranked_b | "RecordB" >> beam.MapTuple(_record, side=_B)
        return (
            (records_a, records_b, wanted)
            | "GroupA" >> Group()
            | "AttachA" >> beam.FlatMapTuple(_wanted_with_a)
            | "GroupB" >> Group()
            | "AttachB" >> beam.FlatMapTuple(_pairs)
        )


def _size(ranked: beam.PCollection, label: str) -> Any:
    return beam.pvalue.AsSingleton(ranked | label >> beam.combiners.Count.Globally())


def drawn_ranks(
    block: int, limit: int, seed: int, size_a: int, size_b: int
) -> Iterator[tuple[int, int]]:
    """(rank in A, rank in B) of the pairs of one block of positions."""
    start = block * BLOCK
    stop = min(start + BLOCK, limit, size_a * size_b)
    if start >= stop:
        return iter(())
    drawn = permute(np.arange(start, stop, dtype=np.uint64), size_a * size_b, seed, "cross_join")
    ranks_a, ranks_b = np.divmod(drawn, np.uint64(size_b))
    return zip(ranks_a.tolist(), ranks_b.tolist(), strict=True)


def _wanted(rank_a: int, rank_b: int) -> tuple[int, bytes]:
    return _key(rank_a, _A), _WANTED + rank_b.to_bytes(8, "big")


def _record(rank: int, packed: bytes, side: int = _A) -> tuple[int, bytes]:
    return _key(rank, side), _RECORD + packed


def _key(rank: int, side: int) -> int:
    return rank * 2 + side


def _wanted_with_a(key: int, group: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """A B record passes; an A record goes to the B ranks that its pairs want."""
    if key % 2 == _B:
        yield from ((key, item) for item in group)
        return
    record, wanted = _record_and_wanted(group)
    with_a = _WANTED + record
    for rank_b in wanted:
        yield _key(int.from_bytes(rank_b, "big"), _B), with_a


def _pairs(key: int, group: Iterable[bytes]) -> Iterator[Pair]:
    record, wanted = _record_and_wanted(group)
    b: Problem = unpack(record)
    for packed_a in wanted:
        a: Problem = unpack(packed_a)
        yield Pair(id=digest("pair", a.id, b.id), a=a, b=b)


def _record_and_wanted(group: Iterable[bytes]) -> tuple[bytes, list[bytes]]:
    """The one packed record of a rank, and what the drawn pairs want with it."""
    record, wanted = b"", []
    for item in group:
        if item.startswith(_RECORD):
            record = item[1:]
        else:
            wanted.append(item[1:])
    return record, wanted
