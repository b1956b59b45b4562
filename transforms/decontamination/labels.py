"""What becomes of a record: its label, and whether it goes on.

A record that nobody could check is never called clean: its verdict is `unchecked`, and it counts as
contaminated wherever there are but two answers.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam

from transforms.codec import canonical_json, to_json, to_row
from transforms.decontamination.checking import NO, YES, is_suspect, pairs_of
from transforms.decontamination.records import (
    ContaminationLabel,
    Evidence,
    Finding,
    Match,
    PairVote,
    Similar,
)
from transforms.decontamination.reference import EXACT, NEIGHBOURS
from transforms.grouping import Group
from transforms.outcome import Outcome, SplitRejects, without_rejects
from transforms.records import Call, Reject

CONTAMINATED, UNCHECKED, CLEAN = "contaminated", "unchecked", "clean"
UNREADABLE = "unreadable"


@dataclasses.dataclass(eq=False)
class LabelSimilar(beam.PTransform):
    """Decide about every record by its matches and the model's votes.

    In:   a tuple of collections: `Similar` records; and, where a model was asked, the `PairVote`
          records of what `PairSuspects` makes of them.
    Out:  `rows`, a `ContaminationLabel` of each record: `contaminated`, if a match is certain or
          any vote is yes; else `unchecked`, if a vote that was asked for is missing; else `clean`.
          `rejects`, empty: a vote that cannot be read is one of the ask.
    Cost: one shuffle; what belongs to a record in memory.
    Once: independent of input order, so retries are harmless.
    From: NeMo-Skills, "check_contamination", where what cannot be read is clean.

    Args:
        both_ways: whether pairs were asked about in both directions.
        checked: whether a model was asked at all; else neighbours, and texts that are equal but for
            brackets, are taken for certain.
    """

    shard_by_shard = True

    both_ways: bool = False
    checked: bool = True

    def expand(self, joined: Any) -> Outcome:
        collections = joined if isinstance(joined, tuple) else (joined,)
        keyed = tuple(
            records | f"Key{number}" >> beam.Map(_by_candidate)
            for number, records in enumerate(collections)
        )
        labels = functools.partial(labels_of, both_ways=self.both_ways, checked=self.checked)
        return without_rejects(keyed | "Join" >> Group() | "Label" >> beam.FlatMapTuple(labels))


Put = Callable[[Any, ContaminationLabel], Any]


@dataclasses.dataclass(eq=False)
class ApplyLabels(beam.PTransform):
    """Let records go on with their labels, or without those that are contaminated.

    In:   a pair of collections: records with an `id`, and the `ContaminationLabel` of each.
    Out:  `rows`, what `put` makes of each record and its label; `rejects`, if contaminated ones are
          removed, those: `contaminated`, with the benchmark, the row and the method, and
          `unchecked`.
    Cost: one shuffle of both; what has one id in memory.
    Once: independent of input order, so retries are harmless. Of several records with one id each
          gets the worst of their labels.

    Args:
        stage: the name in the rejects.
        remove: reject contaminated and unchecked records.
        put: from a record and its label to the record that goes on.
    """

    shard_by_shard = True

    stage: str
    remove: bool
    put: Put

    def expand(self, joined: tuple[beam.PCollection, beam.PCollection]) -> Outcome:
        records, labels = joined
        keyed = (
            records | "KeyRecords" >> beam.Map(_by_id),
            labels | "KeyLabels" >> beam.Map(_by_id),
        )
        applied = functools.partial(_applied, stage=self.stage, remove=self.remove, put=self.put)
        return (
            keyed
            | "Join" >> Group()
            | "Apply" >> beam.FlatMapTuple(applied)
            | "Split" >> SplitRejects()
        )


def labels_of(
    record_id: str,
    parts: Iterable[Similar | PairVote],
    both_ways: bool = False,
    checked: bool = True,
) -> Iterator[ContaminationLabel]:
    """The label of a record, whose votes are among the parts."""
    records: list[Similar] = []
    votes: dict[tuple[str, str, bool], PairVote] = {}
    for part in parts:
        if isinstance(part, PairVote):
            votes[part.pair.candidate, part.pair.reference, part.pair.is_swapped] = part
        else:
            records.append(part)
    for similar in records:
        findings = tuple(_findings(similar, votes, both_ways, checked))
        yield ContaminationLabel(
            record_id, similar.text, _verdict(similar, findings, checked), findings
        )


def _findings(
    similar: Similar, votes: dict[tuple[str, str, bool], PairVote], both_ways: bool, checked: bool
) -> Iterator[Finding]:
    asked: dict[str, list[PairVote | None]] = {}
    if checked and is_suspect(similar):
        for pair in pairs_of(similar, both_ways):
            vote = votes.get((pair.candidate, pair.reference, pair.is_swapped))
            asked.setdefault(pair.reference, []).append(vote)
    for match in similar.matches:
        cast = asked.get(match.text, [])
        words = tuple(UNREADABLE if vote is None else YES if vote.is_same else NO for vote in cast)
        yield Finding(match, words, tuple(vote.call for vote in cast if vote is not None))


def _verdict(similar: Similar, findings: tuple[Finding, ...], checked: bool) -> str:
    said = {vote for finding in findings for vote in finding.votes}
    if YES in said or any(decides(match, checked) for match in similar.matches):
        return CONTAMINATED
    return UNCHECKED if UNREADABLE in said else CLEAN


def decides(match: Match, checked: bool) -> bool:
    """Whether a match says by itself that its record is contaminated.

    Where no model is asked a neighbour does, since there is a threshold on it, and a text that is
    equal but for brackets; words in common that are too few to be certain do not.
    """
    return match.is_certain or (not checked and match.method in (EXACT, NEIGHBOURS))


def is_contaminated(label: ContaminationLabel) -> bool:
    """Whether a record must not be trained on: also where nobody could check it."""
    return label.verdict != CLEAN


def evidence(label: ContaminationLabel) -> list[Finding]:
    """The findings for which a record is contaminated or unchecked; none of a clean one."""
    if not is_contaminated(label):
        return []
    certain = [finding for finding in label.findings if finding.match.is_certain]
    vote = YES if label.verdict == CONTAMINATED else UNREADABLE
    voted = [finding for finding in label.findings if vote in finding.votes]
    by_threshold = [one for one in label.findings if decides(one.match, checked=False)]
    return certain or voted or by_threshold


def told(label: ContaminationLabel) -> tuple[Evidence, ...]:
    """The evidence, in a few words each."""
    return tuple(
        Evidence(
            finding.match.benchmark,
            finding.match.row,
            finding.match.method,
            finding.match.score,
            finding.votes,
        )
        for finding in evidence(label)
    )


def calls_of(label: ContaminationLabel) -> tuple[Call, ...]:
    """How a model was asked about the record, each call once, whatever it said."""
    calls = {call.keys: call for finding in label.findings for call in finding.calls}
    return tuple(calls.values())


def into_extra(record: Any, label: ContaminationLabel) -> Any:
    """The record with its label among its other columns: `contaminated` and `contamination`."""
    found = [to_row(one) for one in told(label)]
    columns = {"contaminated": is_contaminated(label), "contamination": found}
    extra = canonical_json({**json.loads(record.extra), **columns})
    return dataclasses.replace(record, extra=extra)


def unchanged(record: Any, label: ContaminationLabel) -> Any:
    """The record as it is."""
    return record


def _applied(
    record_id: str, parts: Iterable[Any], stage: str, remove: bool, put: Put
) -> Iterator[Any]:
    labels: list[ContaminationLabel] = []
    records: list[Any] = []
    for part in parts:
        (labels if isinstance(part, ContaminationLabel) else records).append(part)
    worst = min(
        labels,
        key=lambda label: ((CONTAMINATED, UNCHECKED, CLEAN).index(label.verdict), to_json(label)),
    )
    for record in sorted(records, key=to_json):
        if not remove or not is_contaminated(worst):
            yield put(record, worst)
            continue
        detail, row = _detail(worst), to_json(record)
        if worst.verdict == CONTAMINATED:
            yield Reject(stage, "contaminated", detail, record.id, row, reply="")
        else:
            yield Reject(stage, "unchecked", detail, record.id, row, reply="")


def _detail(label: ContaminationLabel) -> str:
    first, *others = evidence(label)
    match = first.match
    votes = f", votes {', '.join(first.votes)}" if first.votes else ""
    more = f", and {len(others)} more" if others else ""
    return f"{match.benchmark}, row {match.row}: {match.method} {match.score:g}{votes}{more}"


def _by_candidate(part: Similar | PairVote) -> tuple[str, Similar | PairVote]:
    return (part.pair.candidate_id if isinstance(part, PairVote) else part.id), part


def _by_id(record: Any) -> tuple[str, Any]:
    return record.id, record
