"""Boxes in text: what is found whatever surrounds it, and how long it may take."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.answers import boxed_spans, has_answer, last_boxed, last_match

# Texts of TeX without a box: prose, groups that match, and braces that are none.
PROSE = st.text("ab $12\\n.", max_size=10).map(lambda text: text.replace("\\", "\\\\"))
CONTENT = st.recursive(
    st.text("ab1 2+", min_size=1, max_size=8) | st.sampled_from([r"\{", r"\}", r"\\", r"\frac"]),
    lambda inner: st.builds("x{{{}}}{}".format, inner, inner),
    max_leaves=6,
).filter(lambda text: text.strip() and not text.endswith("\\frac"))


@pytest.mark.parametrize(
    ("text", "held"),
    [
        (r"so \boxed{42}.", "42"),
        (r"\boxed{1} or rather \boxed{2}", "2"),
        (r"\fbox{7}", "7"),
        (r"\boxed {  7 }", "7"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\}}", r"\}"),
        (r"\boxed{a\\}", "a\\\\"),
        (r"\boxed{12} and so \boxed{13", "12"),
        (r"\boxed{12} and so \boxed{\frac{1}{2}", "12"),
        (r"the answer goes into \boxed{}", None),
        (r"\boxed{5}, which is in \boxed{ }", "5"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"{ ( \boxed{5} )", "5"),
        (r"} \boxed{5} }", "5"),
        (r"\boxed{open \boxed{5} more", "5"),
        (r"\boxedness{5}", None),
        (r"\boxed 5", None),
        ("\\boxed{\n5\n}", "5"),
        ("boxed{5}", None),
        ("", None),
    ],
)
def test_the_last_complete_box_counts(text, held):
    """Braces match, escaped ones are none, and a box that is cut off or empty is no box."""
    assert last_boxed(text) == held


@given(st.lists(st.tuples(PROSE, CONTENT), min_size=1, max_size=4), PROSE)
@settings(deadline=None)
def test_every_box_that_was_written_is_found(parts, end):
    """In any prose, the spans are those of the boxes, in order."""
    text, written = "", []
    for prose, content in parts:
        text += prose
        written.append((len(text), len(text) + len(content) + len(r"\boxed{}")))
        text += rf"\boxed{{{content}}}"
    text += end
    assert boxed_spans(text) == written
    assert last_boxed(text) == parts[-1][1].strip()
    assert last_boxed(text + r"\boxed{cut {off}") == parts[-1][1].strip()


@given(st.text(r"\boxed{} f", max_size=60))
@settings(deadline=None)
def test_a_span_is_a_whole_box(text):
    """Of any text, a span begins with the command and ends with its brace; none are equal."""
    spans = boxed_spans(text)
    assert spans == sorted(set(spans))
    for start, end in spans:
        assert text[start:end].startswith((r"\boxed", r"\fbox"))
        assert text[end - 1] == "}"
        assert boxed_spans(text[start:end])[0] == (0, end - start)


@pytest.mark.parametrize(
    "text",
    [
        "{" * 400_000,
        r"\boxed{" * 100_000,
        r"\boxed{" * 100_000 + "}" * 100_000,
        r"\boxed{1}" * 60_000,
        r"\boxed" + " " * 400_000,
        r"\boxed    " * 60_000,
        "\\" * 400_000,
        (r"\boxed{" + " " * 5) * 60_000 + "}" * 60_000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_no_text_takes_long(text):
    """The time for a text is that of one pass: ten times the length takes no hundred times."""

    def seconds(length: int) -> float:
        start = time.process_time()
        last_boxed(text[:length])
        return time.process_time() - start

    short = min(seconds(len(text) // 10) for _ in range(3))
    assert seconds(len(text)) < 40 * short + 0.1


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("A: 1\nso\nA:  22 \nand on", "22"),
        ("A: 1\nA:  ", "1"),
        ("the A: 1", None),
        ("A:", None),
        ("", None),
    ],
)
def test_the_last_match_counts(text, held):
    """Of a pattern with one group, the last that holds something."""
    assert last_match(text, re.compile(r"^A:(.*)$", re.MULTILINE)) == held


def test_a_group_that_took_no_part_holds_nothing():
    assert last_match("A: 1\nnone", re.compile(r"A: (.*)|none")) == "1"


@pytest.mark.parametrize("nothing", [None, "", " ", "\t\n", "\u2003"])
def test_white_space_is_no_answer(nothing):
    assert not has_answer(nothing)
    assert has_answer("None") and has_answer("0")
