r"""Whether two final answers are the same answer: as text, number, letter of a choice or formula.

`form` reads an answer once and says what it is; most pairs of forms are decided by a look, and only
formulas go to math-verify (`symbolic.py`). What counts as equal, and why: `docs/answers.md`.
"""

import dataclasses
import enum
import functools
import itertools
import re
from collections.abc import Callable, Iterable
from fractions import Fraction

from transforms.answers import has_answer
from transforms.symbolic import equal_formulas

MAX_CHARS = 300
_KNOWN_FORMS = 1 << 14
Equality = Callable[[str, str], bool]


class Kind(enum.Enum):
    """What an answer is; only formulas need more than a look."""

    NUMBER = "number"
    CHOICE = "choice"
    WORDS = "words"
    FORMULA = "formula"


@dataclasses.dataclass(frozen=True, slots=True)
class Form:
    r"""An answer as it is compared: `x=2{,}000\text{ cm}` is the number 2000, of x, in cm.

    `text` is the answer in one spelling, without its unit; `number` its exact value, if it is one;
    `unit` and `name` are "" where it has none.
    """

    kind: Kind
    text: str
    number: Fraction | None = None
    unit: str = ""
    name: str = ""

    def key(self) -> tuple[Kind, str | Fraction]:
        """What equal answers have in common that are no formulas: each kind has keys of its own."""
        return self.kind, self.text if self.number is None else self.number

    def agrees(self, other: "Form") -> bool:
        """Whether unit and name of one may be those of the other: what is not said agrees."""
        pairs = ((self.unit, other.unit), (self.name, other.name))
        return all(a == b or not a or not b for a, b in pairs)


def same_answer(a: str | None, b: str | None, equal: Equality = equal_formulas) -> bool:
    """Whether two answers are the same, in either order; no answer is the same as nothing.

    Of what no look decides `equal` is asked. Answers of more than `MAX_CHARS` are the same only
    where they are the same text, but for its spacing.

    Raises:
        RunError: math-verify cannot be started.
    """
    if a is None or b is None or not has_answer(a) or not has_answer(b):
        return False
    left, right = form(a), form(b)
    decided = same_form(left, right)
    return equal(left.text, right.text) if decided is None else decided


def same_form(a: Form, b: Form) -> bool | None:
    """Whether two forms are the same answer; None where only math-verify can say."""
    if not a.agrees(b):
        return False
    if a.key() == b.key():
        return True
    is_plain = Kind.WORDS in (a.kind, b.kind) or Kind.FORMULA not in (a.kind, b.kind)
    is_ordered = {bool(_TUPLE.fullmatch(of.text)) for of in (a, b) if "," in of.text}
    return False if is_plain or len(is_ordered) == 2 else None


def classes(answers: Iterable[str], equal: Equality = equal_formulas) -> list[list[str]]:
    """The answers, each text once, in classes of the same answer: sorted, and in sorted classes.

    Two that are the same as a third are in one class, even if they are not the same: `2 m` and
    `2 cm` where somebody says `2`. Texts without an answer are left out.

    Cost: forms that a look can decide are grouped in one pass. Of n other texts, and m forms among
    all, up to n × m pairs are asked, 20 to 100 a second if `equal` is math-verify, and at worst one
    in five seconds; pairs that are in one class already are not.
    """
    members: dict[Form, list[str]] = {}
    for answer in sorted(set(answers)):
        if has_answer(answer):
            members.setdefault(form(answer), []).append(answer)
    leaders = {found: found for found in members}

    def leader(of: Form) -> Form:
        while leaders[of] is not of:
            of = leaders[of]
        return of

    alike: dict[tuple[Kind, str | Fraction], list[Form]] = {}
    for found in members:
        alike.setdefault(found.key(), []).append(found)
    for forms in alike.values():
        for a, b in itertools.combinations(forms, 2):
            if a.agrees(b):
                leaders[leader(b)] = leader(a)
    looked_at = [found for found in members if found.kind is not Kind.FORMULA]
    formulas = [found for found in members if found.kind is Kind.FORMULA]
    for a, b in itertools.chain(
        itertools.combinations(formulas, 2), itertools.product(formulas, looked_at)
    ):
        if leader(a) is leader(b) or same_form(a, b) is not None:
            continue
        if equal(a.text, b.text):
            leaders[leader(b)] = leader(a)
    together: dict[Form, list[str]] = {}
    for found, texts in members.items():
        together.setdefault(leader(found), []).extend(texts)
    return sorted(map(sorted, together.values()))


def form(answer: str) -> Form:
    """What an answer is, whatever the text.

    A text too long to be compared otherwise is words.
    """
    if len(answer) > MAX_CHARS:
        return Form(Kind.WORDS, " ".join(answer.split()))
    return _form(answer)


_DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.[0-9]*)?|\.[0-9]+)"
_SIGNED = rf"[+-]?{_DECIMAL}"
_FRAC = rf"\\frac(?:\{{({_SIGNED})\}}|\ ?([0-9]))\ ?(?:\{{({_SIGNED})\}}|([0-9]))"
_NUMBER = re.compile(
    rf"([+-]?)(?:({_DECIMAL})(?:/({_DECIMAL}))?"
    rf"|({_DIGITS})?\ ?{_FRAC}|({_DIGITS})\ ({_DIGITS})/({_DIGITS}))"
)
_NAMED = re.compile(r"([A-Za-z]|\\[a-z]+)=(?=[^=]*\Z)")
_BASED = re.compile(r"([0-9][0-9A-Fa-f]*) ?_ ?\{? ?\(?([0-9]+)\)? ?\}?")
_CHOICE = re.compile(r"\(([A-Ja-hj])\)|([A-Ja-hj])[).:]?")

# A point or an interval; any other list is a set, whose order says nothing.
_TUPLE = re.compile(r"[(\[][^()\[\]]*[)\]]")

_WRAPPED = re.compile(r"\$\$([^$]*)\$\$|\$([^$]*)\$")
_SPELLINGS = [
    (re.compile(pattern), spelling)
    for pattern, spelling in (
        ("[−‒–]", "-"),
        ("°", r"^\\circ"),
        ("π", r"\\pi "),
        ("∞", r"\\infty "),
        ("’", "'"),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\(?:left|right|[bB]igg?[lr]?|displaystyle)(?![A-Za-z])|\\!", ""),
        (r"(?<!\\)\\[()\[\]]", " "),
        (r"\{,\}", ","),
        (r"(?<=[0-9])\\,(?=[0-9]{3}(?![0-9]))", ","),
        (r"\\(?:[,;: ]|q?quad(?![A-Za-z]))|~", " "),
        (r"\\(?:text(?:bf|it|rm|sf|tt)?|math(?:rm|bf|it|sf)|mbox)\s*\{([^{}]*)\}", r" \1 "),
        (r"(?<![A-Za-z\\])(sqrt)\(([^()]*)\)", r"\\\1{\2}"),
        (r"(?<![A-Za-z\\])(sin|cos|tan|log|ln|exp|pi)(?![A-Za-z])", r"\\\1 "),
        (r"\*\*", "^"),
    )
]
_SPACE = re.compile(r"\s+")
_LOOSE_SPACE = re.compile(r"(?<![A-Za-z0-9]) | (?![A-Za-z0-9])")
_END = re.compile(r"[.\\\s]+\Z")
# Two small consonants are a product, as in xy; other letters alone are words.
_ONLY_WORDS = re.compile(r"(?![b-df-hj-np-tv-z]{2}\Z)[^\W\d_]{2,}|(?:[^\W\d_]++[ '-]+)+[^\W\d_]++")
_PROSE = re.compile(r"(?<![A-Za-z\\])(?!and(?![A-Za-z]))[^\W\d_]{3,}|[0-9] [0-9]")
_COMMAND = re.compile(r"\\(?:begin|end|operatorname) ?\{[a-z]+\*?\}")
_CURRENCY = re.compile(r"([+-]?)\\?([$€£])\s?(?=[0-9.])")
_SIGN_UNIT = re.compile(r"\s*(?:\\?(%)|\^\{?(\\circ)\}?|\\?([$€£]))\Z")
_WORD_UNIT = re.compile(
    r"(?<=[0-9})\s])(\s*)((?:[A-Za-z]++\.?(?:[ /]|\^\{?[23]\}?)*+)+)(?:\^\{?[23]\}?)?\Z"
)
_SHORT_UNIT = re.compile("[msghL]|[kmc]?m|[km]g|nm|m[lL]|ft|in|lbs?|oz|mi|yd|hrs?|[mk]ph")
_WORD = re.compile("(?=.*[AEIOUaeiou])[A-Za-z]{3,}")
_PART_OF_A_VALUE = re.compile(
    r"(?i)\b(?:and|or|hundred|thousand|[mbtr]+illion|dozen|half|squared|cubed|factorial|more|less"
    r"|least|most|plus|minus|times|over|mod)\b"
)
_SAME_UNITS = {
    "dollars": "$", "dollar": "$", "usd": "$", "euros": "€", "euro": "€", "pounds": "£",
    "percent": "%", "degrees": r"\circ", "degree": r"\circ",
}  # fmt: skip


@functools.lru_cache(_KNOWN_FORMS)
def _form(answer: str) -> Form:
    number = _number(answer.strip())  # most are no more than that
    if number is not None:
        return Form(Kind.NUMBER, str(number), number)
    text = _spelt(answer)
    if choice := _CHOICE.fullmatch(text):
        return Form(Kind.CHOICE, (choice[1] or choice[2]).upper())
    if based := _BASED.fullmatch(text):  # which math-verify would take for its digits alone
        return Form(Kind.WORDS, f"{based[1].lower()}_{based[2]}")
    if _ONLY_WORDS.fullmatch(text) and not text.startswith("\\"):
        return Form(Kind.WORDS, text.casefold())
    value, unit = _without_unit(text)
    value = _LOOSE_SPACE.sub("", value.replace("$", " ").strip())
    named = _NAMED.match(value)
    number = _number(value[named.end() :] if named else value)
    if number is not None:
        head, name = (named[0], named[1]) if named else ("", "")
        return Form(Kind.NUMBER, f"{head}{number}", number, unit, name)
    if not value or _PROSE.search(_COMMAND.sub("", value)):
        return Form(Kind.WORDS, text.casefold() or answer.strip())
    return Form(Kind.FORMULA, value, None, unit)


def _spelt(answer: str) -> str:
    """An answer without what does not count: dollars around it, spacing, fonts, a full stop."""
    text = answer.strip()
    if wrapped := _WRAPPED.fullmatch(text):
        text = next(filter(None, wrapped.groups()), "")
    for pattern, spelling in _SPELLINGS:
        text = pattern.sub(spelling, text)
    return _END.sub("", _SPACE.sub(" ", text).strip())


def _without_unit(text: str) -> tuple[str, str]:
    """A text and the unit that it had: a sign before or after it, or words after it."""
    if currency := _CURRENCY.match(text):
        text, _ = _without_unit(currency[1] + text[currency.end() :])
        return text, currency[2]
    if sign := _SIGN_UNIT.search(text):
        return text[: sign.start()], next(filter(None, sign.groups()))
    words = _WORD_UNIT.search(text)
    if words and _is_unit(words[2], is_apart=bool(words[1]) or text[words.start() - 1] == " "):
        unit = _LOOSE_SPACE.sub("", words[0].strip(" ."))
        return text[: words.start()], _SAME_UNITS.get(unit.casefold(), unit)
    return text, ""


def _is_unit(text: str, is_apart: bool) -> bool:
    """Whether words after a value are its unit: `2 m`, but not `2m`, `2 xy` or `2 million`."""
    first = re.split("[^A-Za-z]", text, maxsplit=1)[0]
    if _PART_OF_A_VALUE.search(text) or not (is_apart or len(first) > 1):
        return False
    return bool(_SHORT_UNIT.fullmatch(first) or _WORD.fullmatch(first))


def _number(text: str) -> Fraction | None:
    """The exact value of a plain number, a fraction of such or a mixed number."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        return None
    sign, above, below, whole, *frac, mixed, top, bottom = found.groups()
    if above is not None:
        parts = ("0", above, below or "1")
    elif mixed is not None:
        parts = (mixed, top, bottom)
    else:
        parts = (whole or "0", frac[0] or frac[1], frac[2] or frac[3])
    first, upper, lower = (Fraction(part.replace(",", "")) for part in parts)
    if not lower:
        return None
    return (-1 if sign == "-" else 1) * (first + upper / lower)
