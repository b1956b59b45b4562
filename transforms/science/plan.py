"""Which questions are written: subtopics × difficulties × formats, and a draw from them."""

import dataclasses
import itertools
from collections.abc import Iterator

import apache_beam as beam

from transforms.outcome import Outcome, without_rejects
from transforms.ranking import RankByHash, unpack
from transforms.records import sample_id
from transforms.science.records import Question, Slot, Subtopic

# The published levels, from easy to hard.
DIFFICULTIES = ("intermediate", "complex", "hard", "brutal", "borderline unsolvable")


@dataclasses.dataclass(frozen=True)
class Grid:
    """The questions that could be written about a subtopic.

    difficulties, formats: a cell for each pair of them.
    questions: how many of each cell.
    """

    difficulties: tuple[str, ...]
    formats: tuple[str, ...]
    questions: int = 1

    def slots_of(self, subtopic: Subtopic) -> Iterator[Slot]:
        """The slots of a subtopic; with more questions, those of fewer keep their ids."""
        cells = itertools.product(range(self.questions), self.difficulties, self.formats)
        for place, (number, difficulty, of_format) in enumerate(cells):
            yield Slot(sample_id(subtopic.id, place), subtopic, difficulty, of_format, number)

    def numbered(self, first: Slot, number: int) -> Slot:
        """The slot with that number, of the cell of which `first` has the number 0."""
        subtopic_id, _, place = first.id.rpartition("-")
        cells = len(self.difficulties) * len(self.formats)
        slot_id = sample_id(subtopic_id, int(place) + number * cells)
        return dataclasses.replace(first, id=slot_id, number=number)


@dataclasses.dataclass(eq=False)
class PlanQuestions(beam.PTransform):
    """Make a slot for every question that could be written about each subtopic.

    In:   `Subtopic` records.
    Out:  `rows`, the slots of each, as the grid has them; `rejects`, empty.
    Cost: no shuffle.
    Once: a pure function of each subtopic.
    From: OpenReasoning, whose questions are "based on difficulty level, topic, and subtopic".
    """

    shard_by_shard = True

    grid: Grid

    def expand(self, subtopics: beam.PCollection) -> Outcome:
        return without_rejects(subtopics | "Plan" >> beam.FlatMap(self.grid.slots_of))


@dataclasses.dataclass(eq=False)
class DrawSlots(beam.PTransform):
    """Keep `number` slots, as many of each format and cell, drawn uniformly by `seed`.

    In:   all `Slot` records of a grid.
    Out:  `rows`, at most `number` of them. No cell has a second one before each cell of its format
          has one, and what is left over where formats do not divide the number goes to the first.
          A larger number keeps those of a smaller one, and so do more questions of a cell.
          `rejects`, empty.
    Cost: one shuffle of a slot of each cell; no worker holds them.
    Once: a pure function of ids and seed.

    Args:
        grid: that the slots are of.
        number: how many.
        seed: of the draw.
    """

    grid: Grid
    number: int
    seed: int

    def expand(self, slots: beam.PCollection) -> Outcome:
        formats, taken = self.grid.formats, []
        for place, of_format in enumerate(formats):
            first = slots | f"First_{of_format}" >> beam.Filter(_is_first, of_format)
            cells = beam.pvalue.AsSingleton(
                first | f"Cells_{of_format}" >> beam.combiners.Count.Globally()
            )
            number = len(range(place, self.number, len(formats)))
            taken.append(
                first
                | f"Rank_{of_format}" >> RankByHash(self.seed)
                | f"Take_{of_format}" >> beam.FlatMap(_taken, self.grid, number, cells)
            )
        return without_rejects(taken | "Merge" >> beam.Flatten())


@dataclasses.dataclass(eq=False)
class SelectFormat(beam.PTransform):
    """Take what is of one format: each has a form of its own that answers are held to.

    In:   `Slot` or `Question` records.
    Out:  `rows`, those of the format; `rejects`, empty.
    Cost: no shuffle.
    Once: a pure function of each record.
    """

    shard_by_shard = True

    format: str

    def expand(self, records: beam.PCollection) -> Outcome:
        return without_rejects(records | "OfFormat" >> beam.Filter(_is_of, self.format))


def _taken(ranked: tuple[int, bytes], grid: Grid, most: int, cells: int) -> Iterator[Slot]:
    """The slots of a cell that are among the first `most` of its format."""
    rank, packed = ranked
    first = unpack(packed)
    for number in range(grid.questions):
        if number * cells + rank < most:
            yield grid.numbered(first, number)


def _is_first(slot: Slot, of_format: str) -> bool:
    return slot.number == 0 and slot.format == of_format


def _is_of(record: Slot | Question, of_format: str) -> bool:
    slot = record.slot if isinstance(record, Question) else record
    return slot.format == of_format
