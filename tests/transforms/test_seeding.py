"""Draws by seed and key: fixed for a key, even over keys, blind to everything else."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from transforms.seeding import digest, integer, pick, sampling_seed, stream, uniform

PARTS = st.one_of(
    st.text(st.characters()),
    st.integers(),
    st.floats(allow_nan=False),
    st.booleans(),
    st.none(),
)
KEYS = st.lists(PARTS, max_size=4)
WEIGHTS = st.dictionaries(st.text(max_size=5), st.floats(0.01, 100), min_size=1, max_size=6)


@given(KEYS)
@settings(deadline=None)
def test_a_digest_is_32_hex_digits_and_the_same_every_time(key):
    """Any strings, numbers, booleans and None have one digest of 32 lower-case hex digits."""
    assert digest(*key) == digest(*key)
    assert len(digest(*key)) == 32
    assert set(digest(*key)) <= set("0123456789abcdef")


@given(st.lists(st.text(max_size=3), max_size=4), st.lists(st.text(max_size=3), max_size=4))
@settings(max_examples=150, deadline=None)
def test_different_parts_have_different_digests(first, second):
    """Two keys share a digest only if their parts are equal one by one."""
    assert (digest(*first) == digest(*second)) == (first == second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("ab", "c"), ("a", "bc")),
        (("a", ""), ("a",)),
        ((), ("",)),
        ((1,), ("1",)),
        ((None,), ("null",)),
        ((True,), ("true",)),
        (('","',), ("", "")),
        (("é",), ("\\u00e9",)),
    ],
)
def test_a_digest_tells_boundaries_and_types_apart(first, second):
    """Where a part ends, and whether it is text, is part of the key."""
    assert digest(*first) != digest(*second)


def test_draws_do_not_change_between_versions():
    """The draws for a few keys are these very ones: a dataset's ids and order hang on them."""
    assert digest() == "7ebb3c7c2a87b1a2f8a7ed729ecb040d"
    assert digest("pair", 27, "é", None, 0.5, True) == "70246ed0fe75ccddc0b36d0cd5db02a7"
    assert integer(1000, 1, "a") == 456
    assert uniform(1, "a") == 0.46712044035030686
    assert stream(1, "a").random() == 0.4642989352390374
    assert pick({"x": 1, "y": 2}, 1, "a") == "y"
    assert sampling_seed(1, "a") == 1853533136


@given(st.integers(1, 2**64), KEYS)
@settings(deadline=None)
def test_an_integer_lies_below_its_bound(bound, key):
    """A whole number in [0, bound) for every bound up to 2**64."""
    assert 0 <= integer(bound, *key) < bound


@pytest.mark.parametrize("bound", [2, 10, 97])
def test_integers_are_even_over_keys(bound):
    """Over 10,000 keys every number below the bound is as likely as any other (chi-square)."""
    drawn = [integer(bound, "even", number) for number in range(10_000)]
    assert chisquare(np.bincount(drawn, minlength=bound)).pvalue > 0.001


def test_integers_of_a_large_bound_reach_its_upper_half():
    """With a bound of 2**64 both halves of the range are equally likely."""
    upper = sum(integer(2**64, "half", number) >= 2**63 for number in range(10_000))
    assert abs(upper - 5000) < 4 * 50


@given(KEYS)
@settings(deadline=None)
def test_a_uniform_number_lies_in_the_unit_interval(key):
    """At least 0 and less than 1, for every key."""
    assert 0 <= uniform(*key) < 1


def test_uniform_numbers_are_uniform():
    """10,000 keys give numbers that a Kolmogorov-Smirnov test takes for uniform."""
    assert kstest([uniform("even", number) for number in range(10_000)], "uniform").pvalue > 0.001


@given(KEYS, KEYS)
@settings(deadline=None)
def test_streams_are_the_same_for_equal_keys_only(first, second):
    """A key's stream begins the same every time, and no other key's stream begins so."""
    begun = [stream(*first).random() for _ in range(2)]
    assert begun[0] == begun[1]
    assert (stream(*second).random() == begun[0]) == (digest(*first) == digest(*second))


def test_streams_neither_use_nor_move_the_global_generator():
    """A draw from a stream leaves the global generator as it was, and does not depend on it."""
    random.seed(1)
    state, drawn = random.getstate(), stream("key").random()
    assert random.getstate() == state
    random.seed(2)
    assert stream("key").random() == drawn


@given(WEIGHTS, KEYS)
@settings(deadline=None)
def test_a_pick_does_not_depend_on_the_order_of_the_weights(weights, key):
    """One of the names, the same whatever the order in which they are listed."""
    picked = pick(weights, *key)
    assert picked in weights
    assert picked == pick(dict(reversed(list(weights.items()))), *key)


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(1, 9), min_size=1), KEYS)
@settings(deadline=None)
def test_a_pick_depends_on_the_shares_alone(weights, key):
    """Weights that are all four times as large pick the same name."""
    assert pick({name: 4 * weight for name, weight in weights.items()}, *key) == pick(weights, *key)


def test_a_name_without_weight_is_never_picked():
    """Whether it comes first, in between or last, a weight of 0 is never drawn."""
    weights = {"a": 0.0, "b": 1.0, "c": 0.0, "d": 2.0, "e": 0.0}
    assert {pick(weights, number) for number in range(3000)} == {"b", "d"}


def test_picks_follow_the_weights():
    """Over 10,000 keys the names come in the proportion of their weights (chi-square)."""
    weights = {"a": 1.0, "b": 2.5, "c": 0.5}
    drawn = [pick(weights, "shares", number) for number in range(10_000)]
    expected = [10_000 * weight / 4 for weight in weights.values()]
    assert chisquare([drawn.count(name) for name in weights], expected).pvalue > 0.001


@given(KEYS)
@settings(deadline=None)
def test_a_sampling_seed_fits_31_bits(key):
    """A seed is a whole number in [0, 2**31), the same every time."""
    assert 0 <= sampling_seed(*key) < 2**31
    assert sampling_seed(*key) == sampling_seed(*key)


def test_sampling_seeds_of_many_requests_differ():
    """10,000 keys have as many seeds, but for the few collisions that chance brings."""
    assert len({sampling_seed("ask", number) for number in range(10_000)}) > 9_990
