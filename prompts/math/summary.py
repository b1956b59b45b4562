"""A rehearsed summary: steps, and the answer of the solution; some have a planted fault.

Every step has the same length, so of valid summaries that with most steps is the longest.
"""

import random
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from prompts import tagged

# What a check has to find, and about how often; the rest of the summaries are good. What has a
# fault at first is good after a correction.
FAULTS = {
    "other_answer": 0.14,
    "other_answer_at_first": 0.08,
    "no_box": 0.14,
    "no_box_at_first": 0.08,
    "tag": 0.06,
}
MOST_STEPS = 9
RESPELT = 0.2  # the share of answers in another spelling
_BOX = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")
_STEP = "Step {}: what is known so far is used once more, and the next value follows from it.\n"


class Plan(NamedTuple):
    """What a summary is to be: its fault or "", its steps, and whether it spells in its own way."""

    fault: str
    steps: int
    is_respelt: bool


def plan_of(rng: random.Random) -> Plan:
    """The plan of the summary whose draws these are; the first draws of all."""
    draw, steps, is_respelt = rng.random(), rng.randint(1, MOST_STEPS), rng.random() < RESPELT
    for fault, share in FAULTS.items():
        draw -= share
        if draw < 0:
            return Plan(fault, steps, is_respelt)
    return Plan("", steps, is_respelt)


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """Steps and a boxed answer, as planned."""
    plan = plan_of(rng)
    is_corrected = any(message["role"] == "assistant" for message in messages)
    fault = "" if is_corrected and plan.fault.endswith("_at_first") else plan.fault
    boxes = _BOX.findall(tagged(messages, "solution"))
    answer = boxes[-1] if boxes else "0"
    if fault.startswith("other_answer"):
        answer = f"{answer} + 1" if not answer.lstrip("-").isdigit() else str(int(answer) + 1)
    elif plan.is_respelt and answer.lstrip("-").isdigit():
        answer = f"{answer}.0"
    steps = "".join(_STEP.format(number) for number in range(1, plan.steps + 1))
    if fault.startswith("no_box"):
        return f"{steps}\nSo the answer is {answer}."
    if fault == "tag":
        steps = f"{steps}<think>Is that all?\n"
    return f"{steps}\nThe answer is \\boxed{{{answer}}}."
