"""What travels between the stages of decontamination.

A label, as a sample:

    ContaminationLabel(id="8c1f…", text="A train…", verdict="contaminated", findings=(
        Finding(match=Match(benchmark="gsm8k", row="17", text="A plane…", method="ngrams",
                            score=0.31, is_certain=False), votes=("yes",), calls=(…)),))
"""

import dataclasses

from transforms.records import Call


@dataclasses.dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """A row of a benchmark: its own id, or its number from 1 on."""

    benchmark: str
    row: str
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Match:
    """A benchmark's row that a text is like, by the `method` that says so, and how much it is.

    `score` is 1 of texts that are equal, brackets apart, the share of the row's n-grams, or a
    cosine. What is not certain is for a model to check.
    """

    benchmark: str
    row: str
    text: str
    method: str
    score: float
    is_certain: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Similar:
    """A record's text and the benchmarks' rows that it is like, certain and best ones first."""

    id: str
    text: str
    matches: tuple[Match, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class SimilarPair:
    """Two texts that may pose the same problem; of a record's pairs the k-th has the id `ID-k`.

    `candidate_id` is that of the record; `reference` a benchmark's text. Where both directions are
    asked about, `is_swapped` says that this is the second.
    """

    id: str
    candidate_id: str
    candidate: str
    reference: str
    is_swapped: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class PairVote:
    """What a model says of a pair: whether both pose the same problem."""

    id: str
    pair: SimilarPair
    is_same: bool
    call: Call


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """A match, and the votes on it: `yes`, `no` or `unreadable`; none where nobody was asked."""

    match: Match
    votes: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Evidence:
    """What a row tells of a finding for which it is contaminated or unchecked."""

    benchmark: str
    row: str
    method: str
    score: float
    votes: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class ContaminationLabel:
    """What decontamination says of a record, and why.

    `verdict` is `contaminated`; `unchecked`, where a model was asked about a match and its answer
    cannot be read; or `clean`.
    """

    id: str
    text: str
    verdict: str
    findings: tuple[Finding, ...]
