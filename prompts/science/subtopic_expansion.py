"""Rehearsed subtopics: of some topics the list is one that cannot be used, or not at first."""

import json
import random
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from prompts import tagged

# What a check has to find, and about how often; what has a fault at first is good when corrected.
FAULTS = {"twice": 0.08, "twice_at_first": 0.08, "too_many": 0.06}
_ASPECTS = ("measurement", "theory", "history", "applications", "limits", "models", "variation")


class Plan(NamedTuple):
    """The fault or "", and the names."""

    fault: str
    names: tuple[str, ...]


def plan_of(topic: str, most: int, rng: random.Random) -> Plan:
    """The plan of the list whose draws these are; the first draws of all."""
    draw = rng.random()
    names = tuple(f"{_aspect(number)} of {topic}" for number in range(most))
    for fault, share in FAULTS.items():
        draw -= share
        if draw < 0:
            return Plan(fault, names)
    return Plan("", names)


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """A list of as many subtopics as are allowed, with the planned fault."""
    most = int(re.findall(r"subtopics, (\d+) at most", messages[1]["content"])[0])
    plan = plan_of(tagged(messages, "topic"), most, rng)
    is_corrected = any(message["role"] == "assistant" for message in messages)
    names = [*plan.names]
    if plan.fault == "twice" or (plan.fault == "twice_at_first" and not is_corrected):
        names[-1] = names[0].upper() if len(names) > 1 else tagged(messages, "topic")
    if plan.fault == "too_many":
        names += ["one more", "and one more"]
    return json.dumps({"subtopics": names}, ensure_ascii=False)


def _aspect(number: int) -> str:
    turn, aspect = divmod(number, len(_ASPECTS))
    return f"{'further ' * turn}{_ASPECTS[aspect]}"
