r"""TeX commands whose backslash JSON has eaten: `\theta` without a second one is a TAB and "heta".

A backspace or a form feed is always such a trace. A TAB, a line break or a carriage return is one
only where a known command is left behind it. Where what is left could be a word or a variable, a
TAB must stand within a line, and a line break within a formula on one line (`$a \ne b$`): elsewhere
it is taken for the indent, the cell or the line that it looks like, since a clean answer that is
refused costs more than a command that is missed.
"""

import json
import re

_SHOWN = 20
_END = r"(?![A-Za-z])"
_FONTS = r"ext(?:bf|it|rm|tt|sf|sc|md|up|normal|color)?"
# What is left of commands and is no word, wherever it stands.
_AFTER_TAB = (
    rf"(?:heta|imes|ilde|herefore|hick(?:sim|approx)|woheadrightarrow|extstyle"
    rf"|riangle(?:left|right|down)?(?:q|eq)?){_END}|(?:frac|binom|ag\*?|{_FONTS})\ *+\{{"
)
_AFTER_BREAK = (
    rf"(?:abla|ot|otin|leq|geq|eg(?=\\)|eq(?!\d*\ *[.=:,(]|_)|subseteq|supseteq"
    rf"|[Ll]eft(?:right)?arrow|[Rr]ightarrow|warrow|earrow|onumber|otag|ewline|ewcommand){_END}(?!\.)"
)
_AFTER_RETURN = (
    rf"(?:ight[a-z]*|ho|angle|ceil|floor|vert|brac[ek]|m|oot|ef|ule|aise(?:box)?|times){_END}"
    r"(?!\ *[=:.])"
)
# What is left and may be a word, a variable or a cell of a table.
_WITHIN_LINE = rf"(?:anh|frac(?=\ *[\d\\])|(?:o|op|an|au)(?!\s*(?:[\t\n]|\Z))){_END}"
_WITHIN_FORMULA = rf"(?:u|i|eg|mid|eq(?!\d*\ *=|_)|e(?!\s*[\^_=])){_END}"
_BESIDE_STRAY = rf"(?:u|e|i|mid|eg){_END}"

_SURE = (
    rf"(?<![\t\n\r])|(?<=\t)(?:{_AFTER_TAB})|(?:(?<=\S\t)|(?<=\S\ \t)){_WITHIN_LINE}"
    rf"|(?<=\n){_AFTER_BREAK}|(?<=\r){_AFTER_RETURN}"
)
_EATEN = re.compile(rf"[\x00-\x1f](?:{_SURE})")
_EATEN_BESIDE_STRAY = re.compile(
    rf"[\x00-\x1f](?:{_SURE}|(?<=\t){_WITHIN_LINE}|(?<=\n){_BESIDE_STRAY})"
)
_FORMULA = re.compile(
    r"(?<!\\)\$\$[^$]++\$\$|(?<!\\)\$(?!\ )[^$]++(?<!\s)\$(?!\d)|\\\((?:[^\\]|\\(?![()]))*+\\\)"
)
_MAYBE_IN_FORMULA = re.compile(rf"\n{_WITHIN_FORMULA}")
# The first line break of a formula that does not begin with it, as a displayed one may.
_EATEN_IN_FORMULA = re.compile(
    rf"(?:\$\$(?!\n)|\$(?!\$)|\\\()(?:(?!\\begin)[^\n])*?(?P<eaten>\n{_WITHIN_FORMULA})"
)


def spoilt_text(text: str, beside_stray: bool = False) -> str:
    r"""The first command in `text` that has lost its backslash, as it was written, or "".

    `beside_stray` says that another backslash of the answer was not doubled either (`\sqrt`): then
    a line may begin with any command.
    """
    found = (_EATEN_BESIDE_STRAY if beside_stray else _EATEN).search(text)
    start = found.start() if found else _in_formula(text)
    return json.dumps(text[start:], ensure_ascii=False)[1:-1][:_SHOWN] if start >= 0 else ""


def _in_formula(text: str) -> int:
    """Where a formula has lost a backslash to a line break, or -1."""
    if _MAYBE_IN_FORMULA.search(text):
        for formula in _FORMULA.finditer(text):
            if eaten := _EATEN_IN_FORMULA.match(formula[0]):
                return formula.start() + eaten.start("eaten")
    return -1
