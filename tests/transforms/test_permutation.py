"""The keyed permutation: one to one, uniform, the same element by element."""

import collections
import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, chisquare

from transforms.permutation import LARGEST, SHUFFLED_BELOW, permute

KEY = st.integers(0, 2**63)


def positions(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.uint64)


def whole(size: int, *key: int | str) -> list[int]:
    return permute(np.arange(size, dtype=np.uint64), size, *key).tolist()


def test_every_size_up_to_2000_is_permuted_one_to_one():
    """Of each size from 1 to 2,000, every element comes out exactly once."""
    for size in range(1, 2001):
        assert sorted(whole(size, 27)) == list(range(size)), size


@given(st.integers(2000, 60_000), KEY)
@settings(max_examples=40, deadline=None)
@example(SHUFFLED_BELOW, 0)
@example(200 * 200, 0)
@example(200 * 200 + 1, 0)
@example(200 * 201 + 1, 0)
def test_a_whole_range_is_permuted_one_to_one(size, key):
    """Every element of a range of thousands comes out exactly once."""
    assert sorted(whole(size, key)) == list(range(size))


@given(st.integers(2000, LARGEST), st.data(), KEY)
@settings(max_examples=100, deadline=None)
def test_a_block_of_a_large_range_stays_distinct_and_in_range(size, data, key):
    """A thousand neighbours of any range up to 2**62 come out distinct and below its size."""
    start = data.draw(st.integers(0, size - 1000))
    block = np.arange(start, start + 1000, dtype=np.uint64)
    image = permute(block, size, key)
    assert image.dtype == np.uint64
    assert int(image.max()) < size
    assert len(np.unique(image)) == 1000


@given(st.integers(1, LARGEST), st.data(), KEY)
@settings(max_examples=100, deadline=None)
@example(LARGEST, None, 0)
def test_different_positions_go_to_different_places(size, data, key):
    """Any distinct positions, the ends of the range among them, have distinct images."""
    chosen = {0, size - 1, size // 2}
    if data is not None:
        chosen |= set(data.draw(st.lists(st.integers(0, size - 1), max_size=30)))
    image = permute(positions(*sorted(chosen)), size, key)
    assert len(set(image.tolist())) == len(chosen)
    assert int(image.max()) < size


@given(st.integers(1, LARGEST), st.data(), KEY)
@settings(max_examples=100, deadline=None)
def test_a_position_goes_to_the_same_place_in_any_company(size, data, key):
    """Blocks of any cut and order give what each position gives alone."""
    chosen = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=20))
    alone = [int(permute(positions(number), size, key)[0]) for number in chosen]
    assert permute(positions(*chosen), size, key).tolist() == alone


@given(st.sampled_from([7, 500, 5000, 10**15]), st.integers(0, 300), st.integers(0, 300), KEY)
@settings(max_examples=60, deadline=None)
def test_a_longer_draw_begins_with_a_shorter_one(size, first, second, key):
    """The first elements of the permuted range are the same however many are taken."""
    short, long = (min(length, size) for length in sorted((first, second)))
    taken = permute(np.arange(long, dtype=np.uint64), size, key)
    assert permute(np.arange(short, dtype=np.uint64), size, key).tolist() == taken[:short].tolist()


def test_the_positions_given_are_left_as_they_were():
    """The permutation is returned, and the argument is not written to."""
    for size in (100, 5000):
        given_positions = np.arange(50, dtype=np.uint64)
        permute(given_positions, size, 1)
        assert given_positions.tolist() == list(range(50))


@pytest.mark.parametrize("size", [20, 5000])
def test_another_key_gives_another_permutation(size):
    """A hundred seeds, and a hundred names beside one seed, give as many permutations."""
    keys = [(seed,) for seed in range(100)] + [(0, f"name {number}") for number in range(100)]
    assert len({tuple(whole(size, *key)) for key in keys}) == 200


def test_permutations_do_not_change_between_versions():
    """A shuffled and an enciphered range begin with these very elements."""
    assert whole(20, 27, "pinned")[:6] == [13, 18, 11, 9, 10, 16]
    assert whole(5000, 27, "pinned")[:6] == [2022, 4244, 382, 1557, 2627, 3693]
    image = permute(positions(0, 1, LARGEST - 1), LARGEST, 27, "pinned").tolist()
    assert image == [4384258043418499236, 3801629155496486456, 4516708549220090903]


@pytest.mark.parametrize("size", [0, -1, LARGEST + 1])
def test_a_size_out_of_range_is_refused_with_its_value(size):
    """Sizes below 1 and above 2**62 raise, and the message says which size."""
    with pytest.raises(ValueError, match=f"not {size}$"):
        permute(positions(0), size, 1)


@pytest.mark.parametrize("size", [1, 50, 5000, LARGEST])
def test_a_position_out_of_range_is_refused_with_its_value(size):
    """A position that is not below the size raises, and the message says which."""
    with pytest.raises(ValueError, match=f"position {size} "):
        permute(positions(0, size), size, 1)


@pytest.mark.parametrize("size", [1, 50, 5000, LARGEST])
def test_no_positions_give_no_elements(size):
    """An empty block is permuted to an empty block."""
    assert permute(positions(), size, 1).tolist() == []


@pytest.mark.parametrize(("size", "taken"), [(50, 20), (1023, 300), (1024, 300), (1500, 400)])
def test_every_element_is_as_likely_to_be_in_a_sample(size, taken):
    """Over 2,000 seeds each element is among the first ones equally often (chi-square)."""
    seeds = 2000
    counts = np.zeros(size, np.int64)
    for seed in range(seeds):
        counts[permute(np.arange(taken, dtype=np.uint64), size, "inclusion", seed)] += 1
    share = taken / size
    # A draw without replacement: the counts of one seed vary less than independent ones.
    variance = seeds * share * (1 - share) * size / (size - 1)
    statistic = float(((counts - seeds * share) ** 2).sum() / variance)
    assert 0.001 < chi2.sf(statistic, size - 1) < 0.999


def test_samples_of_a_large_range_cover_it_evenly():
    """Over 500 seeds the first 100 of 2**62 elements fall evenly into 64 parts of the range."""
    counts = np.zeros(64, np.int64)
    for seed in range(500):
        image = permute(np.arange(100, dtype=np.uint64), LARGEST, "cover", seed)
        counts += np.bincount((image >> np.uint64(56)).astype(np.int64), minlength=64)
    assert chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("size", [2, 3, 4, 5, 7])
def test_every_ordered_pair_of_a_tiny_range_is_as_likely(size):
    """Over 4,000 seeds the first two of a few elements are each ordered pair equally often."""
    first_two = positions(0, 1)
    drawn = collections.Counter(
        tuple(permute(first_two, size, "pairs", seed).tolist()) for seed in range(4000)
    )
    pairs = list(itertools.permutations(range(size), 2))
    assert set(drawn) <= set(pairs)
    assert chisquare([drawn[pair] for pair in pairs]).pvalue > 0.001


def test_every_order_of_four_elements_is_as_likely():
    """Over 4,800 seeds each of the 24 orders of four elements comes equally often."""
    drawn = collections.Counter(tuple(whole(4, "orders", seed)) for seed in range(4800))
    orders = itertools.permutations(range(4))
    assert chisquare([drawn[order] for order in orders]).pvalue > 0.001


@pytest.mark.parametrize("size", [SHUFFLED_BELOW, 1500, 10**12])
@pytest.mark.parametrize("other", [1, 32, 40])
def test_the_places_of_two_positions_are_independent(size, other):
    """Over 2,000 seeds the parts of the range that two positions fall into are independent."""
    parts = 5
    counts = np.zeros((parts, parts), np.int64)
    for seed in range(2000):
        image = permute(positions(0, other), size, "apart", seed)
        first, second = (image * np.uint64(parts) // np.uint64(size)).tolist()
        counts[first, second] += 1
    assert chisquare(counts.ravel()).pvalue > 0.001
