"""Rehearsed conversions: the statement without its "prove"; some have a planted fault."""

import json
import random
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from prompts import tagged

# What a check or a later vote has to find, and about how often; the rest is good.
FAULTS = {"unchanged": 0.08, "still_a_proof": 0.1}
MOST_WORDS = 40
_PROVE = re.compile(r"\b(?:prove|show|disprove|verify|proof)\b(?: that)?", re.IGNORECASE)


class Plan(NamedTuple):
    """What a conversion is to be: its fault or "", its text and its answer."""

    fault: str
    problem: str
    answer: str | None


def plan_of(statement: str, rng: random.Random) -> Plan:
    """The plan of the conversion whose draws these are; the first draw of all."""
    draw = rng.random()
    numbers = re.findall(r"(?<![\w.])\d{1,6}(?![\w.])", statement)
    answer = numbers[-1] if numbers else None
    first = " ".join(_PROVE.sub("it holds that", statement).split()[:MOST_WORDS])
    texts = {"unchanged": statement, "still_a_proof": f"Find the last value and prove it: {first}"}
    for fault, share in FAULTS.items():
        draw -= share
        if draw < 0:
            return Plan(fault, texts[fault], answer)
    return Plan("", f"Find the last value in this statement: {first}", answer)


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """The new problem and its answer."""
    plan = plan_of(tagged(messages, "problem"), rng)
    return json.dumps({"problem": plan.problem, "answer": plan.answer})
