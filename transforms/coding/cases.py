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
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from transforms.codec import canonical_json
from transforms.coding.records import CodeTest
from transforms.reading import Fault

STDIN, CALL, CHECK = "stdin", "call", "check"
_CODE_CONTESTS = ("public_tests", "private_tests", "generated_tests")


class Cases(NamedTuple):
    """The tests of a problem, and what they need to know of it."""

    tests: tuple[CodeTest, ...] = ()
    entry_point: str = ""
    preamble: str = ""


def cases_of(columns: Mapping[str, Any], text: str = "") -> Cases | Fault:
    """The tests in a row's columns, none of them twice; or `bad_tests`.

    `text` is the row's problem: of HumanEval it is code, which stands before the program.
    """
    try:
        cases = _cases(columns, text)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return Fault("bad_tests", f"its tests cannot be read: {type(error).__name__}: {error}")
    return cases._replace(tests=tuple(dict.fromkeys(cases.tests)))


def _cases(columns: Mapping[str, Any], text: str) -> Cases:
    if columns.get("input_output"):
        return _pairs(columns["input_output"])
    if any(columns.get(name) for name in _CODE_CONTESTS):
        is_of_files = columns.get("input_file") or columns.get("output_file")
        given = [] if is_of_files else [columns.get(name) or {} for name in _CODE_CONTESTS]
        return Cases(tuple(test for each in given for test in _columns(each)))
    if columns.get("official_tests") or columns.get("examples"):
        if _needs_more(columns):
            return Cases()
        rows = columns.get("official_tests") or columns["examples"]
        return Cases(tuple(_stdin(row["input"], row["output"]) for row in rows))
    if columns.get("test") and columns.get("entry_point"):
        check = CodeTest(CHECK, _text(columns["test"]))
        return Cases((check,), _text(columns["entry_point"]), text)
    return Cases()


def _pairs(written: Any) -> Cases:
    """Of APPS and TACO, where it is JSON within JSON."""
    found = json.loads(written) if isinstance(written, str) else written
    inputs, outputs, name = found["inputs"], found["outputs"], found.get("fn_name") or ""
    pairs = list(zip(inputs, outputs, strict=True))
    if not name:
        return Cases(tuple(_stdin(each, expected) for each, expected in pairs))
    if not name.isidentifier():
        raise ValueError(f"fn_name {name!r} is no name")
    calls = []
    for arguments, expected in pairs:
        if not isinstance(arguments, list):
            raise TypeError(f"the arguments of a call are a list, not {arguments!r:.100}")
        calls.append(CodeTest(CALL, canonical_json(arguments), canonical_json(expected)))
    return Cases(tuple(calls), name)


def _columns(given: Mapping[str, Any]) -> Iterable[CodeTest]:
    """Of CodeContests: a list of inputs and one of outputs."""
    pairs = zip(given.get("input") or [], given.get("output") or [], strict=True)
    return [_stdin(each, expected) for each, expected in pairs]


def _needs_more(columns: Mapping[str, Any]) -> bool:
    """Whether a problem of Codeforces cannot be judged by comparing what is printed."""
    by_file = columns.get("input_mode") not in (None, "", "stdio")
    return bool(by_file or columns.get("generated_checker") or columns.get("interaction_format"))


def _stdin(given: Any, expected: Any) -> CodeTest:
    return CodeTest(STDIN, _lines(given), _lines(expected))


def _lines(value: Any) -> str:
    """What is read or printed; a few rows have a list of lines."""
    return "\n".join(map(_text, value)) if isinstance(value, list) else _text(value)


def _text(value: Any) -> str:
    if not isinstance(value, str | int | float):
        raise TypeError(f"{value!r:.100} is no text")
    return str(value)
