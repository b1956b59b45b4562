"""Ids of threads: hashes of what they say."""

import dataclasses
from collections.abc import Iterable, Iterator

import apache_beam as beam

from transforms.codec import to_json
from transforms.grouping import Group
from transforms.outcome import Outcome, SplitRejects
from transforms.records import Reject, Thread
from transforms.seeding import digest


@dataclasses.dataclass(eq=False)
class IdentifyThreads(beam.PTransform):
    """Give each thread an id from its post, its discussion and the number of equal ones before it.

    In:   `Thread` records with an empty id.
    Out:  `rows` with ids; with `deduplicate`, `rejects` has every occurrence but the first
          (`duplicate`). Equal threads are numbered in the order of their other columns.
    Cost: one shuffle; equal threads in memory.
    Once: independent of input order, so retries are harmless.
    """

    stage: str
    deduplicate: bool

    def expand(self, threads: beam.PCollection) -> Outcome:
        return (
            threads
            | "KeyByTexts" >> beam.Map(_keyed_by_texts)
            | "GroupTexts" >> Group()
            | "Number" >> beam.FlatMap(_numbered, self.stage, self.deduplicate)
            | "Split" >> SplitRejects()
        )


def _keyed_by_texts(thread: Thread) -> tuple[str, Thread]:
    return digest("thread", thread.post, thread.discussion), thread


def _numbered(
    equals: tuple[str, Iterable[Thread]], stage: str, deduplicate: bool
) -> Iterator[Thread | Reject]:
    texts, threads = equals
    for number, thread in enumerate(sorted(threads, key=to_json)):
        identified = dataclasses.replace(thread, id=digest("thread", texts, number))
        if number and deduplicate:
            detail = f"the same texts as occurrence 1 of {number + 1}"
            yield Reject(stage, "duplicate", detail, identified.id, to_json(identified), reply="")
        else:
            yield identified
