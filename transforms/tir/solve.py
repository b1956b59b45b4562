"""Solving with Python: the parts of an `Ask` that makes solutions of problems."""

import dataclasses
from collections.abc import Mapping

from transforms.answers import last_boxed
from transforms.codec import well_formed
from transforms.reading import Fault, Text
from transforms.records import Answered, Problem, Solution, Trace

PROMPT = "tir/solution"


@dataclasses.dataclass(frozen=True)
class SolutionText(Text):
    """All of a solution's text, as it is, even where it ends within its reasoning: filters see."""

    def read(self, text: str) -> str | Fault:
        """The text; `empty_answer` where there is none."""
        whole = well_formed(text)
        return whole if whole.strip() else Fault("empty_answer", "the answer is empty")


def solution_of(answered: Answered[Problem, str]) -> Solution:
    """The solution that a model's answer is, with its final answer, if it has one."""
    return Solution(
        id=answered.id,
        problem=answered.record,
        text=answered.value,
        predicted_answer=last_boxed(answered.value),
        calls=(answered.call,),
        tool_use=answered.tool_use,
        reasoning=answered.reasoning,
    )


def variables_of(code_format: str, problem: Problem) -> Mapping[str, object]:
    """The variables of the prompt; `max_executions` is added for each sample."""
    return {"problem": problem.text, "code_format": code_format}


def variables_of_trace(code_format: str, trace: Trace) -> Mapping[str, object]:
    """Those that the prompt of a trace had."""
    return {
        "problem": trace.problem,
        "code_format": code_format,
        "max_executions": trace.total_code_executions,
    }
