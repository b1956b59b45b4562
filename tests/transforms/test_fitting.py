"""From JSON values to records: form is free, content is not."""

import dataclasses
import enum
from typing import Annotated, Literal

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.codec import to_row
from transforms.fitting import MisfitError, Shape


class Level(enum.Enum):
    EASY = "easy"
    VERY_HARD = "very hard"


@dataclasses.dataclass(frozen=True)
class Part:
    share: float
    is_new: bool


@dataclasses.dataclass(frozen=True)
class Everything:
    level: Level
    kind: Literal["code", "math"]
    score: Annotated[int, pydantic.Field(ge=1, le=3)]
    parts: tuple[Part, ...] = ()
    best: Part | None = None
    note: str | None = None


SHAPE = Shape(Everything)
GOOD = {
    "level": "very hard",
    "kind": "math",
    "score": 2,
    "parts": [{"share": 0.5, "is_new": True}],
    "best": {"share": 1.0, "is_new": False},
    "note": "n",
}
RECORD = SHAPE.record(GOOD)


def misfit(value: object, shape: Shape = SHAPE) -> str:
    with pytest.raises(MisfitError) as raised:
        shape.record(value)
    return str(raised.value)


def test_a_row_of_a_record_is_that_record():
    """What the codec writes fits."""
    assert to_row(RECORD) == GOOD


@pytest.mark.parametrize(
    "change",
    [
        {"level": "Very Hard"},
        {"level": "VERY_HARD"},
        {"kind": "Math"},
        {"score": "2"},
        {"score": 2.0},
        {"score": "2.0"},
        {"parts": [{"Share": "0.5", "is-new": "True"}]},
        {"parts": [{"share": 0.5, "isNew": True, "why": "?"}]},
        {"best": {"SHARE": 1, "Is New": "false"}},
        {"more": {"of": ["it"]}},
    ],
    ids=str,
)
def test_the_form_may_differ(change):
    """Case, separators, numbers and booleans as texts, and other fields make no difference."""
    assert SHAPE.record({**GOOD, **change}) == RECORD


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"level": "medium"}, "level: should be 'easy' or 'very hard', not \"medium\""),
        ({"kind": "Maths"}, "kind: should be 'code' or 'math', not \"Maths\""),
        ({"score": 4}, "score: should be less than or equal to 3, not 4"),
        ({"score": True}, "score: should be a valid integer, not true"),
        ({"score": "two"}, 'score: should be a valid integer, not "two"'),
        ({"score": "٢"}, 'score: should be a valid integer, not "٢"'),
        ({"score": 1.5}, "score: should be a valid integer, not 1.5"),
        ({"score": [2]}, "score: should be a valid integer, not [2]"),
        ({"note": 3}, "note: should be a valid string, not 3"),
        ({"parts": None}, "parts: should be a valid array, not null"),
        ({"parts": {"share": 1}}, 'parts: should be a valid array, not {"share": 1}'),
        ({"best": {"share": 1, "is_new": "Yes"}}, 'is_new: should be a valid boolean, not "Yes"'),
        ({"best": {"share": 1, "is_new": 1}}, "is_new: should be a valid boolean, not 1"),
        ({"parts": [{"share": 1}]}, "parts.0.is_new: is missing"),
    ],
    ids=str,
)
def test_the_content_may_not(change, detail):
    """The fault names the field, what is wanted and what was got."""
    assert detail in misfit({**GOOD, **change})


def test_names_that_could_be_two_fields_are_none():
    """A field is taken under another name only if there is one such name, and one such field."""
    twins = dataclasses.make_dataclass("Twins", [("a_b", int), ("ab", int)], frozen=True)
    assert "a_b: is missing; ab: is missing" in misfit({"AB": 1, "a b": 2}, Shape(twins))
    assert Shape(twins).record({"ab": 1, "a_b": 2}) == twins(a_b=2, ab=1)


def test_an_exact_name_wins():
    """A field beside its look-alike is the field."""
    assert SHAPE.record({**GOOD, "Score": 3, "SCORE": 1}).score == 2


@pytest.mark.parametrize(
    "wrapped",
    [
        {"answer": GOOD},
        {"thoughts": "hm", "result": GOOD},
        [GOOD],
        [{"answer": GOOD}],
        {"answer": [GOOD]},
        {"type": "object", "properties": GOOD},
        {"score": GOOD},
    ],
    ids=[str(n) for n in range(7)],
)
def test_an_answer_may_be_wrapped_up_to_twice(wrapped):
    """In an object, a list of one, or the schema; a third layer is too many."""
    assert SHAPE.record(wrapped) == RECORD
    assert misfit({"a": {"b": {"c": GOOD}}})


def test_an_answer_is_not_taken_from_within_another():
    """Where an object has fields of the type, what lies in it is not looked at."""
    assert "score: should be less" in misfit({**GOOD, "score": 9, "example": GOOD})
    assert misfit({"one": GOOD, "other": GOOD}) == "it holds 2 answers, and one is wanted"
    assert misfit([GOOD, GOOD]) == "it is a list of 2 values, and one object is wanted"


def test_the_fault_of_a_wrapped_answer_is_told_from_within():
    """A wrapper does not hide which field is wrong."""
    assert misfit({"answer": {**GOOD, "score": 9}}).startswith("score: should be less")


def test_a_type_with_fields_called_like_those_of_a_schema():
    """Neither its answers are taken for a schema nor a schema for an answer."""
    titled = dataclasses.make_dataclass("Titled", [("title", str), ("type", str)], frozen=True)
    shape = Shape(titled)
    assert shape.record({"title": "a", "type": "b"}) == titled("a", "b")
    assert "repeats the schema" in misfit(pydantic.TypeAdapter(titled).json_schema(), shape)


def test_what_is_missing_is_told_with_what_is_there():
    """A model that used names of its own sees which."""
    assert misfit({"rating": 3}).endswith('score: is missing in {"rating": 3}')


def test_a_misfit_is_close_if_it_has_a_field_of_the_type():
    """So that of several faults the telling one is told."""
    for value, is_close in (({"score": 9}, True), ({"x": 1}, False), ([1, 2], False)):
        with pytest.raises(MisfitError) as raised:
            SHAPE.record(value)
        assert raised.value.is_close is is_close


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters()),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from([*GOOD, "properties", "share", "is_new", "x"]), inner, max_size=5
            )
        ),
    ).filter(lambda value: isinstance(value, dict | list))
)
def test_anything_is_a_record_or_a_misfit(value):
    """No value of JSON is an error."""
    try:
        assert isinstance(SHAPE.record(value), Everything)
    except MisfitError as error:
        assert str(error)
