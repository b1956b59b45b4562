"""What votes make of a problem: it goes on, is taken out with its reason, or nobody can tell."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.forum_problems.classification import (
    CLASSES,
    RemoveClass,
    SelectClass,
    is_member,
    reader_of,
    vote_of,
)
from transforms.forum_problems.records import ClassVote, ExtractedFrom, ForumProblem
from transforms.reading import Fault
from transforms.records import Answered, Call, Origin, Reject

PROBLEM = ForumProblem(
    "t1-0", "Prove it.", ExtractedFrom("t1-0", Origin("t1", "aops", "s", "CC", "{}"), ()), ()
)


def votes(*said: bool) -> list[ClassVote]:
    calls = [
        Call("classify", "p", "0" * 16, "m", "{}", 0, number, 1, ("k",), "stop", 1, 1)
        for number in range(len(said))
    ]
    return [
        vote_of(
            Answered(f"t1-0-{call.sample}", PROBLEM, ("not proof", "proof")[yes], call), "proof"
        )
        for call, yes in zip(calls, said, strict=True)
    ]


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize(
    ("said", "is_one"),
    [
        ("{}", True),
        ("not {}", False),
        (" **Not {}.**", False),
        ("{}.\n", True),
        ("Answer: not {}", False),
        ("Hm, it asks for a value.\n\nnot {}", False),
        ("<think>Not sure? No.</think>not {}", False),
    ],
)
def test_a_vote_is_read_however_it_is_dressed(name, said, is_one):
    """A capital, a space, quotation marks or emphasis do not make it another class."""
    for text in (said.format(name), said.format(name.upper())):
        assert reader_of(name).read(text) == (name if is_one else f"not {name}")


@pytest.mark.parametrize("said", ["", "yes", "proofs", "proof or not", "I cannot tell", "not"])
def test_what_is_no_vote_is_a_fault(said):
    """And never taken for "keep"."""
    assert isinstance(reader_of("proof").read(said), Fault)


def test_most_votes_decide():
    """As many for it as against it, or none at all, decide nothing."""
    assert is_member(votes(True)) is True
    assert is_member(votes(False, True, False)) is False
    assert is_member(votes(True, False)) is None
    assert is_member([]) is None


def outcome(rejects: bool, *said: bool) -> list[ForumProblem | Reject]:
    parts = [*votes(*said), PROBLEM]
    return list(RemoveClass("classify.no", "proof", rejects).decided("t1-0", parts))


def test_a_problem_goes_on_is_rejected_or_left_to_others():
    """Members are rejects by their class, or left out; the undecided are rejects anyway."""
    [row] = outcome(True, False, False, True)
    assert isinstance(row, ForumProblem)
    assert [call.sample for call in row.calls] == [0, 1, 2]
    [reject] = outcome(True, True)
    assert isinstance(reject, Reject)
    assert (reject.reason, reject.id, reject.stage) == ("proof", "t1-0", "classify.no")
    assert outcome(False, True) == []
    for rejects in (True, False):
        [reject] = outcome(rejects, True, False)
        assert isinstance(reject, Reject)
        assert reject.reason == "unclassified"
        assert reject.detail.endswith("1 of 2 readable votes")


@given(st.lists(st.booleans(), max_size=5), st.integers(0, 2**32))
def test_what_is_removed_is_what_is_selected(said, seed):
    """In any order of votes: of the two ways each problem goes one, if anybody can tell."""

    def ways(parts: list) -> list:
        removed = RemoveClass("r", "proof", rejects=False).decided("t1-0", parts)
        return [*removed, *SelectClass().selected("t1-0", parts)]

    parts = [*votes(*said), PROBLEM]
    random.Random(seed).shuffle(parts)
    assert ways(parts) == ways([*votes(*said), PROBLEM])
    assert len(ways(parts)) == 1
