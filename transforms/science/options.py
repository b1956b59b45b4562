r"""Options of a question: how they are written, what can be wrong with them, and which is meant.

    What is the pH of the solution?

    A) 2.00
    B) 3.00

Pure functions of text. Letters are ours: a model's own are taken off, if they are in order.
"""

import re
from collections.abc import Sequence

from transforms.equality import Kind, form
from transforms.reading import Fault

LETTERS = "ABCDEFGHIJ"
# The formats of questions, and how many options each has.
FORMATS = {"open": 0, "mcq_4": 4, "mcq_10": 10}
_LABELS = (
    # Surely letters: `(E)-but-2-ene` is none.
    (re.compile(r"\(([A-J])\)\s+(?=\S)|([A-J])\)\s*(?=\S)|([A-J]):\s+(?=\S)"), True),
    (re.compile(r"([A-J])\.\s+(?=\S)"), False),
)
_WRITTEN = re.compile(r"([A-J])\) (.+)")
_IN_LINES = re.compile(r"^[ \t(*]*A[).:]\s.*\n+[ \t(*]*B[).:]\s", re.MULTILINE)
_IN_A_ROW = re.compile(r"(?<!\w)A\)\s.{1,300}?(?<!\w)B\)\s.{1,300}?(?<!\w)C\)\s", re.DOTALL)
_GIVEN = (
    re.compile(r"\\boxed\b"),
    re.compile(
        r"^[ \t*_#(]*(?:(?:final|correct|right|true) )?"
        r"(?:answers?(?: key)?|solution|explanation|rationale)[ *_]*:",
        re.IGNORECASE | re.MULTILINE,
    ),
    re.compile(
        r"\b(?:correct|right|true) (?:answer|option|choice)[ *_:]+(?:is|would be)[ *_:(]+"
        r"(?!not\b)\w",
        re.IGNORECASE,
    ),
    re.compile(r"\b[Tt]he answer is[ *_:]+(?:\(?[A-J]\b|-?\d)"),
)
_MARKED = re.compile(
    r"[✓✔☑✅]|\((?:correct|right|true)(?: (?:answer|option|choice))?\)|(?:<--?|←) *correct",
    re.IGNORECASE,
)
_PREFIX = re.compile(
    r"(?:the )?(?:(?:final|correct) )?(?:answer|option|choice)(?: is)?\W*?(?=\(?[A-J]\b)",
    re.IGNORECASE,
)
_BARE = re.compile(r"\(([A-Ja-j])\)[.:]?|([A-Ja-j])[).:]?")
_WITH_TEXT = re.compile(r"\(([A-J])\)[.:]?\s+(.+)|([A-J])[).:]\s*(.+)", re.DOTALL)
_FONT = re.compile(r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf|it)|mbox)\s*\{([^{}]*)\}")


def written(question: str, options: Sequence[str]) -> str:
    """The text of a problem: the question, and after an empty line an option a line."""
    if not options:
        return question
    lines = (f"{letter}) {option}" for letter, option in zip(LETTERS, options, strict=False))
    return f"{question}\n\n" + "\n".join(lines)


def options_of(problem: str) -> tuple[str, ...]:
    """The options in a problem's text, as `written` writes them; () where there are none.

    They are all that follows the last empty line, and their letters are in order.
    """
    *_, block = problem.rpartition("\n\n")
    found = [_WRITTEN.fullmatch(line) for line in block.split("\n")]
    letters = "".join(match[1] for match in found if match)
    if len(found) < 2 or not all(found) or letters != LETTERS[: len(found)]:
        return ()
    return tuple(match[2] for match in found if match)


def unlettered(options: Sequence[str]) -> tuple[str, ...] | Fault:
    """The options on a line each and without letters of their own; or `letters_out_of_order`.

    `A)`, `(A)` and `A:` are letters, and `A.` is one where all options have theirs in order: `E.
    coli` may be an option.
    """
    flat = [" ".join(option.split()) for option in options]
    wanted = LETTERS[: len(flat)]
    for label, is_sure in _LABELS:
        found = [label.match(option) for option in flat]
        letters = "".join(match[0].strip(" ().:") for match in found if match)
        if letters and letters == wanted:
            return tuple(
                option[match.end() :] for option, match in zip(flat, found, strict=True) if match
            )
        if letters and is_sure:
            detail = f"the options have the letters {letters}; write {wanted}, or better none"
            return Fault("letters_out_of_order", detail)
    return tuple(flat)


def fault_of(question: str, options: Sequence[str], wanted: int) -> Fault | None:
    """What is wrong with a question, its options without letters, of which it is to have `wanted`.

    `options_in_question`, `wrong_number`, `same_options`, `answer_given`. It takes microseconds.
    """
    if _IN_LINES.search(question) or _IN_A_ROW.search(question):
        where = "put them into the list of options" if wanted else "it is to have none"
        return Fault("options_in_question", f"the question's text has options in it; {where}")
    if len(options) != wanted:
        return Fault("wrong_number", f"it has {len(options)} options; {wanted} are wanted")
    keys = [_key(option) for option in options]
    for number, key in enumerate(keys):
        if key in keys[:number]:
            twins = f"{LETTERS[keys.index(key)]} and {LETTERS[number]}"
            return Fault("same_options", f"the options {twins} are the same")
    for text in (question, *options):
        if found := next(filter(None, (given.search(text) for given in _GIVEN)), None):
            return _given(found[0])
    marked = [found for option in options if (found := _MARKED.search(option))]
    return _given(marked[0][0]) if marked else None


def letter_of(answer: str | None, options: Sequence[str]) -> str | None:
    """The letter of the option that a final answer names; None where it names none of them.

    It is a letter, alone or before the option's text, or that text, or the same number.
    """
    if answer is None:
        return None
    plain = " ".join(_FONT.sub(r"\1", answer).replace("$", " ").split())
    plain = _PREFIX.sub("", plain, count=1) if _PREFIX.match(plain) else plain
    letters, keys = LETTERS[: len(options)], [_key(option) for option in options]
    if bare := _BARE.fullmatch(plain):
        letter = (bare[1] or bare[2]).upper()
        return letter if letter in letters else None
    named = [letter for letter, key in zip(letters, keys, strict=True) if key == _key(plain)]
    if len(named) == 1:
        return named[0]
    if found := _WITH_TEXT.fullmatch(plain):
        letter, text = found[1] or found[3], found[2] or found[4]
        others = {letter for letter, key in zip(letters, keys, strict=True) if key == _key(text)}
        return letter if letter in letters and others <= {letter} else None
    return None


def _given(found: str) -> Fault:
    return Fault("answer_given", f"{' '.join(found.split())!r} gives the answer away; leave it out")


def _key(option: str) -> object:
    """What equal options have in common: a number with its unit, or the text as it is spelt.

    Case counts: `Aa` and `AA` are different genotypes.
    """
    read = form(option)
    if read.kind is Kind.NUMBER:
        return read.number, read.unit, read.name
    return " ".join(_FONT.sub(r"\1", option).replace("$", "").split()).rstrip(".")
