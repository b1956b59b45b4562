r"""The JSON values in a model's answer, wherever they stand and however they are written.

Read is JSON, and what models write for it as long as it can mean one thing only: trailing commas,
comments, single or curly quotes around texts, names without quotes, None and True, line breaks
within texts, a backslash before a character that JSON has no escape for (`\sqrt` is a backslash
and "sqrt"), and JSON that was escaped as a whole. Nothing is guessed: a quotation mark within a
text that is not escaped, or a missing comma, makes an object unreadable. And nothing is completed:
where the text ends within an object, all before it was on the way there, and there is no value.

The libraries for this do other things: json-repair closes what was cut off, and the JSON5 parsers
make `sqrt` of `\sqrt`.
"""

import collections
import dataclasses
import json
import re
from typing import Any, NoReturn

_MOST_VALUES = 100
_MOST_BROKEN = 10_000
_MOST_STRICT = 20
_DEEPEST = 64
_SHOWN = 30

_SPACE = r"[\s\ufeff\u200b\u2060]"
_BLANK = rf"(?:{_SPACE}++|//[^\n]*|\#[^\n]*|/\*.*?\*/)*+"
# A text up to its closing quote, and that quote. Between two letters ' is an apostrophe: no text
# that has ended goes on with a letter.
_OPEN_TEXTS = {
    r'"[^"\\]*+(?:\\.?+[^"\\]*+)*+': '"',
    r"'[^'\\]*+(?:(?:\\.?+|(?<=\w)'(?=\w))[^'\\]*+)*+": "'",
    r"[“”„][^“”\\]*+(?:\\.?+[^“”\\]*+)*+": "[“”]",
    r"[‘’‚][^‘’\\]*+(?:(?:\\.?+|(?<=\w)’(?=\w))[^‘’\\]*+)*+": "[‘’]",
}
_TEXT = "|".join(before + quote for before, quote in _OPEN_TEXTS.items())
_NUMBER = r"[+-]?+(?:[0-9]++\.?+[0-9]*+|\.[0-9]++)(?:[eE][+-]?+[0-9]++)?+(?![\w.])"
_NAME = r"[^\W\d][\w$-]*+"
_TOKEN = re.compile(
    rf"{_BLANK}(?:(?P<mark>[{{}}\[\]:,])|(?P<text>{_TEXT})|(?P<number>{_NUMBER})|(?P<word>{_NAME}))",
    re.DOTALL,
)
_AFTER_BLANK = re.compile(_BLANK, re.DOTALL)
# What is left of a text that ends within a token or, before its object does, with a fence.
_TORN = re.compile(rf"(?:{'|'.join(_OPEN_TEXTS)}|/\*.*+|[/\w.+-]*+|```\s*+)\Z", re.DOTALL)
# Where a value may begin: what follows a brace of TeX, of a program or of prose is rarely this.
_START = re.compile(
    rf"\{{(?={_SPACE}*+(?:[\"'“”„‘’‚/\#]|{_NAME}{_SPACE}*+(?:[:/\#]|\Z)|\}}\s*+(?:```|\Z)|\Z))"
    rf"|\[(?={_SPACE}*+(?:[\"'“”„‘’‚\[]|\{{(?!\s*+\\)))"
)
# JSON that was escaped as a whole, up to the first quotation mark that is not.
_ESCAPED = re.compile(
    r"(?:\[(?:\s|\\[nrt])*+)?+\{(?:\s|\\[nrt])*+\\\"[^\"\\]*+(?:\\.?+[^\"\\]*+)*+", re.DOTALL
)
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"} | {
    character: character for character in "\\/\"'“”„‘’‚"
}
_FIELD = "the name of a field is wanted"
_COLON = "a colon is wanted"
_VALUE = "a value is wanted, and texts need quotation marks"
_AFTER_VALUE = "a comma is missing, or a quotation mark before it has no backslash"
_WORDS = {"true": True, "false": False, "null": None, "none": None}
_Token = tuple[str, str, int]  # its kind, the token as it is written, and where it ends


class Ambiguous(dict[str, Any]):
    """An object that gives the field `name` several values; it holds the last."""

    def __init__(self, fields: dict[str, Any], name: str) -> None:
        super().__init__(fields)
        self.name = name


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        for name, value in pairs:
            if value != fields[name]:
                return Ambiguous(fields, name)
    return fields


DECODER = json.JSONDecoder(strict=False, object_pairs_hook=_object_of)


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """What JSON a text holds.

    values: the outermost objects and lists, in their order; of very many the last ones.
    is_cut: the text ends within a value; if that is certain there are no `values`.
    broken: what is wrong with the last object that cannot be read, or "".
    stray_backslashes: a text had a backslash before a letter that makes no escape, as TeX does.
    """

    values: tuple[Any, ...] = ()
    is_cut: bool = False
    broken: str = ""
    stray_backslashes: bool = False


def json_values(text: str) -> Found:
    """The JSON values in `text`; never an exception, in time that grows with its length."""
    escaped = _ESCAPED.search(text)
    plain = _START.search(text)
    if not escaped or (plain and plain.start() < escaped.start()):
        return _scanned(text)
    rest = _scanned(text[escaped.end() :])
    return rest if rest.values or rest.is_cut else _scanned(_unescaped(escaped[0])[0])


def _scanned(text: str) -> Found:
    grammar = _Grammar(text)
    values: collections.deque[Any] = collections.deque(maxlen=_MOST_VALUES)
    is_cut, broken, at = False, "", 0
    patience, work = _MOST_BROKEN, 3 * len(text) + 100_000
    while begun := _START.search(text, at):
        start, at = begun.start(), begun.end()
        if start in grammar.hopeless:
            continue
        try:
            value, at = grammar.outermost(start)
        except _TooDeepError:
            return Found(broken="its objects are nested too deeply")
        except _CutError:
            if grammar.is_certain(start):
                return Found(is_cut=True)
            is_cut, patience, work = True, patience - 1, work - (len(text) - start)
        except _BrokenError as error:
            broken, patience, work = str(error), patience - 1, work - (error.at - start)
        else:
            values.append(value)
        if not patience or work < 0:
            return Found(broken="it holds too many braces that begin no JSON")
    return Found(tuple(values), is_cut, broken, grammar.stray_backslashes)


class _CutError(Exception):
    """The text ends within a value."""


class _TooDeepError(Exception):
    """Objects within objects without end."""


class _BrokenError(Exception):
    """What stands at `at` is not JSON."""

    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at = at


class _Grammar:
    """Reads the values of a text by recursive descent.

    hopeless: where objects and lists begin that have turned out to be no JSON.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._strict_tries = _MOST_STRICT
        self._has_name = False
        self.hopeless: set[int] = set()
        self.stray_backslashes = False

    def is_certain(self, start: int) -> bool:
        """Whether what begins at `start`, just tried, can only be meant as JSON."""
        begun = self._text[start + 1 : start + 100].lstrip()
        return self._has_name or begun.startswith(('"', "“"))

    def outermost(self, start: int) -> tuple[Any, int]:
        """The object or list that begins at `start`, and where it ends."""
        self._has_name = False
        if self._strict_tries:
            try:
                return DECODER.raw_decode(self._text, start)
            except (ValueError, RecursionError):
                self._strict_tries -= 1  # a failure costs as much as all the text before it
        return self._value(("mark", self._text[start], start + 1), 0)

    def _value(self, token: _Token, depth: int) -> tuple[Any, int]:
        kind, written, end = token
        if written in ("{", "["):
            if depth == _DEEPEST:
                raise _TooDeepError
            try:
                return (self._object if written == "{" else self._list)(end, depth + 1)
            except _BrokenError:
                self.hopeless.add(end - 1)
                raise
        if kind == "text":
            return self._meant(written), end
        if kind == "number":
            return self._number(written, end), end
        if written.lower() not in _WORDS:
            self._fail(end - len(written), _VALUE)
        return _WORDS[written.lower()], end

    def _object(self, at: int, depth: int) -> tuple[dict[str, Any], int]:
        fields: list[tuple[str, Any]] = []
        while True:
            kind, name, at = self._token(at, _FIELD)
            if name == "}":
                return _object_of(fields), at
            if kind not in ("text", "word"):
                self._fail(at - len(name), _FIELD)
            _, at = self._mark(at, ":", _COLON)
            self._has_name = True
            value, at = self._value(self._token(at, _VALUE), depth)
            fields.append((self._meant(name) if kind == "text" else name, value))
            mark, at = self._mark(at, ",}", _AFTER_VALUE)
            if mark == "}":
                return _object_of(fields), at

    def _list(self, at: int, depth: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        while True:
            token = self._token(at, _VALUE)
            if token[1] == "]":
                return items, token[2]
            item, at = self._value(token, depth)
            items.append(item)
            mark, at = self._mark(at, ",]", _AFTER_VALUE)
            if mark == "]":
                return items, at

    def _mark(self, at: int, allowed: str, wanted: str) -> tuple[str, int]:
        kind, mark, end = self._token(at, wanted)
        if kind != "mark" or mark not in allowed:
            self._fail(end - len(mark), wanted)
        return mark, end

    def _number(self, written: str, end: int) -> int | float:
        try:
            return int(written)
        except ValueError:
            pass
        if written.lstrip("+-").isdigit():
            self._fail(end - len(written), "the number is too long")
        return float(written)

    def _meant(self, written: str) -> str:
        """The text that is written in quotes."""
        text, stray = _unescaped(written[1:-1])
        self.stray_backslashes = self.stray_backslashes or stray
        return text

    def _token(self, at: int, wanted: str) -> _Token:
        """The token at or after `at`."""
        token = _TOKEN.match(self._text, at)
        if token is None or token.lastgroup is None:
            blank = _AFTER_BLANK.match(self._text, at)
            self._fail(blank.end() if blank else at, wanted)
        return token.lastgroup, token[token.lastgroup], token.end()

    def _fail(self, at: int, wanted: str) -> NoReturn:
        if _TORN.match(self._text, at):
            raise _CutError
        shown = self._text[at : at + _SHOWN]
        raise _BrokenError(at, f"it is no JSON from {shown!r} on: {wanted}")


def _unescaped(text: str) -> tuple[str, bool]:
    """`text` with its escapes replaced, and whether a letter had a backslash that makes none."""
    if "\\" not in text:
        return text, False
    stray = False

    def meant(escape: re.Match[str]) -> str:
        nonlocal stray
        what = escape[1]
        if len(what) > 1:
            return chr(int(what[1:], 16))
        stray = stray or what.isalpha() and what not in _ESCAPES
        return _ESCAPES.get(what, escape[0])

    return _ESCAPE.sub(meant, text), stray
