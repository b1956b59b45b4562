"""The stage that solves problems, plain or with Python."""

import functools

from beam_sdg.recipes.recipe import Context
from beam_sdg.runs import Stage
from transforms.engines.conversations import Variables
from transforms.reading import Text
from transforms.records import Problem, Solution
from transforms.tir import solve as tir
from transforms.tir.python_tool import PythonTool

PROMPT = "math/solution"


def solutions(
    context: Context,
    name: str,
    after: str,
    samples: int,
    *,
    first_sample: int = 0,
    temperature: float | None = None,
    reasoning_effort: str | None = None,
    python: PythonTool | None = None,
) -> Stage:
    """A model solves each problem `samples` times; `python` is what it may call.

    `temperature` and `reasoning_effort` are for where none is set.
    """
    variables: Variables = variables_of
    if python is not None:
        variables = functools.partial(tir.variables_of, python.code_format)
    return context.ask(
        name,
        after=after,
        prompt=tir.PROMPT if python else PROMPT,
        variables=variables,
        reader=tir.SolutionText() if python else Text(),
        keep=tir.solution_of,
        row_type=Solution,
        samples=samples,
        first_sample=first_sample,
        temperature=temperature,
        reasoning_effort=reasoning_effort,
        python=python,
    )


def variables_of(problem: Problem) -> dict[str, object]:
    """The variables of the prompt for solutions without tools."""
    return {"problem": problem.text}
