"""A rehearsed comparison: problems of much the same words are the same; of some none can tell."""

import random
import re
from collections.abc import Mapping, Sequence

from prompts import tagged

ENOUGH = 0.5  # the share of their words that the same problems have in common
UNTOLD = "some number of"  # what makes an answer that cannot be read


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """A sentence and the verdict."""
    first, second = (tagged(messages, f"{which}_problem") for which in ("first", "second"))
    if UNTOLD in first + second:
        return "That depends on the number."
    share = overlap(first, second)
    is_same = share >= ENOUGH
    why = "They tell the same story." if is_same else "They ask for different things."
    return f"{why}\nSame: {'yes' if is_same else 'no'}"


def overlap(first: str, second: str) -> float:
    """The share of words that two texts have in common, numbers aside."""
    one, other = (set(re.findall(r"[a-z]+", text.lower())) for text in (first, second))
    return len(one & other) / len(one | other) if one | other else 1.0
