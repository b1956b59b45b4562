"""Traces of what was solved here, and of rows that somebody else generated and judged."""

import dataclasses
import functools
import json
from collections.abc import Mapping
from typing import Any

import apache_beam as beam

from transforms.codec import canonical_json
from transforms.judging import CORRECT, INCORRECT, NO_ANSWER, READER, YES
from transforms.outcome import Outcome, SplitRejects
from transforms.reading import Fault
from transforms.records import (
    JudgedSolution,
    Origin,
    Problem,
    Reject,
    Trace,
    TraceProvenance,
    sample_id,
)
from transforms.seeding import digest

# The published names of columns, of which a row of somebody else's may have any.
GENERATION, REASONING = "generation", "reasoning_content"
JUDGEMENT, SYMBOLIC = "judgement", "symbolic_correct"
LABEL = "is_correct"  # of rows that were made here
PREDICTED = "predicted_answer"
_TEXTS = ("finish_reason",)
_COUNTS = ("majority_votes", "total_votes", "total_code_executions")


@dataclasses.dataclass(eq=False)
class TracesOfRows(beam.PTransform):
    """Read rows that somebody else generated and judged, under the published names.

    In:   `Problem` records, whose `extra` holds `generation`, and perhaps `reasoning_content`,
          `judgement` or `symbolic_correct`, or of rows that were made here `is_correct`;
          `predicted_answer`, `finish_reason`, `majority_votes`, `total_votes`,
          `total_code_executions`.
    Out:  `rows`, a `Trace` of each; `rejects`, `missing_generation` and `bad_column`. A judgement
          that cannot be read is none.
    Cost: no shuffle.
    Once: a pure function of each row.
    From: NeMo-Skills, "ReadData".

    Args:
        stage: the name in the rejects.
        use_judgement: take the word of `judgement`, and not that of `symbolic_correct`; None takes
            that of `judgement` where a row has one.
        code_format: how calls to Python are written in generations.
    """

    stage: str
    use_judgement: bool | None = None
    code_format: str = ""

    def expand(self, rows: beam.PCollection) -> Outcome:
        read = functools.partial(
            trace_of_row,
            stage=self.stage,
            use_judgement=self.use_judgement,
            code_format=self.code_format,
        )
        return rows | "Read" >> beam.Map(read) | "Split" >> SplitRejects()


def trace_of_row(
    row: Problem, stage: str, use_judgement: bool | None = None, code_format: str = ""
) -> Trace | Reject:
    """The trace that a row is, or its reject."""
    columns = json.loads(row.extra)
    reason, detail = _fault(columns)
    if reason:
        whole = {"problem": row.text, "expected_answer": row.expected_answer, **columns}
        return Reject(stage, reason, detail, row.id, canonical_json(whole), reply="")
    problem_id = digest("problem", row.text)
    known = {GENERATION, REASONING, JUDGEMENT, SYMBOLIC, LABEL, PREDICTED, *_TEXTS, *_COUNTS}
    return Trace(
        id=sample_id(problem_id, int(row.id, 16) % 10**12),
        problem_id=problem_id,
        problem=row.text,
        generation=columns.get(GENERATION) or "",
        reasoning_content=columns.get(REASONING) or "",
        expected_answer=row.expected_answer,
        predicted_answer=None if columns.get(PREDICTED) is None else str(columns[PREDICTED]),
        is_correct=_is_correct(columns, use_judgement),
        finish_reason=columns.get("finish_reason") or "",
        **{name: columns.get(name) for name in _COUNTS},
        code_format=code_format,
        extra=canonical_json({name: columns[name] for name in columns if name not in known}),
        provenance=TraceProvenance(Origin(row.id, row.source, row.source_id, row.licence, "{}")),
    )


def trace_of(judged: JudgedSolution, code_format: str = "") -> Trace:
    """The trace of a solution; `code_format` says how its calls to Python are written."""
    solution, problem, agreed = judged.solution, judged.solution.problem, judged.agreed
    is_voted = agreed is not None and agreed.repair.action in ("filled", "repaired")
    use = solution.tool_use
    origin = Origin(problem.id, problem.source, problem.source_id, problem.licence, problem.extra)
    return Trace(
        id=judged.id,
        problem_id=problem.id,
        problem=problem.text,
        generation=solution.text,
        reasoning_content=solution.reasoning,
        expected_answer=judged.expected_answer,
        predicted_answer=solution.predicted_answer,
        is_correct=_LABELS.get(judged.verdict),
        finish_reason=solution.calls[0].finish_reason if solution.calls else "",
        majority_votes=agreed.majority.votes if agreed and is_voted else None,
        total_votes=agreed.majority.ballots if agreed and is_voted else None,
        code_format=code_format if use else "",
        total_code_executions=use.max_executions if use else None,
        extra=problem.extra,
        provenance=TraceProvenance(
            problem=origin,
            calls=solution.calls,
            tool_use=use,
            verdict=judged.verdict,
            judged_by=judged.judged_by,
            judge_calls=judged.judge_calls,
            agreed=agreed,
            pass_rate=judged.pass_rate,
            fragments=judged.fragments,
        ),
    )


_LABELS = {CORRECT: True, INCORRECT: False, NO_ANSWER: False}


def _fault(columns: Mapping[str, Any]) -> tuple[str, str]:
    """(reason, detail) of a row that is no trace; ("", "") where nothing is wrong."""
    predicted = columns.get(PREDICTED)
    if isinstance(predicted, bool) or not isinstance(predicted, str | int | float | None):
        return "bad_column", f"column {PREDICTED!r} is {predicted!r:.100}, not a text or a number"
    for name in (GENERATION, REASONING, *_TEXTS):
        if not isinstance(columns.get(name), str | None):
            return "bad_column", f"column {name!r} is {columns[name]!r:.100}, not a text"
    for name in _COUNTS:
        value = columns.get(name)
        if isinstance(value, bool) or not isinstance(value, int | None):
            return "bad_column", f"column {name!r} is {value!r:.100}, not a whole number"
    if not columns.get(GENERATION) and not columns.get(REASONING):
        return "missing_generation", f"column {GENERATION!r} is missing or empty"
    return "", ""


def _is_correct(columns: Mapping[str, Any], use_judgement: bool | None) -> bool | None:
    """What a row says of itself; None where it says nothing that can be read."""
    is_ours = use_judgement is None and columns.get(SYMBOLIC) is None
    if use_judgement is None:
        use_judgement = columns.get(JUDGEMENT) is not None
    if not use_judgement:
        said = columns.get(LABEL if is_ours else SYMBOLIC)
        return said if isinstance(said, bool) else None
    verdict = READER.read(str(columns.get(JUDGEMENT) or ""))
    return None if isinstance(verdict, Fault) else verdict == YES
