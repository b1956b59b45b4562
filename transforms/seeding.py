"""Draws that depend on a seed and a key alone: the same on every runner, worker and retry."""

import hashlib
import json
import random
from collections.abc import Mapping

Part = str | int | float | bool | None

_encoded = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


def digest(*parts: Part) -> str:
    """32 hex digits of a 128-bit hash of `parts`; ("ab", "c") and ("a", "bc") differ."""
    return hashlib.blake2b(_encoded(parts).encode(), digest_size=16).hexdigest()


def integer(bound: int, *key: Part) -> int:
    """A whole number in [0, bound) for `key`, uniform; `bound` is at most 2**64."""
    return int(digest(*key), 16) % bound


def uniform(*key: Part) -> float:
    """A number in [0, 1) for `key`, uniform."""
    return integer(1 << 53, *key) / (1 << 53)


def stream(*key: Part) -> random.Random:
    """A generator of random numbers of its own for `key`."""
    return random.Random(digest(*key))


def pick(weights: Mapping[str, float], *key: Part) -> str:
    """One of the names in `weights` for `key`, each as likely as its share of the weights."""
    names = sorted(name for name in weights if weights[name] > 0)
    threshold = uniform(*key) * sum(weights.values())
    for name in names:
        threshold -= weights[name]
        if threshold < 0:
            return name
    return names[-1]


def sampling_seed(*key: Part) -> int:
    """A seed for a model server, in [0, 2**31): what every OpenAI-compatible server accepts."""
    return integer(1 << 31, "sampling", *key)
