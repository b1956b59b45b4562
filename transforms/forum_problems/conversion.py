"""Statements to be proved, told again as problems that have an answer."""

import dataclasses

from transforms.forum_problems.answering import bare_answer, prose_fault
from transforms.forum_problems.records import CONVERTED, ConvertedProof, ForumProblem
from transforms.reading import Fault, Structured
from transforms.records import Answered
from transforms.statements import is_unchanged

PROMPT = "forums/convert_proofs"
READER = Structured(ConvertedProof)


def variables_of(problem: ForumProblem) -> dict[str, object]:
    """What the model is shown: the statement alone."""
    return {"problem": problem.text}


def fault_of(problem: ForumProblem, converted: ConvertedProof) -> Fault | None:
    """What is wrong with a conversion: it is the statement itself, or its answer is prose."""
    unchanged = is_unchanged(converted.problem, problem.text)
    return unchanged or prose_fault(bare_answer(converted.answer))


def converted_problem(answered: Answered[ForumProblem, ConvertedProof]) -> ForumProblem:
    """The new problem under the old one's id, with what the statement said as its answer."""
    problem = answered.record
    return dataclasses.replace(
        problem,
        text=answered.value.problem,
        expected_answer=bare_answer(answered.value.answer),
        problem_type=CONVERTED,
        original_problem=problem.text,
        calls=(*problem.calls, answered.call),
    )
