"""Rehearsed questions made from others: other numbers, and some that are no new question."""

import json
import random
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from prompts import tagged

# What a check has to find, and about how often.
FAULTS = {"unchanged": 0.08, "unchanged_at_first": 0.06, "answer_given": 0.06}
POOLED = 0.2  # the share of new questions that are the same whatever they were made from
_POOL = (31, 32)


class Plan(NamedTuple):
    """The fault or "", the numbers, and whether it is one of the pool."""

    fault: str
    numbers: tuple[int, ...]
    is_pooled: bool
    seed: int


def plan_of(rng: random.Random, pool: Sequence[int] = _POOL) -> Plan:
    """The plan of the question whose draws these are; the first draws of all.

    `pool` are the numbers of those that are the same whatever they were made from.
    """
    draw, numbers = rng.random(), tuple(rng.randint(100, 999) for _ in pool)
    is_pooled, seed = rng.random() < POOLED, rng.randint(0, 10**6)
    planned = ""
    for fault, share in FAULTS.items():
        draw -= share
        if draw < 0:
            planned = fault
            break
    return Plan(planned, tuple(pool) if is_pooled else numbers, is_pooled, seed)


def rehearse(
    messages: Sequence[Mapping[str, str]], rng: random.Random, pool: Sequence[int] = _POOL
) -> str:
    """A new question with the planned fault."""
    plan = plan_of(rng, pool)
    is_corrected = any(message["role"] == "assistant" for message in messages)
    fault = "" if is_corrected and plan.fault.endswith("_at_first") else plan.fault
    found = re.search(r"Give (\d+) options", messages[1]["content"])
    num_options = int(found[1]) if found else 0
    original, _, block = tagged(messages, "question").partition("\n\n")
    about = re.sub(r"\d+", "some", original)
    counts = " and ".join(map(str, plan.numbers))
    text = f"How many are {counts} in all?" if plan.is_pooled else f"{about} Say it for {counts}."
    truth = sum(plan.numbers)
    options = [str(number) for number in range(truth, truth + num_options)]
    if fault.startswith("unchanged"):
        text, options = "  ".join(original.split()), [line[3:] for line in block.splitlines()]
    random.Random(plan.seed).shuffle(options)
    if fault == "answer_given":
        text += f" The correct answer is {truth}."
    question = {"question": text, **({"options": options} if num_options else {})}
    return json.dumps(question, ensure_ascii=False)
