"""What counts of a text: words, numbers and signs, and nothing of how they are set."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.decontamination.texts import canonical_text, ngrams, tokens


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How many? 1,000 or 2.5", "how  many 1000 (or)\n2.5!!"),
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
        ("?", "!"),
    ],
)
def test_texts_that_differ_in_a_sign_or_a_number_are_not(one, other):
    """What changes the problem is kept; a text of nothing but punctuation is itself."""
    assert canonical_text(one) != canonical_text(other)


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
    """It is its own, and the same in capitals of ASCII."""
    assert canonical_text(canonical_text(text)) == canonical_text(text)
