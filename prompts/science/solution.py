"""A rehearsed solution: what a question's samples say is planned, right, wrong or nothing at all.

The rehearsed truth is the sum of the question's numbers, or the letter of the option that is it.
Most samples of most questions have it; of hard ones most have something else.
"""

import random
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from prompts import tagged

# How many of a question's samples have the truth, by how hard it is; a question draws one.
SHARES = (1.0, 0.9, 0.7, 0.5, 0.2)
# How an answer is written. Equality settles the first; a judge the next; of the last nobody can.
SETTLED = ("{n}", "{n}.0", "\\frac{{{twice}}}{{2}}", "x={n}", "{n:,}")
LETTERS = ("{letter}", "({letter})", "\\text{{{letter}}}", "{letter}) {n}", "{n}")
FOR_JUDGES = "the number {n}"
UNREADABLE = "{n} or so"
_NO_ANSWER = 0.05
_FOR_JUDGES = 0.08
_UNREADABLE = 0.04
_NO_OPTION = 0.05


class Plan(NamedTuple):
    """What a sample says: its number, None for no answer, and how it is written."""

    number: int | None
    spelling: str


def plan_of(problem: str, rng: random.Random) -> Plan:
    """The plan of the sample whose draws these are; the first draws of all."""
    share = random.Random(f"how hard: {problem}").choice(SHARES)
    options = numbers_of_options(problem)
    is_right, off, draw = rng.random() < share, rng.randint(1, 3), rng.random()
    number = truth(problem) + (0 if is_right else off)
    if draw < _NO_ANSWER:
        return Plan(None, "")
    if options:
        is_none = _NO_ANSWER <= draw < _NO_ANSWER + _NO_OPTION
        return Plan(number + (1000 if is_none else 0), rng.choice(LETTERS))
    if draw < _NO_ANSWER + _FOR_JUDGES:
        return Plan(number, FOR_JUDGES)
    if draw < _NO_ANSWER + _FOR_JUDGES + _UNREADABLE:
        return Plan(number, UNREADABLE)
    return Plan(number, rng.choice(SETTLED))


def truth(problem: str) -> int:
    """The sum of the question's numbers, those of its options left out."""
    return sum(map(int, re.findall(r"\d{1,6}", problem.partition("\n\nA) ")[0])))


def numbers_of_options(problem: str) -> list[int]:
    """What the options say."""
    return [int(number) for number in re.findall(r"^[A-J]\) (\d+)$", problem, re.MULTILINE)]


def answer_of(problem: str, plan: Plan) -> str | None:
    """The final answer, as it stands in the box; K where no option has the number."""
    if plan.number is None:
        return None
    options = numbers_of_options(problem)
    letter = "ABCDEFGHIJ"[options.index(plan.number)] if plan.number in options else "K"
    return plan.spelling.format(n=plan.number, twice=2 * plan.number, letter=letter)


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """Reasoning between think tags, and a solution with a box where the plan has an answer."""
    problem = tagged(messages, "problem")
    answer = answer_of(problem, plan_of(problem, rng))
    thought = f"<think>\nWhat is asked for?\nIs it \\boxed{{{truth(problem)}}}?\n</think>\n\n"
    if answer is None:
        return f"{thought}I cannot see what is asked for."
    return f"{thought}We put the numbers together.\n\n\\boxed{{{answer}}}"
