"""Solutions of science questions, and what can be said of the letters that they end in."""

import dataclasses
from typing import Any

import apache_beam as beam

from transforms.answers import last_boxed
from transforms.judging import EQUALITY, INCORRECT, UNDECIDED
from transforms.outcome import Outcome, without_rejects
from transforms.records import Answered, Call, Judgement, Problem, Solution
from transforms.science.options import letter_of, options_of
from transforms.science.questions import problem_of
from transforms.science.records import Question

PROMPT = "science/solution"
JUDGE_PROMPT = "science/judge"


@dataclasses.dataclass(eq=False)
class SettleLetters(beam.PTransform):
    """Say of answers to multiple-choice questions that different letters are different answers.

    In:   `Judgement` records.
    Out:  `rows`, the same, of which those that are `undecided` between letters are `incorrect`:
          there is nothing for a judge to see; `rejects`, empty.
    Cost: no shuffle.
    Once: a pure function of each judgement.
    """

    shard_by_shard = True

    def expand(self, judgements: beam.PCollection) -> Outcome:
        return without_rejects(judgements | "Settle" >> beam.Map(settled))


def variables_of(question: Question) -> dict[str, object]:
    """What a model that solves a question is shown."""
    return {"problem": question.text}


def solution_of(answered: Answered[Question, str]) -> Solution:
    """The solution that an answer is; its final answer is in a box after the reasoning.

    Of a multiple-choice question it is the letter of an option, whatever names it, or none.
    """
    question = answered.record
    return _solution(answered, problem_of(question), question.calls)


def estimate_of(answered: Answered[Problem, str]) -> Solution:
    """The same of a question that has become a problem."""
    return _solution(answered, answered.record)


def variables_of_problem(problem: Problem) -> dict[str, object]:
    """The same of a question that has become a problem."""
    return {"problem": problem.text}


def settled(judgement: Judgement) -> Judgement:
    """The judgement, decided where its answers are different letters."""
    if judgement.verdict != UNDECIDED or not options_of(judgement.problem):
        return judgement
    return dataclasses.replace(judgement, verdict=INCORRECT, judged_by=EQUALITY)


def _solution(
    answered: Answered[Any, str], problem: Problem, calls: tuple[Call, ...] = ()
) -> Solution:
    answer, options = last_boxed(answered.value.rpartition("</think>")[2]), options_of(problem.text)
    return Solution(
        id=answered.id,
        problem=problem,
        text=answered.value,
        predicted_answer=letter_of(answer, options) if options else answer,
        calls=(answered.call, *calls),
        reasoning=answered.reasoning,
    )
