"""What becomes of records: pairs for a model, its votes, a verdict, and who goes on."""

import dataclasses
import itertools
import json

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from transforms.codec import to_row
from transforms.decontamination.checking import is_suspect, pairs_of, variables_of
from transforms.decontamination.labels import (
    ApplyLabels,
    calls_of,
    evidence,
    into_extra,
    is_contaminated,
    labels_of,
    told,
    unchanged,
)
from transforms.decontamination.records import ContaminationLabel, Match, PairVote, Similar
from transforms.records import Call, Problem

TEXT = "How many?"
CALL = Call("decontaminate", "decontamination/check", "", "m", "{}", 0, 0, 1, (), "stop", 1, 1)


def match(row: str, method: str = "neighbours", certain: bool = False, benchmark: str = "b"):
    return Match(benchmark, row, f"Row {row}?", method, 1.0 if certain else 0.8, certain)


def similar(*matches: Match, of: str = "a1") -> Similar:
    return Similar(of, TEXT, matches)


def label(some: Similar, *said: bool | None, both_ways: bool = False, checked: bool = True):
    """The label after these votes on the pairs of a record; None is a vote that was lost."""
    pairs = list(pairs_of(some, both_ways)) if is_suspect(some) and checked else []
    votes = [
        PairVote(pair.id, pair, is_same, CALL)
        for pair, is_same in zip(pairs, said, strict=True)
        if is_same is not None
    ]
    [found] = labels_of(some.id, [*votes, some], both_ways, checked)
    return found


def test_a_text_is_asked_about_once():
    """Whatever benchmarks it is in, and then swapped; what is certain is not asked about."""
    some = similar(match("1"), match("2"), dataclasses.replace(match("1"), benchmark="c"))
    assert [(pair.id, pair.reference) for pair in pairs_of(some)] == [
        ("a1-0", "Row 1?"),
        ("a1-1", "Row 2?"),
    ]
    both = list(pairs_of(some, both_ways=True))
    assert [pair.id for pair in both] == ["a1-0", "a1-1", "a1-2", "a1-3"]
    first, swapped = (variables_of(pair) for pair in both[:2])
    assert first == {"first_problem": TEXT, "second_problem": "Row 1?"}
    assert swapped == {"first_problem": "Row 1?", "second_problem": TEXT}
    assert not is_suspect(similar())
    assert not is_suspect(similar(match("1"), match("2", certain=True)))


@pytest.mark.parametrize(
    ("said", "verdict", "counted"),
    [
        ((False, False), "clean", 0),
        ((True, False), "contaminated", 1),
        ((None, True), "contaminated", 1),
        ((None, False), "unchecked", 1),
        ((None, None), "unchecked", 2),
    ],
)
def test_one_vote_is_enough_and_a_lost_one_is_never_clean(said, verdict, counted):
    """The evidence is what was voted for, or what nobody could say."""
    found = label(similar(match("1"), match("2")), *said)
    assert (found.verdict, len(evidence(found))) == (verdict, counted)
    assert is_contaminated(found) == (verdict != "clean")
    assert [finding.votes for finding in found.findings] == [
        ({None: "unreadable", True: "yes", False: "no"}[vote],) for vote in said
    ]


@given(st.lists(st.sampled_from([True, False, None]), min_size=4, max_size=4))
def test_either_direction_may_say_so(said):
    """Of two pairs and both directions, any vote counts, in any order."""
    some = similar(match("1"), match("2"))
    found = label(some, *said, both_ways=True)
    expected = "contaminated" if True in said else "unchecked" if None in said else "clean"
    assert found.verdict == expected
    assert sum(len(finding.votes) for finding in found.findings) == 4


def test_what_is_certain_needs_no_vote():
    """And is all of the evidence."""
    found = label(similar(match("1", "ngrams", certain=True), match("2")))
    assert (found.verdict, [one.match.row for one in evidence(found)]) == ("contaminated", ["1"])


def test_without_a_model_the_threshold_decides():
    """Of neighbours, and of words that are equal but for brackets; a few in common are nothing."""
    assert label(similar(match("1", "exact")), checked=False).verdict == "contaminated"
    assert label(similar(match("1", "exact")), False).verdict == "clean"
    assert label(similar(match("1")), checked=False).verdict == "contaminated"
    assert label(similar(match("1", "ngrams")), checked=False).verdict == "clean"


def test_labels_do_not_depend_on_order():
    """Votes may come before the record, in any order."""
    some = similar(match("1"), match("2"))
    votes = [PairVote(pair.id, pair, False, CALL) for pair in pairs_of(some)]
    orders = itertools.permutations([some, *votes])
    assert len({tuple(labels_of("a1", parts)) for parts in orders}) == 1


def test_records_go_on_labelled_or_clean_alone():
    """Removed: with the benchmark, the row and the method in the detail; else in their `extra`."""
    ids = ("a1", "a2", "a3")
    records = [Problem(of, TEXT, "s", "1", "MIT", '{"level":3}') for of in ids]
    labels = [
        label(similar(match("1", "exact", certain=True), match("2"), of="a1")),
        label(similar(match("1"), of="a2"), None),
        label(similar(match("1"), of="a3"), False),
    ]
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        joined = (
            pipeline | "Records" >> beam.Create(records),
            pipeline | "Labels" >> beam.Create(labels),
        )
        removed = joined | "Remove" >> ApplyLabels("clean", remove=True, put=unchanged)
        kept = joined | "Keep" >> ApplyLabels("clean", remove=False, put=into_extra)
        assert_that(removed.rows, equal_to(records[2:]), label="rows")
        lost = removed.rejects | beam.Map(lambda reject: (reject.id, reject.reason, reject.detail))
        assert_that(
            lost,
            equal_to([
                ("a1", "contaminated", "b, row 1: exact 1"),
                ("a2", "unchecked", "b, row 1: neighbours 0.8, votes unreadable"),
            ]),
            label="rejects",
        )  # fmt: skip
        assert_that(
            kept.rows | "Extra" >> beam.Map(lambda row: (row.id, json.loads(row.extra))),
            equal_to([
                (
                    one.id,
                    {
                        "level": 3,
                        "contaminated": one.id != "a3",
                        "contamination": [to_row(found) for found in told(one)],
                    },
                )
                for one in labels
            ]),
            label="labelled",
        )  # fmt: skip


def test_records_of_one_id_get_the_worst_label():
    """Nothing is lost, and nothing that may be contaminated passes."""
    records = [Problem("a1", text, "s", text, "", "{}") for text in "xy"]
    labels = [ContaminationLabel("a1", "x", "clean", ()), label(similar(match("1")), None)]
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        joined = (
            pipeline | "Records" >> beam.Create(records),
            pipeline | "Labels" >> beam.Create(labels),
        )
        out = joined | ApplyLabels("clean", remove=True, put=unchanged)
        assert_that(out.rows, equal_to([]), label="none")
        reasons = out.rejects | beam.Map(lambda reject: reject.reason)
        assert_that(reasons, equal_to(["unchecked"] * 2))


def test_every_word_of_evidence_is_told():
    """What a row says of its label is plain data."""
    [said] = told(label(similar(match("1")), True))
    assert to_row(said) == {
        "benchmark": "b", "row": "1", "method": "neighbours", "score": 0.8, "votes": ["yes"],
    }  # fmt: skip


def test_calls_are_told_whatever_they_said():
    """Each once, also where two rows of benchmarks have one text."""
    assert calls_of(label(similar(match("1"), match("2")), False, False)) == (CALL,)
    assert calls_of(label(similar(match("1", certain=True)))) == ()
