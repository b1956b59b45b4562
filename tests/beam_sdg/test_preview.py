"""How many rows a plan says will come."""

import dataclasses

import apache_beam as beam

from beam_sdg.preview import rows_to_come
from beam_sdg.stages import Stage
from transforms.records import Problem


def stage(name: str, *inputs: str, **counted: object) -> Stage:
    return Stage(name, beam.PTransform(), Problem, {}, inputs, **counted)


def test_a_plan_follows_what_each_row_becomes():
    """Samples multiply, what fans out is a guess, and a join takes what was there before it."""
    stages = [
        stage("problems"),
        stage("solution", "problems"),
        stage("fragments", "solution", fans_out=True),
        stage("judge", "fragments"),
        stage("decide", "solution", "fragments", "judge", one_per=("fragments",)),
        stage("each", "fragments", "judge", one_per=("fragments",), takes_parts=True),
    ]
    assert rows_to_come(stages, {"solution": 4, "fragments": 1.5, "judge": 8}, 10) == {
        "problems": (10, True),
        "solution": (40, True),
        "fragments": (60, False),
        "judge": (480, False),
        "decide": (40, True),
        "each": (60, False),
    }


def test_a_product_is_drawn_from():
    """Whatever its sides have, a run takes as many pairs as it is told to."""
    pairs = stage("pairs", "a", "b", samples=True)
    stages = [stage("a"), stage("b"), pairs, stage("solution", "pairs")]
    assert rows_to_come(stages, {"solution": 3}, 7)["solution"] == (21, True)
    whole = [*stages[:2], dataclasses.replace(pairs, samples=False, one_per=("a",))]
    assert rows_to_come(whole, {"a": 2}, 7)["pairs"] == (14, True)


def test_of_a_selection_some_rows_come():
    """About as many as in the rehearsal; a join beside it has what it took."""
    stages = [
        stage("problems"),
        stage("solution", "problems"),
        stage("select", "solution", selects=True),
        stage("summary", "select"),
        stage("merge", "solution", "summary", one_per=("solution",)),
    ]
    found = rows_to_come(stages, {"solution": 4, "select": 0.5, "summary": 2}, 10)
    assert (found["select"], found["summary"]) == ((20, False), (40, False))
    assert found["merge"] == (40, True)


def test_what_is_gathered_is_a_guess_and_a_draw_of_it_is_not():
    """Whatever the rehearsal had of problems, a run draws as many as it is told to."""
    stages = [
        stage("rows"),
        stage("problems", "rows", gathers="members"),
        stage("drawn", "problems", samples=True),
        stage("instances", "drawn", fans_out=True),
    ]
    found = rows_to_come(stages, {"problems": 0.2, "drawn": 0.1, "instances": 8}, 10)
    assert (found["problems"], found["drawn"]) == ((2, False), (10, True))
    assert found["instances"] == (80, False)


def test_a_source_that_is_taken_whole_has_what_was_read():
    """However many are drawn of what is made of it."""
    stages = [
        dataclasses.replace(stage("topics"), settings={"max_records": None}),
        stage("subtopics", "topics", fans_out=True),
        stage("drawn", "subtopics", samples=True),
    ]
    found = rows_to_come(stages, {"subtopics": 10, "drawn": 0.01}, 50, {"topics": 24})
    assert found == {"topics": (24, True), "subtopics": (240, False), "drawn": (50, True)}
