"""The problems of all threads as one set, and what they are for those who come after."""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from transforms.answers import has_answer
from transforms.codec import canonical_json, to_json, to_row
from transforms.decontamination.labels import calls_of, is_contaminated, told
from transforms.decontamination.records import ContaminationLabel
from transforms.forum_problems.records import (
    PROBLEM_TYPES,
    ForumProblem,
    ForumProblemExample,
    ForumProvenance,
)
from transforms.grouping import Group
from transforms.identify import SampleProblems
from transforms.outcome import Outcome, SplitRejects, without_rejects
from transforms.records import Call, Problem, Reject
from transforms.seeding import digest


@dataclasses.dataclass(eq=False)
class MergeProblems(beam.PTransform):
    """Merge problems, each text once, under ids by which their samples can be told apart.

    In:   `ForumProblem` records with a `problem_type`, in one collection or a tuple of several.
    Out:  `rows`, the problems under a hash of their text, as problems of a file have it; `rejects`,
          those whose text another one has, white space apart (`duplicate`). Of equal ones that
          stays which has an answer from its thread, then the one with the smallest id.
    Cost: one shuffle; the problems of one text in memory.
    Once: independent of input order, so retries are harmless.
    From: OpenMathReasoning, "merge_data", where duplicates stay.

    Args:
        stage: the name in the rejects.
    """

    stage: str

    def expand(self, problems: beam.PCollection | tuple[beam.PCollection, ...]) -> Outcome:
        every = problems if isinstance(problems, tuple) else (problems,)
        return (
            every
            | "Merge" >> beam.Flatten()
            | "KeyByText" >> beam.Map(_keyed_by_text)
            | "GroupTexts" >> Group()
            | "Keep" >> beam.FlatMapTuple(distinct, self.stage)
            | "Split" >> SplitRejects()
        )


@dataclasses.dataclass(eq=False)
class TakeProblems(beam.PTransform):
    """Hand problems of forums to what solves problems.

    In:   `ForumProblem` records that are merged.
    Out:  `rows`, a `Problem` of each under its id, of `max_records` at most, drawn by `seed`; the
          others are left out; no rejects.
    Cost: one shuffle.
    Once: a pure function of the problems and the seed.
    """

    max_records: int
    seed: int

    def expand(self, problems: beam.PCollection) -> Outcome:
        converted = problems | "Convert" >> beam.Map(problem_of)
        return without_rejects(converted | "Draw" >> SampleProblems(self.max_records, self.seed))


def distinct(
    text_digest: str, problems: Iterable[ForumProblem], stage: str = ""
) -> Iterator[ForumProblem | Reject]:
    """Of problems with one text that which stays, under its new id, and the rejects of the rest."""
    kept, *others = sorted(problems, key=rank_of)
    yield dataclasses.replace(kept, id=digest("problem", digest("text", kept.text), 0))
    for other in others:
        detail = f"{kept.id} has the same text"
        if has_answer(other.expected_answer):
            detail += f"; its answer is {kept.expected_answer!r}, not {other.expected_answer!r}"
        yield Reject(stage, "duplicate", detail, other.id, to_json(other), reply="")


def rank_of(problem: ForumProblem) -> tuple[int, str]:
    """The order in which problems are worth keeping: those first whose answer is known."""
    return PROBLEM_TYPES.index(problem.problem_type), problem.id


def labelled_problem(problem: ForumProblem, label: ContaminationLabel) -> ForumProblem:
    """The problem with what the comparison with benchmarks came to."""
    return dataclasses.replace(
        problem,
        contaminated=is_contaminated(label),
        contamination=told(label),
        calls=(*problem.calls, *calls_of(label)),
    )


def problem_of(merged: ForumProblem) -> Problem:
    """The problem for solving; its thread, authors and calls are columns of its own."""
    extracted, thread = merged.extracted, merged.extracted.thread
    columns = {
        **json.loads(thread.extra or "{}"),
        "problem_type": merged.problem_type,
        "original_problem": merged.original_problem,
        **_contamination(merged),
        "thread_id": thread.id,
        "extracted_id": extracted.id,
        "attributions": [to_row(one) for one in extracted.attributions],
        "extraction_calls": [_told(call) for call in merged.calls],
    }
    return Problem(
        id=merged.id,
        text=merged.text,
        source=thread.source,
        source_id=thread.source_id,
        licence=thread.licence,
        extra=canonical_json(columns),
        expected_answer=merged.expected_answer,
    )


def example_of(merged: ForumProblem) -> ForumProblemExample:
    """The finished row of a problem."""
    return ForumProblemExample(
        problem=merged.text,
        expected_answer=merged.expected_answer,
        problem_type=merged.problem_type,
        problem_source=merged.extracted.thread.source,
        original_problem=merged.original_problem,
        contaminated=merged.contaminated,
        contamination=merged.contamination,
        id=merged.id,
        provenance=ForumProvenance(merged.extracted, merged.calls),
    )


def _keyed_by_text(problem: ForumProblem) -> tuple[str, ForumProblem]:
    return digest("text", " ".join(problem.text.split())), problem


def _contamination(merged: ForumProblem) -> dict[str, Any]:
    """The columns that problems of files get, too; none where nothing was compared."""
    if merged.contaminated is None:
        return {}
    found = [to_row(one) for one in merged.contamination]
    return {"contaminated": merged.contaminated, "contamination": found}


def _told(call: Call) -> dict[str, Any]:
    """How an answer was asked for, in short: it goes into every row of every solution."""
    return {name: getattr(call, name) for name in ("ask", "prompt_hash", "model", "seed")}
