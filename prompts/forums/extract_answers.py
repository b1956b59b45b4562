"""Rehearsed answers of threads: what a post calls the answer; some have a planted fault."""

import json
import random
import re
from collections.abc import Mapping, Sequence

from prompts import tagged

# What a check has to find, or a reader to stand, and about how often; the rest is good JSON.
FAULTS = {"prose": 0.04, "prose_at_first": 0.06, "text": 0.12}
_SAID = re.compile(r"answer is:?\s*\$?(-?\d+(?:[./]\d+)?)|\\boxed\{([^{}]+)\}", re.IGNORECASE)
_HEAD = re.compile(r"^(?:Post \d+:|\((?:accepted )?answer, score -?\d+\))$", re.MULTILINE)
_NUMBER = re.compile(r"(?<![\w.^_{])-?\d{1,6}(?![\w.^_{])")


def truth(discussion: str) -> str | None:
    """The answer that the posts name last, or else the last whole number in them."""
    said = [first or second for first, second in _SAID.findall(discussion)]
    numbers = _NUMBER.findall(_HEAD.sub("", discussion))
    return next(reversed(said or numbers), None)


def fault_of(rng: random.Random) -> str:
    """The fault of the answer whose draws these are, or ""; the first draw of all."""
    draw = rng.random()
    for fault, share in FAULTS.items():
        draw -= share
        if draw < 0:
            return fault
    return ""


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """The answer, as JSON or behind a label."""
    fault = fault_of(rng)
    is_corrected = any(message["role"] == "assistant" for message in messages)
    answer = truth(tagged(messages, "forum_discussions"))
    if fault == "text":
        if answer is None:
            return "Nobody gives a value. Answer not found."
        return f"Some posts guess.\nAnswer: {answer} at first\n\n**Answer:** $\\boxed{{{answer}}}$."
    if fault == "prose" or (fault == "prose_at_first" and not is_corrected):
        answer = "We can see from post 2 that it follows from the lemma above."
    return json.dumps({"reasoning": "It is what the posts come to.", "answer": answer})
