r"""The HTML of a post as text: lxml parses it, and the walk through it is ours.

lxml, because one well-kept parser then reads both the dump's XML and the HTML in it; since libxml2
2.14 it splits HTML into tags and characters as HTML5 says. No existing converter to text is used:
they escape, wrap and squeeze, and LaTeX must come out as it went in. So no character of a text node
is changed, only what is between paragraphs, and nothing is put before a line within one:

    <blockquote>          [quote] and [/quote] on lines of their own
    <ul>, <ol>            "- " or "1. " before an item, two spaces more for each list around it
    <pre>, <code>         a fence of ```, or `…`
    <table>               a line for each row, | between cells; one for what is around rows
    <a>                   the text and (the address)
    <img>                 [image: what it shows], and it is counted
    <sup>, <sub>          ^{…} and _{…}
"""

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urljoin

from lxml import etree

from transforms.forums.records import Fault

# A site takes 30,000 characters of Markdown; of what is longer, the parser's worst case is slow.
LONGEST = 200_000
_DEEPEST = 100
_BLANK = " \t\r\n"
_SKIPPED = frozenset(("script", "style", "head", "template"))
_HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}
_CELLS = ("td", "th")
_BLOCKS = frozenset(
    ("p", "div", "blockquote", "pre", "ul", "ol", "li", "table", "hr", "dl", "dt", "dd")
    + ("section", "details", "summary", *_HEADINGS)
    + ("caption", "thead", "tbody", "tfoot", "tr", *_CELLS)
)
_RAISED = {"sup": "^", "sub": "_"}
_SHORT = re.compile(r"[^\s{}$\\]{1,20}")
_ALT = "enter image description here"


class Rendered(NamedTuple):
    """The text of some HTML, and how many images it has."""

    text: str
    images: int


class _TooDeep(ValueError):
    """Elements within elements, more than anybody writes."""


def text_of(html: str, base: str = "") -> Rendered | Fault:
    """The text of a piece of HTML; `base` is the page that its links are relative to.

    Cost: grows with the length; at worst two seconds, of 200,000 characters.

    Faults: `too_long`, `nested_too_deeply`.
    """
    if len(html) > LONGEST:
        return Fault("too_long", f"its body has {len(html):,} characters, {LONGEST:,} at most")
    parser = etree.HTMLParser(remove_comments=True, remove_pis=True, no_network=True)
    try:
        root = etree.fromstring(html, parser) if html.strip() else None
    except etree.XMLSyntaxError:  # of nothing but a comment: there is no element
        root = None
    if root is None:
        return Rendered("", 0)
    walk = _Walk(base)
    try:
        return Rendered("\n\n".join(walk.blocks(root, 0)), walk.images)
    except _TooDeep:
        return Fault("nested_too_deeply", f"more than {_DEEPEST} elements are within each other")


class _Walk:
    """Goes through the elements, which are blocks or part of a line, and counts images."""

    def __init__(self, base: str) -> None:
        self.images = 0
        self._base = base
        self._markers: list[Iterator[str]] = []  # what comes before the next item of each open list

    def blocks(self, element: etree._Element, depth: int) -> list[str]:
        """The paragraphs, lists and so on within an element."""
        found: list[str] = []
        line: list[str] = []

        def end_line() -> None:
            if text := "".join(line).strip(_BLANK):
                found.append(text)
            line.clear()

        for part in self._parts(element, depth):
            if isinstance(part, str):
                line.append(part)
            else:
                end_line()
                found += part
        end_line()
        return found

    def _parts(self, element: etree._Element, depth: int) -> Iterator[str | list[str]]:
        """What an element holds, in order: texts, and the blocks that each block in it makes."""
        if depth > _DEEPEST:
            raise _TooDeep
        yield element.text or ""
        for child in element:
            tail = child.tail or ""
            if child.tag in _BLOCKS or child.tag in ("html", "body"):
                is_cell = child.tag in _CELLS and element.tag == "tr"  # they are one level
                yield self._block(child, depth if is_cell else depth + 1)
            elif child.tag == "br":
                yield "\n"
                tail = tail.removeprefix("\n")
            elif child.tag not in _SKIPPED:
                yield self._inline(child, depth + 1)
            yield tail

    def _within(self, element: etree._Element, depth: int) -> str:
        """What an element holds as one text."""
        return "".join(
            part if isinstance(part, str) else "\n\n".join(["", *part, ""])
            for part in self._parts(element, depth)
        )

    def _inline(self, element: etree._Element, depth: int) -> str:
        tag = element.tag
        if tag == "img":
            return self._image(element)
        if tag == "code":
            return _fenced(self._code(element), "`")
        text = self._within(element, depth)
        if tag == "a":
            return self._link(text, element.get("href") or "")
        if tag in ("s", "strike", "del") and text.strip():
            return f"~~{text}~~"
        if tag in _RAISED and _SHORT.fullmatch(text):
            return f"{_RAISED[tag]}{text}" if len(text) == 1 else f"{_RAISED[tag]}{{{text}}}"
        return text

    def _link(self, text: str, href: str) -> str:
        try:
            address = urljoin(self._base, href.strip())
        except ValueError:  # of brackets that are no IPv6 address
            address = href.strip()
        if not href.strip() or not address.startswith(("http://", "https://")):
            return text
        if not text.strip() or text.strip() in (address, href.strip()):
            return address
        is_image = text.strip().startswith("[image") and text.strip().endswith("]")
        return text if is_image else f"{text} ({address})"

    def _block(self, element: etree._Element, depth: int) -> list[str]:
        tag = element.tag
        if tag in ("ul", "ol"):
            return self._list(element, depth)
        if tag == "li":
            return [self._item(element, depth)]
        if tag == "pre":
            return [_fenced(self._code(element).strip("\n"), "```")]
        if tag == "hr":
            return ["---"]
        if tag == "tr":
            return self._row(element, depth)
        if tag in _CELLS:
            text = self._within(element, depth).strip(_BLANK)
            return [text] if text or element.getparent().tag == "tr" else []
        found = self.blocks(element, depth)
        if tag == "blockquote":
            return ["\n".join(["[quote]", "\n\n".join(found), "[/quote]"])] if found else []
        if tag in _HEADINGS:
            return [f"{_HEADINGS[tag]} {text}" for text in found]
        return ["\n".join(found)] if tag == "table" and found else found

    def _list(self, items: etree._Element, depth: int) -> list[str]:
        """A list as one block: its items, and what else is in it, each on lines of its own."""
        start = items.get("start") or ""
        first = int(start) if re.fullmatch(r"\d{1,9}", start, re.ASCII) else 1
        numbers = (f"{number}." for number in itertools.count(first))
        self._markers.append(numbers if items.tag == "ol" else itertools.repeat("-"))
        lines = self.blocks(items, depth)
        self._markers.pop()
        return ["\n".join(lines)] if lines else []

    def _item(self, item: etree._Element, depth: int) -> str:
        """An item behind the marker that comes next; lists in it stand where they stood."""
        marker = next(self._markers[-1]) if self._markers else "-"
        marker = "  " * (len(self._markers) - 1) + marker
        text = "\n".join(self.blocks(item, depth))
        if text.startswith(" "):  # only an inner list does
            return f"{marker}\n{text}"
        return f"{marker} {text}".rstrip(_BLANK)

    def _row(self, row: etree._Element, depth: int) -> list[str]:
        """A row as a line; a text between cells is a cell."""
        cells = self.blocks(row, depth)
        line = f"| {' | '.join(cells)} |"
        if len(row) and all(cell.tag == "th" for cell in row):
            line += f"\n|{' --- |' * len(cells)}"
        return [line] if cells else []

    def _code(self, element: etree._Element) -> str:
        """The text of code, line by line, with its images."""
        texts: list[str] = []
        for event, part in etree.iterwalk(element, ("start", "end")):
            if event == "end":
                texts.append(part.tail or "" if part is not element else "")
            elif part.tag == "br":
                texts.append("\n")
            else:
                texts.append(self._image(part) if part.tag == "img" else part.text or "")
        return "".join(texts)

    def _image(self, image: etree._Element) -> str:
        self.images += 1
        shown = " ".join((image.get("alt") or "").split())
        return f"[image: {shown}]" if shown and shown != _ALT else "[image]"


def _fenced(code: str, fence: str) -> str:
    """Code between fences that are longer than any run of backticks in it."""
    longest = max(map(len, re.findall("`+", code)), default=0)
    fence = "`" * max(len(fence), longest + 1) if longest >= len(fence) else fence
    if len(fence) < 3:
        return f"{fence}{code}{fence}"
    return f"{fence}\n{code}\n{fence}"
