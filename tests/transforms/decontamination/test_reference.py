"""What of the benchmarks a text is like, by equality and by runs of words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.decontamination.embedding import EmbeddingModel
from transforms.decontamination.records import BenchmarkRow
from transforms.decontamination.reference import MatchSettings, Reference

STORY = "A hike leads 7 miles up a valley and 9 back to the village where it began this morning."
OTHER = "How many teeth has a gear that turns twice as fast as one with eighteen of them?"
ROWS = [
    BenchmarkRow("walks", "1", STORY),
    BenchmarkRow("gears", "1", OTHER),
    BenchmarkRow("again", "7", STORY.upper()),
    BenchmarkRow("short", "1", "What is 2 + 2?"),
]


def matches(text, rows=ROWS, **settings):
    reference = Reference(rows, MatchSettings(**settings), EmbeddingModel())
    return reference.matches([text])[0]


def told(found):
    return [(match.benchmark, match.method, match.score, match.is_certain) for match in found]


def test_an_equal_text_is_found_in_every_benchmark_that_has_it():
    """Once each, for certain, with the text as it stands there."""
    found = matches(f"  {STORY.lower()} ")
    assert told(found) == [("again", "exact", 1.0, True), ("walks", "exact", 1.0, True)]
    assert [match.row for match in found] == ["7", "1"]
    assert told(matches("what is 2+2")) == [("short", "exact", 1.0, True)]


def test_texts_that_differ_in_brackets_are_for_a_model():
    """Equal words are certain only with equal brackets, of each row by itself."""
    rows = [
        BenchmarkRow("sums", "1", "What is (2+3)4?"),
        BenchmarkRow("sums", "2", "What is 2+3·4?"),
    ]
    found = matches("what is (2+3) · 4", rows)
    assert [(match.row, match.method, match.is_certain) for match in found] == [
        ("1", "exact", True), ("2", "exact", False),
    ]  # fmt: skip
    assert [match.is_certain for match in matches("What is 2+(3·4)?", rows)] == [False, False]


def test_a_part_of_a_text_is_found_by_its_runs():
    """Half of them are certain, fewer are for a model; words that are not in a row are nothing."""
    words = STORY.split()
    some = matches(" ".join(words[9:]) + " And then it rained.", ngram_size=4)
    assert [row[:2] for row in told(some)] == [("again", "ngrams"), ("walks", "ngrams")]
    share = 7 / 16  # runs of the row's 19 tokens: those of the last ten
    assert {match.score for match in some} == {round(share, 4)}
    assert {match.is_certain for match in some} == {False}
    assert {one.is_certain for one in matches(" ".join(words[6:]), ngram_size=4)} == {True}
    assert matches("It rained this morning, and nobody went anywhere at all.") == ()


def test_a_row_shorter_than_a_run_is_found_whole_or_not_at_all():
    """A run of its words would be found in too much."""
    assert matches("Somebody asks: what is 2 + 2? Nobody knows.") == ()


def test_only_the_best_rows_are_found():
    """As many as are asked for, by the share of their runs; and all that are certain."""
    rows = [BenchmarkRow("b", str(n), f"{STORY} {'And on. ' * n}") for n in range(6)]
    only = {"similar_top_k": 2, "contamination_methods": ("ngrams",)}
    found = matches(STORY, rows, ngram_share=1.0, **only)
    assert [match.row for match in found] == ["0", "1"]
    assert found[0].score == 1.0 > found[1].score
    assert [match.row for match in matches(STORY, rows, **only)] == [str(n) for n in range(6)]


@given(st.permutations(ROWS))
def test_the_order_of_rows_changes_nothing(rows):
    """Matches are in an order of their own."""
    text = f"{STORY} {OTHER}"
    assert matches(text, rows) == matches(text)


def test_settings_that_compare_nothing_are_refused():
    """At least one method."""
    with pytest.raises(ValueError, match="at least 1 item"):
        MatchSettings(contamination_methods=())
