"""A rehearsed vote: what has marks (A) and (B) is multiple choice; now and then it is wrong."""

import random
import re
from collections.abc import Mapping, Sequence

from prompts import tagged

WRONG = 0.04
_MCQ = re.compile(r"\(A\).*\(B\)", re.DOTALL)


def truth(problem: str) -> bool:
    """Whether the problem is of the class."""
    return bool(_MCQ.search(problem))


def vote_of(problem: str, rng: random.Random) -> bool:
    """What the vote whose draws these are says; the first draw of all."""
    return truth(problem) != (rng.random() < WRONG)


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """The vote."""
    return "mcq" if vote_of(tagged(messages, "problem"), rng) else "not mcq"
