"""Texts that say nearly the same: of each such group one stays, found by MinHash.

A text's signature estimates which share of its runs of words it has in common with another one.
Bands of the signature are keys: texts that share one are compared.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np

from transforms.codec import to_json
from transforms.decontamination.texts import ngrams, tokens
from transforms.grouping import Group
from transforms.outcome import Outcome, SplitRejects
from transforms.records import Reject

Rank = Callable[[Any], tuple[Any, ...]]
REPRESENTATIVES = 1_000  # of a band, so that texts of one template cost no square of their number
_PERMUTATIONS = 128
_SEED = 1
_FOUND = 0.95  # the least probability with which two texts at the threshold share a band


class Signed(NamedTuple):
    """A record's place in the order, its id and the bytes of its signature."""

    rank: tuple[Any, ...]
    id: str
    signature: bytes


class Edge(NamedTuple):
    """A record near to an earlier one, which has this rank, and the estimated share."""

    later: str
    rank: tuple[Any, ...]
    earlier: str
    share: float


@dataclasses.dataclass(frozen=True, slots=True)
class Signatures:
    """How texts are compared.

    threshold: the estimated share of runs in common, of all that either has, from which they are
        near duplicates.
    words: of a run; a shorter text is one run.
    """

    threshold: float = 0.8
    words: int = 5

    def settings(self) -> dict[str, Any]:
        """What decides which texts are near."""
        return {**dataclasses.asdict(self), "permutations": _PERMUTATIONS, "bands": self.bands()}

    def bands(self) -> tuple[int, int]:
        """How many bands there are, and the values in each.

        As long as they can be for texts at the threshold to share one with a probability of 0.95.
        """
        return _bands(self.threshold)

    def of(self, text: str) -> bytes:
        """The signature of a text: equal for texts with the same runs of words."""
        from datasketch import MinHash  # with SciPy: a second that no other command should take

        words = tokens(text) or [text.strip()]
        runs = ngrams(words, min(self.words, len(words)))
        made = MinHash(num_perm=_PERMUTATIONS, seed=_SEED)
        made.update_batch([run.to_bytes(8, "big") for run in sorted(runs)])
        return made.hashvalues.astype(np.uint32).tobytes()


def unranked(record: Any) -> tuple[Any, ...]:
    """No record is better than another."""
    return ()


@dataclasses.dataclass(eq=False)
class RejectNearDuplicates(beam.PTransform):
    """Keep one of the records whose texts are nearly the same.

    Records are in the order of (rank, id). In each band a record that is near an earlier
    representative of the band is not one itself, and every other is; of these a band has at most
    `REPRESENTATIVES`. A record that is near a representative in any of its bands goes.

    In:   records with an `id` and a `text`; ids are unique.
    Out:  `rows`, the records that are near no representative; `rejects`, the others
          (`near_duplicate`), with the id of the earliest one and the share in the detail. Every
          reject is near an earlier record. No two rows are near that share a band, unless it has
          too many representatives. A representative of one band may go by another band, and what
          is near it goes all the same: of a chain, in which each text is near the one before it,
          only the first is sure to stay.
    Cost: three shuffles: of signatures, 0.5 KB times the number of bands; of pairs of ids, at most
          one for each record and band; and of the records. A band's signatures in memory, each
          compared with its representatives.
    Once: independent of input order, so retries are harmless.
    From: Broder's MinHash, by datasketch.

    Args:
        stage: the name in the rejects.
        signatures: how texts are compared.
        rank: of two near records the one with the smaller rank stays, or of equal ones that with
            the smaller id.
    """

    stage: str
    signatures: Signatures = Signatures()
    rank: Rank = unranked

    def expand(self, records: beam.PCollection) -> Outcome:
        edges = (
            records
            | "Bands" >> beam.FlatMap(banded, self.signatures, self.rank)
            | "GroupBands" >> Group()
            | "Compare" >> beam.FlatMapTuple(compared, signatures=self.signatures)
            | "KeyEdges" >> beam.Map(_by_later)
        )
        keyed = (records | "KeyRecords" >> beam.Map(_by_id), edges)
        drop = functools.partial(_kept_or_reject, stage=self.stage)
        return (
            keyed
            | "Join" >> Group()
            | "Drop" >> beam.FlatMapTuple(drop)
            | "Split" >> SplitRejects()
        )


def banded(
    record: Any, signatures: Signatures, rank: Rank = unranked
) -> Iterator[tuple[str, Signed]]:
    """A record's place, id and signature under each of its bands."""
    signature = signatures.of(record.text)
    for key in keys(signature, signatures):
        yield key, Signed(rank(record), record.id, signature)


def compared(
    band: str, signed: Iterable[Signed], signatures: Signatures = Signatures()
) -> Iterator[Edge]:
    """Each record of a band that is near a representative, with the earliest such one."""
    rest = sorted(signed)
    values = np.array([np.frombuffer(one.signature, np.uint32) for one in rest]).T.copy()
    places = np.arange(len(rest))
    for _ in range(REPRESENTATIVES):
        if len(places) < 2:
            return
        equal = (values == values[:, :1]).sum(axis=0, dtype=np.uint8)
        is_near = equal / _PERMUTATIONS >= signatures.threshold
        first = rest[places[0]]
        for place in np.flatnonzero(is_near)[1:]:
            share = round(int(equal[place]) / _PERMUTATIONS, 4)
            yield Edge(rest[places[place]].id, first.rank, first.id, share)
        values, places = values[:, ~is_near], places[~is_near]


def keys(signature: bytes, signatures: Signatures) -> Sequence[str]:
    """The bands of a signature, each under its number."""
    bands, values = signatures.bands()
    width = 4 * values
    return [
        f"{number}:{signature[number * width : (number + 1) * width].hex()}"
        for number in range(bands)
    ]


@functools.lru_cache(maxsize=8)
def _bands(threshold: float) -> tuple[int, int]:
    for values in range(_PERMUTATIONS, 1, -1):
        bands = _PERMUTATIONS // values
        if 1 - (1 - threshold**values) ** bands >= _FOUND:
            return bands, values
    return _PERMUTATIONS, 1  # a band for each value: more cannot be had


def _by_later(edge: Edge) -> tuple[str, Edge]:
    return edge.later, edge


def _by_id(record: Any) -> tuple[str, Any]:
    return record.id, record


def _kept_or_reject(record_id: str, parts: Iterable[Any], stage: str) -> Iterator[Any]:
    edges: list[Edge] = []
    records: list[Any] = []
    for part in parts:
        (edges if isinstance(part, Edge) else records).append(part)
    edge = min(edges, key=lambda one: (one.rank, one.earlier), default=None)
    for record in sorted(records, key=to_json):
        if edge is None:
            yield record
            continue
        detail = f"near {edge.earlier}: they share {edge.share:.0%}"
        yield Reject(stage, "near_duplicate", detail, record.id, to_json(record), reply="")
