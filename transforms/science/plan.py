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


@dataclasses.dataclass(eq=False)
class PlanQuestions(beam.PTransform):
    """Make a slot for every question that could be written about each subtopic.

    In:   `Subtopic` records.
    Out:  `rows`, a `Slot` for each difficulty, format and number from 0 to below `questions`;
          `rejects`, empty.
    Cost: no shuffle.
    Once: a pure function of each subtopic.
    From: OpenReasoning, whose questions are "based on difficulty level, topic, and subtopic".

    Args:
        difficulties, formats: those that are wanted.
        questions: how many of each.
    """

    shard_by_shard = True

    difficulties: tuple[str, ...]
    formats: tuple[str, ...]
    questions: int = 1

    def expand(self, subtopics: beam.PCollection) -> Outcome:
        return without_rejects(subtopics | "Plan" >> beam.FlatMap(self.slots_of))

    def slots_of(self, subtopic: Subtopic) -> Iterator[Slot]:
        """The slots of a subtopic; with more questions of each, those of fewer keep their ids."""
        cells = itertools.product(range(self.questions), self.difficulties, self.formats)
        for place, (number, difficulty, of_format) in enumerate(cells):
            slot_id = sample_id(subtopic.id, place)
            yield Slot(slot_id, subtopic, difficulty, of_format, number)


@dataclasses.dataclass(eq=False)
class DrawSlots(beam.PTransform):
    """Keep `number` slots, as many of each format, drawn uniformly by `seed`.

    In:   `Slot` records.
    Out:  `rows`, at most `number` of them; a larger number keeps those of a smaller one. What is
          left over where formats do not divide the number goes to the first. `rejects`, empty.
    Cost: one shuffle; no worker holds the collection.
    Once: a pure function of ids and seed.

    Args:
        number: how many.
        formats: all that slots have.
        seed: of the draw.
    """

    number: int
    formats: tuple[str, ...]
    seed: int

    def expand(self, slots: beam.PCollection) -> Outcome:
        taken = []
        for place, of_format in enumerate(self.formats):
            number = len(range(place, self.number, len(self.formats)))
            ranked = (
                slots
                | f"Select_{of_format}" >> beam.Filter(_is_of, of_format)
                | f"Rank_{of_format}" >> RankByHash(self.seed)
            )
            taken.append(ranked | f"Take_{of_format}" >> beam.FlatMapTuple(_taken, number))
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


def _taken(rank: int, packed: bytes, number: int = 0) -> Iterator[Slot]:
    if rank < number:
        yield unpack(packed)


def _is_of(record: Slot | Question, of_format: str) -> bool:
    slot = record.slot if isinstance(record, Question) else record
    return slot.format == of_format
