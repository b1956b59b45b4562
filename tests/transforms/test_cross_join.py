"""Cross-join sampling, as values and as a pipeline."""

import collections
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from transforms.cross_join import SampleCrossJoin, drawn_ranks
from transforms.records import Pair, Problem
from transforms.seeding import digest

SIZES = st.integers(0, 60)
IN_PROCESS = ["--runner=FnApiRunner"]
TWO_PROCESSES = [*IN_PROCESS, "--direct_running_mode=multi_processing", "--direct_num_workers=2"]


def problem(side: str, number: int) -> Problem:
    text = f"{side} {number}"
    return Problem(digest("problem", text, 0), text, side, str(number), "", "{}")


def side(name: str, size: int) -> list[Problem]:
    return [problem(name, number) for number in range(size)]


def sampled(
    a: Sequence[Problem], b: Sequence[Problem], limit: int, seed: int, flags: list[str]
) -> set[tuple[str, str]]:
    """The texts of the sampled pairs, through a pipeline."""
    with tempfile.TemporaryDirectory() as folder:
        with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
            sides = pipeline | "A" >> beam.Create(a), pipeline | "B" >> beam.Create(b)
            drawn = sides | SampleCrossJoin(limit, seed)
            _ = drawn | beam.Map(line) | beam.io.WriteToText(f"{folder}/pairs")
        files = sorted(Path(folder).glob("pairs*"))
        lines = [line for file in files for line in file.read_text().splitlines()]
    found = [json.loads(line) for line in lines]
    assert len(found) == len({pair_id for pair_id, _, _ in found})
    return {(text_a, text_b) for _, text_a, text_b in found}


def line(pair: Pair) -> str:
    return json.dumps([pair.id, pair.a.text, pair.b.text])


def ranks(limit: int, seed: int, size_a: int, size_b: int) -> list[tuple[int, int]]:
    blocks = range(-(-limit // 4096))
    return [pair for block in blocks for pair in drawn_ranks(block, limit, seed, size_a, size_b)]


@given(SIZES, SIZES, st.integers(0, 5000), st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_ranks_are_distinct_in_bounds_and_as_many_as_asked(size_a, size_b, limit, seed):
    """Exactly min(limit, |A|·|B|) distinct pairs of ranks, each in bounds."""
    drawn = ranks(limit, seed, size_a, size_b)
    assert len(drawn) == len(set(drawn)) == min(limit, size_a * size_b)
    assert all(0 <= a < size_a and 0 <= b < size_b for a, b in drawn)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_the_limit_that_reaches_the_product_gives_the_product(size_a, size_b, seed):
    """The whole product, each pair once, when the limit is |A|·|B| or more."""
    drawn = ranks(size_a * size_b + 7, seed, size_a, size_b)
    assert sorted(drawn) == [(a, b) for a in range(size_a) for b in range(size_b)]


@given(st.integers(1, 10**9), st.integers(1, 10**9), st.integers(0, 9000), st.integers(0, 9000))
@settings(max_examples=50, deadline=None)
def test_a_larger_limit_keeps_the_pairs_of_a_smaller_one(size_a, size_b, first, second):
    """The pairs of the smaller limit come first among those of the larger, at any size."""
    small, large = sorted((first, second))
    assert ranks(large, 3, size_a, size_b)[: min(small, size_a * size_b)] == ranks(
        small, 3, size_a, size_b
    )


def test_every_pair_is_equally_likely():
    """Over 4,000 seeds each of 15 × 11 pairs is drawn equally often (chi-square)."""
    counts: collections.Counter[tuple[int, int]] = collections.Counter()
    for seed in range(4000):
        counts.update(ranks(20, seed, 15, 11))
    cells = [counts[a, b] for a in range(15) for b in range(11)]
    assert chisquare(cells).pvalue > 0.001


def test_one_large_sample_covers_both_sides_evenly():
    """Of 2,000 × 3,000 rows, 200,000 pairs fall on the rows of both sides evenly (chi-square)."""
    drawn = np.array(ranks(200_000, 5, 2000, 3000))
    for column, size in ((0, 2000), (1, 3000)):
        assert chisquare(np.bincount(drawn[:, column], minlength=size)).pvalue > 0.001


@pytest.mark.parametrize("limit", [0, 1, 37, 12 * 9, 500])
def test_the_transform_draws_the_same_pairs_whatever_the_input_order(limit):
    """Exactly min(limit, |A|·|B|) pairs, the same ones for reversed inputs."""
    a, b = side("a", 12), side("b", 9)
    drawn = sampled(a, b, limit, 1, IN_PROCESS)
    assert len(drawn) == min(limit, 12 * 9)
    assert sampled(a[::-1], b[::-1], limit, 1, IN_PROCESS) == drawn


def test_the_transform_draws_the_same_pairs_on_two_worker_processes():
    """Two worker processes draw the pairs that one process draws."""
    a, b = side("a", 40), side("b", 30)
    drawn = sampled(a, b, 300, 2, IN_PROCESS)
    assert len(drawn) == 300
    assert sampled(a, b, 300, 2, TWO_PROCESSES) == drawn


def test_the_transform_keeps_the_pairs_of_a_smaller_limit():
    """Raising the limit only adds pairs."""
    a, b = side("a", 15), side("b", 15)
    assert sampled(a, b, 40, 4, IN_PROCESS) < sampled(a, b, 90, 4, IN_PROCESS)


def test_another_seed_draws_other_pairs():
    """The sample depends on the seed."""
    a, b = side("a", 30), side("b", 30)
    assert sampled(a, b, 50, 1, IN_PROCESS) != sampled(a, b, 50, 2, IN_PROCESS)


@pytest.mark.parametrize(("size_a", "size_b"), [(0, 5), (5, 0), (0, 0)])
def test_an_empty_side_gives_no_pairs(size_a, size_b):
    """Nothing can be paired with nothing."""
    assert sampled(side("a", size_a), side("b", size_b), 10, 1, IN_PROCESS) == set()


def test_a_negative_limit_is_refused():
    """The error names the value."""
    with pytest.raises(ValueError, match="-1"):
        SampleCrossJoin(-1, 0)
