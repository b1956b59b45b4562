"""Lengths in characters and in the tokens of a tokenizer made here, and the buckets of lengths."""

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.traces import trace
from transforms.errors import InputError, UsageError
from transforms.records import Reject, SftExample
from transforms.sft.filters import SftFilters, filtered
from transforms.sft.lengths import BucketByLength, Lengths, _put, bucket_of
from transforms.sft.render import SftFormat, example_of


@pytest.fixture
def words(tmp_path: Path) -> Lengths:
    """A tokenizer with a token for each word, and special tokens around each text."""
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "[S]": 1}, "[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[S] $A [S]", special_tokens=[("[S]", 1)]
    )
    made.save(str(tmp_path / "tokenizer.json"))
    return Lengths(str(tmp_path))


def test_tokens_are_counted_without_special_ones(words):
    """Of several texts together; where there is no tokenizer, characters."""
    assert words.of("one two", "three") == 3
    assert (words.unit, Lengths().unit) == ("tokens", "characters")
    assert Lengths().of("one two", "three") == 12


def test_length_filters_count_tokens_of_reasoning_too(words):
    """One bound is enough; the detail says what was counted."""
    one = trace("a b c", reasoning_content="d e")
    assert filtered(one, "filter", SftFilters(max_solution_length=5), words) == one
    reject = filtered(one, "filter", SftFilters(max_solution_length=4), words)
    assert isinstance(reject, Reject)
    assert reject.detail == "5 tokens, more than 4"
    by_characters = SftFilters(min_solution_length=8, use_chars_for_min_length=True)
    assert filtered(one, "filter", by_characters, words) == one
    assert isinstance(filtered(one, "filter", SftFilters(min_solution_length=8), words), Reject)


def test_a_row_goes_into_the_bucket_of_its_output(words):
    """In tokens; the name is appended to the split."""
    row = example_of(trace("a b c d"), "render", SftFormat())
    assert isinstance(row, SftExample)
    assert _put(row, (4, 8), words).split == "train_up_to_4"
    assert _put(row, (2, 3), words).split == "train_over_3"
    assert _put(row, (2, 8), Lengths()).split == "train_up_to_8"


@given(st.integers(0, 99), st.lists(st.integers(1, 90), min_size=1, max_size=6, unique=True))
def test_the_smallest_bucket_that_fits(length, bounds):
    """A bound is within its bucket; what no bucket holds is beyond the last."""
    buckets = tuple(sorted(bounds))
    fitting = [bound for bound in buckets if length <= bound]
    wanted = f"up_to_{fitting[0]}" if fitting else f"over_{buckets[-1]}"
    assert bucket_of(length, buckets) == wanted


@pytest.mark.parametrize("buckets", [(), (0, 5), (5, 5), (9, 5)])
def test_buckets_ascend(buckets):
    with pytest.raises(ValueError, match="must be one or more, ascending"):
        BucketByLength(buckets)


def test_a_tokenizer_that_is_not_there_is_said(tmp_path):
    """Whose it is, and what to do."""
    pytest.importorskip("tokenizers")
    with pytest.raises(InputError, match=r"has no tokenizer.json; name a model"):
        Lengths(str(tmp_path)).of("a")
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": 1}))
    with pytest.raises(InputError, match=r"tokenizer.json of .* cannot be read"):
        Lengths(str(tmp_path)).of("a")


def test_tokens_need_their_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UsageError, match="need the package tokenizers; pip install"):
        Lengths(str(tmp_path / "other")).of("a")
