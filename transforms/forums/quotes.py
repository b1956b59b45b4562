"""Quotes of earlier posts, which forums write as [quote="name"]…[/quote], taken out of a reply."""

import re

# Bounded, so that a post of nothing but openings takes a time that grows with its length alone.
_TAG = re.compile(
    r"""\[quote(?:
        \s{0,9}[=:]\s{0,9}"[^"]{0,1000}+"\s{0,9}  # a name between quotation marks
      | [\s=:][^\]\n]{0,1000}+                   # anything up to a bracket
      | [\s=:][^\[\]]{0,1000}+                   # lines of it, in which no other tag begins
      | \s{0,9})\]
      | (\[/quote\s{0,9}\])""",
    re.IGNORECASE | re.VERBOSE,
)


def without_quotes(text: str) -> str:
    """A post without what it quotes: each span from an opening tag to the one that closes it.

    Quotes may be nested, and their tags may say who is quoted. A tag without a partner goes, and
    nothing else with it: a closing one belongs to the last opening before it that is still open.
    """
    opened: list[re.Match] = []
    spans: list[tuple[int, int]] = []
    for tag in _TAG.finditer(text):
        if not tag[1]:
            opened.append(tag)
        elif opened:
            start = opened.pop().start()
            while spans and spans[-1][0] > start:  # quoted within this quote
                spans.pop()
            spans.append((start, tag.end()))
        else:
            spans.append(tag.span())
    return _without(text, sorted([*spans, *(tag.span() for tag in opened)]))


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    """A text without these parts of it, which are in order and apart."""
    kept, position = [], 0
    for start, end in spans:
        kept.append(text[position:start])
        position = end
    return "".join([*kept, text[position:]])
