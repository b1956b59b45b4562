"""Chains of sums in prose, such as `2 + 2 = 8/2 = 4`, worked out exactly and never executed.

Only what is surely a chain of plain numbers is looked at: `2x + 3 = 7`, `17 = 2 (mod 5)` and
`5! = 120` are not. Pure functions of text.
"""

import ast
import operator
import re
from collections.abc import Callable, Iterator
from fractions import Fraction

TOLERANCE = Fraction(1, 10_000)
_LONGEST = 200
# Runs of nothing but sums, spaces and equals signs; one pass over a text, whatever it is.
_RUN = re.compile(r"(?:[\d.,+*/×÷·−()= -]|\\(?:times|cdot|div)(?![a-zA-Z]))+")
_POINT = re.compile(r"\A[ ,]*(?:\.(?!\d)[ ,]*)*")  # of the sentence before; .5 is a number
_BEFORE = re.compile(
    r"(?:\A|[\n$;:]|\\[(\[]|(?<!\\)\b(?:so|then|and|thus|hence|therefore|that|have|has|gets?"
    r"|gives|is|are|calculate|compute))[*]*\Z",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"[*]*(?:\Z|[\n$;]|\\[)\]]|(?:and|so|then|which|thus|hence|therefore)\b)", re.IGNORECASE
)
_SPELLINGS = {"×": "*", "·": "*", "÷": "/", "−": "-", r"\times": "*", r"\cdot": "*", r"\div": "/"}
_OPERATORS: dict[type, Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def incorrect_arithmetic(text: str) -> str | None:
    """The first chain in a text whose sides differ; None where all that can be read are right.

    A side may be rounded: to 1 in 10,000, or to the decimals that it has.
    """
    return next((" = ".join(sides) for sides in _chains(text) if _is_wrong(sides)), None)


def _chains(text: str) -> Iterator[list[str]]:
    """The sides of each chain; a run may begin or end with a sign, as in `x = 2 + 2 = 4`."""
    for found in _RUN.finditer(text):
        if "=" not in found[0]:
            continue
        run = _POINT.sub("", found[0]).rstrip(" ,.")
        sides = [side.strip() for side in run.split("=")]
        if len(sides) < 2 or len(run) > _LONGEST:
            continue
        start, end = found.span()
        is_begun = not sides[0] or _BEFORE.search(text[max(0, start - 40) : start])
        is_ended = not sides[-1] or found[0].endswith((".", ",", ". ", ", "))
        if is_begun and (is_ended or _AFTER.match(text, end)):
            yield sides[not sides[0] : len(sides) - (not sides[-1])]


def _is_wrong(sides: list[str]) -> bool:
    """Whether all sides can be worked out, one of them is a sum, and one differs from the first."""
    if len(sides) < 2 or not any(re.search(r"[\d)] *[-+*/]", _plain(side)) for side in sides):
        return False
    values = [value for value in map(_value, sides) if value is not None]
    if len(values) < len(sides):
        return False
    pairs = zip(sides, values, strict=True)
    return not all(
        _is_rounded(values[0], side, value) or _is_rounded(value, sides[0], values[0])
        for side, value in pairs
    )


def _plain(side: str) -> str:
    for spelling, sign in _SPELLINGS.items():
        side = side.replace(spelling, sign)
    return re.sub(r"(?<=\d),(?=\d{3}\b)", "", side)


def _value(side: str) -> Fraction | None:
    """What a side comes to; None where it is no sum, or divides by nothing."""
    plain = _plain(side)
    try:
        if re.fullmatch(r"-?\d+(?:\.\d+)?", plain):
            return Fraction(plain)
        return _worked_out(ast.parse(plain, mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError):
        return None


def _worked_out(node: ast.expr) -> Fraction:
    """The value of a syntax tree of numbers and four signs; nothing else is in any.

    Raises:
        ValueError: there is.
        ZeroDivisionError: it divides by zero.
    """
    match node:
        case ast.Constant(value=int() | float() as number):
            return Fraction(str(number))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_worked_out(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _worked_out(operand)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATORS:
            return _OPERATORS[type(sign)](_worked_out(left), _worked_out(right))
    raise ValueError(f"{ast.dump(node)} is no sum")


def _is_rounded(exact: Fraction, side: str, value: Fraction) -> bool:
    """Whether a side is that value, up to the tolerance or rounded, or cut, to its decimals."""
    off = abs(exact - value)
    decimals = re.fullmatch(r"[-+]?\d+\.(\d+)", _plain(side))
    unit = Fraction(1, 10 ** len(decimals[1])) if decimals else Fraction(0)
    is_cut = abs(value) <= abs(exact) and off < unit
    return is_cut or off <= max(unit / 2, TOLERANCE * max(abs(exact), abs(value)))
