r"""Final answers in text: where a solution says `\boxed{…}`, and what it says there.

Pure functions of text. Boxes are found in one pass over it, whatever it is: a model that repeats
`\boxed{` ten thousand times costs no more than any other text of that length.
"""

import re

_TOKEN = re.compile(r"(?P<box>\\(?:boxed|fbox)\s*\{\s*)|\\.|(?P<brace>[{}])", re.DOTALL)


def boxed_spans(text: str) -> list[tuple[int, int]]:
    r"""The (start, end) of each complete box with something in it, in the order of their starts.

    A box is `\boxed{…}` or `\fbox{…}`; braces within it match, and `\{` and `\}` are no braces. One
    that is never closed is none, and neither is an empty one: that is how models speak of boxes.
    """
    spans = []
    opened: list[tuple[int, int] | None] = []  # where a box and its content begin; None: a brace
    for token in _TOKEN.finditer(text):
        if token["box"]:
            opened.append(token.span())
        elif token["brace"] == "{":
            opened.append(None)
        elif token["brace"] and opened:
            box = opened.pop()
            if box is not None:
                start, content = box
                if content < token.start():
                    spans.append((start, token.end()))
    return sorted(spans)


def last_boxed(text: str) -> str | None:
    r"""What the last complete box holds, of nested ones the innermost; None if there is no box.

    `\boxed{12} … \boxed{13` is 12: a text that was cut off falls back to the box before.
    """
    spans = boxed_spans(text)
    if not spans:
        return None
    start, end = spans[-1]
    return text[text.index("{", start) + 1 : end - 1].strip()


def has_answer(answer: str | None) -> bool:
    """Whether there is an answer at all: null, nothing and white space are none."""
    return answer is not None and bool(answer.strip())


def last_match(text: str, pattern: re.Pattern[str]) -> str | None:
    """What the group of the last match holds, stripped; None if there is no match, or it is empty.

    `pattern` has one group, as in `^A: (.*)$` with MULTILINE. As with boxes, an empty one is passed
    over for the one before.
    """
    held = [match[1] for match in pattern.finditer(text)]
    return next((answer.strip() for answer in reversed(held) if has_answer(answer)), None)
