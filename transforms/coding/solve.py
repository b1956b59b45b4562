"""Asking for programs: the parts of an `Ask` that makes solutions of questions."""

import json
from collections.abc import Mapping

from transforms.records import Answered, Problem, Solution


def prompt_of(language: str) -> str:
    """The prompt that asks for programs in a language."""
    return f"code/{language}"


def variables_of(problem: Problem) -> Mapping[str, object]:
    """What a model is shown: the question, and the code that the program must fit, if any."""
    columns = json.loads(problem.extra)
    return {
        "problem": problem.text,
        "starter_code": str(columns.get("starter_code") or "").strip(),
        "entry_point": str(columns.get("entry_point") or ""),
    }


def solution_of(answered: Answered[Problem, str]) -> Solution:
    """The solution that an answer is; its program is found by filters."""
    return Solution(
        id=answered.id,
        problem=answered.record,
        text=answered.value,
        predicted_answer=None,
        calls=(answered.call,),
        reasoning=answered.reasoning,
    )
