"""Programs by what their tests say: which of them go on."""

import dataclasses
import functools

import apache_beam as beam

from transforms.codec import to_json
from transforms.coding.execute import UNTESTED
from transforms.coding.records import CodeSolution
from transforms.judging import CORRECT, INCORRECT
from transforms.outcome import Outcome, SplitRejects
from transforms.records import Reject


@dataclasses.dataclass(eq=False)
class KeepPassing(beam.PTransform):
    """Keep programs that pass their tests.

    In:   `CodeSolution` records that were executed.
    Out:  `rows`, those that pass all tests, and unless `only_tested` those of which tests say
          nothing (`untested`): of programs nobody can take a majority, so nobody knows; `rejects`,
          the others: `fails_tests`, those of which a smaller share than `min_pass_rate` is passed,
          and `untested`.
    Cost: no shuffle.
    Once: a pure function of each program.

    Args:
        stage: the name in the rejects.
        min_pass_rate: the share of tests that must be passed; 0 keeps every program.
        only_tested: whether those without a test are lost.
    """

    shard_by_shard = True

    stage: str
    min_pass_rate: float = 1.0
    only_tested: bool = False

    def expand(self, solutions: beam.PCollection) -> Outcome:
        kept = functools.partial(
            passing,
            stage=self.stage,
            min_pass_rate=self.min_pass_rate,
            only_tested=self.only_tested,
        )
        return solutions | "Keep" >> beam.Map(kept) | "Split" >> SplitRejects()


def passing(
    solution: CodeSolution, stage: str, min_pass_rate: float, only_tested: bool
) -> CodeSolution | Reject:
    """The program, or its reject."""
    if solution.verdict == UNTESTED and only_tested:
        detail = "its problem has no tests that could be judged, or shows them all"
        return Reject(stage, "untested", detail, solution.id, to_json(solution), reply="")
    if solution.verdict != INCORRECT or (solution.pass_rate or 0.0) >= min_pass_rate:
        return solution
    assert solution.counts is not None
    told = f"{solution.counts.passed} of {solution.counts.tests} tests are passed"
    detail = f"{told}; {solution.counts.first_fault}"
    return Reject(stage, "fails_tests", detail, solution.id, to_json(solution), reply="")


def judgement_of(solution: CodeSolution) -> str | None:
    """The published word for a verdict; None where nobody knows."""
    return {CORRECT: "right", INCORRECT: "wrong"}.get(solution.verdict)
