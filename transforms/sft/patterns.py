"""What outputs and prose say where something went wrong, or went by Python."""

import re

# Notices of our own sandbox and tool loop, then what other sandboxes write, at a line's beginning:
# a program may well print "it timed out" within one.
_NOTICES = (
    r"\[timed out after ",
    r"\[(?:before this cell, )?the interpreter (?:ended|broke)",
    r"\[[^\]\n]*all variables (?:are|were) lost\]",
    r"\[this ran in a fresh interpreter",
    r"\[not run: ",
    r"\[\d+ bytes not shown\]",
    r"<output cut>",
    r"(?:execution |client |code execution )?timed out\b",
    r"(?:TimeoutError|KeyboardInterrupt)\b",
)
# Code that cannot be parsed has an error and no frames; IPython writes frames of its own.
_ERRORS = r"Traceback \(most recent call last\)|(?:SyntaxError|IndentationError|TabError)\b"
CODE_ERROR = re.compile(
    rf"^[ \t]*(?:{'|'.join((*_NOTICES, _ERRORS))})", re.MULTILINE | re.IGNORECASE
)

MATPLOTLIB = re.compile(
    r"(?:^|[;:])[ \t>]*(?:from[ \t]+matplotlib\b"
    r"|import[ \t]+(?:[\w.]+[ \t]*(?:as[ \t]+\w+[ \t]*)?,[ \t]*)*matplotlib\b)[^\n]*",
    re.MULTILINE,
)

_AIM = (
    r"(?:double[- ]?check|cross[- ]?check|check|verif(?:y|ies|ied|ying|ication)|confirm\w*"
    r"|validat\w+|plot\w*|graph\w*|visuali[sz]\w+|draw\w*)"
)
_TOOL = r"(?:python|sympy|numpy|matplotlib|code|a (?:short |quick |small )?(?:script|program))"
# "Let me verify this with Python", "we can plot it in Python", "Python can be used to confirm".
VERIFICATION = re.compile(
    rf"\b{_AIM}\b[^.!?\n]{{0,60}}?\b(?:with|using|in|by|through|via)\s+(?:\w+\s+){{0,2}}?{_TOOL}\b"
    rf"|\b{_TOOL}\b[^.!?\n]{{0,30}}?\bto\s+(?:\w+\s+){{0,2}}?{_AIM}\b",
    re.IGNORECASE,
)


def shown(found: re.Match[str]) -> str:
    """What was found, short enough for a detail."""
    return repr(" ".join(found[0].split())[:80])
