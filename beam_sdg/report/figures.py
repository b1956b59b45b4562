"""The facts of a finished run, gathered once: terminal, page and card all show these."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

from beam_sdg.columns import Column, columns_of
from beam_sdg.formats import read_rows, read_schema
from beam_sdg.publish import RunManifest
from beam_sdg.report.asked import AskFigures, gather_asked, with_cached_shares
from beam_sdg.report.data import PROVENANCE, DataFigures, gather_data
from transforms.engines.store import AnswerStore, Faults
from transforms.files import joined

_EXAMPLES = 3


@dataclasses.dataclass(frozen=True)
class Figures:
    """All that is told of a dataset.

    `examples` are the first rows, without provenance; `rejects` the first reject of each stage and
    reason; `store_faults` counts what is wrong with the answer store, by kind.
    """

    manifest: RunManifest
    columns: tuple[Column, ...]
    data: DataFigures
    asked: tuple[AskFigures, ...]
    examples: tuple[Mapping[str, Any], ...]
    rejects: tuple[Mapping[str, str], ...]
    store_faults: Mapping[str, int]

    @property
    def rejected(self) -> int:
        """Rejects of all stages."""
        return sum(sum(stage.rejects.values()) for stage in self.manifest.stages)

    @property
    def rejected_duplicates(self) -> int:
        """Rejects of all stages whose reason is that there is an equal row."""
        reasons = (item for stage in self.manifest.stages for item in stage.rejects.items())
        return sum(number for reason, number in reasons if "duplicate" in reason)

    @property
    def cost(self) -> float | None:
        """US dollars for all that was asked; None where no price is known."""
        costs = [asked.cost for asked in self.asked if asked.cost is not None]
        return sum(costs) if costs else None

    @property
    def cost_per_row(self) -> float | None:
        """US dollars for each row of the dataset."""
        return self.cost / self.data.rows if self.cost is not None and self.data.rows else None


def gather(manifest: RunManifest, output: str, aside: str = "") -> Figures:
    """The facts of the run in `output`; its manifest with what the store adds to it.

    Its files are read in the folder `aside`, where they are yet to be put in place.

    Cost: one reading of the data and of the answer store, a row in memory at a time.

    Raises:
        RunError: a file of the dataset is missing or damaged.
    """
    data = [f"{aside or output}/{path}" for path in manifest.paths("data")]
    columns = manifest.columns or (columns_of(read_schema(data[0])) if data else ())
    figures = gather_data(columns, data)
    store, faults = joined(output, manifest.store), Faults()
    asked = tuple(
        figure
        for stage in manifest.stages
        for figure in gather_asked(
            stage.stage,
            AnswerStore(store, stage.stage).attempts(faults),
            manifest.asks.get(stage.stage),
            figures.corrections,
        )
    )
    return Figures(
        manifest=manifest.model_copy(update={"asks": with_cached_shares(manifest.asks, asked)}),
        columns=columns,
        data=figures,
        asked=asked,
        examples=_examples(data, columns),
        rejects=_first_rejects(manifest, aside or output),
        store_faults=dict(faults.counts),
    )


def _examples(data: list[str], columns: tuple[Column, ...]) -> tuple[Mapping[str, Any], ...]:
    shown = [column.name for column in columns if column.name != PROVENANCE]
    rows = (row for path in data for row in read_rows(path, shown))
    return tuple({name: row[name] for name in shown} for row in itertools.islice(rows, _EXAMPLES))


def _first_rejects(manifest: RunManifest, folder: str) -> tuple[Mapping[str, str], ...]:
    """The first reject of each stage and reason, in the stages' order."""
    wanted = {
        (stage.stage, reason): None for stage in manifest.stages for reason in sorted(stage.rejects)
    }
    found: dict[tuple[str, str], Mapping[str, str]] = {}
    for path in manifest.paths("rejects"):
        for row in read_rows(f"{folder}/{path}"):
            found.setdefault((row["stage"], row["reason"]), row)
            if len(found) == len(wanted):
                return tuple(found[key] for key in wanted)
    return tuple(found[key] for key in wanted if key in found)
