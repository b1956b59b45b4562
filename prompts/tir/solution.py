"""A rehearsed solution with Python, whose numbers are the problem's; some have a planted fault.

What the code prints is not known here: it comes from the sandbox, and the answer is read from it.
"""

import random
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from prompts import tagged

# What a filter or a judge has to find, and about how often; the rest of the solutions are good.
FAULTS = {
    "no_code": 0.06,
    "boxed_before_code": 0.06,
    "answer_before_code": 0.06,
    "no_final_answer": 0.06,
    "too_many_code_blocks": 0.06,
    "too_many_executions": 0.06,
    "incomplete_execution": 0.06,
    "no_fragment": 0.06,
    "too_few_votes": 0.06,
}
# What judges have to make of a solution's code.
WORTHS = ("significant", "significant", "moderate", "trivial", "verification")
MOST_BLOCKS = 2
_OFFSET = 1_000_003  # makes an answer one that the problem does not mention
_SUMS = {
    "trivial": "total = sum(numbers)\n",
    "moderate": "total = 0\nfor number in numbers:\n    total += number\n",
    "significant": "import operator\ntotal = 0\nfor number in numbers:\n"
    "    total = operator.add(total, number)\n",
}
_SUMS["verification"] = _SUMS["significant"]


class Plan(NamedTuple):
    """What a solution is to be: its fault or "", what its code is worth, how often it calls."""

    fault: str
    worth: str
    blocks: int


def plan_of(rng: random.Random) -> Plan:
    """The plan of the solution whose draws these are; the first draws of all."""
    draw, worth, blocks = rng.random(), rng.choice(WORTHS), rng.randint(1, MOST_BLOCKS)
    for fault, share in FAULTS.items():
        draw -= share
        if draw < 0:
            more = fault == "too_many_code_blocks"
            return Plan(fault, worth, MOST_BLOCKS + 1 if more else blocks)
    return Plan("", worth, blocks)


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """The next words of a solution: up to its next call, or to its end."""
    plan = plan_of(rng)
    results = [message["content"] for message in messages if message["role"] == "tool"]
    numbers = [int(text) for text in re.findall(r"\b\d{1,6}\b", tagged(messages, "problem"))]
    numbers = numbers[:6] or [rng.randint(2, 99), rng.randint(2, 99)]
    if plan.fault == "no_code":
        return f"The numbers add up to {sum(numbers)}.\n\n\\boxed{{{sum(numbers)}}}"
    calls_on = plan.fault == "too_many_executions"  # until no execution is left, and then again
    if len(results) < plan.blocks or calls_on:
        return _call(plan, numbers, len(results))
    if plan.fault == "incomplete_execution":
        return "One more try.\n\n```python\nprint(total)\n```text\nwhich is \\boxed{1}."
    answer = results[-1].strip().splitlines()[0]
    if plan.fault == "no_fragment":  # what it ran has failed
        answer = str(sum(numbers) + _OFFSET)
    if plan.fault == "no_final_answer":
        return f"So it must be about {answer}, give or take."
    return f"The code gives what was to be expected.\n\nThe answer is \\boxed{{{answer}}}."


def _call(plan: Plan, numbers: Sequence[int], number: int) -> str:
    aim = "check the sum" if plan.worth == "verification" else "look at the sum"
    if plan.fault == "too_few_votes":
        aim = "do what nobody can judge"
    offset = _OFFSET * (1 + len(numbers))
    if plan.fault == "no_fragment":
        return f"Let me {aim}.\n\n```python\nprint(nothing + {offset})\n```\n"
    if number:
        return f"Let me {aim} again.\n\n```python\nprint(total + {offset})\n```\n"
    claim = ""
    if plan.fault == "boxed_before_code":
        claim = f"At once: \\boxed{{{sum(numbers) + offset}}}. "
    if plan.fault == "answer_before_code":
        claim = f"The answer is {sum(numbers) + offset}. "
    listed = ", ".join(map(str, numbers))
    return (
        f"{claim}There are {len(numbers)} numbers; let me {aim}.\n\n```python\n"
        f"numbers = [{listed}]\n{_SUMS[plan.worth]}print(total + {offset})\n```\n"
    )
