"""Near duplicates: of records that say nearly the same, one stays, whatever came first."""

import random

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.near_duplicates import (
    Edge,
    RejectNearDuplicates,
    Signatures,
    Signed,
    banded,
    compared,
    resolved,
)
from transforms.records import Problem

STORY = (
    "A baker sells {} rolls on Monday and twice as many on Tuesday, then closes the shop for a "
    "week, travels to the sea with an old friend and comes back with {} shells for its window. "
    "How many rolls and shells has anybody counted by then, if nobody has eaten one of them?"
)
SIGNATURES = Signatures()


def problem(of: str, text: str) -> Problem:
    return Problem(of, text, "s", of, "", "{}")


def share(one: bytes, other: bytes) -> float:
    a, b = (np.frombuffer(each, np.uint32) for each in (one, other))
    return float((a == b).mean())


def near_pairs(signed: list[Signed]) -> dict[tuple[str, str], float]:
    """Every pair that shares a band and is near, by looking at all pairs: (later, earlier)."""
    width = 4 * SIGNATURES.bands()[1]
    found = {}
    for one in signed:
        for other in signed:
            shares_band = any(
                one.signature[start : start + width] == other.signature[start : start + width]
                for start in range(0, width * SIGNATURES.bands()[0], width)
            )
            how_much = share(one.signature, other.signature)
            if other.id < one.id and shares_band and how_much >= SIGNATURES.threshold:
                found[one.id, other.id] = how_much
    return found


def greedily(signed: list[Signed]) -> set[str]:
    """The ids that stay: in their order, each that is near none that stays."""
    near, stay = near_pairs(signed), set()
    for one in sorted(signed):
        if not any((one.id, kept) in near for kept in stay):
            stay.add(one.id)
    return stay


def edges_of(signed: list[Signed]) -> list[Edge]:
    """What the transform compares, band by band."""
    bands: dict[str, list[Signed]] = {}
    for one in signed:
        width = 4 * SIGNATURES.bands()[1]
        for number in range(SIGNATURES.bands()[0]):
            key = f"{number}:{one.signature[number * width : (number + 1) * width].hex()}"
            bands.setdefault(key, []).append(one)
    return [edge for key, some in bands.items() for edge in compared(key, some, SIGNATURES)]


@st.composite
def signed_records(draw):
    """Records of a few families: signatures that differ in some of their 128 values."""
    rng = random.Random(draw(st.integers(0, 1 << 16)))
    families = [np.array([rng.randrange(1 << 32) for _ in range(128)], np.uint32) for _ in range(2)]
    found = []
    for number in range(draw(st.integers(1, 14))):
        values = rng.choice(families).copy()
        for _ in range(rng.choice((0, 0, 5, 20, 28))):
            values[rng.randrange(128)] = rng.randrange(1 << 32)
        found.append(Signed(f"{rng.randrange(1 << 30):08x}{number}", values.tobytes()))
    return found


@settings(max_examples=60, deadline=None)
@given(signed_records(), st.randoms())
def test_those_stay_that_a_look_at_all_pairs_leaves(signed, rng):
    """In the order of ids, greedily; a reject names a record that stays and is near."""
    expected, near = greedily(signed), near_pairs(signed)
    rng.shuffle(signed)
    edges = edges_of(signed)
    assert len({(edge.later, edge.earlier) for edge in edges}) == len(edges)
    gone = resolved(rng.sample(edges, len(edges)))
    assert {one.id for one in signed} - gone.keys() == expected
    for record_id, edge in gone.items():
        assert edge.earlier in expected
        assert edge.share == round(near[record_id, edge.earlier], 4)


def test_a_signature_is_of_what_is_said():
    """Layout does not change it; a number changes it a little, another text all of it."""
    first = SIGNATURES.of(STORY.format(5, 80))
    assert first == SIGNATURES.of(STORY.format(5, 80).upper().replace(" ", "\n "))
    assert 0.6 < share(first, SIGNATURES.of(STORY.format(5, 90))) < 1
    assert share(first, SIGNATURES.of("How many teeth has a gear, if nobody counts them?")) < 0.2
    assert SIGNATURES.of("?") != SIGNATURES.of("!")


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95])
def test_bands_find_what_is_asked_for(threshold):
    """They fit into a signature, and leave no band out of a record's keys."""
    signatures = Signatures(threshold)
    bands, values = signatures.bands()
    assert bands * values <= 128
    keys = [key for key, _ in banded(problem("a", STORY), signatures)]
    assert len(set(keys)) == bands


def test_records_that_say_nearly_the_same_are_rejected():
    """One pipeline: equal texts, near ones and others; every record goes one way."""
    records = [
        problem("c", STORY.format(5, 80)),
        problem("b", STORY.format(5, 80).upper()),
        problem("a", STORY.format(5, 80) + " Tell me."),
        problem("e", "How many teeth has a gear that turns twice as fast as another one?"),
        problem("d", STORY.replace("rolls", "cakes").replace("shop", "house").format(6, 81)),
    ]
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        created = pipeline | beam.Create(records)
        out = created | RejectNearDuplicates("near_duplicates", SIGNATURES)
        assert_that(out.rows | beam.Map(lambda row: row.id), equal_to(["a", "d", "e"]))
        lost = out.rejects | "Lost" >> beam.Map(lambda one: (one.id, one.reason, one.detail[:7]))
        assert_that(
            lost,
            equal_to([(of, "near_duplicate", "near a:") for of in "bc"]),
            label="rejects",
        )
