"""Topics: which are expanded, what is wrong with a list, and what becomes of each."""

from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from hypothesis import given
from hypothesis import strategies as st

from transforms.codec import canonical_json
from transforms.records import Answered, Call, Problem
from transforms.science.records import Subtopic, SubtopicList, Subtopics
from transforms.science.topics import (
    ListSubtopics,
    SelectUnexpanded,
    fault_of,
    list_of,
    subtopics_of,
    variables_of,
)

CALL = Call("subtopic_expansion", "p", "h", "m", "{}", 0, 0, 1, ("k",), "stop", 9, 9)
CAUGHT: list[tuple[str, Any]] = []


def topic(of: str, name: str = "Optics", **extra: Any) -> Problem:
    return Problem(of, name, "mine", f"row {of}", "MIT", canonical_json(extra))


def caught(item: Any, name: str) -> None:
    CAUGHT.append((name, item))


def test_each_topic_is_listed_or_rejected():
    """What its source lists wins; without that the model's, and without both it is a reject."""
    topics = [
        topic("a", subtopics=["lenses ", "prisms", "lenses"]),
        topic("b"),
        topic("c", subtopics=[]),
        topic("d", subtopics="lenses; prisms"),
        topic("e", subtopics=["lenses", 7]),
        topic("f", subtopics=None),
        topic("g", subtopics=[" "]),
    ]
    lists = [SubtopicList("b", topics[1], ("mirrors", "gratings"), CALL)]
    CAUGHT.clear()
    with beam.Pipeline("FnApiRunner", options=PipelineOptions([])) as pipeline:
        made = pipeline | "Topics" >> beam.Create(topics)
        named = pipeline | "Lists" >> beam.Create(lists)
        _ = (made | SelectUnexpanded()).rows | "Pending" >> beam.Map(caught, "pending")
        out = (made, named) | ListSubtopics("list")
        _ = out.rows | "Rows" >> beam.Map(caught, "rows")
        _ = out.rejects | "Rejects" >> beam.Map(caught, "rejects")
    found = {name: [item for kind, item in CAUGHT if kind == name] for name, _ in CAUGHT}
    assert sorted(one.id for one in found["pending"]) == ["b", "c", "f"]
    assert {one.id: one.name for one in found["rows"]} == {
        "a-0": "lenses", "a-1": "prisms", "b-0": "mirrors", "b-1": "gratings",
    }  # fmt: skip
    assert {one.id: one.calls for one in found["rows"]}["a-0"] == ()
    assert {one.id: one.calls for one in found["rows"]}["b-0"] == (CALL,)
    assert {one.id: one.reason for one in found["rejects"]} == {
        "c": "no_subtopics", "d": "bad_column", "e": "bad_column", "f": "no_subtopics",
        "g": "bad_column",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("lenses", "prisms"), None),
        (("lenses",), None),
        ((), "wrong_number"),
        (("a", "b", "c", "d"), "wrong_number"),
        (("lenses", "Lenses "), "same_subtopics"),
        (("lenses", "OPTICS"), "same_subtopics"),
    ],
)
def test_a_list_has_some_subtopics_and_each_once(names, reason):
    """As many as are wanted at most, and the topic itself is none of them."""
    found = fault_of(topic("a"), Subtopics(names), most=3)
    assert (found and found.reason) == reason


@given(st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=12))
def test_subtopics_are_numbered_in_their_order(names):
    """Whatever they are called; spacing within a name is one space."""
    answered = Answered("a", topic("a", "  Optics "), Subtopics(tuple(names)), CALL)
    made = list(subtopics_of(answered.record, list_of(answered)))
    assert [one.id for one in made] == [f"a-{number}" for number in range(len(names))]
    assert [one.name for one in made] == [" ".join(name.split()) for name in names]
    assert all(one.topic == "Optics" for one in made)
    assert made[0] == Subtopic(
        "a-0", "Optics", made[0].name, "mine", "row a", "MIT", (CALL,)
    )  # fmt: skip
    assert variables_of(3, topic("a")) == {"topic": "Optics", "max_subtopics": 3}
