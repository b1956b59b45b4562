"""Options: written and read back, letters taken off, faults found, and answers led to letters."""

import re
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from transforms.reading import Fault
from transforms.science.options import (
    FORMATS,
    LETTERS,
    fault_of,
    letter_of,
    options_of,
    unlettered,
    written,
)

WORDS = st.text(st.characters(codec="utf-8", categories=["Ll", "Lu", "Nd"]), min_size=1, max_size=8)
TEXTS = st.lists(WORDS, min_size=1, max_size=5).map(" ".join)
OPTIONS = st.lists(TEXTS, min_size=2, max_size=10, unique=True)
NUMBERS = st.lists(st.integers(-20, 20), min_size=2, max_size=10, unique=True).map(
    lambda numbers: [f"{number} mol" for number in numbers]
)
RENDERINGS = (
    "{}) {}", "({}) {}", "({}){}", "{}: {}", "{}. {}", "{} {}", "{} - {}", "{} – {}", "{} = {}",
    r"\textbf{{({})}}\ {}", r"\text{{({})}}~{}", r"({})\,{}", r"\boldsymbol{{{}}}\;\text{{{}}}",
    r"$\mathrm{{{}}}$: {}", r"\textsf{{{}}}\!{}", "The correct option is {}) {}",
)  # fmt: skip
ACIDS = ("2.00", "3.00", "4 m", "E. coli")


def reason(question: str, options: list[str], wanted: int | None = None) -> str:
    found = fault_of(question, options, len(options) if wanted is None else wanted)
    return found.reason if found else ""


def same_as(text: str) -> str:
    """What a text has in common with others that are the same number."""
    return str(int(text)) if text.isdecimal() else text


@given(TEXTS, OPTIONS)
def test_options_are_read_as_they_were_written(question, options):
    """Whatever they say, in their order; and a question without options has none."""
    text = written(question, options)
    assert options_of(text) == tuple(options)
    assert text.startswith(f"{question}\n\nA) {options[0]}\nB) {options[1]}")
    assert options_of(written(question, ())) == ()


@pytest.mark.parametrize(
    "text",
    [
        "Why?\n\nA) one",
        "Why?\n\nB) one\nC) two",
        "Why?\n\nA) one\nC) two",
        "Why?\n\nA) one\nB) two\nor none",
        "Why?\n\nA) one\nA) two",
        "A) one\nB) two",
        "Why?\n\nA) one\nB) two\n\nThink.",
    ],
)
def test_what_is_no_block_of_options_is_none(text):
    """One alone, letters out of order, something after them, or no empty line before."""
    expected = ("one", "two") if text.startswith("A)") else ()
    assert options_of(text) == expected


@given(OPTIONS, st.sampled_from(["{}) ", "({}) ", "{}: ", "{}. "]))
def test_letters_in_order_are_taken_off(options, label):
    """However they are written; what they stand before stays."""
    lettered = [label.format(LETTERS[place]) + text for place, text in enumerate(options)]
    assert unlettered(lettered) == tuple(options)


@given(OPTIONS, st.randoms(use_true_random=False))
def test_letters_in_another_order_are_a_fault(options, random):
    """And so are letters before some of the options."""
    letters = list(LETTERS[: len(options)])
    random.shuffle(letters)
    some = [f"{letter}) {text}" for letter, text in zip(letters, options, strict=True)]
    found = unlettered(some)
    if letters == sorted(letters):
        assert found == tuple(options)
    else:
        assert isinstance(found, Fault) and found.reason == "letters_out_of_order"
    part = unlettered([f"A) {options[0]}", *options[1:]])
    assert isinstance(part, Fault) and "write A" in part.detail


@pytest.mark.parametrize(
    "options",
    [
        ["(E)-but-2-ene", "(Z)-but-2-ene"],
        ["E. coli", "C. elegans", "D. melanogaster"],
        ["A", "B", "AB", "0"],
        ["A:T", "G:C"],
        ["1. law", "2. law"],
    ],
)
def test_what_only_looks_like_letters_stays(options):
    """Isomers, species, blood groups, bases and laws."""
    assert unlettered(options) == tuple(options)


def test_an_option_is_on_one_line():
    """So that it can be read back."""
    assert unlettered(["A) one\n  and more", "B)\ttwo"]) == ("one and more", "two")


@pytest.mark.parametrize(
    ("options", "wanted", "expected"),
    [
        (["1", "2", "3", "4"], 4, ""),
        (["1", "2", "3"], 4, "wrong_number"),
        (["1", "2", "3", "4", "5"], 4, "wrong_number"),
        (["1"], 0, "wrong_number"),
        ([], 0, ""),
        (["0.5", "1/2"], 2, "same_options"),
        (["2 m", "2.0 m"], 2, "same_options"),
        (["2 m", "2 cm"], 2, ""),
        (["Aa", "AA", "aa"], 3, ""),
        ([r"\text{yes}", "yes"], 2, "same_options"),
        (["5 (correct)", "6"], 2, "answer_given"),
        (["5 ✓", "6"], 2, "answer_given"),
        (["5", "6 <- correct"], 2, "answer_given"),
        (["Option A is the correct answer: it is less", "6"], 2, ""),
    ],
)
def test_options_are_as_many_as_wanted_and_all_different(options, wanted, expected):
    """None is marked; equal numbers are equal options, and equal letters in another case not."""
    assert reason("Which is it?", options, wanted) == expected


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is the correct order of the steps?", ""),
        ("Which answer is the correct one?", ""),
        ("The correct answer is not always the first. Why?", ""),
        ("A solution: 3 g of salt in water. What is its density?", ""),
        ("A buffer is made.\nSolution: 0.1 M acetic acid. What is its pH?", ""),
        ("A buffer is made.\nSolution: 0.1 M acetic acid. Give its pH.", ""),
        ("What is 2 + 2?\nSolution: 4", "answer_given"),
        ("Is it 4? What is 2 + 2?\n\n**Solution**: count.", "answer_given"),
        ("In a plane, A is above B. Why?", ""),
        ("What is 2 + 2?\nAnswer: 4", "answer_given"),
        ("What is 2 + 2?\n**Answer:** 4", "answer_given"),
        ("What is 2 + 2?\nCorrect answer: D", "answer_given"),
        ("What is 2 + 2? The correct option is C.", "answer_given"),
        ("What is 2 + 2? The answer is 4.", "answer_given"),
        (r"What is 2 + 2? \boxed{4}", "answer_given"),
        ("What is 2 + 2?\nExplanation: count.", "answer_given"),
        ("What is 2 + 2?\nA) 3\nB) 4", "options_in_question"),
        ("What is 2 + 2?\n\n(A) 3\n\n(B) 4", "options_in_question"),
        ("What is 2 + 2?\nA. 3\nB. 4", "options_in_question"),
        ("What is 2 + 2? A) 3 B) 4 C) 5", "options_in_question"),
    ],
)
def test_a_question_has_neither_options_nor_its_answer_in_it(question, expected):
    """What only speaks of answers is none."""
    assert reason(question, []) == expected
    assert reason(question, ["1", "2"]) == expected


@given(TEXTS, st.sampled_from(sorted(FORMATS.values())), st.integers(0, 9))
def test_a_good_question_has_no_fault(question, wanted, seed):
    """Of every format, whatever it asks; one option more or less is a fault."""
    options = [f"{seed + place} metres" for place in range(wanted)]
    assert fault_of(question, options, wanted) is None
    more = fault_of(question, [*options, "none"], wanted)
    assert more is not None and more.reason == "wrong_number"


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"), ("b", "B"), ("(B)", "B"), ("B.", "B"), (r"\text{B}", "B"), ("$B$", "B"),
        (r"\textbf{(B)}", "B"), ("B) 3.00", "B"), ("(B) 3.0", "B"), ("B: who knows", "B"),
        ("Option B", "B"), ("The correct answer is (B)", "B"), ("Answer: B", "B"),
        ("3", "B"), ("3.00", "B"), (r"4\text{ m}", "C"), ("E. coli", "D"), ("D. E. coli", "D"),
        (r"\textbf{(B)}\ 3.00", "B"), (r"\text{(B)}~3.00", "B"), (r"(B)\,3.00", "B"),
        ("B - 3.00", "B"), ("B 3.00", "B"), ("B = 3", "B"), (r"\boldsymbol{B}", "B"),
        (r"\textsf{B}", "B"), (r"\textsf{(D)}\;\textit{E. coli}", "D"), (r"\,B\!", "B"),
        ("3.00 mol", "B"), ("B: 3.00 mol", "B"), ("B 3.00 mol", "B"),
        ("4", "C"), ("B - 4 m", None), ("B 4 m", None), ("B) 4", None), ("B who knows", None),
        ("B - 17", None), ("E - 3.00", None), ("-3.00 mol", None), ("C = 3.00", None),
        ("B) 4 m", None), ("E", None), ("j", None), ("K", None), ("17", None), ("4 cm", None),
        ("", None), (" ", None), (None, None), ("A and B", None), ("AB", None), ("answer", None),
    ],
)  # fmt: skip
def test_an_answer_is_the_letter_of_the_option_that_it_names(answer, letter):
    """By letter, by text or by number; what names another, two or none of them is no answer."""
    assert letter_of(answer, ACIDS) == letter


@given(OPTIONS, st.data())
def test_every_option_can_be_named(options, data):
    """By its letter in each spelling, and together with its text."""
    place = data.draw(st.integers(0, len(options) - 1))
    letter = LETTERS[place]
    spelling = data.draw(st.sampled_from(["{}", "({})", "{}.", r"\text{{{}}}", "$\\mathrm{{{}}}$"]))
    assert letter_of(spelling.format(letter), options) == letter
    outside = LETTERS[len(options) :]
    assert all(letter_of(other, options) is None for other in outside)


@given(OPTIONS | NUMBERS, st.data())
def test_a_letter_before_its_text_is_read_and_before_another_never(options, data):
    """In every rendering; nothing names one option by its letter and another by its text."""
    assume(not any(re.match("[A-J]( |$)", text) for text in options))
    assume(len({same_as(text) for text in options}) == len(options))
    place = data.draw(st.integers(0, len(options) - 1))
    letter, text = LETTERS[place], options[place]
    rendering = data.draw(st.sampled_from(RENDERINGS))
    assert letter_of(rendering.format(letter, text), options) == letter
    for other, its in zip(LETTERS, options, strict=False):
        named = letter_of(rendering.format(other, text), options)
        assert named == (other if its == text else None)


def test_an_answer_that_may_be_two_options_is_none():
    """By its text one of them, and by letter and text another; or a number without its unit."""
    assert letter_of("A 0", ["0", "A 0"]) is None
    assert letter_of("A 0", ["1", "A 0"]) == "B"
    assert letter_of("2", ["2 m", "2 cm"]) is None
    assert letter_of("2 cm", ["2 m", "2 cm"]) == "B"
    assert letter_of("(B)-but-2-ene", ["2-butene", "1-butene"]) is None
    assert letter_of(r"$\alpha$-helix", ["sheet", r"$\alpha$-helix"]) == "B"


@given(st.text(max_size=200), st.lists(st.text(max_size=40), max_size=10))
def test_nothing_makes_a_check_fail(text, options):
    """Whatever a model writes has a fault or none."""
    flat = unlettered(options)
    assert isinstance(flat, Fault | tuple)
    fault_of(text, options, 4)
    assert letter_of(text, options) in {None, *LETTERS[: len(options)]}
    assert isinstance(options_of(text), tuple)


@pytest.mark.parametrize("text", ["A) ", "\n", "A)\n", " ", "answer ", "(", "\\text{", "A. B. "])
def test_a_model_that_repeats_itself_costs_little(text):
    """100 KB of anything is looked at in less than a second."""
    begun = time.process_time()
    long = text * (100_000 // len(text))
    fault_of(long, [long, long], 2)
    unlettered([long, long])
    letter_of(long, ["one", "two"])
    options_of(long)
    assert time.process_time() - begun < 1
