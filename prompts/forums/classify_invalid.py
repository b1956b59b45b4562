"""A rehearsed vote: what needs a picture or a link is invalid; now and then it is wrong."""

import random
import re
from collections.abc import Mapping, Sequence

from prompts import tagged

WRONG = 0.04
_INVALID = re.compile(
    r"\b(?:figure|picture|image|diagram|attached|link)\b|https?://", re.IGNORECASE
)


def truth(problem: str) -> bool:
    """Whether the problem is of the class."""
    return bool(_INVALID.search(problem))


def vote_of(problem: str, rng: random.Random) -> bool:
    """What the vote whose draws these are says; the first draw of all."""
    return truth(problem) != (rng.random() < WRONG)


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """The vote."""
    return "invalid" if vote_of(tagged(messages, "problem"), rng) else "not invalid"
