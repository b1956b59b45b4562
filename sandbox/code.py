"""Code in a model's answer: found and parsed, never run."""

import ast
import re

_PYTHON_BLOCK = re.compile(r"^```(?:python|py|python3)[ \t]*\n(.*?)^```", re.M | re.S | re.I)


def python_blocks(text: str) -> list[str]:
    """The contents of all closed ```python fences in `text`, in order."""
    return _PYTHON_BLOCK.findall(text)


def syntax_fault(code: str) -> str | None:
    """Why Python cannot parse `code`, in a few words; None where it can.

    Nothing is executed. Code that is too deeply nested to parse counts as faulty.
    """
    try:
        ast.parse(code)
    except SyntaxError as error:
        return f"line {error.lineno}: {error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:
        return str(error) or type(error).__name__
    return None
