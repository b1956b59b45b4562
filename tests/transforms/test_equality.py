"""When two answers are the same: the published table, and what holds for any text."""

import random
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.answers import has_answer
from transforms.equality import MAX_CHARS, Form, Kind, classes, form, same_answer, same_form
from transforms.symbolic import equal_formulas

# The published outcomes, as we have them; where we differ, why.
PUBLISHED = [
    ("0.5", "1/2", True, ""),
    ("16", "016", True, "the number is the same; mended there later"),
    ("2,3", "3,2", True, ""),
    ("(1,2)", "(2,1)", False, ""),
    ("[1,2]", "(1,2)", False, ""),
    ("50%", "50", True, ""),
    ("0.5", r"50\%", False, ""),
    ("yes", "Yes", True, "nobody means different things"),
    ("1,000", "1000", True, ""),
    ("5", "x=5", True, ""),
    (r"10^\circ", "10", True, ""),
    (r"2\text{ cm}", "2", True, ""),
    (None, "None", False, "no answer is no text"),
    ("", "", False, "no answer is the same as nothing"),
    (r"\pi", "3.14159", False, ""),
]

SAME = [
    ("0.50", r"\frac{1}{2}"),
    (r"\dfrac12", ".5"),
    (r"1\frac{1}{2}", "3/2"),
    ("1 1/2", "1.5"),
    ("-3", "−3"),
    ("1{,}000", r"1\,000"),
    (r"1,\!000,\!000", "1000000"),
    ("$42$", "42."),
    (r"\(42\)", "+42"),
    (r"\$5", "5 dollars"),
    ("$1,000.50", "1000.5"),
    ("10°", "10 degrees"),
    ("12 m^2", r"12\text{ m}^2"),
    ("60 miles per hour", "60"),
    ("B", r"\textbf{(B)}"),
    ("(b)", "B."),
    ("no solution", r"\text{No  solution}"),
    (r"5\sqrt{3}\text{ meters}", "5sqrt(3)"),
    ("(x+1)^2", "x^2 + 2x + 1"),
    ("x=2 or x=3", "3, 2"),
    ("x = 2", "2 = x"),
    ("xy", r"y \cdot x"),
    (r"\left( 1, 2 \right)", "(1,2)"),
    (r"(0, \infty)", "x > 0"),
    ("(1,2),(3,4)", "(3,4), (1,2)"),
    (r"\{1,2\}", "2, 1"),
]
DIFFERENT = [
    ("1/3", "0.333333"),
    ("2 cm", "2 m"),
    ("x=5", "y=5"),
    ("y=5", "5=x"),
    ("2m", "3m"),
    ("2 million", "2"),
    ("-1.8 billion", "-1.8"),
    ("5 or more", "5"),
    ("no", "on"),
    ("3 cats and 2 dogs", "2 cats and 3 dogs"),
    ("no solution", "solution no"),
    ("B", "2"),
    ("B", "A"),
    ("i", "I"),
    ("1/0", "2/0"),
    ("2,300", "300,2"),
    ("(2,1)", "1,2"),
    ("(2,1)", r"\{1,2\}"),
    ("1 2", "12"),
    ("1 2", "2"),
    ("100000000000000000000001", "100000000000000000000000"),
    (" ", "\t"),
    (None, None),
    ("None", "null"),
]

TEXTS = (
    st.text(max_size=12)
    | st.text(r"\{}()[]$%^_=,./+- 012xyesABcm", max_size=12)
    | st.lists(
        st.sampled_from(
            [
                r"\frac",
                r"\text{ cm}",
                r"\sqrt",
                "{",
                "}",
                "1",
                "2",
                "x",
                "=",
                ",",
                " ",
                "/",
                "and",
                "-",
            ]
        ),
        max_size=8,
    ).map("".join)
)
WHOLE = st.integers(-9999, 9999)
SPELT_NUMBERS = st.one_of(
    WHOLE.map(str),
    WHOLE.map("{:,}".format),
    st.builds("{}.{}".format, WHOLE, st.integers(0, 999)),
    st.builds("{}/{}".format, WHOLE, st.integers(1, 99)),
    st.builds(r"\frac{{{}}}{{{}}}".format, WHOLE, st.integers(1, 99)),
    st.builds(r"{}\frac{{{}}}{{{}}}".format, st.integers(1, 9), st.integers(1, 9), st.just(10)),
    st.builds("{}{}".format, st.sampled_from("ABCDEFGHJ"), st.sampled_from(["", "."])),
)


def never(a: str, b: str) -> bool:
    raise AssertionError(f"{a!r} and {b!r} went to math-verify")


def as_texts(a: str, b: str) -> bool:
    """In math-verify's place: an equality of formulas, if a strange one."""
    return sorted(a) == sorted(b)


@pytest.mark.parametrize(("a", "b", "is_same", "why_otherwise"), PUBLISHED)
def test_the_published_table_holds_in_both_directions(a, b, is_same, why_otherwise):
    """Where we say otherwise, the page gives the reason."""
    assert same_answer(a, b) is is_same
    assert same_answer(b, a) is is_same


@pytest.mark.parametrize(("a", "b"), SAME)
def test_what_is_the_same_in_other_words(a, b):
    assert same_answer(a, b) and same_answer(b, a)


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_what_is_not_the_same(a, b):
    assert not same_answer(a, b) and not same_answer(b, a)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("0.5", r"\frac12"),
        ("1,000", "1001"),
        (r"\$5", "6 dollars"),
        ("x=5", "y=6 cm"),
        ("no", "on"),
        ("B", "(c)"),
        ("B", "2"),
        ("three", "3"),
        ("x^2", "$x^2$"),
        ("1 2", "2"),
        ("3 cats and 2 dogs", "x+1"),
        (None, "x+1"),
    ],
)
def test_a_look_is_enough(a, b):
    """Numbers, letters, words, and formulas spelt alike never start a process."""
    same_answer(a, b, never)
    same_answer(b, a, never)


@given(TEXTS)
@settings(deadline=None, max_examples=300)
def test_an_answer_is_the_same_as_itself(text):
    """Whatever it is, and without a comparison; unless it is none."""
    assert same_answer(text, text, never) is has_answer(text)
    assert same_answer(text, f" {text}\n", never) is has_answer(text)


@given(TEXTS, TEXTS)
@settings(deadline=None, max_examples=300)
def test_equality_has_no_direction(a, b):
    """Nor does any text make it fail."""
    assert same_answer(a, b, as_texts) is same_answer(b, a, as_texts)
    assert same_form(form(a), form(b)) is same_form(form(b), form(a))


@given(TEXTS, TEXTS)
@settings(deadline=None, max_examples=25)
def test_no_text_upsets_math_verify(a, b):
    assert same_answer(a, b) is same_answer(b, a)


@given(SPELT_NUMBERS, SPELT_NUMBERS)
@settings(deadline=None, max_examples=80)
def test_looks_agree_with_math_verify(a, b):
    """Numbers and letters; but numbers that agree to six digits are for it the same."""
    decided = same_form(form(a), form(b))
    assert decided is not None
    values = [form(text).number for text in (a, b)]
    if None in values or decided or abs(values[0] - values[1]) > Fraction(1, 1000):
        assert equal_formulas(a.strip("."), b.strip(".")) is decided


@given(st.fractions(max_denominator=10**6))
@settings(deadline=None)
def test_a_number_is_exact(number):
    """However large, and in each of its spellings."""
    spelt = [f"{number}", f"{number.numerator}/{number.denominator}"]
    spelt += [rf"\frac{{{number.numerator}}}{{{number.denominator}}}", f"x = {number} cm"]
    assert {form(text).number for text in spelt} == {number}


def test_a_long_answer_is_its_text():
    """A limit on what is parsed: beyond it, spacing alone does not count."""
    long = "x+1+" * (MAX_CHARS // 4) + "1"
    assert len(long) > MAX_CHARS
    assert same_answer(long, f" {long}\n", never)
    assert not same_answer(long, f"{long}+0", never)
    assert not same_answer(long, "x", never)


@pytest.mark.parametrize(
    "piece", ["a", "a ", "1,", r"\text{", r"\frac", "$", " ", "1 ", "m^2", "\\", "'", "{1}", r"\("]
)
def test_no_text_takes_long_to_read(piece):
    """The longest text that is parsed, of anything repeated, takes some milliseconds."""
    for end in ("", "1", "}", "\\"):
        text = (piece * MAX_CHARS)[: MAX_CHARS - 1] + end
        start = time.process_time()
        form(text)
        assert time.process_time() - start < 0.2


def test_classes_are_closed():
    """What is the same as a third is together, and nothing else is."""
    answers = [
        "2 m",
        "2",
        "2 cm",
        "3",
        "x=3",
        "y=3",
        "4 m",
        "4 cm",
        "B",
        "(b)",
        "x+1",
        "1+x",
        " ",
        "",
    ]
    assert classes(answers, as_texts) == [
        ["(b)", "B"],
        ["1+x", "x+1"],
        ["2", "2 cm", "2 m"],
        ["3", "x=3", "y=3"],
        ["4 cm"],
        ["4 m"],
    ]


@given(st.lists(TEXTS | SPELT_NUMBERS, max_size=8), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_classes_are_those_of_every_pair(answers, randomly: random.Random):
    """The closure of `same_answer` over all pairs, whatever the order."""
    answers = sorted({text for text in answers if has_answer(text)})
    groups = [{text} for text in answers]
    for a in answers:
        for b in answers:
            if same_answer(a, b, as_texts):
                joined = [group for group in groups if a in group or b in group]
                groups = [group for group in groups if group not in joined] + [set().union(*joined)]
    shuffled = randomly.sample(answers, len(answers))
    assert classes(shuffled * 2, as_texts) == sorted(map(sorted, groups))


def test_only_formulas_are_compared():
    """Of a thousand numbers and words and two formulas, pairs with a formula alone."""
    asked = []

    def count(a: str, b: str) -> bool:
        asked.append((a, b))
        return False

    numbers = [str(number) for number in range(1000)]
    assert len(classes([*numbers, "some words", "x+1", "x+2", "x + 2"], count)) == 1003
    assert len(asked) == 1 + 2 * 1000


def test_a_form_says_what_an_answer_is():
    """One sample, as in the docstring."""
    assert form(r"x=2{,}000\text{ cm}") == Form(Kind.NUMBER, "x=2000", Fraction(2000), "cm", "x")
