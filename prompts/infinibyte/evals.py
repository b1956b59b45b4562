"""Rehearsed scores: mostly 2 and 3, as a model's scores of its own work are."""

import json
import random
from collections.abc import Mapping, Sequence


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """The three scores."""
    scores = {
        name: rng.choices((1, 2, 3), weights=(1, 4, 5))[0]
        for name in ("difficulty", "clarity", "adherence")
    }
    return json.dumps(scores)
