"""What counts of a text when it is compared: its tokens, whatever surrounds them."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence

# A number, a word, a character of a script that has no spaces, or a mark.
_TOKEN = re.compile(
    r"\d+(?:[.,]\d+)*|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]"
    r"|[^\W\d_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+|[^\w\s]"
)
_LAYOUT = re.compile(
    r"\\(?:(?:left|right|displaystyle|quad|qquad)(?![A-Za-z])|[,;:! ])|(?<!\\)\\[()\[\]]"
)
_BRACED = re.compile(r"\{\s*([A-Za-z0-9])\s*\}")  # alone, it means the same without
_SIGNS = str.maketrans(
    {"\u2212": "-", "\u2013": "-", "\u00f7": "/", "\u2044": "/", "\u2215": "/"}
    | dict.fromkeys("~\u00d7\u22c5\u2217\u2219", " ")
)
_LATEX_SIGNS = {r"\times": "", r"\cdot": "", r"\div": "/", r"\dfrac": r"\frac"}
_LATEX_SIGN = re.compile("|".join(rf"{re.escape(sign)}(?![A-Za-z])" for sign in _LATEX_SIGNS))
_BRACKETS = "()[]{}"


def tokens(text: str, brackets: bool = False) -> list[str]:
    """The words, numbers and signs of a text, without case, punctuation or layout.

    Signs are those of mathematics, as `|`, `!` and what Unicode calls so; that of a product is
    layout: it may as well be left out. Brackets are left out unless asked for.
    """
    plain = unicodedata.normalize("NFKC", text).translate(_SIGNS)
    plain = _LATEX_SIGN.sub(lambda found: _LATEX_SIGNS[found.group()] + " ", plain)
    plain = _LAYOUT.sub(" ", plain).casefold()
    if brackets:
        plain = _BRACED.sub(r" \1 ", plain)
    return [
        _number(token) if token[0].isdigit() else token
        for token in _TOKEN.findall(plain)
        if token[0].isalnum() or _counts(token) or (brackets and token in _BRACKETS)
    ]


def canonical_text(text: str) -> str:
    """A text's tokens: equal for texts that say the same in the same words, brackets apart.

    Of a text without any it is the text itself.
    """
    return " ".join(tokens(text)) or text.strip()


def bracketed_text(text: str) -> str:
    """A text's tokens and brackets: equal only for texts that surely say the same.

    Of a text without any token it is the text itself.
    """
    return " ".join(tokens(text, brackets=True)) if tokens(text) else text.strip()


def ngrams(words: Sequence[str], size: int) -> set[int]:
    """64-bit hashes of the runs of `size` tokens; none of a shorter text."""
    runs = (" ".join(words[start : start + size]) for start in range(len(words) - size + 1))
    return {
        int.from_bytes(hashlib.blake2b(run.encode(), digest_size=8).digest(), "big") for run in runs
    }


def _number(token: str) -> str:
    """A number without the commas that part its thousands."""
    whole = re.fullmatch(r"\d{1,3}(?:,\d{3})+(\.\d+)?", token)
    return token.replace(",", "") if whole else token


def _counts(mark: str) -> bool:
    """Whether a mark is a sign, and not punctuation; `!` may be a factorial."""
    return mark in "-/^%!" or unicodedata.category(mark) == "Sm"
