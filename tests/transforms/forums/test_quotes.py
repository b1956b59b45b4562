"""Quotes in replies: however they are nested, attributed or broken, what is not quoted stays."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.forums.quotes import without_quotes

OPENINGS = ['[quote="Ann"]', "[quote]", "[QUOTE=Ann]", '[quote="a]b"]', "[quote name=Ann;p=1]"]
TEXTS = st.text(st.sampled_from('ab $[]="\n\\{}'), max_size=5)
PIECES = st.lists(
    st.one_of(TEXTS, st.sampled_from(OPENINGS), st.sampled_from(["[/quote]", "[/Quote]"])),
    max_size=12,
)


def innermost_first(pieces: list[str]) -> str:
    """The same by another way: a quote without another in it goes, until there is none; then tags.

    Each tag is one character here, so that no text can be taken for one.
    """
    marks = {**{opening: "<" for opening in OPENINGS}, "[/quote]": ">", "[/Quote]": ">"}
    text = "".join(marks.get(piece, piece) for piece in pieces)
    while (less := re.sub("<[^<>]*>", "", text)) != text:
        text = less
    return re.sub("[<>]", "", text)


@given(PIECES)
def test_a_quote_goes_with_all_in_it_and_a_lone_tag_alone(pieces):
    """Whatever the order of openings, closings and texts."""
    assert without_quotes("".join(pieces)) == innermost_first(pieces)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("[quote]a[/quote]b", "b"),
        ('[quote="Ann"]a [quote="Bob"]b[/quote] c[/quote] d', " d"),
        ("[quote]a[/quote] b [quote] c", " b  c"),
        ("[quote]a [quote]b[/quote] c", "a  c"),
        ("a[/quote] b [quote]c[/quote]d", "a b d"),
        ("[quote=Ann\nand Bob]a[/quote] b", " b"),
        ('[quote="Ann\nand [Bob]"]a[/quote] b', " b"),
        (f'[quote="{"x" * 1_000}"]a[/quote] b', " b"),
        (f"[quote={'x ' * 500}]a[/quote] b", " b"),
        ("[quote=Re: [SOLVED] a[/quote] b", " b"),
        (f"[quote={'x' * 1_001}]a", f"[quote={'x' * 1_001}]a"),
        ("[quote I begin\nwith $[0,1]$ here", "[quote I begin\nwith $[0,1]$ here"),
        ("[quotes] and [/quotes]", "[quotes] and [/quotes]"),
        ("$[0,1]$ [quote = Ann]x[/quote ]$a_{[n]}$", "$[0,1]$ $a_{[n]}$"),
        ("", ""),
    ],
)
def test_quotes_as_people_write_them(text, left):
    """The published way leaves every quote before an unbalanced one; this one only its tag."""
    assert without_quotes(text) == left


@pytest.mark.parametrize(
    "part", ["[quote", "[quote]", "[/quote]", '[quote="', "[quote]x[/quote]", "[quote" + " " * 900]
)
def test_a_megabyte_of_tags_takes_a_moment(part):
    """Time grows with the length alone."""
    began = time.process_time()
    without_quotes(part * (1_000_000 // len(part)))
    assert time.process_time() - began < 10
