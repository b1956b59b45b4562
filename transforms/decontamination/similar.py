"""Which benchmark rows each record is like, by its words and by its meaning."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam

from transforms.decontamination.embedding import EmbeddingModel
from transforms.decontamination.records import Similar
from transforms.decontamination.reference import Benchmarks, MatchSettings, reference_of
from transforms.outcome import Outcome, without_rejects

_BATCH = 512  # records that are embedded together


@dataclasses.dataclass(eq=False)
class FindSimilar(beam.PTransform):
    """Find the rows of benchmarks that each record is like.

    In:   records with an `id` and a `text`.
    Out:  `rows`, a `Similar` of each under its id; `rejects`, empty.
    Cost: no shuffle. Each process reads the benchmarks once and holds them: about 10 KB a row, and
          with neighbours their vectors; it embeds every record.
    Once: a pure function of each record, so retries, bundles and order change nothing; a cosine
          is that of the worker's kind of processor.
    From: NeMo-Skills, "retrieve_similar", which takes neighbours alone, and all of them.

    Args:
        benchmarks: where the rows are, for each process to read.
        settings: which methods, and what they ask for.
        model: what embeds, where neighbours are looked for.
    """

    shard_by_shard = True

    benchmarks: Benchmarks
    settings: MatchSettings = MatchSettings()
    model: EmbeddingModel = EmbeddingModel()

    def expand(self, records: beam.PCollection) -> Outcome:
        similar = (
            records
            | "Text" >> beam.Map(_id_and_text)
            | "Batch" >> beam.BatchElements(min_batch_size=_BATCH, max_batch_size=_BATCH)
            | "Match" >> beam.FlatMap(_similar, self.benchmarks, self.settings, self.model)
        )
        return without_rejects(similar)


def _id_and_text(record: Any) -> tuple[str, str]:
    return record.id, record.text


def _similar(
    batch: Sequence[tuple[str, str]],
    benchmarks: Benchmarks,
    settings: MatchSettings,
    model: EmbeddingModel,
) -> Iterator[Similar]:
    reference = reference_of(benchmarks, settings, model)
    found = reference.matches([text for _, text in batch])
    for (record_id, text), matches in zip(batch, found, strict=True):
        yield Similar(record_id, text, matches)
