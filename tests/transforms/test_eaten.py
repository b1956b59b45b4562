"""What JSON leaves of a TeX command is told from tabs and line breaks that were meant."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.eaten import spoilt_text
from transforms.json_answers import json_values

EATEN = [
    *(
        r"\frac{1}{2}",
        r"x\beta",
        r"\binom{n}{2}",
        r"\bar x",
        r"\forall x",
        r"\rho",
        r"\left(x\right)",
    ),
    *(r"a\rightarrow b", r"\lceil x\rceil", r"{\rm d}x", r"x\theta", r"2\times 3", r"\tilde{x}"),
    *(
        r"x\triangle y",
        r"\triangleleft",
        r"\therefore x",
        r"\text{if } x",
        r"\textbf{x}",
        r"\tag{1}",
    ),
    *(
        r"\tag*{1}",
        r"\tfrac{1}{2}",
        r"x \tfrac12",
        r"x\to 0",
        r"x \to\infty",
        r"x\tau_1",
        r"2\tau x",
    ),
    *(r"A^\top B", r"A^\top$", r"$\tan x$", r"\tanh", r"\nabla f", r"x\neq 0", r"x \neq0"),
    *(
        r"x\notin A",
        r"a\not=b",
        r"\not\in",
        r"a \nleq b",
        r"A \nsubseteq B",
        r"\neg\phi",
        r"\notag",
    ),
]
EATEN_IN_FORMULA = [
    *(r"a\ne b", r"a \ne b", r"x\ne0", r"x\ne -1", r"\nu", r"h\nu = E", r"\nu_1", r"A\ni x"),
    *(r"a\nmid b", r"p \lor \neg p", r"x \neq (1)", r"x_{1}\neq y, z", "1 = 2\\tag{1}", r"\tau"),
]
CLEAN = [
    *("func f() {\n\textra := 1\n\tfrac := 0.5\n\to := 1\n}", "if x:\n\tan = 1\n\t\ttext = 2"),
    *(
        "\tau = 1\n\top()",
        "while x:\n    \tto = 1\n\n\tag = {}",
        "x\to\tx\no\tx\to",
        "name\top\tn\n1\tau",
    ),
    *("name\top\n1\t2", "id\ttext\n1\tone", "one\rtwo\rred\rroot = 1", "a\r\nreal\r\ntheta", "\r"),
    *("a\nnot very", "x = 1\ni = 0\nu = 2\ne = 3\neq = Eq(x, 1)\nmid = 2", "p edge 3 2\ne 1 2"),
    *(
        "see\ne.g. this",
        "pane\ne vino",
        "from\neq. (3)",
        "by\neq (3)",
        "$$\nu = 3\ne^x\n$$",
        "$x$\nu",
    ),
    *(
        "costs $5 and\ni have $3",
        "$x$ is\nu and $y$",
        "\\(x\\) is\nu and \\(y\\)",
        "no\nnext\nnull",
    ),
    *("$\\begin{cases}\nu & v\\\\\ne & f\\end{cases}$", "$$\\begin{pmatrix}\nu\\end{pmatrix}$$"),
    *(
        "a\nnegative",
        "x\ttotal",
        "x\ttheory",
        "x\tangle",
        "$\\nu$ and $\\theta$",
        "",
        "a\nleft\nless",
    ),
]
CODE = st.sampled_from(
    [
        "x = 1",
        "i = 0",
        "e = 2",
        "u, v = 3, 4",
        "text := 1",
        "extra()",
        "o.run()",
        "an = [1]",
        "if x:",
    ]
    + [
        "return {op}",
        "tau = 1",
        "frac := 0.5",
        "ext = f(x)",
        "nu = 2",
        "neq(a, b)",
        "eq = a == b",
        "",
    ]
)
WORDS = st.sampled_from(
    [
        "an",
        "not",
        "no",
        "to",
        "on",
        "text",
        "next",
        "right",
        "theta",
        "neither",
        "time",
        "top",
        "new",
    ]
    + [
        "e.g.",
        "i",
        "I",
        "a",
        "number",
        "nu",
        "real",
        "mid",
        "beta",
        "frac",
        "one",
        "$x$",
        "$5",
        "it",
    ]
)
BREAKS = st.sampled_from(["\n", "\n\n", "\r\n", "\n\t", "\n\t\t", "\n  "])


def read(written: str) -> str:
    """The text that is read where a model writes this without doubling a backslash."""
    (value,) = json_values(f'{{"a": "{written}"}}').values
    return value["a"]


@pytest.mark.parametrize("command", EATEN)
@pytest.mark.parametrize("around", ["So {}", "So ${}$.", "So {} holds\n\tthere."])
def test_what_is_left_of_a_command_is_found(command, around):
    """Wherever within a line it stands."""
    assert spoilt_text(read(around.replace("{}", command))).startswith("\\")


@pytest.mark.parametrize("command", EATEN_IN_FORMULA)
@pytest.mark.parametrize("around", ["If $x$ is ${}$.", "Let $${}$$ be.", r"A \\({}\\) b."])
def test_within_a_formula_even_a_letter_is_enough(command, around):
    """A formula of one line has no line break; only a displayed one may begin with one."""
    if not (around.startswith("Let") and command.startswith(r"\n")):
        assert spoilt_text(read(around.replace("{}", command))).startswith("\\")


@pytest.mark.parametrize(
    "command", [r"\theta", r"\triangle", r"\times", r"\text{a}", r"\tfrac{1}{2}"]
)
@pytest.mark.parametrize("before", ["", "x\n", "x\n\t"])
def test_what_is_no_word_is_found_at_the_beginning_of_a_line_too(command, before):
    """No line of code or prose begins so."""
    assert spoilt_text(before + read(command)) == command


@pytest.mark.parametrize(
    "command", [r"\nu", r"\to 0", r"\ne b", r"\ni", r"\nmid x", r"\tau x", r"\tan x"]
)
def test_beside_another_backslash_that_is_not_doubled_more_is_found(command):
    """The model does not double them, so a line that begins like a command is one."""
    assert spoilt_text(read(command), beside_stray=True) == command
    assert spoilt_text("def f():\n\tif x:\n\t\treturn 1\nnot", beside_stray=True) == ""


@pytest.mark.parametrize("text", CLEAN)
def test_tabs_and_line_breaks_that_are_meant_are_kept(text):
    """Indents, cells of tables, verses, displayed formulas."""
    assert spoilt_text(text) == ""


@given(st.lists(st.tuples(CODE, BREAKS)), st.lists(st.lists(WORDS, min_size=1), max_size=4), BREAKS)
def test_ordinary_code_prose_and_tables_are_never_spoilt(code, prose, line_break):
    """Lines of code at any indent, prose broken anywhere between words, cells between tabs."""
    program = "".join(line + line_break for line, line_break in code)
    text = line_break.join(" ".join(words) for words in prose)
    table = "\n".join("\t".join(words) for words in prose)
    assert [spoilt_text(each) for each in (program, text, table)] == ["", "", ""]


@given(st.text("abn \t\n\r$\\(){}eu"))
def test_a_doubled_backslash_is_never_an_eaten_one(text):
    """Without control characters nothing is spoilt."""
    assert spoilt_text(" ".join(text.split())) == ""


@pytest.mark.parametrize("part", ["$", "\\(", "$\n", " \t", "\\(\n", "$a ", "\n", "$$\n", " "])
def test_the_cost_grows_with_the_length_only(part):
    """A megabyte takes no minutes."""
    started = time.process_time()
    spoilt_text(part * (1_000_000 // len(part)))
    assert time.process_time() - started < 5
