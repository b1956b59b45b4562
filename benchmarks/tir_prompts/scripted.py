"""A solution that calls Python as often as its prompt says; a negative number sleeps once."""

import random
from collections.abc import Mapping, Sequence

from prompts import tagged


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    wanted = int(tagged(messages, "executions"))
    number = sum(message["role"] == "tool" for message in messages)
    if wanted < 0 and number == 0:
        return "```python\nimport time\ntime.sleep(60)\n```\n"
    if number < wanted:
        words = "Let me see what comes of it when the next term is added to the sum. " * 3
        return f"{words}\n\n```python\ntotal = {number} + 1\nprint(total)\n```\n"
    return "So it is \\boxed{1}."
