"""Questions about programming, assembled from rows of published datasets or from pointers to them.

pointers ─┬─ join by key ─ assemble ─ CodeProblem
library ──┘

A pointer names a dataset, a split and a row in it, as in OpenCodeReasoning-2, which may not publish
the texts of others. The library is those datasets, wherever the user has them.
"""

import copy
import dataclasses
import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam

from transforms.codec import canonical_json, to_json
from transforms.coding.cases import Cases, cases_of
from transforms.coding.records import CodeProblem
from transforms.grouping import Group
from transforms.outcome import Outcome, SplitRejects
from transforms.reading import Fault
from transforms.records import Problem, Reject

# What pointers call a dataset, where that is not its name here.
_ALIASES = {"open-r1/codeforces": "codeforces", "code-contests": "code_contests"}
_MOST_DIGITS = 18  # of a row's number
_MOST_CHARACTERS = 1_000  # of a column that goes on with the problem


@dataclasses.dataclass(eq=False)
class PrepareQuestions(beam.PTransform):
    """Assemble questions and their tests.

    In:   `Problem` records: rows of TACO, APPS, CodeContests, Codeforces or HumanEval, or of any
          source without tests; or, from a source among `pointers`, rows whose `extra` names
          `dataset`, `split` and `index`.
    Out:  `rows`, a `CodeProblem` of each, under its id; `rejects`: `bad_pointer`, where one of the
          three is missing; `unresolved_pointer`, where the library has no such row or it is no
          problem; `bad_tests`, where they are needed. Where single tests cannot be read, or none
          and none are needed, the row's `extra` says so (`bad_tests`).
    Cost: without a library no shuffle; else one of pointers and of the library, of which what
          nobody points at goes no further. What points at one row in memory.
    Once: independent of input order.
    From: OpenCodeReasoning, "prepare_questions", which holds all four datasets in memory.

    Args:
        stage: the name in the rejects.
        pointers: the sources whose rows are pointers.
        library: makes (key, `Problem` or `Reject`) pairs of a pipeline: the rows that pointers are
            to, by `key_of`.
        needs_tests: whether programs will be run.
    """

    stage: str
    pointers: frozenset[str] = frozenset()
    library: beam.PTransform | None = None
    needs_tests: bool = True

    @property
    def shard_by_shard(self) -> bool:
        """Without a library; else it would be read for each shard."""
        return self.library is None

    def expand(self, problems: beam.PCollection) -> Outcome:
        if self.library is None:
            looked_up = problems | "Directly" >> beam.Map(_directly)
        else:
            keyed = (
                problems | "KeyPointers" >> beam.Map(_keyed, self.pointers),
                problems.pipeline | "Library" >> copy.copy(self.library),
            )
            looked_up = keyed | "LookUp" >> Group() | "Join" >> beam.FlatMapTuple(joined)
        made = functools.partial(
            _made, stage=self.stage, pointers=self.pointers, needs_tests=self.needs_tests
        )
        return looked_up | "Assemble" >> beam.Map(made) | "Split" >> SplitRejects()


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A row of the library, marked as such."""

    row: Problem | Reject


def dataset_name(name: str) -> str:
    """What a dataset is called here, whatever pointers call it."""
    lower = name.strip().lower()
    return _ALIASES.get(lower, lower.rpartition("/")[2])


def key_of(dataset: str, split: str, index: int) -> str:
    """The key of a row of the library; rows of a split are numbered from 0."""
    return f"{dataset_name(dataset)}:{split.strip()}:{index}"


def pointer_of(problem: Problem) -> str | None:
    """The key that a row points at; None where it names no row."""
    columns = json.loads(problem.extra)
    dataset, split, index = (columns.get(name) for name in ("dataset", "split", "index"))
    if not isinstance(dataset, str) or not isinstance(split, str) or not _is_whole(index):
        return None
    return key_of(dataset, split, int(index))


def _is_whole(index: Any) -> bool:
    digits = str(index).strip()
    return not isinstance(index, bool) and digits.isdecimal() and len(digits) <= _MOST_DIGITS


def _keyed(problem: Problem, pointers: frozenset[str]) -> tuple[str, Problem]:
    """A problem under what it points at, or under its own id."""
    pointer = pointer_of(problem) if problem.source in pointers else None
    return pointer or problem.id, problem


def _directly(problem: Problem) -> tuple[Problem, Problem | Reject | None]:
    return problem, None


def joined(
    key: str, parts: Iterable[Problem | Entry]
) -> Iterator[tuple[Problem, Problem | Reject | None]]:
    """What points at a row, each with the row; rows that nobody points at are left out."""
    pointers: list[Problem] = []
    rows: list[Problem | Reject] = []
    for part in parts:
        if isinstance(part, Entry):
            rows.append(part.row)
        else:
            pointers.append(part)
    for pointer in pointers:
        yield pointer, min(rows, key=to_json, default=None)


def code_problem(
    pointer: Problem, row: Problem | Reject | None = None, needs_tests: bool = True
) -> CodeProblem | Fault:
    """The question in a row of its own, or in that of the library that it points at.

    Where its tests cannot be read, it is no fault unless they are needed.
    """
    if isinstance(row, Reject):
        return Fault("unresolved_pointer", f"what it points at is no problem: {row.detail}")
    columns = json.loads((row or pointer).extra)
    text = (row or pointer).text
    cases = cases_of(columns, text)
    if isinstance(cases, Fault):
        if needs_tests:
            return cases
        cases = Cases(fault=cases.detail)
    own = json.loads(pointer.extra) if row else {}
    kept = {**_short(columns), **_short(own)}
    if cases.entry_point:
        kept["entry_point"] = cases.entry_point
    if cases.fault:
        kept["bad_tests"] = cases.fault
    if row:
        kept["question_id"] = pointer.source_id
    problem = dataclasses.replace(
        pointer,
        text=assembled(text, columns),
        licence=pointer.licence or (row.licence if row else ""),
        extra=canonical_json(kept),
    )
    return CodeProblem(pointer.id, problem, cases.tests, cases.entry_point, cases.preamble)


def assembled(description: str, columns: Mapping[str, Any]) -> str:
    """A question of its parts, as Codeforces has them; other rows have it whole."""
    parts = [description.strip()]
    for heading, name in (("Input", "input_format"), ("Output", "output_format")):
        if columns.get(name):
            parts.append(f"{heading}\n{str(columns[name]).strip()}")
    if any(columns.get(name) for name in ("input_format", "output_format")):
        for number, example in enumerate(columns.get("examples") or [], start=1):
            shown = [f"Example {number}"]
            for name in ("input", "output"):
                if example.get(name):
                    shown.append(f"{name.capitalize()}:\n{str(example[name]).strip()}")
            parts.append("\n".join(shown))
        if columns.get("note"):
            parts.append(f"Note\n{str(columns['note']).strip()}")
    return "\n\n".join(parts)


def _short(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that are worth carrying: no lists, no long texts, and no tests or solutions."""
    return {
        name: value
        for name, value in columns.items()
        if isinstance(value, str | int | float | bool)
        and len(str(value)) <= _MOST_CHARACTERS
        and name not in _LEFT_OUT
    }


_LEFT_OUT = frozenset(
    ("canonical_solution", "examples", "input_format", "input_output", "note", "output_format")
    + ("solution", "solutions", "test", "question", "description")
)


def _made(
    looked_up: tuple[Problem, Problem | Reject | None],
    stage: str,
    pointers: frozenset[str],
    needs_tests: bool,
) -> CodeProblem | Reject:
    problem, row = looked_up
    if problem.source in pointers and row is None:
        pointer = pointer_of(problem)
        found: CodeProblem | Fault = (
            Fault("bad_pointer", "dataset, split and index (a row's number) are not all there")
            if pointer is None
            else Fault("unresolved_pointer", f"the library has no row {pointer}")
        )
    else:
        found = code_problem(problem, row, needs_tests)
    if isinstance(found, Fault):
        return Reject(stage, found.reason, found.detail, problem.id, to_json(problem), reply="")
    return found
