"""A rehearsed summary: reasons, and the choice of the comparison; some have a planted fault.

Every reason has the same length, so of valid summaries that with most reasons is the longest.
"""

import random
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from prompts import tagged

# What a check has to find, and about how often; the rest of the summaries are good. What has a
# fault at first is good after a correction.
FAULTS = {
    "other_choice": 0.14,
    "other_choice_at_first": 0.08,
    "no_judgment": 0.14,
    "no_judgment_at_first": 0.08,
    "tag": 0.06,
}
MOST_REASONS = 9
_REASON = "Reason {}: where the solutions part, this one does what the problem asks for.\n"


class Plan(NamedTuple):
    """What a summary is to be: its fault or "", and how many reasons it gives."""

    fault: str
    reasons: int


def plan_of(rng: random.Random) -> Plan:
    """The plan of the summary whose draws these are; the first draws of all."""
    draw, reasons = rng.random(), rng.randint(1, MOST_REASONS)
    for fault, share in FAULTS.items():
        draw -= share
        if draw < 0:
            return Plan(fault, reasons)
    return Plan("", reasons)


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """Reasons and the choice, as planned."""
    plan = plan_of(rng)
    is_corrected = any(message["role"] == "assistant" for message in messages)
    fault = "" if is_corrected and plan.fault.endswith("_at_first") else plan.fault
    choice = int(re.findall(r"(?i)judge?ment\D*(\d+)", tagged(messages, "comparison"))[-1])
    reasons = "".join(_REASON.format(number) for number in range(1, plan.reasons + 1))
    if fault.startswith("no_judgment"):
        return f"{reasons}\nThat settles it."
    if fault.startswith("other_choice"):
        choice += 1
    if fault == "tag":
        reasons = f"{reasons}<think>Is that all?\n"
    return f"{reasons}\nJudgment: {choice}"
