"""Traces for tests."""

from typing import Any

from transforms.records import Trace
from transforms.seeding import digest

DEFAULTS: dict[str, Any] = {
    "problem": "How many are there?",
    "reasoning_content": "",
    "expected_answer": "42",
    "predicted_answer": "42",
    "is_correct": True,
    "finish_reason": "stop",
}


def trace(generation: str = "There are \\boxed{42}.", number: int = 0, **fields: Any) -> Trace:
    """A correct trace, of a problem of its own unless `problem_id` says which."""
    of = fields.pop("problem_id", digest("problem", number))
    name = fields.pop("id", f"{of}-0")
    return Trace(id=name, problem_id=of, generation=generation, **{**DEFAULTS, **fields})
