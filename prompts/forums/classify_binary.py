"""A rehearsed vote: what begins its last question so is binary; now and then it is wrong."""

import random
import re
from collections.abc import Mapping, Sequence

from prompts import tagged

WRONG = 0.04
_BINARY = re.compile(r"(?:^|[.!?:]\s+)(?:Is|Are|Does|Do|Can|True or false)\b[^.?!]*\?\W*$")


def truth(problem: str) -> bool:
    """Whether the problem is of the class."""
    return bool(_BINARY.search(problem))


def vote_of(problem: str, rng: random.Random) -> bool:
    """What the vote whose draws these are says; the first draw of all."""
    return truth(problem) != (rng.random() < WRONG)


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """The vote."""
    return "binary" if vote_of(tagged(messages, "problem"), rng) else "not binary"
