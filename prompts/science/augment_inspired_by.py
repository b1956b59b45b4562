"""Rehearsed questions inspired by others: as similar ones are, with one number more."""

import functools
import random
from collections.abc import Mapping, Sequence

from prompts.science import augment_similar

FAULTS, POOLED = augment_similar.FAULTS, augment_similar.POOLED
_POOL = (31, 32, 33)

plan_of = functools.partial(augment_similar.plan_of, pool=_POOL)


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """A new question with the planned fault."""
    return augment_similar.rehearse(messages, rng, _POOL)
