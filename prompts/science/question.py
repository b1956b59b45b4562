"""Rehearsed questions: sums in the subtopic's clothes, some with a fault, some written before.

The rehearsed truth is the sum of a question's numbers, and one of its options.
"""

import json
import random
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from prompts import tagged

# What a check has to find, and about how often; what has a fault at first is good when corrected.
FAULTS = {
    "answer_given": 0.06,
    "answer_given_at_first": 0.06,
    "options_in_question": 0.04,
    "same_options": 0.05,
    "wrong_number": 0.05,
    "letters_out_of_order": 0.05,
}
OF_OPTIONS = ("same_options", "wrong_number", "letters_out_of_order")
COPIES = 0.25  # the share of questions that are those of all others of their subtopic and format
_LETTERED = 0.3


class Plan(NamedTuple):
    """The fault or "", the numbers, whether it is a copy, and how it is written."""

    fault: str
    numbers: tuple[int, int]
    is_copy: bool
    is_lettered: bool
    seed: int


def plan_of(num_options: int, rng: random.Random) -> Plan:
    """The plan of the question whose draws these are; the first draws of all."""
    draw, numbers = rng.random(), (rng.randint(10, 99), rng.randint(10, 99))
    is_copy, is_lettered = rng.random() < COPIES, rng.random() < _LETTERED
    planned = ""
    for fault, share in FAULTS.items():
        draw -= share
        if draw < 0:
            planned = fault
            break
    if planned in OF_OPTIONS and not num_options:
        planned = ""
    if is_copy:
        numbers = (17, 25)
    return Plan(planned, numbers, is_copy, is_lettered, rng.randint(0, 10**6))


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """A question with the planned fault."""
    found = re.search(r"Give (\d+) options", messages[1]["content"])
    num_options = int(found[1]) if found else 0
    plan = plan_of(num_options, rng)
    is_corrected = any(message["role"] == "assistant" for message in messages)
    fault = "" if is_corrected and plan.fault.endswith("_at_first") else plan.fault
    subtopic, topic = tagged(messages, "subtopic"), tagged(messages, "topic")
    first, second = plan.numbers
    asked = "How many counts are that?"
    if plan.is_copy:
        asked = ("How many counts in all?", "How MANY counts  in all")[plan.seed % 2]
    text = f"A study of {subtopic} ({topic}) has {first} counts and then {second} more. {asked}"
    truth = first + second
    options = [str(number) for number in range(truth, truth + num_options)]
    random.Random(plan.seed).shuffle(options)
    if fault.startswith("answer_given"):
        text += f"\nCorrect answer: {truth}"
    if fault == "options_in_question":
        text += f"\nA) {truth}\nB) {truth + 1}"
    if fault == "same_options":
        options[1] = f"{options[0]}.0"
    if fault == "wrong_number":
        options = options[1:]
    letters = [f"{letter}) " for letter in "ABCDEFGHIJ"[:num_options]]
    if fault == "letters_out_of_order":
        letters = letters[::-1]
    if fault == "letters_out_of_order" or plan.is_lettered:
        options = [f"{letters[place]}{option}" for place, option in enumerate(options)]
    question = {"question": text, **({"options": options} if num_options else {})}
    return json.dumps(question, ensure_ascii=False)
