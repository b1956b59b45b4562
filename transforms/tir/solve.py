"""Solving with Python: the parts of an `Ask` that makes solutions of problems."""

from collections.abc import Mapping

from transforms.answers import last_boxed
from transforms.records import Answered, Problem, Solution

PROMPT = "tir/solution"


def solution_of(answered: Answered[Problem, str]) -> Solution:
    """The solution that a model's answer is, with its final answer, if it has one."""
    return Solution(
        id=answered.id,
        problem=answered.record,
        text=answered.value,
        predicted_answer=last_boxed(answered.value),
        calls=(answered.call,),
        tool_use=answered.tool_use,
    )


def variables_of(code_format: str, problem: Problem) -> Mapping[str, object]:
    """The variables of the prompt; `max_executions` is added for each sample."""
    return {"problem": problem.text, "code_format": code_format}
