"""A rehearsed comparison: mostly it chooses a solution with the rehearsed truth, if there is one.

The rehearsed truth is that of rehearsed solutions: the sum of the problem's numbers.
"""

import random
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from prompts import tagged

# What a check has to find, and about how often. What has a fault at first is good after a
# correction; who errs chooses any solution.
FAULTS = {
    "no_judgment": 0.05,
    "no_judgment_at_first": 0.05,
    "out_of_range": 0.04,
    "out_of_range_at_first": 0.05,
    "errs": 0.12,
}
WRITTEN = (
    "Judgment: {}",
    "Judgement: [{}]",
    "**Judgment:** {}",
    "Judgment: **{}**",
    "### judgment: Solution {}.",
)
_BOX = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")


class Plan(NamedTuple):
    """What a comparison is to be: its fault or "", the number it chooses, how that is written."""

    fault: str
    choice: int
    written: str


def truth(problem: str) -> int:
    """The sum of the problem's numbers."""
    return sum(int(number) for number in re.findall(r"\d{1,6}", problem)[:6])


def plan_of(problem: str, answers: Sequence[str], rng: random.Random) -> Plan:
    """The plan of the comparison whose draws these are; the first draws of all.

    `answers` are the final ones of the solutions, in their order.
    """
    draw, written = rng.random(), rng.choice(WRITTEN)
    right = [n for n, answer in enumerate(answers) if answer == str(truth(problem))]
    chosen, anyone = rng.choice(right or range(len(answers))), rng.randrange(len(answers))
    for fault, share in FAULTS.items():
        draw -= share
        if draw < 0:
            return Plan(fault, anyone if fault == "errs" else chosen, written)
    return Plan("", chosen, written)


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """Reasoning between think tags, a sentence for each solution, and the choice as planned."""
    solutions = re.split(r"^Solution \d+:$", tagged(messages, "solutions"), flags=re.MULTILINE)[1:]
    answers = [(_BOX.findall(solution) or [""])[-1] for solution in solutions]
    plan = plan_of(tagged(messages, "problem"), answers, rng)
    is_corrected = any(message["role"] == "assistant" for message in messages)
    fault = "" if is_corrected and plan.fault.endswith("_at_first") else plan.fault
    said = "\n".join(f"Solution {n} comes to {answer}." for n, answer in enumerate(answers))
    text = f"<think>\nWho is right?\nJudgment: {len(answers)}, or not?\n</think>\n\n{said}\n\n"
    if fault.startswith("no_judgment"):
        return f"{text}All of them have something to say for themselves."
    choice = len(answers) if fault.startswith("out_of_range") else plan.choice
    return f"{text}What it adds up can be checked.\n\n{plan.written.format(choice)}"
