"""What a program can tell about a problem statement that was made from two others.

Each check has a reason of its own and is careful rather than complete: what the sources already
say is never held against the new text.
"""

import difflib
import re
from collections.abc import Iterator

from transforms.reading import Fault

COPIED_WORDS = 25
COPIED_SHARE = 0.8
UNCHANGED = 0.98
_SOURCE_NAME = re.compile(
    r"\b[Pp](?:roblem|ROBLEM)s?[\s_-]+[AB]\b|\bproblem_[ab]\b|\b[Tt]he (?:base|second) problem\b"
)
_ADMISSION = re.compile(
    r"\b(?:irrelevant|red herring|distractor|merely (?:decorative|a distraction)|"
    r"(?:(?:do|does|did|will|would|can|should)(?: not|n't)|won't|cannot) "
    r"(?:affect|change|influence)|"
    r"(?:has|have|had|having) no (?:effect|impact|bearing|influence)|plays? no (?:role|part)|"
    r"not needed to solve|"
    r"(?:ignored?|disregard(?:ed)?) (?:\w+ ){0,4}(?:when|while|in|for) (?:solving|answering))\b",
    re.IGNORECASE,
)
_EXAMPLES_HEADING = re.compile(
    r"^[\W_]*(?:for )?(?:sample|example)s?(?: (?:input|output|test|case)s?)?(?: ?#? ?\d+)?[\W_]*$",
    re.IGNORECASE,
)
_CALL_AND_RESULT = re.compile(r"^\w+\(.*\)\s*(?:==|=>|=|->|→|➞|returns)\s*\S")
_SECTION_HEADING = re.compile(r"^[\W_]*(?:input|output)(?: format)?[\W_]*$", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.?!])|\n")
_MIN_COPIED_WORDS = 5
_MIN_QUESTION_WORDS = 4


def squeezed(text: str) -> str:
    """`text` in lower case with every run of white space as one space: for comparing wording."""
    return " ".join(text.split()).casefold()


def names_source(text: str, *sources: str) -> Fault | None:
    """`names_source` if the text calls a source by a name of ours, where no source does itself."""
    found = _new_match(_SOURCE_NAME, text, sources)
    return Fault("names_source", f"the problem's text says {found!r}") if found else None


def is_unchanged(text: str, source: str) -> Fault | None:
    """`unchanged` if at least 98 % of the words are those of the source, in its order."""
    if similarity(text, source, UNCHANGED) < UNCHANGED:
        return None
    return Fault("unchanged", "the new problem's text is the original's")


def similarity(text: str, other: str, least: float) -> float:
    """The share of words that two texts have in common, in order; 0 where it is below `least`."""
    words, other_words = squeezed(text).split(), squeezed(other).split()
    matcher = difflib.SequenceMatcher(None, words, other_words, autojunk=False)
    if matcher.real_quick_ratio() < least or matcher.quick_ratio() < least:
        return 0.0
    return matcher.ratio()


def copies_passage(text: str, source: str, *allowed: str) -> Fault | None:
    """`copies_source` if 25 words in a row are the same, or 80 % of a shorter source's.

    Passages that are in one of `allowed` too are not held against the text. Sources of fewer than
    five words are too short to tell. Punctuation does not count.
    """
    source_words = _words(source)
    if len(source_words) < _MIN_COPIED_WORDS:
        return None
    length = min(COPIED_WORDS, max(_MIN_COPIED_WORDS, int(COPIED_SHARE * len(source_words))))
    known = set(_runs(source_words, length))
    for other in allowed:
        known.difference_update(_runs(_words(other), length))
    for run in _runs(_words(text), length):
        if run in known:
            shown = " ".join(run[:8])
            return Fault("copies_source", f"it repeats the second problem's words {shown!r} …")
    return None


def admits_irrelevance(text: str, *sources: str) -> Fault | None:
    """`admits_irrelevance` if the text says of anything that it does not matter."""
    straight = (source.replace("’", "'") for source in sources)
    found = _new_match(_ADMISSION, text.replace("’", "'"), tuple(straight))
    detail = f"it says {found!r}, which gives away that something is irrelevant"
    return Fault("admits_irrelevance", detail) if found else None


def loses_examples(text: str, source: str) -> Fault | None:
    """`loses_examples` if a line of the source's examples or an input or output heading is gone."""
    kept = squeezed(text)
    for line in (*example_lines(source), *_section_headings(source)):
        if squeezed(line) not in kept:
            return Fault(
                "loses_examples", f"this line of the original is missing: {line.strip()!r}"
            )
    return None


def keeps_examples(text: str, source: str) -> Fault | None:
    """`keeps_examples` if a line of the source's examples of at least six characters is there."""
    kept = squeezed(text)
    for line in example_lines(source):
        if len(squeezed(line)) >= 6 and squeezed(line) in kept:
            return Fault(
                "keeps_examples", f"this example of the original is there: {line.strip()!r}"
            )
    return None


def changes_question(text: str, source: str) -> Fault | None:
    """`changes_question` if a question that the source asks in its own words is gone."""
    kept = squeezed(text)
    for sentence in _SENTENCE_END.split(source):
        words = squeezed(sentence)
        asks = words.endswith("?") and len(words.split()) >= _MIN_QUESTION_WORDS
        if asks and words not in kept:
            return Fault("changes_question", f"the original asks {sentence.strip()!r}")
    return None


def example_lines(text: str) -> list[str]:
    """The lines of a statement's examples: doctests with a line of result, calls, headed blocks.

    A headed block follows a line such as "Sample Input 1" or "Examples:" and ends with its
    paragraph, or goes on where the next paragraph is headed "Input" or "Output".
    """
    found: list[str] = []
    where = "prose"
    for line in text.splitlines():
        where = _part(line.strip(), where)
        if line.strip() and where in ("doctest", "result", "call", "examples"):
            found.append(line)
    return found


def _part(bare: str, before: str) -> str:
    """What part of a statement a line belongs to, by the line and the part before it."""
    if bare.startswith(">>>") or (bare.startswith("...") and before == "doctest"):
        return "doctest"
    if bare in ("", '"""', "'''"):
        return {"heading": "heading", "examples": "gap", "gap": "gap"}.get(before, "prose")
    within = before in ("heading", "examples", "gap")
    if _EXAMPLES_HEADING.match(bare) or (within and _SECTION_HEADING.match(bare)):
        return "heading"
    if before == "doctest":
        return "result"
    if _CALL_AND_RESULT.match(bare):
        return "call" if before in ("prose", "call") else "examples"
    return "examples" if before in ("heading", "examples") else "prose"


def _section_headings(text: str) -> list[str]:
    """The words of the headings over descriptions of input and output."""
    headings = (line.strip() for line in text.splitlines())
    return [re.sub(r"[\W_]+", " ", bare) for bare in headings if _SECTION_HEADING.match(bare)]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _runs(words: list[str], length: int) -> Iterator[tuple[str, ...]]:
    return (tuple(words[i : i + length]) for i in range(len(words) - length + 1))


def _new_match(pattern: re.Pattern[str], text: str, sources: tuple[str, ...]) -> str | None:
    """The first match in `text` that is a match in none of `sources`."""
    known = {squeezed(match.group()) for source in sources for match in pattern.finditer(source)}
    matches = (match.group() for match in pattern.finditer(text))
    return next((match for match in matches if squeezed(match) not in known), None)
