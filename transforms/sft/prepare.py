"""From judged solutions to rows for supervised fine-tuning: filter, deduplicate, render."""

import dataclasses
from collections.abc import Callable
from typing import Any

import apache_beam as beam

from transforms.outcome import Outcome
from transforms.records import Trace
from transforms.sft.duplicates import DeduplicateTraces
from transforms.sft.filters import FilterTraces
from transforms.sft.lengths import CHARACTERS, Lengths
from transforms.sft.options import SftFilters
from transforms.sft.render import RenderTraces, SftFormat


@dataclasses.dataclass(eq=False)
class PrepareForSft(beam.PTransform):
    """Make rows for supervised fine-tuning.

    In:   records with the ids of samples of problems.
    Out:  `rows`, an `SftExample` of each under its id; `rejects`, the others, as `FilterTraces`,
          `DeduplicateTraces` and `RenderTraces` say.
    Cost: one shuffle, if duplicates are looked for; as the three.
    Once: a pure function of a problem's records, so retries, order and sharding change nothing.
    From: NeMo-Skills, "prepare_data"; `docs/sft.md` says what is done otherwise.

    Args:
        stage: the name in the rejects.
        of: from a record to its trace, with the same id.
        filters, lengths: as `FilterTraces`.
        deduplicate: reject equal solutions of a problem.
        sft_format: as `RenderTraces`.
    """

    shard_by_shard = True

    stage: str
    of: Callable[[Any], Trace]
    filters: SftFilters = SftFilters()
    lengths: Lengths = CHARACTERS
    deduplicate: bool = True
    sft_format: SftFormat = SftFormat()

    def expand(self, records: beam.PCollection) -> Outcome:
        traces = records | "Traces" >> beam.Map(self.of).with_output_types(Trace)
        outcome = traces | "Filters" >> FilterTraces(self.stage, self.filters, self.lengths)
        rejects = [outcome.rejects]
        if self.deduplicate:
            outcome = outcome.rows | "Deduplicate" >> DeduplicateTraces(self.stage)
            rejects.append(outcome.rejects)
        outcome = outcome.rows | "Render" >> RenderTraces(self.stage, self.sft_format)
        return Outcome(outcome.rows, (*rejects, outcome.rejects) | "Rejects" >> beam.Flatten())
