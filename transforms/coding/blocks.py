"""Code in a model's answer: which of its fenced blocks is the program."""

import ast
import builtins
import re
import warnings
from collections.abc import Sequence
from typing import NamedTuple

from sandbox.code import syntax_fault
from transforms.coding import cpp

PYTHON, CPP = "python", "cpp"
LANGUAGES = (PYTHON, CPP)
_LABELS = {
    PYTHON: frozenset(("python", "py", "python3", "pypy", "pypy3")),
    CPP: frozenset(("cpp", "c++", "cc", "cxx", "c++17", "c++20", "cpp17", "cpp20")),
}
_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,}(?!~))([^`]*)")
_CLOSES = re.compile(r"[ \t]*(`{3,}|~{3,})\s*")
_READS = {
    PYTHON: re.compile(r"\binput\s*\(|\bstdin\b|\bopen\s*\(\s*0|\bfileinput\b"),
    CPP: re.compile(r"\bmain\s*\("),
}
_RAISES_NOTHING = ("NotImplementedError", "NotImplemented")


class Block(NamedTuple):
    """A complete fenced block: its label in lower case, and its content."""

    label: str
    code: str


def blocks_of(answer: str) -> list[Block]:
    """The complete fenced blocks of an answer, in order; one that is never closed is none.

    The indent of a block's fence is taken off its lines.
    """
    lines = answer.split("\n")
    found: list[Block] = []
    endless: dict[str, int] = {}  # the shortest fence that nothing below closes, by its character
    at = 0
    while at < len(lines):
        opened, begin = _FENCE.fullmatch(lines[at]), at + 1
        at = begin
        if opened is None:
            continue
        indent, fence, said = opened.groups()
        if len(fence) >= endless.get(fence[0], len(answer)):
            continue
        end = next((n for n in range(begin, len(lines)) if _closes(lines[n], fence)), None)
        if end is None:
            endless[fence[0]] = len(fence)
            continue
        code = "".join(f"{line.removeprefix(indent)}\n" for line in lines[begin:end])
        found.append(Block("".join(said.lower().split()[:1]), code))
        at = end + 1
    return found


def _closes(line: str, fence: str) -> bool:
    closing = _CLOSES.fullmatch(line)
    return closing is not None and closing[1].startswith(fence)


def program_of(answer: str, language: str, entry_point: str = "") -> str | None:
    """The program in an answer; None where no complete block can be one.

    Of the blocks that are labelled with the language, or where there are none, those without a
    label, it is the last that can be parsed and does what a program must: it defines the entry
    point, or where there is none, reads its input. Of several in Python it is the last that defines
    all that it uses, or the longest if none does. Failing that, the last that does so and cannot be
    parsed, then the last that can be, then the last of all. An example of use behind the program is
    not taken for it.
    """
    found = blocks_of(answer)
    labelled = [block.code for block in found if block.label in _LABELS[language]]
    codes = labelled or [block.code for block in found if not block.label]
    codes = [code for code in codes if code.strip()]
    parsed = [code for code in codes if fault_of(code, language) is None]
    fitting = [code for code in codes if _does_it(code, language, entry_point)]
    best = [code for code in fitting if code in parsed]
    if language == PYTHON and len(best) > 1:
        best = list(filter(_is_whole, best)) or [max(best, key=len)]
    return next((some[-1] for some in (best, fitting, parsed, codes) if some), None)


def fault_of(code: str, language: str) -> str | None:
    """Why a parser of the language does not take the code; None where it does."""
    return syntax_fault(code) if language == PYTHON else cpp.syntax_fault(code)


def is_placeholder(code: str, language: str) -> bool:
    """Whether code that can be parsed leaves open what it was to do.

    Of Python, where all that it does is `pass`, `...` or an error that says so; one function with a
    body is enough. A program that only says `pass` somewhere is no placeholder.
    """
    if language == CPP:
        return cpp.is_placeholder(code)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(code)
    bodies = [
        node.body
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    own = [node for node in tree.body if not isinstance(node, _DEFINES)]
    if any(not _is_empty(body) for body in bodies):
        return False
    return all(_says_nothing(node) or bodies and _only_calls(node) for node in own)


_DEFINES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


def _is_empty(body: Sequence[ast.stmt]) -> bool:
    return all(map(_says_nothing, body))


def _says_nothing(node: ast.stmt) -> bool:
    """Whether a statement is `pass`, `...`, a text, or the error of what is not written yet."""
    if isinstance(node, ast.Raise) and node.exc is not None:
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return isinstance(raised, ast.Name) and raised.id in _RAISES_NOTHING
    is_value = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Pass) or is_value


def _only_calls(node: ast.stmt) -> bool:
    """Whether a statement does no more than call what was defined: `main()`, guarded or not."""
    if isinstance(node, ast.If):
        return all(map(_only_calls, (*node.body, *node.orelse)))
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return False
    called = node.value.func
    return isinstance(called, ast.Name) and called.id != "print"


def _does_it(code: str, language: str, entry_point: str) -> bool:
    if language == PYTHON and entry_point:
        name = re.escape(entry_point)
        defined = rf"\bdef\s+{name}\b|^[ \t]*{name}[ \t]*(?::[^=\n]+)?=(?!=)"
        return re.search(defined, code, re.M) is not None
    return _READS[language].search(code) is not None


def _is_whole(code: str) -> bool:
    """Whether all names that Python uses are bound in it, somewhere, or built in."""
    used: set[str] = set()
    bound = {*dir(builtins), "__file__"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nodes = list(ast.walk(ast.parse(code)))
    for node in nodes:
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.alias):
            if node.name == "*":
                return True
            bound.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.MatchMapping):
            bound.add(node.rest or "")
        elif isinstance(node, _NAMED):
            bound.add(node.name or "")
    return used <= bound


_NAMED = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler, ast.MatchAs,
    ast.MatchStar,
)  # fmt: skip
