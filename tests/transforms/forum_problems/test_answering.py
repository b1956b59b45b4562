"""What is a final answer, what is prose about one, and how both formats are read."""

import dataclasses
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.forum_problems.answering import (
    READER,
    answered_problem,
    bare_answer,
    fault_of,
    prose_fault,
    put,
)
from transforms.forum_problems.records import (
    ExtractedFrom,
    ForumProblem,
    FoundAnswer,
    ProblemInThread,
)
from transforms.reading import Fault
from transforms.records import Answered, Call, Origin, Thread

CALL = Call("extract_answers", "p", "0" * 16, "m", "{}", 0, 0, 1, ("k",), "stop", 1, 1)


def problem(thread_id: str, number: int) -> ForumProblem:
    name = f"{thread_id}-{number}"
    origin = Origin(thread_id, "aops", "s", "CC", "{}")
    return ForumProblem(name, f"Find {name}.", ExtractedFrom(name, origin, ()), ())


def thread(thread_id: str) -> Thread:
    return Thread(thread_id, f"post of {thread_id}", "Post 1:\n8\n\n", "aops", "s", "CC", "{}")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"reasoning": "post 2", "answer": "12"}', "12"),
        ('{"reasoning": "nobody", "answer": null}', None),
        ("Post 2 says so.\nAnswer: 12", "12"),
        ("Answer: 11\nNo, post 3 corrects it.\n**Final Answer:** $12$", "$12$"),
        ("Answer:\n\\frac{1}{2}", "\\frac{1}{2}"),
        ("They only give hints. Answer not found", None),
        ("Answer not found in post 1, but later.\nAnswer: 7", "7"),
        ("Answer: 5\n\nI hope this helps you all.", "5"),
        ("**Answer:** 12\n\nNote that the first reply disagrees.", "12"),
        ("Answer: 7\n\nConfidence: high", "7"),
        ("Answer: 7\nConfidence: high", "7"),
        ("**Answer: 7**\nConfidence: high", "7"),
        ("Answer:\n\n\n  7 \n\nBye", "7"),
        ("Answer:\n", None),
        (
            "Answer: \\begin{pmatrix}\n1 & 0 \\\\[2pt]\n\n0 & 1\n\\end{pmatrix}\n\nSee you.",
            "\\begin{pmatrix}\n1 & 0 \\\\[2pt]\n\n0 & 1\n\\end{pmatrix}",
        ),
        ("Answer:\n\\[\nx = 2\n\\]\nby post 2", "\\[\nx = 2\n\\]"),
        ("Answer:\n$$\nx = 2\n$$\nby post 2", "$$\nx = 2\n$$"),
        ("Answer: \\boxed{\nx = 2\n}\n\nby post 2", "\\boxed{\nx = 2\n}"),
        ("Answer: x = 1 or\nx = 2\nThank you", "x = 1 or\nx = 2"),
        ("Answer: [1, 2) \\{ 3\n\nOpen, but no formula.", "[1, 2) \\{ 3"),
        ("Answer: {1, 2\n\nIt is never closed.", "{1, 2"),
    ],
)
def test_both_formats_are_read(text, answer):
    """The last label counts; a phrase that says there is none does only without one."""
    found = READER.read(text)
    assert isinstance(found, FoundAnswer)
    assert found.answer == answer


@pytest.mark.parametrize("text", ["It is 12, I think.", '{"answer": "12"', '{"answer": "12"}', ""])
def test_what_says_neither_is_a_fault(text):
    """Prose without a label, a torn object, one without its reasoning, nothing."""
    assert isinstance(READER.read(text), Fault)


NO_ANSWERS = [
    "Answer not found", "The answer was not given.", "No final answer", "not specified",
    "**Not available**", "none given", "no solution was posted", "No one gives an answer",
    "nobody posted a solution yet", "answer could not be determined", "No answer", "N/A", "null",
    "\\text{not stated}", "$\\boxed{\\text{No answer found}}$", "\\boxed{None}", "\\boxed{}",
    "$\\boxed{ }$", "-", "?", "???", "...", "$", "--", "$?$", "\\boxed{?}", "no value is given",
]  # fmt: skip
NEGATIVE_ANSWERS = [
    "no solution", "No solutions", "none", "no real solutions", "none of these", "does not exist",
    "no solution exists", "\\text{none}", "\\emptyset", "\\{\\}", "{}", "∅", "impossible", "-1",
    "+", "not possible", "no", "undefined", "none of the given triples",
]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "bare"),
    [
        ("12", "12"),
        (" $x = 2$. ", "x = 2"),
        ("$$\\boxed{\\frac{1}{2}}$$", "\\frac{1}{2}"),
        ("**\\(n^2\\)**", "n^2"),
        ("$a$ or $b$", "$a$ or $b$"),
        ("1, 2, 3, ...", "1, 2, 3, ..."),
        ("Answer: \\boxed{7}, as said", "7"),
        ("\\boxed{1} or \\boxed{ 2 }, thus \\boxed{1}", "1, 2"),
        ("\\boxed{x = \\boxed{3}}", "3"),
        ("None", None),
        ("not found.", None),
        ("", None),
        (None, None),
        ("no such integers exist", "no such integers exist"),
        *((said, None) for said in NO_ANSWERS),
        *((said, said) for said in NEGATIVE_ANSWERS),
    ],
)
def test_an_answer_is_taken_out_of_its_wrapping(answer, bare):
    """Box, dollars, emphasis and full stop; words for nothing are none."""
    assert bare_answer(answer) == bare


@given(st.text(max_size=40) | st.sampled_from(["$$", "\\(\\)", "****", "\\boxed{}", "$.$.$"]))
def test_unwrapping_ends_and_keeps_something(text):
    """Of any text; what is unwrapped is not unwrapped further."""
    bare = bare_answer(text)
    assert bare is None or (bare.strip() and bare in text)


ANSWERS = [
    "12", "-\\frac{3}{2}", "x = 2 \\text{ or } x = 3", "3 hours and 20 minutes", "(-3, -1, 1)",
    "all primes congruent to 1 modulo 4", "no such integers exist", "Tuesday", "A. 3",
    "f(x) = cx \\text{ for any real constant } c", "\\{1, 2, \\dots, n\\}", "12.5 cm. or more",
    "2 + 3 i", "A = I", "I_n", "a + b i \\text{ with } a^2 + b^2 = 1",
    "\\begin{pmatrix} 1 & 0 \\\\ 0 & 1 \\end{pmatrix}", "p \\equiv 1 \\pmod 4", "\\sin x + C",
]  # fmt: skip
PROSE = [
    "See post 2.",
    "I get 12",
    "we have 3",
    "I think that it is 5",
    "It was proved above",
    "https://forum.example/t/12",
    "The triangles are similar. So the ratio is two",
    "the answer is 5",
    "one half, since both of the marbles have the same colour in every second draw of the bag",
    "x = 1\nx = 2\nx = 3\nx = 4\nx = 5",
    "9" * 501,
    "use the lemma, hence 7",
    "5\n \nI hope this helps you all",
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_is_no_prose(answer):
    """Formulas, values with units, and a few words."""
    assert prose_fault(answer) is None


@pytest.mark.parametrize("answer", PROSE)
def test_prose_is_no_answer(answer):
    """Whatever it comes to: the model is told, and asked for the value or for null."""
    fault = prose_fault(answer)
    assert fault is not None and fault.reason == "prose_answer"
    assert fault.detail.endswith("or null")


@settings(deadline=None)
@given(st.text())
def test_any_text_is_judged(text):
    """None is too strange, and null is fine."""
    assert isinstance(prose_fault(bare_answer(text)), Fault | None)
    assert prose_fault(None) is None


def test_what_was_found_goes_on_without_the_thread():
    """With the published word for it; a box is taken off, and no answer is one outcome of two."""
    joined = ProblemInThread("t1-0", problem("t1", 0), "the post", "Post 1:\nthe talk")
    for said, answer, kind in (
        ("$\\boxed{8}$", "8", "has_answer_extracted"),
        (None, None, "no_answer_extracted"),
        ("unknown", None, "no_answer_extracted"),
    ):
        found = FoundAnswer("so they say", said)
        assert fault_of(joined, found) is None
        row = answered_problem(Answered("t1-0", joined, found, CALL))
        assert (row.expected_answer, row.problem_type, row.calls) == (answer, kind, (CALL,))
        assert "the talk" not in repr(row)
    assert fault_of(joined, FoundAnswer("", "see post 1")) is not None


@given(st.integers(0, 2**32))
def test_problems_meet_their_thread_in_any_order(seed):
    """Each once; a thread without problems gives nothing."""
    parts = [thread("t1"), problem("t1", 0), problem("t1", 1)]
    random.Random(seed).shuffle(parts)
    found = sorted(put("t1", parts), key=lambda row: row.id)
    assert [row.id for row in found] == ["t1-0", "t1-1"]
    assert {(row.post, row.discussion) for row in found} == {("post of t1", "Post 1:\n8\n\n")}
    assert list(put("t2", [thread("t2")])) == []
    assert dataclasses.replace(found[0].problem) == problem("t1", 0)
