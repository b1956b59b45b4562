"""Sums in prose: wrong ones are found, and what is no plain sum is left alone."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.sft.arithmetic import incorrect_arithmetic

WRONG = [
    "So 2 + 2 = 5.",
    "x = 3 + 4 = 8",
    "we get $3 \\times 4 = 13$",
    "(1 + 2) * 3 = 10",
    "Total: 10 - 2 = 4 + 4 = 9",
    "1/3 = 0.34",
    "= 1,000 + 1 = 1,002",
    "6 ÷ 2 = 4",
]
RIGHT = [
    "So 2 + 2 = 4.",
    "3 \\cdot 4 = 12 = 6 \\times 2",
    "1/3 = 0.333 and 2/3 = 0.67, or 0.66",
    "22/7 = 3.142",
    "1,000 + 1 = 1,001",
    "$3 + 4 = 7$",
    "-2 + 1 = -1",
    ".4 * 2 = .8",
    "It is even. 1 + 1 = 2",
]
NO_SUM = [
    "2x + 3 = 7",
    "2 x 3 = 6",
    "7 + 5 = 2 (mod 10)",
    "18 - 2 = 15 mod 3",
    "101 = 5",
    "5! + 1 = 120",
    "2^3 + 1 = 8",
    "25% of 8 + 2 = 3",
    "1 - 1/0 = 2",
    "3 1/2 + 1 = 5",
    "f(2) + 1 = 9",
    "007 + 1 = 9",
    "((((1 + 1 = 3",
    "a = 1 + 2 = 4 cm",
    "2 + 5 = 0 in Z_7",
    "twice 3 + 4 = 10",
    "\\cos 0 + 1 = 2",
    "17 mod 5 + 1 = 3",
    "1" * 150 + " + 1 = 2x",
]


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_chain_is_found(text):
    assert incorrect_arithmetic(f"First of all:\n{text}\nDone.")


@pytest.mark.parametrize("text", [*RIGHT, *NO_SUM])
def test_what_is_right_or_no_sum_is_left_alone(text):
    assert incorrect_arithmetic(f"First of all:\n{text}\nDone.") is None


NUMBERS = st.integers(0, 10_000)


@given(NUMBERS, st.lists(st.tuples(st.sampled_from("+-*"), NUMBERS), min_size=1, max_size=4))
def test_any_sum_is_worked_out_exactly(first, rest):
    """A right one passes, one that is off by a thousandth is found."""
    text, total, product = str(first), Fraction(0), Fraction(first)
    for sign, number in rest:
        text += f" {sign} {number}"
        if sign == "*":
            product *= number
        else:
            total += product
            product = Fraction(number if sign == "+" else -number)
    total += product
    assert incorrect_arithmetic(f"{text} = {total}") is None
    off = total + max(1, abs(total) // 500)
    assert incorrect_arithmetic(f"{text} = {off}") is not None


@given(st.text(alphabet="0123456789+-*/=(). ,$x\n", max_size=60))
def test_no_text_is_too_much(text):
    """Whatever it is, there is an outcome."""
    found = incorrect_arithmetic(text)
    assert found is None or "=" in found
