"""Code in a model's answer: found and parsed, never run."""

import ast
import re
import warnings

_PYTHON_BLOCK = re.compile(
    r"^```(?:python|py|python3)[ \t]*\r?\n(.*?)(?:^```|\Z)", re.M | re.S | re.I
)


def python_blocks(text: str) -> list[str]:
    """The contents of all ```python fences in `text`, in order, the last one closed or not."""
    return _PYTHON_BLOCK.findall(text)


def syntax_fault(code: str) -> str | None:
    """Why Python cannot parse `code`, in a few words; None where it can.

    Nothing is executed. Code that is too deeply nested to parse counts as faulty.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code)
    except SyntaxError as error:
        return f"line {error.lineno}: {error.msg}" if error.lineno else error.msg
    except (ValueError, RecursionError, MemoryError) as error:
        return str(error) or type(error).__name__
    return None
