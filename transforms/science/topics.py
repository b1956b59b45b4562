"""Topics and their subtopics: as a source lists them, or as a model names them.

topics ─┬─ unexpanded ─ ask ─┬─ subtopics
        └────────────────────┘
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from transforms.codec import to_json
from transforms.grouping import Group
from transforms.outcome import Outcome, SplitRejects, without_rejects
from transforms.reading import Fault
from transforms.records import Answered, Problem, Reject, sample_id
from transforms.science.records import Subtopic, SubtopicList, Subtopics
from transforms.statements import squeezed

PROMPT = "science/subtopic_expansion"
COLUMN = "subtopics"


@dataclasses.dataclass(eq=False)
class SelectUnexpanded(beam.PTransform):
    """Take the topics whose source lists no subtopics: those that a model is asked for.

    In:   topics, as `Problem` records.
    Out:  `rows`, those without a column `subtopics`, or with nothing in it; `rejects`, empty.
    Cost: no shuffle.
    Once: a pure function of each topic.
    """

    shard_by_shard = True

    def expand(self, topics: beam.PCollection) -> Outcome:
        return without_rejects(topics | "Unexpanded" >> beam.Filter(_is_unexpanded))


@dataclasses.dataclass(eq=False)
class ListSubtopics(beam.PTransform):
    """Make each topic into its subtopics.

    In:   a pair of collections: topics, as `Problem` records, and the `SubtopicList` records of
          those that list none themselves.
    Out:  `rows`, the `Subtopic` records of each topic, numbered from 0; `rejects`, topics without
          any: `bad_column`, where what the source lists is no list of texts, and `no_subtopics`,
          where the model gave none that could be used.
    Cost: one shuffle of both.
    Once: a pure function of each topic and its list.
    From: OpenScience, "subtopic_expansion".

    Args:
        stage: the name in the rejects.
    """

    shard_by_shard = True

    stage: str

    def expand(self, joined: tuple[beam.PCollection, beam.PCollection]) -> Outcome:
        topics, lists = joined
        keyed = (
            topics | "KeyTopics" >> beam.Map(_by_id),
            lists | "KeyLists" >> beam.Map(_by_id),
        )
        listed = keyed | "Join" >> Group() | "List" >> beam.FlatMapTuple(_listed, self.stage)
        return listed | "Split" >> SplitRejects()


def variables_of(max_subtopics: int, topic: Problem) -> dict[str, object]:
    """What a model that names subtopics is shown."""
    return {"topic": topic.text, "max_subtopics": max_subtopics}


def fault_of(topic: Problem, value: Subtopics, most: int) -> Fault | None:
    """`wrong_number`, unless there are from 1 to `most`; `same_subtopics`, if two are equal."""
    names = [squeezed(name) for name in value.subtopics]
    if not 1 <= len(names) <= most:
        return Fault("wrong_number", f"there are {len(names)} subtopics; give 1 to {most}")
    if len({*names, squeezed(topic.text)}) <= len(names):
        return Fault("same_subtopics", "two of the subtopics are the same, or one is the topic")
    return None


def list_of(answered: Answered[Problem, Subtopics]) -> SubtopicList:
    """The subtopics in an answer that `fault_of` has nothing against."""
    names = tuple(" ".join(name.split()) for name in answered.value.subtopics)
    return SubtopicList(answered.id, answered.record, names, answered.call)


def subtopics_of(topic: Problem, named: SubtopicList | None) -> Iterator[Subtopic]:
    """The subtopics that a topic's source lists, each once, or else those that a model named."""
    names = named.names if named else tuple(dict.fromkeys(map(str.strip, _column(topic))))
    for number, name in enumerate(names):
        yield Subtopic(
            id=sample_id(topic.id, number),
            topic=topic.text.strip(),
            name=name,
            source=topic.source,
            source_id=topic.source_id,
            licence=topic.licence,
            calls=(named.call,) if named else (),
        )


def _column(topic: Problem) -> Any:
    return json.loads(topic.extra).get(COLUMN) or ()


def _is_unexpanded(topic: Problem) -> bool:
    return not _column(topic)


def _by_id(record: Problem | SubtopicList) -> tuple[str, Problem | SubtopicList]:
    return record.id, record


def _listed(
    topic_id: str, parts: Iterable[Problem | SubtopicList], stage: str = ""
) -> Iterator[Subtopic | Reject]:
    named = None
    for part in parts:
        if isinstance(part, SubtopicList):
            named = part
        else:
            topic = part
    listed = _column(topic)
    is_listed = isinstance(listed, list) and all(
        isinstance(name, str) and name.strip() for name in listed
    )
    if listed and not is_listed:
        detail = f"column {COLUMN!r} is {listed!r:.100}, not a list of texts"
        yield Reject(stage, "bad_column", detail, topic_id, to_json(topic), reply="")
    elif not listed and named is None:
        detail = f"no subtopics of {topic.text!r:.100} could be had"
        yield Reject(stage, "no_subtopics", detail, topic_id, to_json(topic), reply="")
    else:
        yield from subtopics_of(topic, named)
