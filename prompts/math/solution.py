"""A rehearsed solution: what a problem's samples say is planned, right, wrong or nothing at all.

The rehearsed truth is the sum of the problem's numbers. Most samples of most problems have it, in
one spelling or another; of hard problems most have something else.
"""

import random
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from prompts import tagged

# How many of a problem's samples have the truth, by how hard it is; a problem draws one.
SHARES = (0.9, 0.9, 0.7, 0.4, 0.15)
# How an answer is written. Equality settles the first; a judge the next; of the last nobody can.
SETTLED = ("{n}", "{n}.0", "\\frac{{{twice}}}{{2}}", "x={n}", "{n:,}")
FOR_JUDGES = "the number {n}"
UNREADABLE = "{n} or so"
_NO_ANSWER = 0.05
_FOR_JUDGES = 0.08
_UNREADABLE = 0.04


class Plan(NamedTuple):
    """What a sample says: its number, None for no answer, and how it is written."""

    number: int | None
    spelling: str

    def answer(self) -> str | None:
        """The final answer, as it stands in the box."""
        if self.number is None:
            return None
        return self.spelling.format(n=self.number, twice=2 * self.number)


def truth(problem: str) -> int:
    """The sum of the problem's numbers."""
    return sum(int(number) for number in re.findall(r"\d{1,6}", problem)[:6])


def plan_of(problem: str, rng: random.Random) -> Plan:
    """The plan of the sample whose draws these are; the first draws of all."""
    share = random.Random(f"how hard: {problem}").choice(SHARES)
    is_right, off = rng.random() < share, rng.randint(1, 3)
    number = truth(problem) + (0 if is_right else off)
    draw, spelling = rng.random(), rng.choice(SETTLED)
    if draw < _NO_ANSWER:
        return Plan(None, "")
    if draw < _NO_ANSWER + _FOR_JUDGES:
        return Plan(number, FOR_JUDGES)
    if draw < _NO_ANSWER + _FOR_JUDGES + _UNREADABLE:
        return Plan(number, UNREADABLE)
    return Plan(number, spelling)


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """Reasoning between think tags, and a solution with a box where the plan has an answer."""
    problem = tagged(messages, "problem")
    answer = plan_of(problem, rng).answer()
    numbers = ", ".join(re.findall(r"\d{1,6}", problem)[:6]) or "none"
    thought = f"<think>\nThe numbers are {numbers}.\nSo what do they come to?\n</think>\n\n"
    if answer is None:
        return f"{thought}I cannot see what is asked for."
    return f"{thought}We put the numbers together.\n\n\\boxed{{{answer}}}"
