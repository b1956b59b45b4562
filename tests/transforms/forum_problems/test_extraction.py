"""What is read out of an extraction, in both formats, and what becomes of each thread."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.forum_problems.extraction import (
    READER,
    extraction_of,
    marked_problems,
    problems_of,
)
from transforms.forum_problems.records import ProblemList
from transforms.reading import Fault
from transforms.records import Answered, Attribution, Call, Reject, Thread

CALL = Call("extract_problems", "p", "0" * 16, "m", "{}", 0, 0, 1, ("k",), "stop", 1, 1)
BY = Attribution("Ann", "https://forum.example/1", "2019-05-04", "CC BY-SA 4.0")


def read(text: str) -> tuple[str, ...] | str:
    """The problems, or the reason why they cannot be read."""
    found = READER.read(text)
    return found.reason if isinstance(found, Fault) else found.problems


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ('{"problems": ["Find $x$.", "Why?"]}', ("Find $x$.", "Why?")),
        ('{"problems": []}', ()),
        ('Here it is:\n```json\n{"problems": [" Find 1. "]}\n```', ("Find 1.",)),
        ("Problem 1:\nFind $x$.\n\nProblem 2: Find $y$.", ("Find $x$.", "Find $y$.")),
        ("Sure!\n\n**Problem 1:** Find it.\n\n**Problem 2:** Prove it.", ("Find it.", "Prove it.")),
        ("**Problem 1: Find it.**", ("Find it.",)),
        ("### PROBLEM #1. Find $x$ for $x = 1.5$.", ("Find $x$ for $x = 1.5$.",)),
        ("Problem 4: Only this one.", ("Only this one.",)),
        ("No problems identified.", ()),
        ("There is only talk in it.\n**No problem was identified.**", ()),
    ],
)  # fmt: skip
def test_both_formats_are_read(text, problems):
    """JSON, as it is asked for, and the published text, as models dress it up."""
    assert read(text) == problems


def test_a_problem_that_speaks_of_another_is_not_cut():
    """Only a line with the next number begins the next problem."""
    text = "Problem 1: Let $n$ be as in Problem 2: of the last round.\nProblem 7: is harder.\n"
    assert read(f"{text}Problem 2: Find $m$.") == (text[11:].strip(), "Find $m$.")


def test_where_problems_are_listed_the_phrase_means_nothing():
    """It costs neither the answer nor stays in a problem; within a text it is a text."""
    assert read("Problem 1: Find it.\n\nNo other problems identified.") == ("Find it.",)
    said = "Show that no problems were found in {1, 2}."
    assert read(f"Problem 1: {said}") == (said,)


def test_equal_problems_of_a_post_are_one():
    """White space apart, in the order of their first occurrence."""
    assert read('{"problems": ["Find  x.", "Why?", "Find x."]}') == ("Find  x.", "Why?")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I would rather explain what the post is about.", "malformed_answer"),
        ("Problem 1:", "malformed_answer"),
        ('{"problems": [""]}', "malformed_answer"),
        ('{"problems": ["Find', "malformed_answer"),
        ('{"problems": null}', "malformed_answer"),
        ("<think>Problem 1: Find it.", "empty_answer"),
        (" \n", "empty_answer"),
    ],
)
def test_what_says_neither_is_no_extraction(text, reason):
    """Neither problems nor that there are none: the thread does not vanish, it is a fault."""
    assert read(text) == reason


WRITTEN = st.characters(codec="utf-8", exclude_categories=["C"], exclude_characters="\\")
TEXTS = st.text(WRITTEN, min_size=1, max_size=60).map(
    lambda text: " ".join(text.split()).strip("*_# .")
)
PLAIN = TEXTS.filter(lambda text: text and marked_problems(f"{text}\n") is None and "*" not in text)


@settings(deadline=None)
@given(st.lists(PLAIN, max_size=5, unique=True))
def test_what_is_listed_is_read_whichever_the_format(problems):
    """As JSON, and behind markers, plain and in bold."""
    assert read(json.dumps({"problems": problems})) == tuple(problems)
    for marker in ("Problem {}: ", "**Problem {}:**\n", "## problem {})  "):
        listed = "\n\n".join(marker.format(n) + text for n, text in enumerate(problems, 1))
        if problems:
            assert marked_problems(listed) == tuple(problems)


@settings(deadline=None)
@given(st.text())
def test_no_text_is_too_strange(text):
    """Any text is problems or a fault."""
    assert isinstance(READER.read(text), ProblemList | Fault)


def thread(number: int) -> Thread:
    return Thread(f"t{number}", "post", "Post 1:\nlong\n\n", "aops", "s1", "CC", "{}", (BY,))


def extracted(*problems: str) -> list:
    answered = Answered("t1", thread(1), ProblemList(problems), CALL)
    return list(problems_of(extraction_of(answered), "extract_problems.split"))


def test_a_threads_problems_know_where_they_are_from():
    """The thread, its authors and the call; not its text."""
    first, second = extracted("Find x.", "Why?")
    assert (first.id, second.id, first.text) == ("t1-0", "t1-1", "Find x.")
    assert first.extracted.thread.source_id == "s1"
    assert (first.extracted.id, first.extracted.attributions, first.calls) == (
        "t1-0",
        (BY,),
        (CALL,),
    )
    assert "long" not in repr(first)


def test_a_thread_without_a_problem_is_counted():
    """As one reject."""
    [reject] = extracted()
    assert isinstance(reject, Reject)
    assert (reject.id, reject.reason, reject.stage) == (
        "t1",
        "no_problem",
        "extract_problems.split",
    )
