"""A rehearsed judgement: answers of the same numbers are the same; "or so" nobody can judge."""

import random
import re
from collections.abc import Mapping, Sequence

from prompts import tagged


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """A sentence and the judgement."""
    expected, predicted = (
        tagged(messages, f"{which}_answer") for which in ("expected", "predicted")
    )
    if "or so" in expected + predicted:
        return "That depends on what is meant."
    is_same = _numbers(expected) == _numbers(predicted)
    why = "Both name the same numbers." if is_same else "The numbers differ."
    return f"{why}\nJudgement: {'yes' if is_same else 'no'}"


def _numbers(answer: str) -> list[str]:
    return re.findall(r"\d+", answer.replace(",", ""))
