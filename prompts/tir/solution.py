"""A rehearsed solution with Python, whose numbers are the problem's; some have a planted fault.

What the code prints is not known here: it comes from the sandbox, and the answer is read from it.
"""

import random
import re
from collections.abc import Mapping, Sequence

from prompts import tagged

# What a filter has to find, and about how often; the rest of the solutions are good.
FAULTS = {
    "no_code": 0.06,
    "boxed_before_code": 0.06,
    "answer_before_code": 0.06,
    "no_final_answer": 0.06,
    "too_many_code_blocks": 0.06,
    "incomplete_execution": 0.06,
}
MOST_BLOCKS = 2


def fault_of(rng: random.Random) -> str:
    """The fault of the solution whose draws these are, or ""; the first draw of all."""
    draw = rng.random()
    for fault, share in FAULTS.items():
        draw -= share
        if draw < 0:
            return fault
    return ""


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """The next words of a solution: up to its next call, or to its end."""
    fault = fault_of(rng)
    results = [message["content"] for message in messages if message["role"] == "tool"]
    numbers = [int(text) for text in re.findall(r"\b\d{1,6}\b", tagged(messages, "problem"))]
    numbers = numbers[:6] or [rng.randint(2, 99), rng.randint(2, 99)]
    wanted = rng.randint(1, MOST_BLOCKS)
    if fault == "too_many_code_blocks":
        wanted = MOST_BLOCKS + 1
    if fault == "no_code":
        return f"The numbers add up to {sum(numbers)}.\n\n\\boxed{{{sum(numbers)}}}"
    if len(results) < wanted or fault == "incomplete_execution":  # calls until none is left
        return _call(fault, numbers, len(results))
    answer = results[-1].strip().splitlines()[0]
    if fault == "no_final_answer":
        return f"So it must be about {answer}, give or take."
    return f"The code agrees with what was to be expected.\n\nThe answer is \\boxed{{{answer}}}."


def _call(fault: str, numbers: Sequence[int], number: int) -> str:
    if number:
        return f"Let me look again.\n\n```python\nprint(total + {_offset(numbers)})\n```\n"
    claim = ""
    result = sum(numbers) + _offset(numbers)
    if fault == "boxed_before_code":
        claim = f"At once: \\boxed{{{result}}}. "
    if fault == "answer_before_code":
        claim = f"The answer is {result}. "
    listed = ", ".join(map(str, numbers))
    return (
        f"{claim}There are {len(numbers)} numbers to look at.\n\n```python\n"
        f"numbers = [{listed}]\ntotal = sum(numbers)\nprint(total + {_offset(numbers)})\n```\n"
    )


def _offset(numbers: Sequence[int]) -> int:
    """Makes the answer one that the problem does not mention."""
    return 1_000_003 * (1 + len(numbers))
