"""Solving without tools: the parts of an `Ask` that makes solutions of problems."""

from transforms.reading import Text
from transforms.records import Problem
from transforms.tir.solve import solution_of

PROMPT = "math/solution"
READER = Text()

__all__ = ["PROMPT", "READER", "solution_of", "variables_of"]


def variables_of(problem: Problem) -> dict[str, object]:
    """The variables of the prompt."""
    return {"problem": problem.text}
