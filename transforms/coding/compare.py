"""Whether what a program printed or returned is what was expected."""

import json
import math
import re
from typing import Any

_TOLERANCE = 1e-6
_MOST_TIMES = 32  # as long as JSON is what has the same value, encoded
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

    APPS and TACO put the expected value of most calls into a list. Tuples are lists here, keys of
    objects are texts, and numbers are the same where `==` says so, as published harnesses have it.
    """
    if len(coded) > _MOST_TIMES * (len(expected) + _MOST_TIMES):
        return False
    try:
        value, wanted = _as_json(json.loads(coded)), json.loads(expected)
        is_wrapped = isinstance(wanted, list) and len(wanted) == 1
        return _same(value, wanted) or is_wrapped and _same(value, wanted[0])
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return False


def _same_word(word: str, wanted: str) -> bool:
    if word == wanted:
        return True
    return _REAL.fullmatch(wanted) is not None and _close(word, float(wanted))


def _close(word: str, wanted: float) -> bool:
    try:
        return math.isclose(float(word), wanted, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    except ValueError:
        return False


def _as_json(coded: Any) -> Any:
    """What an encoded value is in JSON, without making what a program can make slow, as sets.

    Raises:
        ValueError, TypeError, KeyError, RecursionError: it is of a type that JSON has not, or no
            encoded value at all.
    """
    if isinstance(coded, list):
        return [_as_json(item) for item in coded]
    if not isinstance(coded, dict):
        return coded
    [(name, inner)] = coded.items()
    if name == "dict":
        return {_key(key): _as_json(item) for key, item in inner}
    if name == "tuple":
        return [_as_json(item) for item in inner]
    if name == "int":
        return int(inner, 16)
    if name == "float":
        return float(inner)
    raise ValueError(f"JSON has no {name}")


def _key(key: Any) -> str:
    if isinstance(key, list | dict):
        raise TypeError("a key of JSON is a text, or was a number")
    return key if isinstance(key, str) else json.dumps(key)


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, list):
        is_list = isinstance(value, list) and len(value) == len(wanted)
        return is_list and all(map(_same, value, wanted))
    if isinstance(wanted, dict):
        is_dict = isinstance(value, dict) and value.keys() == wanted.keys()
        return is_dict and all(_same(value[key], wanted[key]) for key in wanted)
    if isinstance(wanted, float) and isinstance(value, int | float):
        return math.isclose(value, wanted, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return bool(value == wanted)
