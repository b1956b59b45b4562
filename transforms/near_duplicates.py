"""Texts that say nearly the same: of each such group one stays, found by MinHash.

A text's signature estimates which share of its runs of words it has in common with another one.
Bands of the signature are keys: two texts that share one are compared.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import numpy.typing as npt

from transforms.codec import to_json
from transforms.decontamination.texts import ngrams, tokens
from transforms.grouping import Group
from transforms.outcome import Outcome, SplitRejects
from transforms.records import Reject

Signature = npt.NDArray[np.uint32]
_PERMUTATIONS = 128
_SEED = 1
_EDGES = "edges"


class Signed(NamedTuple):
    """A record's id and the bytes of its signature."""

    id: str
    signature: bytes


class Edge(NamedTuple):
    """Two records that are near: the later id first, and the estimated share."""

    later: str
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
        """How many bands there are, and the values in each: as datasketch finds best."""
        return _bands(self.threshold)

    def of(self, text: str) -> bytes:
        """The signature of a text: equal for texts with the same runs of words."""
        from datasketch import MinHash  # with SciPy: a second that no other command should take

        words = tokens(text) or [text.strip()]
        runs = ngrams(words, min(self.words, len(words)))

        made = MinHash(num_perm=_PERMUTATIONS, seed=_SEED)
        made.update_batch([run.to_bytes(8, "big") for run in sorted(runs)])
        return made.hashvalues.astype(np.uint32).tobytes()


@dataclasses.dataclass(eq=False)
class RejectNearDuplicates(beam.PTransform):
    """Keep one of the records whose texts are nearly the same.

    In:   records with an `id` and a `text`; ids are unique.
    Out:  `rows`, in the order of ids every record that is not near one kept before it; `rejects`,
          the others (`near_duplicate`), with the id of the kept one and the share in the detail.
          No two rows are near, as far as their bands show, and every reject is near the row that it
          names.
    Cost: three shuffles: of signatures, 0.5 KB times the number of bands; of pairs of ids; and of
          the records. Distinct signatures that share a band are compared with one another; one
          worker holds the ids of all near pairs.
    Once: independent of input order, so retries are harmless.
    From: Broder's MinHash, by datasketch.

    Args:
        stage: the name in the rejects.
        signatures: how texts are compared.
    """

    stage: str
    signatures: Signatures = Signatures()

    def expand(self, records: beam.PCollection) -> Outcome:
        edges = (
            records
            | "Bands" >> beam.FlatMap(banded, self.signatures)
            | "GroupBands" >> Group()
            | "Compare"
            >> beam.FlatMapTuple(functools.partial(compared, signatures=self.signatures))
            | "KeyEdges" >> beam.Map(_together)
            | "GroupEdges" >> Group()
            | "Resolve" >> beam.FlatMapTuple(_resolved)
        )
        keyed = (records | "KeyRecords" >> beam.Map(_by_id), edges)
        drop = functools.partial(_kept_or_reject, stage=self.stage)
        return (
            keyed
            | "Join" >> Group()
            | "Drop" >> beam.FlatMapTuple(drop)
            | "Split" >> SplitRejects()
        )


def banded(record: Any, signatures: Signatures) -> Iterator[tuple[str, Signed]]:
    """A record's id and signature under each of its bands."""
    signature = signatures.of(record.text)
    for key in _keys(signature, signatures):
        yield key, Signed(record.id, signature)


def compared(
    band: str, signed: Iterable[Signed], signatures: Signatures = Signatures()
) -> Iterator[Edge]:
    """The near pairs among the records of a band that are not compared in an earlier one.

    Of equal signatures the smallest id is compared with others, and stands for the rest.
    """
    number = int(band.partition(":")[0])
    by_signature: dict[bytes, list[str]] = {}
    for one in signed:
        by_signature.setdefault(one.signature, []).append(one.id)
    first = sorted((min(ids), signature) for signature, ids in by_signature.items())
    if number == 0:
        for signature_ids in by_signature.values():
            smallest, *others = sorted(signature_ids)
            yield from (Edge(other, smallest, 1.0) for other in others)
    values = np.array([np.frombuffer(signature, np.uint32) for _, signature in first])
    for later in range(1, len(first)):
        shares = (values[:later] == values[later]).mean(axis=1)
        for earlier in np.flatnonzero(shares >= signatures.threshold):
            keys = (_keys(first[place][1], signatures) for place in (earlier, later))
            shared = [one for one, (a, b) in enumerate(zip(*keys, strict=True)) if a == b]
            if shared[0] == number:
                yield Edge(first[later][0], first[earlier][0], round(float(shares[earlier]), 4))


def resolved(edges: Iterable[Edge]) -> dict[str, Edge]:
    """The records that go, each with its edge to one that stays: greedily, in the order of ids."""
    near: dict[str, list[Edge]] = {}
    for edge in edges:
        near.setdefault(edge.later, []).append(edge)
    gone: dict[str, Edge] = {}
    for later in sorted(near):
        equal = next((edge.earlier for edge in near[later] if edge.share == 1.0), None)
        if equal is not None and equal in gone:
            kept = gone[equal]
            gone[later] = Edge(later, kept.earlier, kept.share)
            continue
        staying = [edge for edge in near[later] if edge.earlier not in gone]
        if staying:
            gone[later] = min(staying, key=lambda edge: (-edge.share, edge.earlier))
    return gone


def _keys(signature: bytes, signatures: Signatures) -> Sequence[str]:
    bands, values = signatures.bands()
    width = 4 * values
    return [
        f"{number}:{signature[number * width : (number + 1) * width].hex()}"
        for number in range(bands)
    ]


@functools.lru_cache(maxsize=8)
def _bands(threshold: float) -> tuple[int, int]:
    from datasketch import MinHashLSH

    index = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS)  # a search of some seconds
    return index.b, index.r


def _together(edge: Edge) -> tuple[str, Edge]:
    return _EDGES, edge


def _resolved(key: str, edges: Iterable[Edge]) -> Iterator[tuple[str, Edge]]:
    yield from resolved(edges).items()


def _by_id(record: Any) -> tuple[str, Any]:
    return record.id, record


def _kept_or_reject(record_id: str, parts: Iterable[Any], stage: str) -> Iterator[Any]:
    edge: Edge | None = None
    records = []
    for part in parts:
        if isinstance(part, Edge):
            edge = part
        else:
            records.append(part)
    for record in sorted(records, key=to_json):
        if edge is None:
            yield record
            continue
        detail = f"near {edge.earlier}: they share {edge.share:.0%}"
        yield Reject(stage, "near_duplicate", detail, record_id, to_json(record), reply="")
