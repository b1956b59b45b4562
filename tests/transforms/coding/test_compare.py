"""Outputs and values: what is the same, and that values survive the way out of a session."""

import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.coding import harness
from transforms.coding.compare import same_output, same_value
from transforms.coding.execute import drawn, judged, pass_at, verdict_of
from transforms.coding.records import CodeProblem, CodeSolution, CodeTest, TrialCounts
from transforms.coding.trial import Result, counted
from transforms.records import Problem, Solution

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner)
    | st.lists(inner).map(tuple),
    max_leaves=12,
)  # fmt: skip


@given(PLAIN)
def test_a_plain_value_comes_out_as_it_was(value):
    """Of the same type, however large or deep."""
    found = harness.decode(harness.encode(value))
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "value", [{1, 2}, frozenset("a"), range(3), 2 + 1j, bytearray(b"a"), 10**30]
)
def test_so_do_others(value):
    found = harness.decode(harness.encode(value))
    assert found == value and type(found) is type(value)


class Equal(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


def test_what_pretends_to_be_equal_is_what_it_holds():
    """Whatever a program's own classes say, data comes out."""
    found = harness.decode(harness.encode([Equal(3), iter([1, 2])]))
    assert found == [3, (1, 2)] and type(found[0]) is int
    assert not same_value(harness.encode(Equal(3)), "4")
    with pytest.raises(TypeError, match="object has no plain form"):
        harness.encode(object())


@pytest.mark.parametrize(
    ("printed", "expected", "is_same"),
    [
        ("3\n", "3", True),
        ("1 2 \n3\n", "1 2\n3", True),
        ("1\n2\n3", "1 2 3", True),
        ("", "", True),
        ("", "0", False),
        ("03", "3", False),
        ("3.0", "3", False),
        ("0.3333333", "0.33333333333", True),
        ("0.34", "0.33", False),
        ("1e-9", "0.0", True),
        ("nan", "1.0", False),
        ("1 2", "1", False),
        ("yes", "Yes", False),
        ("1000000001.0", "1000000000.0", True),
    ],
)
def test_printed_words_are_compared(printed, expected, is_same):
    assert same_output(printed, expected) == is_same


@pytest.mark.parametrize(
    ("value", "expected", "is_same"),
    [
        (3, "3", True), (3, "[3]", True), ([3], "[3]", True), ([3], "[[3]]", True),
        ((1, (2,)), "[1,[2]]", True), (0.1 + 0.2, "0.3", True), (True, "1", True),
        (1, "true", True), (3.0, "3", True), ([2, 3.0], "[2.0,3]", True), (3.5, "3", False),
        (10**400, "1.5", False), (10**400, f"1{'0' * 400}", True), ({(1, 2): 3}, "{}", False),
        (None, "null", True), (None, "[]", False),
        ({1: "a"}, '{"1":"a"}', True), ("a", '"b"', False), (math.nan, "NaN", False),
        ([1, 2], "[2,1]", False), ({1}, "[1]", False),
    ],
)  # fmt: skip
def test_returned_values_are_compared(value, expected, is_same):
    """As JSON has them, perhaps in a list of one."""
    assert same_value(harness.encode(value), expected) == is_same


@pytest.mark.parametrize("name", ["set", "frozenset", "dict"])
def test_what_a_program_sends_takes_no_time(name):
    """Numbers that all have the same hash, as many as fit: no set is made of them here."""
    same = [k * (2**61 - 1) for k in range(41_000)]
    inner = [[number, 0] for number in same] if name == "dict" else same
    before = time.process_time()
    assert not same_value(json.dumps({name: inner}), json.dumps(list(range(41_000))))
    assert time.process_time() < before + 2


@pytest.mark.parametrize(
    "coded", ["", "{", '{"int": "x"}', '{"a": 1, "b": 2}', '{"no": 1}', "[" * 9999]
)
def test_what_is_no_value_is_not_the_same_as_any(coded):
    """A program may send anything."""
    assert not same_value(coded, "1")


@given(asked=st.integers(1, 40), data=st.data())
def test_pass_at_k_is_the_share_of_draws_with_a_correct_one(asked, data):
    """Of one it is the share of correct ones; it never falls; of all, whether there is any."""
    correct = data.draw(st.integers(0, asked))
    found = {each.k: each.rate for each in pass_at(asked, correct)}
    assert found[1] == round(correct / asked, 6)
    assert found[asked] == float(correct > 0)
    assert list(found) == sorted(found) and list(found.values()) == sorted(found.values())


def counts(passed=0, failed=0, timeouts=0, errors=0, not_run=0, unjudged=0, shown=0):
    total = passed + failed + timeouts + errors + not_run + unjudged
    return TrialCounts(total, passed, failed, timeouts, errors, not_run, unjudged, shown)


def test_a_verdict_takes_all_tests_that_can_be_judged():
    """One that was given up leaves a program incorrect; one that nobody can judge says nothing."""
    assert verdict_of(counts(passed=2)) == verdict_of(counts(passed=99, unjudged=1)) == "correct"
    for wrong in ({"failed": 1}, {"timeouts": 1}, {"errors": 1}, {"timeouts": 3, "not_run": 1}):
        assert verdict_of(counts(passed=2, **wrong)) == "incorrect"
        assert verdict_of(counts(unjudged=2, **wrong)) == "incorrect"
    assert verdict_of(counts(unjudged=2)) == verdict_of(counts()) == verdict_of(None) == "untested"


def test_tests_that_the_question_shows_prove_nothing():
    """Who fails one is incorrect; who passes no others is untested."""
    assert verdict_of(counts(passed=2, shown=2)) == "untested"
    assert verdict_of(counts(passed=2, failed=1, shown=2)) == "incorrect"
    assert verdict_of(counts(passed=3, shown=2)) == "correct"


def test_what_tests_leave_open_is_no_rate():
    """The share of tests is of those that were judged; that of samples needs all to be known."""
    solved = Solution("s", Problem("p", "?", "test", "1", "", "{}"), "", None, ())
    one = CodeSolution("s", solved, "python", "", "")
    some = [counts(passed=3, unjudged=1), counts(passed=1, failed=1, unjudged=2)]
    first, second = judged([one, one], some, "execute", 2)
    assert (first.pass_rate, second.pass_rate, first.solved) == (1.0, 0.5, 0.5)
    first, second = judged([one, one], [counts(passed=1, shown=1), some[1]], "execute", 2)
    assert (first.verdict, first.pass_rate, first.solved) == ("untested", None, None)
    assert (second.verdict, second.pass_rate, second.solved) == ("incorrect", 0.5, None)


def test_what_a_program_says_can_be_written():
    """Halves of characters in its words are replaced, and the first fault is one of the program."""
    found = counted([Result("unjudged", "broken"), Result("error", "ValueError: \ud800")])
    assert found.first_fault == "test 2: error, ValueError: \ufffd"
    assert (found.unjudged, found.errors, found.tests) == (1, 1, 2)
    assert counted([Result("unjudged", "broken")]).first_fault == "test 1: unjudged, broken"


def test_tests_are_drawn_by_the_seed():
    """As many as are wanted, in their order; more keep those of fewer."""
    tests = tuple(CodeTest("stdin", str(n), "") for n in range(50))
    problem = CodeProblem("p", Problem("p", "?", "test", "1", "", "{}"), tests)
    few, more, other = (drawn(problem, m, seed).tests for m, seed in ((5, 0), (9, 0), (5, 1)))
    assert len(few) == 5 and set(few) < set(more) and few != other
    assert list(few) == sorted(few, key=tests.index)
    assert drawn(problem, None, 0) is drawn(problem, 50, 0) is problem
    assert json.loads(few[0].input) < 50
