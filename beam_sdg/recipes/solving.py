"""The stage that solves problems, plain or with Python, and what its solutions are rendered by."""

import functools
from typing import Any

from beam_sdg.python_flags import PythonConfig
from beam_sdg.recipes.recipe import Context
from beam_sdg.recipes.sft import TracesTo
from beam_sdg.stages import Stage
from transforms.engines.conversations import Variables
from transforms.reading import Text
from transforms.records import Problem, Solution
from transforms.sft.render import variables_of as variables_of_trace
from transforms.sft.traces import trace_of
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


def traces_to(python: PythonConfig | None = None, **of_set: Any) -> TracesTo:
    """How judged solutions become rows: with the prompt that their model was asked by.

    `python` are the settings of those that were solved with Python; `of_set` is what else a
    `TracesTo` takes.
    """
    if python is None:
        return TracesTo(trace_of, PROMPT, variables_of_trace, **of_set)
    return TracesTo(
        functools.partial(trace_of, code_format=python.written_as()),
        tir.PROMPT,
        functools.partial(tir.variables_of_trace, python.code_format),
        **of_set,
    )
