"""Records to rows and back, and the Arrow schema of a record's type."""

import dataclasses
import json
import math
from typing import Annotated

import pyarrow as pa
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.codec import arrow_schema, canonical_json, from_row, to_json, to_row
from transforms.records import (
    Call,
    CrossBreed,
    CrossBreedExample,
    NewProblem,
    NewProblemEvals,
    NewProblemList,
    NewProblemWithReasoning,
    Origin,
    Pair,
    Problem,
    Provenance,
    Reject,
)

TEXT = st.text(max_size=12)
FILLED = st.text(min_size=1, max_size=12).map(str.strip).filter(bool)
COUNT = st.integers(0, 2**63 - 1)
SCORE = st.integers(1, 3)
PROBLEMS = st.builds(Problem, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT)
PAIRS = st.builds(Pair, TEXT, PROBLEMS, PROBLEMS)
KEYS = st.lists(TEXT, max_size=2).map(tuple)
CALLS = st.builds(Call, TEXT, TEXT, TEXT, TEXT, TEXT, COUNT, COUNT, COUNT, KEYS, TEXT, COUNT, COUNT)
CALL_LISTS = st.lists(CALLS, max_size=2).map(tuple)
LISTS = st.builds(
    NewProblemList, st.lists(st.builds(NewProblem, TEXT, FILLED), max_size=3).map(tuple)
)
BEST = st.builds(NewProblemWithReasoning, TEXT, FILLED, TEXT)
EVALS = st.builds(NewProblemEvals, SCORE, SCORE, SCORE)
ORIGINS = st.builds(Origin, TEXT, TEXT, TEXT, TEXT, TEXT)
RECORDS = st.one_of(
    PROBLEMS,
    PAIRS,
    CALLS,
    st.builds(Reject, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT),
    st.builds(
        CrossBreed,
        TEXT,
        PAIRS,
        TEXT,
        st.none() | LISTS,
        st.none() | BEST,
        st.none() | EVALS,
        st.none() | TEXT,
        CALL_LISTS,
    ),
    st.builds(
        CrossBreedExample,
        *(TEXT,) * 5,
        LISTS,
        BEST,
        TEXT,
        EVALS,
        TEXT,
        TEXT,
        st.builds(Provenance, ORIGINS, ORIGINS, CALL_LISTS),
    ),
)
JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
PROBLEM = Problem("8c1f", "Wie groß ist π?", "theoremqa", "7", "MIT", '{"field":"Math"}')


@dataclasses.dataclass(frozen=True, slots=True)
class Everything:
    """One column of each kind that a record may have."""

    text: str
    number: int
    share: float
    flag: bool
    shares: tuple[float, ...]
    nested: tuple[tuple[str, ...], ...]
    record: Problem
    records: tuple[Problem, ...]
    maybe: int | None
    maybe_record: Problem | None
    noted: Annotated[str, pydantic.Field(description="a note")]


@given(RECORDS)
@settings(deadline=None)
def test_a_record_comes_back_from_its_row(record):
    """`from_row` undoes `to_row`, for every record and also through JSON text."""
    row = to_row(record)
    assert from_row(type(record), row) == record
    assert from_row(type(record), json.loads(to_json(record))) == record


@given(st.lists(RECORDS, min_size=1, max_size=4))
@settings(deadline=None)
def test_a_row_comes_back_from_arrow(records):
    """A table of the record's schema holds its rows without a loss."""
    for record in records:
        row = to_row(record)
        table = pa.Table.from_pylist([row], schema=arrow_schema(type(record)))
        assert table.to_pylist() == [row]


@given(RECORDS)
@settings(deadline=None)
def test_the_columns_of_a_row_are_the_fields_in_their_order(record):
    """Rows, and the schema of their type, have one column per field, in the order of the fields."""
    names = [field.name for field in dataclasses.fields(record)]
    assert list(to_row(record)) == names
    assert arrow_schema(type(record)).names == names


def test_a_row_is_made_of_plain_values():
    """Tuples become lists, records dicts, and a field that is not filled yet None."""
    record = CrossBreed("1", Pair("1", PROBLEM, PROBLEM), "obfuscation")
    row = to_row(dataclasses.replace(record, problem_candidates=NewProblemList(())))
    assert row["pair"]["a"] == {
        "id": "8c1f",
        "text": "Wie groß ist π?",
        "source": "theoremqa",
        "source_id": "7",
        "licence": "MIT",
        "extra": '{"field":"Math"}',
        "expected_answer": None,
    }
    assert row["problem_candidates"] == {"problems": []}
    assert row["calls"] == []
    assert row["evals"] is None


def test_the_json_of_a_record_is_canonical():
    """Keys are sorted, there are no spaces, and text that is not ASCII is kept."""
    assert to_json(PROBLEM) == (
        '{"expected_answer":null,"extra":"{\\"field\\":\\"Math\\"}","id":"8c1f","licence":"MIT",'
        '"source":"theoremqa","source_id":"7","text":"Wie groß ist π?"}'
    )


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=5), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_canonical_json_does_not_depend_on_the_order_of_keys(value, rng):
    """A dict with its keys in any order gives one text, and the text gives the dict."""
    keys = list(value)
    rng.shuffle(keys)
    text = canonical_json(value)
    assert canonical_json({key: value[key] for key in keys}) == text
    assert json.loads(text) == value


@given(JSON_VALUES, JSON_VALUES)
@settings(deadline=None)
def test_canonical_json_tells_different_values_apart(first, second):
    """Two values have one text only if they are equal."""
    if canonical_json(first) == canonical_json(second):
        assert first == second


@given(st.dictionaries(TEXT, JSON_VALUES | st.floats(), max_size=3))
@settings(deadline=None)
def test_canonical_json_is_json(value):
    """NaN and the infinities, for which JSON has no form, are null; the rest stays as it is."""
    read = json.loads(canonical_json(value), parse_constant=pytest.fail)
    finite = {
        key: None if isinstance(item, float) and not math.isfinite(item) else item
        for key, item in value.items()
    }
    assert read == json.loads(canonical_json(finite)) == finite


@pytest.mark.parametrize(
    "spoil",
    [
        lambda row: row.pop("text"),
        lambda row: row.update(text=None),
        lambda row: row.update(text=7),
        lambda row: row.update(text=["a"]),
    ],
    ids=["missing", "null", "number", "list"],
)
def test_a_row_of_another_shape_is_refused(spoil):
    """A column that is missing, null or of another type raises a validation error."""
    row = to_row(PROBLEM)
    spoil(row)
    with pytest.raises(pydantic.ValidationError):
        from_row(Problem, row)


@pytest.mark.parametrize("score", [0, 4, -1, 2.5, "three", None])
def test_a_score_out_of_range_is_refused(score):
    """Scores are whole numbers from 1 to 3."""
    with pytest.raises(pydantic.ValidationError):
        from_row(NewProblemEvals, {"difficulty": 1, "clarity": score, "adherence": 3})


def test_a_problem_without_text_is_refused():
    """The text of a new problem has at least one character."""
    with pytest.raises(pydantic.ValidationError):
        from_row(NewProblem, {"added_concepts": "graphs", "problem": ""})


def test_every_kind_of_field_has_an_arrow_type():
    """Scalars, tuples, records and optional fields map to the types that hold them."""
    problem = pa.struct([(name, pa.string()) for name in to_row(PROBLEM)])
    assert arrow_schema(Everything) == pa.schema(
        [
            ("text", pa.string()),
            ("number", pa.int64()),
            ("share", pa.float64()),
            ("flag", pa.bool_()),
            ("shares", pa.list_(pa.float64())),
            ("nested", pa.list_(pa.list_(pa.string()))),
            ("record", problem),
            ("records", pa.list_(problem)),
            ("maybe", pa.int64()),
            ("maybe_record", problem),
            ("noted", pa.string()),
        ]
    )


def test_the_dataset_has_its_published_columns():
    """A finished row begins with the published columns, in their order and with their types."""
    schema = arrow_schema(CrossBreedExample)
    assert schema.names == [
        "id_a",
        "problem_a",
        "id_b",
        "problem_b",
        "combination_type",
        "problem_candidates",
        "best_problem_json",
        "new_problem",
        "evals",
        "solution",
        "id",
        "provenance",
    ]
    candidate = pa.struct([("added_concepts", pa.string()), ("problem", pa.string())])
    assert schema.field("problem_candidates").type == pa.struct([("problems", pa.list_(candidate))])
    scores = [(name, pa.int64()) for name in ("difficulty", "clarity", "adherence")]
    assert schema.field("evals").type == pa.struct(scores)


@pytest.mark.parametrize(
    "annotation",
    [dict[str, int], list[str], tuple[int, str], int | str, bytes, object],
    ids=str,
)
def test_a_field_that_arrow_cannot_hold_is_refused_with_its_type(annotation):
    """A record holds scalars, tuples of one kind and records: all else raises a TypeError."""
    record_type = dataclasses.make_dataclass("Odd", [("field", annotation)], frozen=True)
    with pytest.raises(TypeError, match="has no Arrow type"):
        arrow_schema(record_type)
