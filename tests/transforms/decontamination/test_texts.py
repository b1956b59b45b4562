"""What counts of a text: words, numbers and signs, and nothing of how they are set."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.decontamination.texts import bracketed_text, canonical_text, ngrams, tokens


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How many? 1,000 or 2.5", "how  many 1000 (or)\n2.5…"),
        (r"Find $x^2-1$.", r"find \( x^2 - 1 \)"),
        (r"$\left( a\cdot b \right)$ is $3\,\%$", "(a × b) is 3%"),
        (r"$\dfrac{1}{2}$", r"\frac{1}{2}"),
        ("It is −5", "it is -5"),
        ("Ｆｕｌｌ width", "full width"),
        ("*Straße*", "STRASSE"),
    ],
)
def test_texts_that_say_the_same_are_equal(one, other):
    """Case, layout, punctuation, brackets and the spelling of signs do not count."""
    assert canonical_text(one) == canonical_text(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x + 1", "x - 1"),
        ("1.5", "15"),
        ("1,5", "15"),
        ("a < b", "a > b"),
        ("10%", "10"),
        ("Compute $x$", "Compute $|x|$"),
        ("n mod 7", "n! mod 7"),
        ("x ≤ 5", "x ≥ 5"),
        ("x ≤ 5", "x < 5"),
        ("A ∪ B", "A ∩ B"),
        ("∑ k", "∏ k"),
        ("√2", "2"),
        ("?", "!"),
    ],
)
def test_texts_that_differ_in_a_sign_or_a_number_are_not(one, other):
    """What changes the problem is kept; a text of nothing but punctuation is itself."""
    assert canonical_text(one) != canonical_text(other)


@pytest.mark.parametrize(
    ("one", "other", "is_equal"),
    [
        ("2+(3·4)", "(2+3)4", False),
        ("[0, 1]", "(0, 1)", False),
        ("$f(x)$", r"\( f(x) \)", True),
        (r"\[ x^{2} \]", "x^2", True),
        (r"\left( a\cdot b \right)", "(a × b)", True),
        (r"\{1\}", "1", False),
        ("a ½", "a 1/2", True),
        (r"a\!b", "a b", True),
    ],
)
def test_brackets_count_only_where_texts_are_to_be_equal(one, other, is_equal):
    """They may change a problem, though not its words; those around a formula do not."""
    assert canonical_text(one) == canonical_text(other)
    assert (bracketed_text(one) == bracketed_text(other)) is is_equal


def test_a_script_without_spaces_has_a_token_for_each_character():
    """So that runs of words are found in it too."""
    assert tokens("求 x=3 的值") == ["求", "x", "=", "3", "的", "值"]


@given(st.lists(st.sampled_from("abc"), max_size=9), st.integers(1, 4))
def test_ngrams_are_the_runs_of_a_text(words, size):
    """As many as there are different runs; none of a text that is shorter."""
    runs = {tuple(words[start : start + size]) for start in range(len(words) - size + 1)}
    assert len(ngrams(words, size)) == len(runs)


@given(st.text())
def test_any_text_has_a_canonical_text(text):
    """It is its own; what is equal with brackets is so without."""
    assert canonical_text(bracketed_text(text)) == canonical_text(text)
    assert canonical_text(canonical_text(text)) == canonical_text(text)
