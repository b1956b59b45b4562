"""Near duplicates: of records that say nearly the same, one stays, whatever came first."""

import itertools
import random
import time

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
    keys,
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


def planned(signed: list[Signed]) -> tuple[set[str], set[tuple[str, str]]]:
    """The ids that stay, and the near pairs, later and earlier: the definition, step by step."""
    near, bands = set(), SIGNATURES.bands()
    for band in range(bands[0]):
        part = slice(4 * band * bands[1], 4 * (band + 1) * bands[1])
        representatives: list[Signed] = []
        for one in sorted(signed, key=lambda one: (one.rank, one.id)):
            found = [
                (one.id, other.id)
                for other in representatives
                if other.signature[part] == one.signature[part]
                and share(one.signature, other.signature) >= SIGNATURES.threshold
            ]
            near.update(found)
            if not found:
                representatives.append(one)
    return {one.id for one in signed} - {later for later, _ in near}, near


def edges_of(signed: list[Signed]) -> list[Edge]:
    """What the transform compares, band by band."""
    bands: dict[str, list[Signed]] = {}
    for one in signed:
        for key in keys(one.signature, SIGNATURES):
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
        rank = (rng.randrange(3), "answered")
        found.append(Signed(rank, f"{rng.randrange(1 << 30):08x}{number}", values.tobytes()))
    return found


@settings(max_examples=100, deadline=None)
@given(signed_records(), st.randoms())
def test_those_stay_that_are_near_no_representative(signed, rng):
    """In any order; every reject names an earlier record that it is near, and no two rows are."""
    stay, near = planned(signed)
    place = {one.id: (one.rank, one.id) for one in signed}
    by_id = {one.id: one.signature for one in signed}
    edges = edges_of(rng.sample(signed, len(signed)))
    assert {one.id for one in signed} - {edge.later for edge in edges} == stay
    for later, rank, earlier, how_much in edges:
        assert (later, earlier) in near
        assert rank == place[earlier][0]
        assert place[earlier] < place[later]
        assert how_much == round(share(by_id[earlier], by_id[later]), 4)
    assert min(place, key=lambda of: place[of]) in stay
    for one, other in itertools.combinations(sorted(stay), 2):
        bands = (set(keys(by_id[of], SIGNATURES)) for of in (one, other))
        is_near = share(by_id[one], by_id[other]) >= SIGNATURES.threshold
        assert not (set.intersection(*bands) and is_near)


def test_many_rows_of_one_template_cost_little():
    """Of 20,000, an eighth of each one's values its own, half a minute and an edge a band."""
    rng = np.random.default_rng(1)
    rows = np.broadcast_to(rng.integers(0, 1 << 32, 128, np.uint32), (20_000, 128)).copy()
    own = rng.random(rows.shape) < 1 / 8
    rows[own] = rng.integers(0, 1 << 32, int(own.sum()), np.uint32)
    started = time.process_time()
    edges = edges_of([Signed((), f"{n:05}", row.tobytes()) for n, row in enumerate(rows)])
    assert time.process_time() - started < 30
    assert len(edges) <= SIGNATURES.bands()[0] * len(rows)
    assert all(edge.share >= 0.8 and edge.earlier < edge.later for edge in edges)
    assert len({edge.later for edge in edges}) > 10_000


def test_a_signature_is_of_what_is_said():
    """Layout does not change it; a number changes it a little, another text all of it."""
    first = SIGNATURES.of(STORY.format(5, 80))
    assert first == SIGNATURES.of(STORY.format(5, 80).upper().replace(" ", "\n "))
    assert 0.6 < share(first, SIGNATURES.of(STORY.format(5, 90))) < 1
    assert share(first, SIGNATURES.of("How many teeth has a gear, if nobody counts them?")) < 0.2
    assert SIGNATURES.of("?") != SIGNATURES.of("!")
    assert SIGNATURES.of("Let x ≤ 5.") != SIGNATURES.of("Let x ≥ 5.")


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.5, 0.8, 0.9, 0.95, 0.99, 1.0])
def test_bands_find_what_is_asked_for(threshold):
    """Texts at the threshold share one nearly always; none is left out of a record's keys."""
    signatures = Signatures(threshold)
    bands, values = signatures.bands()
    assert bands * values <= 128
    assert 1 - (1 - threshold**values) ** bands >= 0.95
    assert len({key for key, _ in banded(problem("a", STORY), signatures)}) == bands


def worse_in_capitals(record: Problem) -> tuple[bool]:
    return (record.text.isupper(),)


def test_records_that_say_nearly_the_same_are_rejected():
    """One pipeline: equal texts, near ones and others; of near ones the best by rank stays."""
    records = [
        problem("c", STORY.format(5, 80)),
        problem("b", STORY.format(5, 80) + " Tell me."),
        problem("a", STORY.format(5, 80).upper()),
        problem("e", "How many teeth has a gear that turns twice as fast as another one?"),
        problem("d", STORY.replace("rolls", "cakes").replace("shop", "house").format(6, 81)),
    ]
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        created = pipeline | beam.Create(records)
        out = created | RejectNearDuplicates("near_duplicates", SIGNATURES, worse_in_capitals)
        assert_that(out.rows | beam.Map(lambda row: row.id), equal_to(["b", "d", "e"]))
        lost = out.rejects | "Lost" >> beam.Map(lambda one: (one.id, one.reason, one.detail[:7]))
        assert_that(
            lost,
            equal_to([(of, "near_duplicate", "near b:") for of in "ac"]),
            label="rejects",
        )
