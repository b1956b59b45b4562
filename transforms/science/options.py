r"""Options of a question: how they are written, what can be wrong with them, and which is meant.

    What is the pH of the solution?

    A) 2.00
    B) 3.00

Pure functions of text. Letters are ours: a model's own are taken off, if they are in order.
"""

import re
from collections.abc import Iterator, Sequence

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
        r"(?:answers?(?: key)?|explanation|rationale)[ *_]*:",
        re.IGNORECASE | re.MULTILINE,
    ),
    re.compile(
        r"\b(?:correct|right|true) (?:answer|option|choice)[ *_:]+(?:is|would be)[ *_:(]+"
        r"(?!not\b)\w",
        re.IGNORECASE,
    ),
    re.compile(r"\b[Tt]he answer is[ *_:]+(?:\(?[A-J]\b|-?\d)"),
)
# Before the question it may be one in a beaker.
_SOLUTION = re.compile(r"^[ \t*_#(]*solution[ *_]*:", re.IGNORECASE | re.MULTILINE)
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
# Where the text is that option's, less will do: `(B)3.00`, `B - 3.00`, `B 3.00`.
_WITH_ITS_TEXT = re.compile(r"(?:\(([A-J])\)[.:]?|([A-J])(?:[).:]|(?=[\s=−–—-])))(.+)", re.DOTALL)
_BETWEEN = re.compile(r"\s*(?:[=—]|[−–-]\s)?\s*")  # without a space a dash is a minus
_FONT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt)?|math(?:rm|bf|it|sf)|boldsymbol|mbox)\s*\{([^{}]*)\}"
)
_GAP = re.compile(r"\\[ ,;:!]|~")


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
    _, asked, after = question.rpartition("?")
    if asked and (found := _SOLUTION.search(after)):
        return _given(found[0])
    marked = [found for option in options if (found := _MARKED.search(option))]
    return _given(marked[0][0]) if marked else None


def letter_of(answer: str | None, options: Sequence[str]) -> str | None:
    """The letter of the option that a final answer names; None where it names none or two of them.

    It is a letter, alone or before the option's text, or that text, or the same number; a unit
    that only one of both has, as in `3.00 mol` of the option `3.00`, does not count.
    """
    if answer is None:
        return None
    plain = _plain(answer)
    plain = _PREFIX.sub("", plain, count=1) if _PREFIX.match(plain) else plain
    letters = LETTERS[: len(options)]
    if bare := _BARE.fullmatch(plain):
        letter = (bare[1] or bare[2]).upper()
        return letter if letter in letters else None
    for is_same in (_is_same, _agrees):
        named = {
            letter
            for letters_of_text, text in _readings(plain, letters)
            for letter, option in zip(letters, options, strict=True)
            if letter in letters_of_text and is_same(text, option)
        }
        if named:
            return named.pop() if len(named) == 1 else None
    if found := _WITH_TEXT.fullmatch(plain):
        letter, text = found[1] or found[3], found[2] or found[4]
        is_another = any(_agrees(text, option) for option in options)
        return letter if letter in letters and not is_another else None
    return None


def _readings(plain: str, letters: str) -> Iterator[tuple[str, str]]:
    """What may be an option's text in an answer, and the letters that this option may have."""
    yield letters, plain
    if found := _WITH_ITS_TEXT.fullmatch(plain):
        letter, text = found[1] or found[2], found[3]
        yield letter, _BETWEEN.sub("", text, count=1)


def _is_same(text: str, option: str) -> bool:
    return _key(text) == _key(option)


def _agrees(text: str, option: str) -> bool:
    read, other = form(text), form(option)
    if read.number is None or other.number is None:
        return _is_same(text, option)
    is_named_alike = read.name == other.name  # in `B = 3.00` the name is a letter
    return is_named_alike and read.number == other.number and read.agrees(other)


def _given(found: str) -> Fault:
    return Fault("answer_given", f"{' '.join(found.split())!r} gives the answer away; leave it out")


def _key(option: str) -> object:
    """What equal options have in common: a number with its unit, or the text as it is spelt.

    Case counts: `Aa` and `AA` are different genotypes.
    """
    read = form(option)
    if read.kind is Kind.NUMBER:
        return read.number, read.unit, read.name
    return _plain(option).rstrip(".")


def _plain(text: str) -> str:
    """A text without fonts and dollars, and with plain spaces."""
    return " ".join(_GAP.sub(" ", _FONT.sub(r"\1", text)).replace("$", "").split())
