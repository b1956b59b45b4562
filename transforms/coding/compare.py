"""Whether what a program printed or returned is what was expected."""

import json
import math
import re
from typing import Any

from transforms.coding import harness

_TOLERANCE = 1e-6
_REAL = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][-+]?\d+)?")


def same_output(printed: str, expected: str) -> bool:
    """Whether both have the same words in the same order, wherever lines end.

    Where an expected word is a number with a decimal point, one that differs by no more than a
    millionth, of itself or in all, is the same.
    """
    words, wanted = printed.split(), expected.split()
    return len(words) == len(wanted) and all(map(_same_word, words, wanted))


def same_value(coded: str, expected: str) -> bool:
    """Whether an encoded value is what JSON says, or the one item of a list that JSON says.

    APPS and TACO put the expected value of most calls into a list. Tuples are lists here, and keys
    of objects are texts.
    """
    try:
        value, wanted = _as_json(harness.decode(coded)), json.loads(expected)
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return False
    is_wrapped = isinstance(wanted, list) and len(wanted) == 1
    return _same(value, wanted) or is_wrapped and _same(value, wanted[0])


def _same_word(word: str, wanted: str) -> bool:
    if word == wanted:
        return True
    return _REAL.fullmatch(wanted) is not None and _close(word, float(wanted))


def _close(word: str, wanted: float) -> bool:
    try:
        return math.isclose(float(word), wanted, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    except ValueError:
        return False


def _as_json(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    if isinstance(value, dict):
        return {_key(key): _as_json(item) for key, item in value.items()}
    return value


def _key(key: Any) -> str:
    return key if isinstance(key, str) else json.dumps(key)


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, list):
        is_list = isinstance(value, list) and len(value) == len(wanted)
        return is_list and all(map(_same, value, wanted))
    if isinstance(wanted, dict):
        is_dict = isinstance(value, dict) and value.keys() == wanted.keys()
        return is_dict and all(_same(value[key], wanted[key]) for key in wanted)
    if isinstance(wanted, float) and type(value) in (int, float):
        return math.isclose(value, wanted, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return type(value) is type(wanted) and value == wanted
