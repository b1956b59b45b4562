"""JSON as models write it: what is the same JSON, and what is none."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.codec import well_formed
from transforms.json_answers import Found, json_values

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, min_size=1, max_size=3)
SPACES = st.sampled_from(["", " ", "\n\t", "\u00a0", "\ufeff", "// }\n", '/* " */', "# '\n"])


def dialect(value: object, draw) -> str:
    """`value` as a model may write it, each token in a style of its own."""
    space = draw(SPACES)
    if isinstance(value, dict):
        fields = [f"{name(k, draw)}{draw(SPACES)}:{dialect(v, draw)}" for k, v in value.items()]
        return space + "{" + listed(fields, draw) + "}"
    if isinstance(value, list):
        return space + "[" + listed([dialect(item, draw) for item in value], draw) + "]"
    if isinstance(value, str):
        return space + quoted(value, draw)
    return space + draw(st.sampled_from([json.dumps(value), repr(value), str(value).upper()]))


def listed(parts: list[str], draw) -> str:
    space = draw(SPACES)
    return f"{space},".join(parts) + (f"{space}," if parts and draw(st.booleans()) else "") + space


def name(text: str, draw) -> str:
    bare = re.fullmatch(r"[A-Za-z_]\w*", text) and draw(st.booleans())
    return text if bare else draw(SPACES) + quoted(text, draw)


def quoted(text: str, draw) -> str:
    begin, end = draw(st.sampled_from(['""', "''", "“”", "‘’"]))
    escaped = json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', '"')
    if draw(st.booleans()):
        escaped = escaped.replace("\\n", "\n").replace("\\t", "\t")
    return begin + re.sub(f"[{begin}{end}]", r"\\\g<0>", escaped) + end


@given(OBJECTS, st.data())
@settings(max_examples=150, deadline=None)
def test_the_same_value_is_read_however_it_is_written(value, data):
    """Spaces, comments, quotation marks, trailing commas and words vary; the value does not."""
    assert json_values(dialect(value, data.draw)).values == (value,)


@given(OBJECTS, st.data())
@settings(max_examples=50, deadline=None)
def test_a_value_that_is_cut_is_no_value(value, data):
    """The beginning of an object gives no value, in any way of writing it."""
    text = dialect(value, data.draw)
    start, end = text.index("{"), text.rindex("}")
    for length in range(start + 1, end):
        found = json_values(text[:length])
        assert found.is_cut
        assert value not in found.values


@pytest.mark.parametrize(
    ("written", "text", "stray"),
    [
        (r"\u0041\ud83d\ude00", "A😀", False),
        (r"\/\\\"\'", "/\\\"'", False),
        (r"\sqrt{2}", r"\sqrt{2}", True),
        (r"\underline", r"\underline", True),
        (r"\$5 \_ \{", r"\$5 \_ \{", False),
    ],
)
def test_a_backslash_is_an_escape_or_itself(written, text, stray):
    """Escapes of JSON and of quotation marks are replaced; other backslashes stay, and are told."""
    found = json_values(f"{{'a': '{written}'}}")
    (value,) = found.values
    assert well_formed(value["a"]) == text
    assert found.stray_backslashes is stray


def test_values_are_outermost_and_in_order():
    """Objects and lists of a text, not those within them."""
    text = 'First {"a": {"b": [1]}}, then [{"c": 2}] and {d: 3,}.'
    assert json_values(text) == Found(({"a": {"b": [1]}}, [{"c": 2}], {"d": 3}))


def test_of_very_many_values_the_last_are_kept():
    """What a model concludes with stands at the end."""
    found = json_values("".join(f'{{"n": {n}}}\n' for n in range(1000)))
    assert found.values[-1] == {"n": 999}
    assert len(found.values) == 100


def test_an_object_within_one_that_is_broken_is_a_value():
    """A brace of prose does not hide what follows it."""
    found = json_values('{ of all "scores": {"a": 1} }')
    assert found.values == ({"a": 1},)
    found = json_values('{"x": {"a": 1} oops}')
    assert found.values == ({"a": 1},)
    assert "from 'oops}' on" in found.broken


@pytest.mark.parametrize(
    "text",
    ["{{1}}", "{x for x in y}", "set{1, 2}", r"\frac{a}{b}", "[1] and [2, 3]", "", "]}"],
)
def test_braces_of_tex_and_programs_are_no_values(text):
    """Nor are they broken JSON worth a word."""
    assert json_values(text) == Found()
