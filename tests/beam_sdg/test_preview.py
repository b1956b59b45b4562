"""How many rows a plan says will come."""

import dataclasses
from typing import Any

import apache_beam as beam

from beam_sdg.preview import rows_per_row, rows_there, rows_to_come
from beam_sdg.sources import ReadProblems, Source
from beam_sdg.stages import Drawn, Every, Needed, OneOfSeveral, Several, Stage, StageManifest
from transforms.records import Problem


def stage(name: str, *inputs: str, **counted: object) -> Stage:
    return Stage(name, beam.PTransform(), Problem, {}, inputs, **counted)


def test_a_plan_follows_what_each_row_becomes():
    """Samples multiply, what fans out is a guess, and a join takes what was there before it."""
    stages = [
        stage("problems"),
        stage("solution", "problems"),
        stage("fragments", "solution", makes=Several()),
        stage("judge", "fragments"),
        stage("decide", "solution", "fragments", "judge", takes=Every("fragments")),
        stage("each", "fragments", "judge", takes=Every("fragments", parts=True)),
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
    pairs = stage("pairs", "a", "b", takes=Drawn())
    stages = [stage("a"), stage("b"), pairs, stage("solution", "pairs")]
    assert rows_to_come(stages, {"solution": 3}, 7)["solution"] == (21, True)
    whole = [*stages[:2], dataclasses.replace(pairs, takes=Every("a"))]
    assert rows_to_come(whole, {"a": 2}, 7)["pairs"] == (14, True)


def test_of_a_selection_some_rows_come():
    """About as many as in the rehearsal; a join beside it has what it took."""
    stages = [
        stage("problems"),
        stage("solution", "problems"),
        stage("select", "solution", takes=Needed()),
        stage("summary", "select"),
        stage("merge", "solution", "summary", takes=Every("solution")),
    ]
    found = rows_to_come(stages, {"solution": 4, "select": 0.5, "summary": 2}, 10)
    assert (found["select"], found["summary"]) == ((20, False), (40, False))
    assert found["merge"] == (40, True)


def test_a_selection_of_so_many_is_bounded():
    """By its number, whatever it selects from, or by what that is known to be."""
    take = dataclasses.replace(stage("take", "split", takes=Needed()), settings={"max_records": 25})
    stages = [stage("rows"), stage("split", "rows", makes=Several()), take]
    for share in (1.0, 7.0, None):
        assert rows_to_come(stages, {"split": share, "take": 0.1}, 10)["take"] == (25, True)
    stages[1] = stage("split", "rows")
    assert rows_to_come(stages, {"take": 0.1}, 10)["take"] == (10, True)


def test_what_is_gathered_is_a_guess_and_a_draw_of_it_is_not():
    """Whatever the rehearsal had of problems, a run draws as many as it is told to."""
    stages = [
        stage("rows"),
        stage("problems", "rows", makes=OneOfSeveral("members")),
        stage("drawn", "problems", takes=Drawn()),
        stage("instances", "drawn", makes=Several()),
    ]
    found = rows_to_come(stages, {"problems": 0.2, "drawn": 0.1, "instances": 8}, 10)
    assert (found["problems"], found["drawn"]) == ((2, False), (10, True))
    assert found["instances"] == (80, False)


def test_a_source_that_is_taken_whole_has_what_was_read():
    """However many are drawn of what is made of it."""
    stages = [
        dataclasses.replace(stage("topics"), settings={"max_records": None}),
        stage("subtopics", "topics", makes=Several()),
        stage("drawn", "subtopics", takes=Drawn()),
    ]
    found = rows_to_come(stages, {"subtopics": 10, "drawn": 0.01}, 50, {"topics": 24})
    assert found == {"topics": (24, True), "subtopics": (240, False), "drawn": (50, True)}


def test_a_source_has_no_more_than_its_limit_and_its_files():
    """Where nobody has read it to its end and nothing limits it, who knows."""
    of = {limit: dataclasses.replace(stage("rows"), settings={"max_records": limit})
          for limit in (None, 50)}  # fmt: skip
    for limit, read, wanted in (
        (50, {"rows": 24}, (24, True)), (50, {"rows": 99}, (50, True)), (50, {}, (50, True)),
        (None, {"rows": 99}, (99, True)), (None, {}, (None, False)),
    ):  # fmt: skip
        assert rows_to_come([of[limit]], {}, 10, read) == {"rows": wanted}


def test_a_trial_says_how_many_rows_its_files_have():
    """With those that it left out; not where it stopped reading, or might have."""
    limited, whole = {"max_records": 3}, {"max_records": None}
    files = ReadProblems("rows", (), True, 3, 0)
    hub = ReadProblems("rows", (Source.parse("hf://org/set"),), True, 3, 0)
    stages = [
        dataclasses.replace(stage("files"), transform=files, settings=limited),
        dataclasses.replace(stage("some_of_the_hub"), transform=hub, settings=limited),
        dataclasses.replace(stage("all_of_the_hub"), transform=hub, settings=whole),
        stage("someones"),
    ]
    assert rows_there(stages, [made(9, 3, not_sampled=6)] * 4) == {"files": 9, "all_of_the_hub": 9}


def test_a_fan_out_of_which_the_most_is_known_is_bounded():
    """Whatever the few rows of a trial made."""
    stages = [
        stage("problems"),
        stage("instances", "problems", makes=Several(8)),
        stage("label", "instances"),
    ]
    for tried in (1.0, None):
        found = rows_to_come(stages, {"instances": tried, "label": 1}, 10)
        assert (found["instances"], found["label"]) == ((80, True), (80, True))


def test_what_no_row_of_the_trial_reached_is_unknown():
    """Also what is made of it; a stage that takes every row of what is known has so many."""
    stages = [
        stage("problems"),
        stage("proofs", "problems", takes=Needed()),
        stage("convert", "proofs"),
        stage("merge", "problems", "convert", takes=Every("problems", "convert")),
        stage("solution", "problems"),
    ]
    found = rows_to_come(stages, {"proofs": None, "convert": None, "solution": None}, 10)
    assert found["proofs"] == found["convert"] == found["merge"] == (None, False)
    assert found["solution"] == (10, True)


def made(rows_in: int, rows: int, **counted: Any) -> StageManifest:
    return StageManifest(
        stage="stage", fingerprint="", settings={}, inputs={"before": ""}, rows_in=rows_in,
        rows=rows, rejects={}, **counted,
    )  # fmt: skip


def test_a_trial_tells_nothing_of_what_it_did_not_see():
    """A selection of none, a stage without a row; samples are known without any."""
    assert rows_per_row(made(4, 2, not_sampled=2)) == 0.5
    assert rows_per_row(made(3, 0, not_sampled=3)) is None
    assert rows_per_row(made(0, 0, not_sampled=0)) is None
    joined = made(3, 0, not_sampled=3).model_copy(update={"inputs": {"rows": "", "votes": ""}})
    assert rows_per_row(joined) is None
    assert (
        rows_per_row(made(5, 3, not_sampled=2).model_copy(update={"inputs": {}})) == 1
    )  # a source
    assert rows_per_row(made(0, 0, not_sampled=0, samples=4)) == 4
    assert rows_per_row(made(2, 6, not_sampled=0, made_from=2)) == 3
    assert rows_per_row(made(2, 0, not_sampled=0, made_from=0)) is None
