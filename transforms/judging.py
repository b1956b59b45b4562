"""Is a solution's answer the expected one: equality first, then a judge who sees answers alone.

solutions ─ compare ─┬─ undecided ─ judge × votes ─┬─ verdicts
                     └─────────────────────────────┘

Verdicts carry no text of solutions: they are short, however long a solution is.
"""

import dataclasses
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import apache_beam as beam

from transforms.answers import has_answer
from transforms.codec import to_json
from transforms.equality import Equality, same_answer
from transforms.grouping import Group
from transforms.outcome import Outcome, SplitRejects, without_rejects
from transforms.reading import Labelled
from transforms.records import (
    Answered,
    AnswerPair,
    AnswerVote,
    InsightfulSolution,
    JudgedSolution,
    Judgement,
    Reject,
    Solution,
    lineage,
)
from transforms.seeding import digest
from transforms.symbolic import equal_formulas

PROMPT = "math/judge"
YES, NO = "yes", "no"
READER = Labelled((YES, NO), reasons=True, label="judge?ment")
CORRECT, INCORRECT = "correct", "incorrect"
NO_ANSWER, NO_EXPECTED_ANSWER = "no_answer", "no_expected_answer"
UNDECIDED, UNJUDGED = "undecided", "unjudged"
EQUALITY, JUDGE = "equality", "judge"


@dataclasses.dataclass(eq=False)
class CompareAnswers(beam.PTransform):
    """Compare each solution's final answer with the one that its problem came with.

    In:   `Solution` records, in one collection or a tuple of several.
    Out:  `rows`, a `Judgement` of each: `correct` by equality, `no_answer`, `no_expected_answer`
          or `undecided`; `rejects`, empty.
    Cost: no shuffle; as `same_answer`, for each solution.
    Once: a pure function of each solution, but for comparisons near math-verify's time limit.

    Args:
        equal: compares two formulas.
    """

    shard_by_shard = True

    equal: Equality = equal_formulas

    def expand(self, solutions: beam.PCollection | tuple[beam.PCollection, ...]) -> Outcome:
        every = solutions if isinstance(solutions, tuple) else (solutions,)
        rows = every | "Merge" >> beam.Flatten() | "Compare" >> beam.Map(_compared, self.equal)
        return without_rejects(rows)


@dataclasses.dataclass(eq=False)
class SelectUndecided(beam.PTransform):
    """Take the pairs of answers that a judge is to be asked about, each of a problem once.

    In:   `Judgement` records.
    Out:  `rows`, an `AnswerPair` of each expected and predicted answer of `undecided` ones,
          however many solutions have it; `rejects`, empty.
    Cost: one shuffle of judgements; those of a problem in memory.
    Once: independent of input order, so retries are harmless.
    """

    shard_by_shard = True

    def expand(self, judgements: beam.PCollection) -> Outcome:
        rows = (
            judgements
            | "KeyByProblem" >> beam.Map(by_problem)
            | "Group" >> Group()
            | "Pairs" >> beam.FlatMapTuple(undecided_pairs)
        )
        return without_rejects(rows)


@dataclasses.dataclass(eq=False)
class ApplyVerdicts(beam.PTransform):
    """Settle what equality left undecided by the judge's votes.

    In:   a pair of collections: `Judgement` records, and the `AnswerVote` records about them.
    Out:  `rows`, the judgements, undecided ones `correct` or `incorrect` as most votes say, or
          `unjudged` where votes are a tie or none can be read; `rejects`, empty: a vote that could
          not be read is a reject of the ask.
    Cost: one shuffle of both; what belongs to a problem in memory.
    Once: independent of input order, so retries are harmless.
    """

    shard_by_shard = True

    def expand(self, joined: tuple[beam.PCollection, beam.PCollection]) -> Outcome:
        judgements, votes = joined
        keyed = (
            judgements | "KeyJudgements" >> beam.Map(by_problem),
            votes | "KeyVotes" >> beam.Map(by_root),
        )
        rows = keyed | "Join" >> Group() | "Settle" >> beam.FlatMapTuple(settled)
        return without_rejects(rows)


@dataclasses.dataclass(eq=False)
class JoinVerdicts(beam.PTransform):
    """Put solutions and their final judgements together, and count each problem's pass rate.

    In:   a tuple of collections: `Judgement` records, then `Solution` or `InsightfulSolution`
          records, each of them with a judgement, in one collection or several. Judgements without
          a solution count for the pass rate alone.
    Out:  `rows`, a `JudgedSolution` of each solution; `rejects`, empty.
    Cost: one shuffle of all; the solutions of a problem in memory.
    Once: independent of input order, so retries are harmless.

    Args:
        asked: how many solutions of each problem were asked for, for the pass rate.
    """

    shard_by_shard = True

    asked: int | None = None

    def expand(self, joined: tuple[beam.PCollection, ...]) -> Outcome:
        judgements, *solutions = joined
        keyed = (
            judgements | "KeyJudgements" >> beam.Map(by_problem),
            *(one | f"KeySolutions{n}" >> beam.Map(by_root) for n, one in enumerate(solutions)),
        )
        put = beam.FlatMapTuple(judged_solutions, self.asked)
        rows = keyed | "Join" >> Group() | "Put" >> put
        return without_rejects(rows)


@dataclasses.dataclass(eq=False)
class KeepCorrect(beam.PTransform):
    """Go on with correct solutions alone: what comes next costs too much for others.

    In:   a pair of collections: `Judgement` records, and the `Solution` records that they are of.
    Out:  `rows`, the correct solutions; `rejects`, the others: `incorrect`, which those without an
          answer are, too, and `unlabeled`, where nobody can say.
    Cost: one shuffle of both; the solutions of a problem in memory.
    Once: independent of input order, so retries are harmless.

    Args:
        stage: the name in the rejects.
    """

    shard_by_shard = True

    stage: str

    def expand(self, joined: tuple[beam.PCollection, beam.PCollection]) -> Outcome:
        judgements, solutions = joined
        keyed = (
            judgements | "KeyJudgements" >> beam.Map(by_problem),
            solutions | "KeySolutions" >> beam.Map(by_root),
        )
        kept = keyed | "Join" >> Group() | "Keep" >> beam.FlatMapTuple(_kept, self.stage)
        return kept | "Split" >> SplitRejects()


def judgement_of(solution: Solution, equal: Equality = equal_formulas) -> Judgement:
    """What equality says of a solution's answer."""
    problem = solution.problem
    return compared(
        Judgement(
            id=solution.id,
            problem_id=problem.id,
            problem=problem.text,
            predicted_answer=solution.predicted_answer,
            expected_answer=problem.expected_answer,
            verdict=UNDECIDED,
        ),
        equal,
    )


def compared(judgement: Judgement, equal: Equality = equal_formulas) -> Judgement:
    """A judgement begun anew: what equality says of its answers. The calls of judges stay."""
    predicted, expected = judgement.predicted_answer, judgement.expected_answer
    verdict = UNDECIDED
    if not has_answer(predicted):
        verdict = NO_ANSWER
    elif not has_answer(expected):
        verdict = NO_EXPECTED_ANSWER
    elif same_answer(predicted, expected, equal):
        verdict = CORRECT
    by = EQUALITY if verdict == CORRECT else ""
    return dataclasses.replace(judgement, verdict=verdict, judged_by=by)


def variables_of(pair: AnswerPair) -> dict[str, object]:
    """What a judge is shown: the problem and two answers, and nothing of the solution."""
    return {
        "problem": pair.problem,
        "expected_answer": pair.expected_answer,
        "predicted_answer": pair.predicted_answer,
    }


def vote_of(answered: Answered[AnswerPair, str]) -> AnswerVote:
    """The vote in an answer that could be read; one that could not is no vote."""
    return AnswerVote(answered.id, answered.record, answered.value == YES, answered.call)


def pass_rate(verdicts: Collection[str], asked: int | None = None) -> float | None:
    """The share of correct solutions of a problem; None where nobody knows of any.

    A solution without an answer has not solved its problem, and neither has a sample of those that
    were `asked` for that has no verdict at all: it was cut off, or could not be used. Of one that
    could not be judged nobody knows.
    """
    known = [verdict for verdict in verdicts if verdict in (CORRECT, INCORRECT, NO_ANSWER)]
    unknown = len(verdicts) - len(known)
    total = max(len(known), (asked or 0) - unknown)
    return round(known.count(CORRECT) / total, 6) if known else None


def _kept(
    problem_id: str, parts: Iterable[Judgement | Solution], stage: str = ""
) -> Iterator[Solution | Reject]:
    for judged in judged_solutions(problem_id, parts):
        solution, verdict = judged.solution, judged.verdict
        if verdict == CORRECT:
            yield solution
            continue
        row = to_json(solution)
        detail = f"{verdict}: {solution.predicted_answer!r}, not {judged.expected_answer!r}"
        if verdict in (INCORRECT, NO_ANSWER):
            yield Reject(stage, "incorrect", detail, solution.id, row, reply="")
        else:
            yield Reject(stage, "unlabeled", detail, solution.id, row, reply="")


def _compared(solution: Solution, equal: Equality) -> Judgement:
    return judgement_of(solution, equal)


def by_problem(judgement: Judgement) -> tuple[str, Judgement]:
    """A judgement under its problem."""
    return judgement.problem_id, judgement


def by_root(record: Any) -> tuple[str, Any]:
    """A record under the problem that it is, or is a sample of."""
    return lineage(record.id)[-1], record


def _answers(of: Any) -> tuple[str, str]:
    return of.expected_answer.strip(), of.predicted_answer.strip()


def undecided_pairs(problem_id: str, judgements: Iterable[Judgement]) -> Iterator[AnswerPair]:
    """The pairs that a problem's judgements leave to a judge, each once."""
    distinct = {_answers(one): one.problem for one in judgements if one.verdict == UNDECIDED}
    for answers, problem in sorted(distinct.items()):
        # By content: with more samples, a pair that was judged is the same.
        yield AnswerPair(f"{problem_id}-pair{digest(*answers)[:16]}", problem, *answers)


def settled(problem_id: str, parts: Iterable[Judgement | AnswerVote]) -> Iterator[Judgement]:
    """A problem's judgements, decided by the votes among the parts."""
    judgements: list[Judgement] = []
    votes: dict[tuple[str, str], list[AnswerVote]] = {}
    for part in parts:
        if isinstance(part, AnswerVote):
            votes.setdefault(_answers(part.pair), []).append(part)
        else:
            judgements.append(part)
    for judgement in judgements:
        if judgement.verdict != UNDECIDED:
            yield judgement
            continue
        cast = sorted(votes.get(_answers(judgement), ()), key=lambda vote: vote.id)
        calls = (*judgement.judge_calls, *(vote.call for vote in cast))
        balance = sum(1 if vote.is_same else -1 for vote in cast)
        verdict = CORRECT if balance > 0 else INCORRECT if balance else UNJUDGED
        by = JUDGE if balance else ""
        yield dataclasses.replace(
            judgement,
            verdict=verdict,
            judged_by=by,
            judge_calls=calls,
            vote_ids=(*judgement.vote_ids, *(vote.id for vote in cast)),
        )


def judged_solutions(
    problem_id: str,
    parts: Iterable[Judgement | Solution | InsightfulSolution],
    asked: int | None = None,
) -> Iterator[JudgedSolution]:
    """A problem's solutions with their judgements and its pass rate."""
    judgements: dict[str, Judgement] = {}
    solutions: list[Solution | InsightfulSolution] = []
    for part in parts:
        if isinstance(part, Judgement):
            judgements[part.id] = part
        else:
            solutions.append(part)
    rate = pass_rate([judgement.verdict for judgement in judgements.values()], asked)
    for solution in solutions:
        judgement = judgements[solution.id]
        yield JudgedSolution(
            id=solution.id,
            solution=solution.solution if isinstance(solution, InsightfulSolution) else solution,
            expected_answer=judgement.expected_answer,
            verdict=judgement.verdict,
            judged_by=judgement.judged_by,
            judge_calls=judgement.judge_calls,
            agreed=judgement.agreed,
            pass_rate=rate,
            fragments=solution.fragments if isinstance(solution, InsightfulSolution) else (),
        )
