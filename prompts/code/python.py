"""A rehearsed solution in Python: right for problems about the numbers given; some are faulty.

A problem asks for the largest, the smallest or the sum of its numbers, or how many there are: the
bundled ones do. What filters and tests have to find is planted.
"""

import random
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from prompts import PromptError, tagged

# What a filter has to find, by its reason, and about how often.
UNFIT = {
    "no_reasoning": 0.04,
    "short_answer": 0.04,
    "not_ascii": 0.04,
    "placeholder_text": 0.04,
    "no_program": 0.04,
    "syntax_error": 0.04,
    "placeholder_code": 0.04,
}
# What tests have to find.
WRONG = {
    "off": 0.06,
    "raises": 0.03,
    "loops": 0.03,
    "floods": 0.03,
    "dies": 0.03,
    "kills": 0.03,
    "forges": 0.03,
}
# How a good program may come: none of these is a fault.
SHAPES = ("plain", "plain", "sketch_first", "example_last", "no_start_tag", "says_pass")
_RESULTS = {
    "largest": "max(numbers)",
    "smallest": "min(numbers)",
    "how many": "len(numbers)",
    "": "sum(numbers)",
}
_FAULTS = {
    "off": "result += 1",
    "raises": "result = [][result]",
    "loops": "while True:\n    pass",
    "floods": "while True:\n    print('more ' * 1000)",
    "dies": "import os\nos._exit(0)",
    "kills": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "forges": "print('passed', flush=True)\nimport os\nos._exit(0)",
}


class Plan(NamedTuple):
    """What a solution is to be: its fault or "", and its shape."""

    fault: str
    shape: str


def plan_of(rng: random.Random) -> Plan:
    """The plan of the solution whose draws these are; the first draws of all."""
    draw, shape = rng.random(), rng.choice(SHAPES)
    for fault, share in {**UNFIT, **WRONG}.items():
        draw -= share
        if draw < 0:
            return Plan(fault, shape)
    return Plan("", shape)


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """Reasoning between think tags, and a program in a fenced block."""
    plan, problem = plan_of(rng), tagged(messages, "problem")
    words = next(words for words in _RESULTS if words in problem.casefold())
    thought = f"<think>\nIt is about {words or 'the sum'}; one pass will do.\n</think>\n\n"
    if plan.shape == "no_start_tag":
        thought = thought.removeprefix("<think>\n")
    if plan.fault == "no_reasoning":
        thought = ""
    return thought + _answer(plan, _program(plan, messages, _RESULTS[words]))


def _answer(plan: Plan, program: str) -> str:
    """What follows the reasoning."""
    block = f"```python\n{program}```\n"
    if plan.fault == "short_answer":
        return "No idea."
    if plan.fault == "no_program":
        return f"One pass over the numbers is enough.\n\n{block.removesuffix('```' + chr(10))}"
    if plan.fault == "not_ascii":
        return f"→ One pass over the numbers is enough.\n\n{block}"
    said = "One pass over the numbers is enough."
    if plan.fault == "placeholder_text":
        said = f"{said} Of the rest: your code here."
    if plan.shape == "sketch_first":
        said = f"{said}\n\n```python\ndef solve(numbers):\n    pass\n```\n\nNow in full:"
    tail = "\nIt may be tried so:\n\n```python\nprint('ok')\n```\n"
    return f"{said}\n\n{block}{tail if plan.shape == 'example_last' else ''}"


def _program(plan: Plan, messages: Sequence[Mapping[str, str]], result: str) -> str:
    fault = _FAULTS.get(plan.fault, "")
    name = _function(messages)
    password = "# nothing to pass on: no password is needed\n" if plan.shape == "says_pass" else ""
    if plan.fault == "placeholder_code":
        body, head = "pass\n", f"def {name or 'main'}(numbers):\n"
    elif plan.fault == "syntax_error":
        body, head = "return sum(numbers\n", f"def {name or 'main'}(numbers):\n"
    else:
        body = f"{password}result = {result}\n{fault and fault + chr(10)}return result\n"
        head = f"def {name or 'solve'}(numbers):\n"
    program = head + "".join(f"    {line}\n" for line in body.splitlines())
    if name:
        return program
    if plan.fault == "placeholder_code":
        return f"import sys\n\n\n{program}\n\nmain(sys.stdin)\n"
    reads = "numbers = [int(word) for word in sys.stdin.read().split()][1:]"
    return f"import sys\n\n\n{program}\n\n{reads}\nprint(solve(numbers))\n"


def _function(messages: Sequence[Mapping[str, str]]) -> str:
    try:
        return re.sub(r"\W", "", tagged(messages, "function"))
    except PromptError:
        return ""
