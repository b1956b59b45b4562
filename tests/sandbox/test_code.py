"""Code in answers: which blocks are Python, and whether they parse."""

import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.code import python_blocks, syntax_fault

LINES = st.lists(st.text(st.characters(exclude_characters="`\r\n")), max_size=5)
CODE = LINES.map(lambda lines: "".join(f"{line}\n" for line in lines))


@given(st.lists(st.tuples(CODE, CODE), max_size=4), CODE)
@settings(deadline=None)
def test_every_closed_block_is_found_in_order(parts, after):
    """Each Python fence gives its content, character by character, whatever prose is between."""
    text = "".join(f"{prose}```python\n{code}```\n" for prose, code in parts)
    assert python_blocks(text + after) == [code for _, code in parts]


@pytest.mark.parametrize("tag", ["python", "py", "python3", "Python", "PYTHON", "python \t"])
def test_the_tags_of_python_are_known(tag):
    """A fence may call the language python, py or python3, in any case."""
    assert python_blocks(f"So:\n```{tag}\nx = 1\n```") == ["x = 1\n"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x = 1",
        "```\nx = 1\n```",
        "```cpp\nint x;\n```",
        "```text\nx\n```",
        "```pyrex\nx\n```",
        "```python x = 1```",
        "Say `python` or ```python\nx``` within a line",
        "```python2\nprint 1\n```",
    ],
)
def test_other_text_has_no_python_blocks(text):
    """Other languages, fences without a tag, and fences within a line are not taken."""
    assert python_blocks(text) == []


def test_a_block_of_another_language_does_not_hide_the_next():
    """A Python block after a block of text, with nothing in between, is found."""
    text = "```text\n1 2\n```\n```python\nx = 1\n```\n```\nout\n```\n```py\ny = 2\n```"
    assert python_blocks(text) == ["x = 1\n", "y = 2\n"]


def test_back_quotes_within_a_line_do_not_end_a_block():
    """A block ends with back quotes at the start of a line and no others."""
    code = 's = "```"\nt = 1  # ```\n'
    assert python_blocks(f"```python\n{code}```") == [code]


def test_an_empty_block_is_a_block():
    """A fence with nothing in it has an empty content."""
    assert python_blocks("```python\n```") == [""]


@pytest.mark.parametrize(
    "code",
    [
        "",
        "x = 1",
        "# only a comment",
        "def f(x: int) -> int:\n    return x\n",
        "async def f():\n    await g()\n",
        "match x:\n    case [1, *_]:\n        pass\n",
        "print(f'{x!r:>{width}}')",
        "été = 'π'",
        "import os; os.remove('/')",
        "raise SystemExit(1)",
        "[" * 90 + "]" * 90,
    ],
)
def test_python_that_parses_has_no_fault(code):
    """Code of any kind passes if Python can parse it, whatever it would do."""
    assert syntax_fault(code) is None


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("x = ", 1),
        ("print 1", 1),
        ("x = 1\ny = = 2", 2),
        ("def f():\nreturn 1", 2),
        ("if x:\n  y = 1\n z = 2", 3),
        ("for (int i = 0; i < n; i++) {}", 1),
        ("x = (1,\ny = 2", 1),
        ("s = 'open", 1),
        ("return 1 +", 1),
    ],
)
def test_a_fault_names_the_line(code, line):
    """Where Python cannot parse the code, the fault begins with the line's number."""
    assert syntax_fault(code).startswith(f"line {line}: ")


@pytest.mark.parametrize(
    "code",
    [
        "(" * 1000,
        "-" * 100_000 + "1",
        "a" + ".b" * 100_000,
        "+".join(["1"] * 100_000),
        "not " * 5000 + "x",
        "".join(" " * depth + "if x:\n" for depth in range(200)),
        "x = 1\0",
        "x = '\ud83d'",
        f"x = {'9' * 5000}",
    ],
    ids=[
        "brackets",
        "signs",
        "attributes",
        "sum",
        "negations",
        "indentation",
        "null byte",
        "lone surrogate",
        "long number",
    ],
)
def test_code_that_no_parser_takes_is_a_fault(code):
    """Nesting without end, characters that are none and numbers without end are faults."""
    assert syntax_fault(code)


@given(st.text(st.characters()) | st.text("()[]{}'\"\\\n :=fbx01\0#@"))
@settings(max_examples=150, deadline=None)
def test_any_text_is_parsed_or_faulted(code):
    """No text makes the parser's own errors come out; a fault says something on one line."""
    fault = syntax_fault(code)
    assert fault is None or (fault and "\n" not in fault)


def test_parsing_runs_nothing(tmp_path):
    """Code that would write a file has not written it after it was parsed."""
    target = tmp_path / "written"
    assert syntax_fault(f"open({str(target)!r}, 'w').write('x')") is None
    assert not target.exists()


@pytest.mark.parametrize("code", [r"p = '\d+'", "x = 1if y else 2", "assert (x, 'y')", "1 is 1"])
def test_code_that_only_earns_a_warning_has_no_fault(code):
    """Doubtful code that Python takes has no fault, and no warning gets out."""
    assert syntax_fault(code) is None


def test_indented_code_of_a_docstring_is_taken_as_it_is():
    """The content of a block is not dedented: Python would not dedent it either."""
    code = textwrap.indent("x = 1\n", "    ")
    (block,) = python_blocks(f"```python\n{code}```")
    assert block == code
    assert syntax_fault(block).startswith("line 1: ")
