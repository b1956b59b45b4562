"""How hard a question is for another model, and questions that are too hard or too easy for it.

solutions ─┬─ problems ─ ask × n ─ judge ─┬─ filter
           └──────────────────────────────┘
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator

import apache_beam as beam

from transforms.codec import canonical_json, to_json
from transforms.grouping import Group
from transforms.judging import by_root, pass_rate
from transforms.outcome import Outcome, SplitRejects, without_rejects
from transforms.records import JudgedSolution, Judgement, Problem, Reject
from transforms.science.agreement import ALL, Range, require_range

COLUMN = "difficulty_model_pass_rate"


@dataclasses.dataclass(eq=False)
class TakeProblems(beam.PTransform):
    """Pose each question once more, whose answer is now what its solutions have agreed on.

    In:   `JudgedSolution` records after a vote.
    Out:  `rows`, a `Problem` of each question, with its expected answer; `rejects`, empty.
    Cost: one shuffle; the solutions of a question in memory.
    Once: independent of input order, so retries are harmless.
    """

    shard_by_shard = True

    def expand(self, solutions: beam.PCollection) -> Outcome:
        rows = (
            solutions
            | "KeyByQuestion" >> beam.Map(by_root)
            | "Group" >> Group()
            | "Pose" >> beam.MapTuple(_problem)
        )
        return without_rejects(rows)


@dataclasses.dataclass(eq=False)
class FilterByDifficulty(beam.PTransform):
    """Keep the solutions of questions that another model solves often enough, and not too often.

    In:   a pair of collections: `JudgedSolution` records, and the `Judgement` records of the other
          model's solutions of the same questions.
    Out:  `rows`, those of questions whose pass rate is in the range, both bounds included, with the
          rate as `difficulty_model_pass_rate` in the problem's `extra`; `rejects`, the others:
          `too_hard` and `too_easy`. A question without a pass rate is kept: nobody knows.
    Cost: one shuffle of both; what belongs to a question in memory.
    Once: independent of input order, so retries are harmless.
    From: NeMo-Skills, "difficulty_estimation" and the range of that name in "filter_solutions".

    Args:
        stage: the name in the rejects.
        asked: how many solutions of each question were asked for (`judging.pass_rate`).
        rates: the range.

    Raises:
        ValueError: the range holds no rate.
    """

    shard_by_shard = True

    stage: str
    asked: int
    rates: Range = ALL

    def __post_init__(self) -> None:
        require_range(self.rates)

    def expand(self, joined: tuple[beam.PCollection, beam.PCollection]) -> Outcome:
        solutions, judgements = joined
        keyed = (
            solutions | "KeySolutions" >> beam.Map(by_root),
            judgements | "KeyJudgements" >> beam.Map(by_root),
        )
        filtered = keyed | "Join" >> Group() | "Filter" >> beam.FlatMapTuple(self.filtered)
        return filtered | "Split" >> SplitRejects()

    def filtered(
        self, question_id: str, parts: Iterable[JudgedSolution | Judgement]
    ) -> Iterator[JudgedSolution | Reject]:
        """A question's solutions, or their rejects."""
        solutions: list[JudgedSolution] = []
        verdicts: list[str] = []
        for part in parts:
            if isinstance(part, Judgement):
                verdicts.append(part.verdict)
            else:
                solutions.append(part)
        rate = pass_rate(verdicts, self.asked)
        reason, detail = self._fault(rate)
        for judged in solutions:
            if reason:
                yield Reject(self.stage, reason, detail, judged.id, to_json(judged), reply="")
            else:
                yield _with_rate(judged, rate)

    def _fault(self, rate: float | None) -> tuple[str, str]:
        """(reason, detail) of a pass rate; ("", "") where it is in the range."""
        low, high = self.rates
        if rate is not None and rate < low:
            return "too_hard", f"the other model solves {rate:g}, not {low:g} or more"
        if rate is not None and rate > high:
            return "too_easy", f"the other model solves {rate:g}, not {high:g} or less"
        return "", ""


def _problem(question_id: str, solutions: Iterable[JudgedSolution]) -> Problem:
    first = min(solutions, key=lambda judged: judged.id)
    return dataclasses.replace(first.solution.problem, expected_answer=first.expected_answer)


def _with_rate(judged: JudgedSolution, rate: float | None) -> JudgedSolution:
    problem = judged.solution.problem
    extra = canonical_json({**json.loads(problem.extra), COLUMN: rate})
    known = dataclasses.replace(problem, extra=extra)
    return dataclasses.replace(judged, solution=dataclasses.replace(judged.solution, problem=known))
