"""Which answers are solutions: the published filters, and where they were wrong."""

import json
import time

import pytest

from transforms.coding.blocks import blocks_of, is_placeholder, program_of
from transforms.coding.cpp import syntax_fault
from transforms.coding.filters import filtered
from transforms.records import Problem, Reject, Solution

PROGRAM = "n = int(input())\nprint(n + 1)\n"
THOUGHT = "<think>\nOne more.\n</think>\n\n"


def fenced(code, label="python"):
    return f"```{label}\n{code.rstrip()}\n```\n"


def answer(text, reasoning="", entry_point=""):
    extra = json.dumps({"entry_point": entry_point} if entry_point else {})
    problem = Problem("p", "One more than n?", "test", "1", "", extra)
    return Solution("p-0", problem, text, None, (), reasoning=reasoning)


def fate(text, language="python", reasoning="", required=True, entry_point=""):
    """The reason of an answer's reject, or its program."""
    found = filtered(answer(text, reasoning, entry_point), "filter", language, required)
    return found.reason if isinstance(found, Reject) else found.code


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (fenced(PROGRAM), "no_reasoning"),
        (f"<think>\nOne more.\n{fenced(PROGRAM)}", "no_reasoning"),
        (f"{THOUGHT}Easy, that.", "short_answer"),
        (f"{THOUGHT}→ Like this, then:\n{fenced(PROGRAM)}", "not_ascii"),
        (f"{THOUGHT}Put Your Code Here and go on:\n{fenced(PROGRAM)}", "placeholder_text"),
        (f"{THOUGHT}It is one more than n is.", "no_program"),
        (f"{THOUGHT}Here it is, in full:\n```python\n{PROGRAM}", "no_program"),
        (f"{THOUGHT}Here it is, in full:\n{fenced(PROGRAM, 'java')}", "no_program"),
        (f"{THOUGHT}Here it is, in full:\n{fenced('print(input(')}", "syntax_error"),
        (f"{THOUGHT}Here it is, in full:\n{fenced('def f(n):' + chr(10) + ' pass' + chr(10))}",
         "placeholder_code"),
    ],
)  # fmt: skip
def test_each_fault_has_its_reason(text, reason):
    """And an answer without one has none."""
    assert fate(text) == reason
    assert fate(f"{THOUGHT}Like this, then:\n{fenced(PROGRAM)}") == PROGRAM


def test_reasoning_may_be_apart_or_not_wanted():
    """A server sets it apart; a model that does not reason has none."""
    text = f"Like this, then:\n{fenced(PROGRAM)}"
    assert fate(text, reasoning="One more.") == fate(text, required=False) == PROGRAM


@pytest.mark.parametrize("text", [f"{THOUGHT}A\n", f"{THOUGHT.removeprefix('<think>')}A\n"])
def test_the_whole_answer_has_its_tags(text):
    """The first is put back where a model was made to begin behind it."""
    found = filtered(answer(f"{text}Like this, then:\n{fenced(PROGRAM)}"), "filter", "python", True)
    assert found.output.startswith("<think>\n") and found.output.count("<think>") == 1
    apart = filtered(
        answer(f"Like this, then:\n{fenced(PROGRAM)}", "Hm."), "filter", "python", True
    )
    assert apart.output.startswith("<think>\nHm.\n</think>\n\nLike this")


def test_a_word_that_has_pass_in_it_is_no_placeholder():
    """Published, `passed` and `password` cost the answer, and so did any `pass` in a class."""
    code = "passed = 0\nfor _ in range(3):\n    pass\nprint(passed, input())\n"
    assert fate(f"{THOUGHT}Like this, then:\n{fenced(code)}") == code


@pytest.mark.parametrize(
    ("code", "is_one"),
    [
        ("def f():\n    pass\n", True),
        ("def f():\n    ...\n\nf()\n", True),
        ('def f():\n    """Not yet."""\n    raise NotImplementedError("f")\n', True),
        ("import sys\n\ndef main():\n    pass\n\nif __name__ == '__main__':\n    main()\n", True),
        ("pass\n", True),
        ("class A:\n    pass\n", True),
        ("class A:\n    pass\n\ndef f(n):\n    return n\n", False),
        ("print(input())\n", False),
        ("def f():\n    raise ValueError\n", False),
    ],
)
def test_a_placeholder_does_nothing_at_all(code, is_one):
    assert is_placeholder(code, "python") == is_one


def test_the_right_block_is_taken_wherever_it_stands():
    """Published is the first: a sketch before, or an example behind, was taken for the program."""
    sketch, example = fenced("def f(n):\n    pass\n"), fenced("print(f(3))\n")
    own = "def f(n):\n    return n + 1\n"
    assert program_of(f"{sketch}{fenced(own)}{example}", "python", "f") == own
    assert program_of(f"{fenced('x = 1')}{fenced(PROGRAM)}{example}", "python") == PROGRAM
    assert program_of(f"{fenced(PROGRAM, '')}{fenced('$ run', 'sh')}", "python") == PROGRAM
    assert program_of(f"{fenced('1 2', '')}{fenced(PROGRAM, 'Python3')}", "python") == PROGRAM
    assert program_of(f"{fenced(PROGRAM)}```python\nprint(", "python") == PROGRAM
    broken = "n = int(input(\n"
    assert program_of(f"{fenced(broken)}{fenced('print(1)')}", "python") == broken, "no other"


def test_fences_are_read_as_markdown_has_them():
    """Longer ones hold shorter ones; tildes; indented; text behind the label."""
    text = f"````python\n{fenced('x')}````\n~~~py\ny\n~~~\n  ```cpp main.cpp\nz\n  ```\n"
    assert [block.label for block in blocks_of(text)] == ["python", "py", "cpp"]


def test_fences_that_are_never_closed_take_no_time():
    """However many there are; a shorter one behind them is still read."""
    unclosed = "".join(f"{'`' * (4 + n % 3)}python\nprint({n})\n\n" for n in range(20_000))
    before = time.process_time()
    assert blocks_of(unclosed) == []
    assert [block.code for block in blocks_of(f"{unclosed}{fenced('x')}")] == ["x\n"]
    for line in (f"~~~{'x' * 80_000}`", f"{'~' * 80_000}`", f"```{' ' * 80_000}`"):
        assert blocks_of(line) == []
    assert time.process_time() < before + 5


def test_an_indented_block_is_read_as_if_it_were_not():
    """As in a list; its own indent stays."""
    text = "1. So:\n\n   ```python\n   if n:\n       n = 1\n\n   ```\n"
    assert [block.code for block in blocks_of(text)] == ["if n:\n    n = 1\n\n"]


@pytest.mark.parametrize("behind", ["n = int(input())\nprint(brute(n))\n", "print(f(input()))\n"])
def test_a_block_that_uses_what_it_does_not_define_is_no_program(behind):
    """It goes with one before it; of several such, the longest is taken."""
    assert program_of(f"{fenced(PROGRAM)}{fenced(behind)}", "python") == PROGRAM
    parts = "import sys\nn = int(input())\nprint(solve(n) + offset(n))\n"
    assert program_of(f"{fenced(parts)}{fenced(behind)}", "python") == parts
    starred = f"from lib import *\n{behind}"
    assert program_of(f"{fenced(PROGRAM)}{fenced(starred)}", "python") == starred


def test_an_entry_point_may_be_assigned():
    """Not only defined."""
    for own in ("f = lambda n: n + 1\n", "f: object = max\n"):
        assert program_of(f"{fenced(own)}{fenced('print(f(1) == 2)')}", "python", "f") == own


CPP = "#include <iostream>\n\nint main() {\n    int n;\n    std::cin >> n;\n    return 0;\n}\n"
MACROS = """#include <bits/stdc++.h>
using namespace std;
#define rep(i, n) for (int i = 0; i < (n); i++)
#define each(x, v) for (auto& x : v)
template <class T> using V = vector<T>;
int main() {
    int n; cin >> n;
    V<int> v(n);
    rep(i, n) cin >> v[i];
    each(x, v) { x *= 2; }
    auto f = [&](auto self, int k) -> int { return k ? self(self, k - 1) : 0; };
    cout << f(f, 3) << endl;
}
"""


@pytest.mark.parametrize(
    ("code", "is_fine"),
    [
        (CPP, True),
        (MACROS, True),
        (CPP.replace("n;\n", "n\n"), False),
        (CPP.replace("}\n", ""), False),
        ("def main():\n    print(1)\n", False),
    ],
)
def test_a_parser_tells_cpp(code, is_fine):
    """With templates, lambdas and macros of its own, which no parser expands."""
    assert (syntax_fault(code) is None) == is_fine


def test_a_program_in_cpp_does_something():
    """A body of comments and a return is none."""
    text = f"{THOUGHT}Like this, then:\n"
    assert fate(f"{text}{fenced(CPP, 'cpp')}", "cpp") == CPP
    empty = "int main() {\n    // TODO\n    return 0;\n}\n"
    assert fate(f"{text}{fenced(empty, 'c++')}", "cpp") == "placeholder_code"
    assert fate(f"{text}{fenced(PROGRAM)}", "cpp") == "no_program"
