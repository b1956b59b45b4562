"""A rehearsed solution: some reasoning and a program that Python can parse."""

import random
from collections.abc import Mapping, Sequence

from prompts import tagged


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """Reasoning, then one fenced program."""
    problem = tagged(messages, "problem")
    steps = "\n".join(
        f"{number}. Look at the part that begins with `{word}`."
        for number, word in enumerate(rng.choices(problem.split(), k=rng.randint(2, 6)), start=1)
    )
    return f"{steps}\n\n```python\nprint({rng.randint(0, 999)})\n```\n"
