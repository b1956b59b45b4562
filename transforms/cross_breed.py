"""From a pair of problems to a new one: the draws, checks and columns of InfiniByte."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import apache_beam as beam

from sandbox.code import python_blocks, syntax_fault
from transforms import seeding, statements
from transforms.cross_join import SampleCrossJoin
from transforms.outcome import Outcome
from transforms.reading import Fault
from transforms.records import (
    Answered,
    CrossBreed,
    CrossBreedExample,
    NewProblemList,
    NewProblemWithReasoning,
    Origin,
    Pair,
    Problem,
    Provenance,
    Reject,
)

OBFUSCATION, COMPLICATION = "obfuscation", "complication"
COMBINATION_TYPES = (OBFUSCATION, COMPLICATION)
SAME_TEXT = 0.95


@dataclasses.dataclass(eq=False)
class SeedPairs(beam.PTransform):
    """Draw pairs of A × B and a combination type for each.

    In:   a tuple of two collections of `Problem`.
    Out:  `rows`, min(num_records, |A|·|B|) `CrossBreed` records; `rejects`, empty.
    Cost: that of `SampleCrossJoin`.
    Once: pairs and types are functions of seed and ids.
    From: InfiniByte, "seed + sampler". Taking the first records of the permuted product is taking
          them from a shuffled sample of it, whatever the sample's limit.
    """

    num_records: int
    seed: int
    combination_weights: Mapping[str, float]

    def expand(self, sides: Any) -> Outcome:
        rows = (
            sides
            | "CrossJoin" >> SampleCrossJoin(self.num_records, self.seed)
            | "DrawType" >> beam.Map(cross_breed, self.seed, self.combination_weights)
        )
        nothing = sides[0].pipeline | "NoRejects" >> beam.Create([]).with_output_types(Reject)
        return Outcome(rows, nothing)


def cross_breed(pair: Pair, seed: int, weights: Mapping[str, float]) -> CrossBreed:
    """The pair with its combination type, drawn by weight and fixed for the pair and seed."""
    combination_type = seeding.pick(weights, seed, "combination_type", pair.id)
    return CrossBreed(pair.id, pair, combination_type)


def with_answer(answered: Answered, column: str) -> CrossBreed:
    """The record with one more column filled and one more call in its provenance."""
    record = answered.record
    filled = {column: answered.value, "calls": (*record.calls, answered.call)}
    return dataclasses.replace(record, **filled)


def check_candidates(record: CrossBreed, value: NewProblemList, wanted: int) -> Fault | None:
    """`wrong_number` unless there are as many as asked for, `same_candidates` if two are equal.

    Then the first fault of the first candidate that has one.
    """
    if len(value.problems) != wanted:
        found = len(value.problems)
        return Fault("wrong_number", f"there are {found} problems in it; {wanted} were asked for")
    if len({statements.squeezed(new.problem) for new in value.problems}) < wanted:
        return Fault("same_candidates", "two of the problems have the same text")
    return next(
        (fault for new in value.problems if (fault := _statement_fault(record, new.problem))), None
    )


def check_best(record: CrossBreed, value: NewProblemWithReasoning) -> Fault | None:
    """`not_a_candidate` unless the text is a candidate's, but for slips of the pen."""
    assert record.problem_candidates is not None
    chosen = statements.squeezed(value.problem)
    candidates = [statements.squeezed(new.problem) for new in record.problem_candidates.problems]
    if chosen in candidates:
        return None
    if not any(statements.similarity(chosen, c, SAME_TEXT) >= SAME_TEXT for c in candidates):
        return Fault("not_a_candidate", "the chosen problem's text is none of the candidates'")
    return _statement_fault(record, value.problem)


def check_solution(record: CrossBreed, value: str) -> Fault | None:
    """`broken_code` if the last Python block, where there is one, cannot be parsed."""
    for code in python_blocks(value)[-1:]:
        if fault := syntax_fault(code):
            return Fault("broken_code", f"the final program cannot be parsed: {fault}")
    return None


def example_of(record: CrossBreed) -> CrossBreedExample:
    """The finished row of a record whose columns are all filled."""
    a, b = record.pair.a, record.pair.b
    assert record.problem_candidates and record.best_problem_json and record.evals
    assert record.solution is not None
    return CrossBreedExample(
        id_a=a.source_id,
        problem_a=a.text,
        id_b=b.source_id,
        problem_b=b.text,
        combination_type=record.combination_type,
        problem_candidates=record.problem_candidates,
        best_problem_json=record.best_problem_json,
        new_problem=record.best_problem_json.problem,
        evals=record.evals,
        solution=record.solution,
        id=record.id,
        provenance=Provenance(_origin(a), _origin(b), record.calls),
    )


def _statement_fault(record: CrossBreed, text: str) -> Fault | None:
    """The first duty of a new problem, for its combination type, that the text breaks."""
    a, b = record.pair.a.text, record.pair.b.text
    if record.combination_type == OBFUSCATION:
        own = (
            statements.changes_question(text, a)
            or statements.loses_examples(text, a)
            or statements.admits_irrelevance(text, a, b)
        )
    else:
        own = statements.keeps_examples(text, a)
    return (
        statements.is_unchanged(text, a)
        or statements.names_source(text, a, b)
        or statements.copies_passage(text, b, a)
        or own
    )


def _origin(problem: Problem) -> Origin:
    return Origin(problem.id, problem.source, problem.source_id, problem.licence, problem.extra)
