"""The tests in a row of a published dataset of programming problems, whatever it calls them.

| the row has | as in | tests |
|---|---|---|
| `input_output` | APPS, TACO | pairs of `inputs` and `outputs`, calls where there is a `fn_name` |
| `public_tests` | CodeContests | those, `private_tests` and `generated_tests` |
| `official_tests` | Codeforces | those, or the `examples` where there are none |
| `test`, `entry_point` | HumanEval | one `check` |

What a program cannot be held to by comparing what it prints gives no tests: interactive problems,
those that read and write files, and those with a checker of their own, since they have several
right answers.

The examples of Codeforces and the public tests of CodeContests are in the question: such tests are
marked as shown. A pair that cannot be read is left out, and its row says so.
"""

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from transforms.codec import canonical_json, well_formed
from transforms.coding.records import CodeTest
from transforms.reading import Fault

STDIN, CALL, CHECK = "stdin", "call", "check"
_CODE_CONTESTS = ("public_tests", "private_tests", "generated_tests")


# What is deeper cannot be carried into a session, and what has more digits Python does not read.
_MOST_DEEP, _MOST_DIGITS = 100, 4300
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)


class Cases(NamedTuple):
    """The tests of a problem, and what they need to know of it.

    `fault` says of single tests that they were left out, and how many; "" where none were.
    """

    tests: tuple[CodeTest, ...] = ()
    entry_point: str = ""
    preamble: str = ""
    fault: str = ""


def cases_of(columns: Mapping[str, Any], text: str = "") -> Cases | Fault:
    """The tests in a row's columns, none of them twice; or `bad_tests`.

    `text` is the row's problem: of HumanEval it is code, which stands before the program.
    """
    try:
        cases = _cases(columns, text)
    except _UNREADABLE as error:
        return Fault("bad_tests", f"its tests cannot be read: {_told(error)}")
    first: dict[tuple[str, str, str], CodeTest] = {}
    for test in cases.tests:
        first.setdefault((test.kind, test.input, test.output), test)
    return cases._replace(tests=tuple(first.values()))


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _cases(columns: Mapping[str, Any], text: str) -> Cases:
    if columns.get("input_output"):
        return _pairs(columns["input_output"])
    if any(columns.get(name) for name in _CODE_CONTESTS):
        if columns.get("input_file") or columns.get("output_file"):
            return Cases()
        return _read(
            functools.partial(_stdin, *pair, is_shown=name == _CODE_CONTESTS[0])
            for name in _CODE_CONTESTS
            for pair in _columns(columns.get(name) or {})
        )
    if columns.get("official_tests") or columns.get("examples"):
        return Cases() if _needs_more(columns) else _codeforces(columns)
    if columns.get("test") and columns.get("entry_point"):
        check = CodeTest(CHECK, _text(columns["test"]))
        return Cases((check,), _text(columns["entry_point"]), text)
    return Cases()


def _read(readings: Iterable[Callable[[], CodeTest]], entry_point: str = "") -> Cases:
    """Of each reading its test; those that cannot be made are left out.

    Raises:
        ValueError: none can be made.
    """
    tests: list[CodeTest] = []
    faults: list[str] = []
    for reading in readings:
        try:
            tests.append(reading())
        except _UNREADABLE as error:
            faults.append(_told(error))
    if faults and not tests:
        raise ValueError(faults[0])
    made = Cases(tuple(tests), entry_point)
    if not faults:
        return made
    number = f"{len(faults)} of {len(faults) + len(tests)}"
    return made._replace(fault=f"{number} are left out: {faults[0]:.300}")


def _pairs(written: Any) -> Cases:
    """Of APPS and TACO, where it is JSON within JSON."""
    found = json.loads(written, parse_int=_whole) if isinstance(written, str) else written
    inputs, outputs, name = found["inputs"], found["outputs"], found.get("fn_name") or ""
    pairs = zip(inputs, outputs, strict=True)
    if name and not name.isidentifier():
        raise ValueError(f"fn_name {name!r} is no name")
    make = _call if name else _stdin
    return _read([functools.partial(make, *pair) for pair in pairs], name)


def _whole(digits: str) -> Any:
    """A number, or what no test can be made of."""
    return int(digits) if len(digits) <= _MOST_DIGITS else _TooLong(len(digits))


class _TooLong(NamedTuple):
    digits: int


def _codeforces(columns: Mapping[str, Any]) -> Cases:
    """Its official tests, or the examples; an example is shown wherever it stands."""
    examples, official = columns.get("examples") or [], columns.get("official_tests")

    def made(row: Any) -> CodeTest:
        return _stdin(row["input"], row["output"], is_shown=not official or row in examples)

    return _read(functools.partial(made, row) for row in official or examples)


def _columns(given: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Of CodeContests: a list of inputs and one of outputs."""
    return list(zip(given.get("input") or [], given.get("output") or [], strict=True))


def _needs_more(columns: Mapping[str, Any]) -> bool:
    """Whether a problem of Codeforces cannot be judged by comparing what is printed."""
    by_file = columns.get("input_mode") not in (None, "", "stdio")
    return bool(by_file or columns.get("generated_checker") or columns.get("interaction_format"))


def _stdin(given: Any, expected: Any, is_shown: bool = False) -> CodeTest:
    return CodeTest(STDIN, _lines(given), _lines(expected), is_shown)


def _call(arguments: Any, expected: Any) -> CodeTest:
    if not isinstance(arguments, list):
        raise TypeError(f"the arguments of a call are a list, not {arguments!r:.100}")
    for value in (arguments, expected):
        _require_shallow(value)
    return CodeTest(CALL, canonical_json(arguments), canonical_json(expected))


def _require_shallow(value: Any, deep: int = 0) -> None:
    """Make sure that a value can be carried.

    Raises:
        ValueError: it cannot be.
    """
    if isinstance(value, _TooLong):
        raise ValueError(f"a number has {value.digits:,} digits")
    if deep > _MOST_DEEP:
        raise ValueError(f"a value is more than {_MOST_DEEP} deep")
    if isinstance(value, list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            _require_shallow(item, deep + 1)


def _lines(value: Any) -> str:
    """What is read or printed; a few rows have a list of lines."""
    is_lines = isinstance(value, list)
    return "\n".join(map(_text, value)) if is_lines else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, _TooLong):
        raise ValueError(f"a number has {value.digits:,} digits")
    if not isinstance(value, str | int | float):
        raise TypeError(f"{value!r:.100} is no text")
    return str(well_formed(str(value)))
