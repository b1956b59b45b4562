"""Draws, duplicates and manifests: the same whatever the order, the sharding and the worker."""

import random
from collections import Counter
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.traces import trace
from transforms.chat_template import ChatTemplate
from transforms.records import RlExample, Trace
from transforms.sft.downsample import Downsample, first_places_of
from transforms.sft.duplicates import DeduplicateTraces
from transforms.sft.render import SftFormat
from transforms.sft.rl_manifest import PrepareForRl

CAUGHT: list[tuple[str, Any]] = []


def same(trace: Trace) -> Trace:
    return trace


def catch(item: Any, name: str) -> None:
    CAUGHT.append((name, item))


def outcome(traces: list[Trace], verb: beam.PTransform) -> tuple[list[Any], list[Any]]:
    """The rows and rejects of a verb, sorted by id; the traces come in several collections."""
    CAUGHT.clear()
    with beam.Pipeline("FnApiRunner", options=PipelineOptions([])) as pipeline:
        parts = [
            pipeline | f"Part{n}" >> beam.Create(traces[n::3]).with_output_types(Trace)
            for n in range(3)
        ]
        out = parts | beam.Flatten() | verb
        for name, items in out._asdict().items():
            items | f"Catch{name}" >> beam.Map(catch, name)
    found = {"rows": [], "rejects": []}
    for name, item in CAUGHT:
        found[name].append(item)
    rows, rejects = (sorted(items, key=lambda item: item.id) for items in found.values())
    return rows, rejects


def shuffled(traces: list[Trace], seed: int = 0) -> list[Trace]:
    return random.Random(seed).sample(traces, len(traces))


def problems(sizes: list[int]) -> list[Trace]:
    """Traces of problems with so many solutions each."""
    return [
        trace(f"{n} {k}", problem_id=f"p{n}", id=f"p{n}-{k}")
        for n, size in enumerate(sizes)
        for k in range(size)
    ]


SIZES = [1, 2, 3, 5, 8, 13]
ALL = problems(SIZES)


@pytest.mark.parametrize("method", ["random", "fair"])
@pytest.mark.parametrize("number", [7, len(ALL), len(ALL) + 9])
def test_as_many_as_asked_for_whatever_the_order(method, number):
    """Exactly as many rows as there are keeps all; rows are unchanged."""
    rows, rejects = outcome(ALL, Downsample(number, method))
    assert not rejects
    assert len(rows) == min(number, len(ALL))
    assert set(rows) <= set(ALL)
    assert outcome(shuffled(ALL), Downsample(number, method))[0] == rows


@pytest.mark.parametrize("method", ["random", "fair"])
def test_the_seed_decides_and_more_rows_contain_fewer(method):
    """Another seed draws others; a larger number only adds to what was drawn."""
    few, more = (outcome(ALL, Downsample(n, method))[0] for n in (8, 16))
    assert set(few) < set(more)
    assert outcome(ALL, Downsample(8, method, seed=1))[0] != few


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(1, 30), st.integers(0, 9))
@settings(deadline=None, max_examples=5)
def test_fair_takes_a_row_of_each_problem_in_turn(sizes, number, seed):
    """No problem has two rows more than one that has rows left."""
    rows, _ = outcome(shuffled(problems(sizes), seed), Downsample(number, "fair", seed))
    drawn = Counter(row.problem_id for row in rows)
    assert drawn.total() == min(number, sum(sizes))
    left = [drawn[f"p{n}"] for n, size in enumerate(sizes) if drawn[f"p{n}"] < size]
    assert max(drawn.values()) - min(left, default=99) <= 1


def test_random_is_uniform():
    """A problem's share of the draw is its share of the rows."""
    rows, _ = outcome(problems([100, 900]), Downsample(500))
    share = Counter(row.problem_id for row in rows)["p0"]
    assert abs(share - 50) < 24  # five deviations


@given(st.dictionaries(st.integers(0, 5000), st.integers(1, 9), max_size=20))
def test_places_have_no_gap(sizes):
    places = first_places_of(sizes)
    taken = [place for b in sizes for place in range(places[b], places[b] + sizes[b])]
    assert sorted(taken) == list(range(sum(sizes.values())))


@pytest.mark.parametrize("fields", [{"num_output_samples": 0}, {"method": "best"}])
def test_a_draw_of_nothing_is_refused(fields):
    with pytest.raises(ValueError, match="num_output_samples|method"):
        Downsample(**{"num_output_samples": 5, **fields})


def test_of_duplicates_the_smallest_id_stays():
    """Reasoning is looked at, and so is the problem; arrival is not."""
    same = [trace("42", problem_id="p", id=name) for name in ("p-2", "p-0", "p-1")]
    others = [
        trace("42", problem_id="q", id="q-0"),
        trace("42", problem_id="p", id="p-3", reasoning_content="otherwise"),
        trace("42", problem_id="p", id="p-4", reasoning_content="4", expected_answer="2"),
        trace("4", problem_id="p", id="p-5", reasoning_content="2"),
    ]
    for seed in range(3):
        verb = DeduplicateTraces("deduplicate")
        rows, rejects = outcome(shuffled([*same, *others], seed), verb)
        assert [row.id for row in rows] == ["p-0", "p-3", "p-4", "p-5", "q-0"]
        told = [(reject.id, reject.reason, reject.detail) for reject in rejects]
        assert told == [(f"p-{n}", "duplicate_solution", "the same as p-0") for n in (1, 2)]


def test_duplicates_with_one_id_are_decided_by_rule_too():
    """Equal in all: one stays, the rest are rejects."""
    twice = [trace("42", problem_id="p", id="p-0", extra=extra) for extra in ('{"a":2}', '{"a":1}')]
    for order in (twice, twice[::-1]):
        [row], [_] = outcome(order, DeduplicateTraces("deduplicate"))
        assert row.extra == '{"a":1}'


def test_the_manifest_has_a_row_for_each_problem_with_an_answer():
    """Of the trace with the smallest id that has one; problems without one are rejects."""
    traces = [
        trace("a", problem_id="p", id="p-1", expected_answer="7"),
        trace("b", problem_id="p", id="p-0", expected_answer=" "),
        trace("c", problem_id="p", id="p-2", expected_answer="8"),
        trace("d", problem_id="q", id="q-0", expected_answer=None),
    ]
    asks = "{{ messages[0].content }}{% if add_generation_prompt %} Answer:{% endif %}"
    verb = PrepareForRl("manifest", same, sft_format=SftFormat(template=ChatTemplate(asks)))
    for seed in range(3):
        rows, [reject] = outcome(shuffled(traces, seed), verb)
        question = "How many are there?"
        assert rows == [RlExample(question, "7", f"{question} Answer:", "p")]
        assert (reject.id, reject.reason) == ("q", "no_expected_answer")
    refuses = SftFormat(template=ChatTemplate("{{ raise_exception('no') }}"))
    _, rejects = outcome(traces, PrepareForRl("manifest", same, sft_format=refuses))
    told = {reject.id: reject.reason for reject in rejects}
    assert told == {"p": "template_refuses", "q": "no_expected_answer"}
