"""A rehearsed vote: what says "prove" or "show" wants a proof; now and then a vote is wrong."""

import random
import re
from collections.abc import Mapping, Sequence

from prompts import tagged

WRONG = 0.04
_PROOF = re.compile(r"\b(?:prove|show|disprove|verify|proof)\b", re.IGNORECASE)


def truth(problem: str) -> bool:
    """Whether the problem is of the class."""
    return bool(_PROOF.search(problem))


def vote_of(problem: str, rng: random.Random) -> bool:
    """What the vote whose draws these are says; the first draw of all."""
    return truth(problem) != (rng.random() < WRONG)


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """The vote."""
    return "proof" if vote_of(tagged(messages, "problem"), rng) else "not proof"
