"""C++ as far as a parser can tell: whether it can be parsed, and whether it does anything.

Nothing is compiled. The parser knows no preprocessor, so a line that uses a macro of the code's own
is not held against it; neither is what follows from such a line.
"""

import functools
import importlib.util
import re
from collections.abc import Iterator
from typing import Any

from transforms.errors import UsageError

_MACRO = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", re.M)
_IDLE = frozenset(("comment", "return_statement", "{", "}", ";"))


def require_parser() -> None:
    """Make sure that C++ can be parsed.

    Raises:
        UsageError: the parser is not installed.
    """
    names = ("tree_sitter", "tree_sitter_cpp")
    if not all(map(importlib.util.find_spec, names)):
        raise UsageError(
            "C++ is checked with the packages tree-sitter and tree-sitter-cpp, which are not "
            "installed; pip install 'beam-sdg[cpp]'"
        )


def syntax_fault(code: str) -> str | None:
    """Why the code is no C++, in a few words; None where nothing is found.

    Careful rather than complete: where the code has macros of its own, a fault in a line that uses
    one is not looked at.
    """
    macros = _MACRO.findall(code)
    used = re.compile(rf"\b(?:{'|'.join(map(re.escape, macros))})\b") if macros else None
    lines = code.splitlines()
    for node in _faults(_parsed(code).root_node):
        first, last = node.start_point[0], node.end_point[0]
        span = "\n".join(lines[max(0, first - 1) : last + 1])
        if used is not None and used.search(span):
            continue
        what = f"{node.type} is missing" if node.is_missing else "cannot be parsed"
        return f"line {first + 1}: {what}"
    return None


def is_placeholder(code: str) -> bool:
    """Whether no function has more in its body than comments and a return."""
    bodies = list(_bodies(_parsed(code).root_node))
    return all(child.type in _IDLE for body in bodies for child in body.children)


def _faults(node: Any) -> Iterator[Any]:
    if node.type == "ERROR" or node.is_missing:
        yield node
    elif node.has_error:
        for child in node.children:
            yield from _faults(child)


def _bodies(root: Any) -> Iterator[Any]:
    pending = [root]
    while pending:
        node = pending.pop()
        if node.type == "function_definition":
            body = node.child_by_field_name("body")
            if body is not None:
                yield body
        pending += node.children


def _parsed(code: str) -> Any:
    return _parser().parse(code.encode("utf-8", "replace"))


@functools.cache
def _parser() -> Any:
    require_parser()
    import tree_sitter
    import tree_sitter_cpp

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_cpp.language()))
