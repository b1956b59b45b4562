"""Tests and questions in the rows of published datasets, whatever they call them."""

import json

import pytest

from transforms.coding.cases import CALL, CHECK, STDIN, cases_of
from transforms.coding.questions import (
    PrepareQuestions,
    assembled,
    code_problem,
    joined,
    key_of,
    pointer_of,
)
from transforms.coding.records import CodeProblem, CodeTest
from transforms.reading import Fault
from transforms.records import Problem


def found_in(columns, text=""):
    found = cases_of(columns, text)
    assert not isinstance(found, Fault), found
    return [(test.kind, test.input, test.output) for test in found.tests]


@pytest.mark.parametrize("write", [json.dumps, lambda value: value], ids=["text", "object"])
def test_pairs_of_apps_and_taco(write):
    """As JSON within the row or as it is; of lists of lines; no test twice."""
    pairs = {"inputs": ["1\n", ["2", "3"], "1\n"], "outputs": ["1\n", "5\n", "1\n"]}
    assert found_in({"input_output": write(pairs)}) == [
        (STDIN, "1\n", "1\n"),
        (STDIN, "2\n3", "5\n"),
    ]


def test_calls_of_apps_and_taco():
    """Arguments and values are JSON; the function is the entry point."""
    calls = {"fn_name": "add", "inputs": [[1, 2], [[3], {"a": 1}]], "outputs": [[3], None]}
    found = cases_of({"input_output": json.dumps(calls)})
    assert found.entry_point == "add"
    assert found.tests == (
        CodeTest(CALL, "[1,2]", "[3]"),
        CodeTest(CALL, '[[3],{"a":1}]', "null"),
    )


def test_columns_of_code_contests():
    """All three kinds of tests; of problems that read files none."""
    columns = {
        "public_tests": {"input": ["1"], "output": ["2"]},
        "private_tests": {"input": [], "output": []},
        "generated_tests": {"input": ["3", "1"], "output": ["4", "2"]},
    }
    assert found_in(columns) == [(STDIN, "1", "2"), (STDIN, "3", "4")]
    assert found_in({**columns, "input_file": "in.txt"}) == []


@pytest.mark.parametrize(
    "more", [{"generated_checker": "…"}, {"interaction_format": "…"}, {"input_mode": "file"}]
)
def test_rows_of_codeforces(more):
    """Official tests come before examples; what has other right answers has no tests."""
    examples = {"examples": [{"input": "1", "output": "2"}], "input_mode": "stdio"}
    assert found_in(examples) == [(STDIN, "1", "2")]
    official = {"official_tests": [{"input": "5", "output": "6"}], **examples}
    assert found_in(official) == [(STDIN, "5", "6")]
    assert found_in({**official, **more}) == []


def test_a_check_of_humaneval():
    """The problem's own code stands before the program."""
    row = {"test": "def check(candidate): ...", "entry_point": "f"}
    found = cases_of(row, "def f(): ...")
    assert (found.entry_point, found.preamble) == ("f", "def f(): ...")
    assert [test.kind for test in found.tests] == [CHECK]


@pytest.mark.parametrize(
    "columns",
    [
        {"input_output": "{"},
        {"input_output": '{"inputs": ["1"]}'},
        {"input_output": '{"inputs": ["1"], "outputs": []}'},
        {"input_output": '{"fn_name": "a b", "inputs": [], "outputs": []}'},
        {"input_output": '{"fn_name": "f", "inputs": [1], "outputs": [1]}'},
        {"input_output": '{"inputs": [{}], "outputs": ["1"]}'},
        {"public_tests": {"input": ["1"], "output": []}},
        {"public_tests": ["1"]},
        {"examples": [{"input": "1"}]},
        {"examples": "1 2"},
    ],
)
def test_tests_that_cannot_be_read_are_a_fault(columns):
    """Never an exception: the row becomes a reject."""
    found = cases_of(columns)
    assert isinstance(found, Fault) and found.reason == "bad_tests"


def test_what_the_question_shows_is_marked():
    """Examples of Codeforces wherever they stand, and public tests of CodeContests."""

    def shown(columns):
        return [(test.input, test.is_shown) for test in cases_of(columns).tests]

    examples = [{"input": "1", "output": "2"}]
    assert shown({"examples": examples}) == [("1", True)]
    official = [*examples, {"input": "5", "output": "6"}]
    columns = {"examples": examples, "official_tests": official}
    assert shown(columns) == [("1", True), ("5", False)]
    contests = {
        "public_tests": {"input": ["1"], "output": ["2"]},
        "private_tests": {"input": ["1", "3"], "output": ["2", "4"]},
    }
    assert shown(contests) == [("1", True), ("3", False)]
    assert shown({"input_output": {"inputs": ["1"], "outputs": ["2"]}}) == [("1", False)]


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("", "{}"), ("", "1" * 5000), ("f", "7"), ("f", f"[{'[' * 600}{']' * 600}]"),
        ("f", f"[{'1' * 5000}]"),
    ],
)  # fmt: skip
def test_a_bad_pair_costs_itself_only(name, bad):
    """The row says how many were left out, and why the first was."""
    good = "[1]" if name else '"1"'
    written = f'{{"fn_name": "{name}", "inputs": [{good}, {bad}], "outputs": [1, 1]}}'
    found = cases_of({"input_output": written})
    assert not isinstance(found, Fault) and len(found.tests) == 1
    assert found.fault.startswith("1 of 2 are left out: ")
    made = code_problem(problem("p", input_output=written))
    assert json.loads(made.problem.extra)["bad_tests"] == found.fault
    only = f'{{"fn_name": "{name}", "inputs": [{bad}], "outputs": [1]}}'
    assert isinstance(cases_of({"input_output": only}), Fault)


def test_halves_of_characters_are_replaced():
    """No file can hold them."""
    for name in ("", "f"):
        pairs = {"fn_name": name, "inputs": [["\ud800"]], "outputs": ["\ud800"]}
        [(_, given, expected)] = found_in({"input_output": pairs})
        assert "\ufffd" in given.encode().decode() and "\ufffd" in expected.encode().decode()


def test_a_question_needs_no_tests_where_nothing_is_run():
    """It goes on, and says what was wrong with them."""
    row = problem("p", input_output="{")
    assert isinstance(code_problem(row), Fault)
    found = code_problem(row, needs_tests=False)
    assert isinstance(found, CodeProblem) and found.tests == ()
    assert "cannot be read" in json.loads(found.problem.extra)["bad_tests"]


@pytest.mark.parametrize("index", ["²", "9" * 5000, True, "-1", None, 1.5])
def test_what_is_no_number_of_a_row_points_at_none(index):
    assert pointer_of(problem("p", dataset="taco", split="train", index=index)) is None


def problem(of, text="Print the sum.", source="taco", **extra):
    return Problem(of, text, source, f"own {of}", "", json.dumps(extra))


def test_a_question_is_assembled_of_its_parts():
    """In the order in which they are read; other rows are as they stand."""
    parts = {
        "input_format": "Numbers.", "output_format": "One.", "note": "Easy.",
        "examples": [{"input": "1 2", "output": "3"}, {"input": "", "output": "0"}],
    }  # fmt: skip
    assert assembled(" Add. ", parts) == (
        "Add.\n\nInput\nNumbers.\n\nOutput\nOne.\n\n"
        "Example 1\nInput:\n1 2\nOutput:\n3\n\nExample 2\nOutput:\n0\n\nNote\nEasy."
    )
    assert assembled("Add.", {"examples": parts["examples"]}) == "Add."


def test_a_pointer_takes_the_place_of_its_row():
    """Its id and its own columns stay; text, tests and licence are the row's."""
    pointer = problem("p", "q1", "ocr2", dataset="taco", split="train", index="3")
    row = problem(
        "", input_output={"inputs": ["1"], "outputs": ["1"]}, difficulty="HARD", x="y" * 2000
    )
    found = code_problem(pointer, row)
    assert isinstance(found, CodeProblem)
    assert (found.id, found.problem.text, len(found.tests)) == ("p", "Print the sum.", 1)
    extra = json.loads(found.problem.extra)
    assert extra == {
        "dataset": "taco", "difficulty": "HARD", "index": "3", "question_id": "own p",
        "split": "train",
    }  # fmt: skip


def test_names_of_datasets_are_those_of_pointers():
    """Whoever publishes them."""
    assert key_of("open-r1/codeforces", "train", 1) == key_of("codeforces", "train", 1)
    assert key_of("deepmind/code_contests", "test", 0) == "code_contests:test:0"
    assert key_of("TACO", "train", 10) != key_of("taco", "train", 1)


def test_many_pointers_may_be_to_one_row():
    """Each gets it; a row that nobody points at goes no further."""
    some = [problem(str(n)) for n in range(3)]
    assert list(joined("k", some)) == [(one, None) for one in some]
    assert list(joined("k", [])) == []


def test_without_a_library_each_shard_is_made_alone():
    """With one, it would be read for each."""
    assert PrepareQuestions("s").shard_by_shard
