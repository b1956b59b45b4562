"""Verdicts that no program can turn into another: in sessions without walls, since none attacks."""

import warnings

import pytest

from sandbox import LocalSandbox
from tests.transforms.coding.test_trial import ADD, CALLED, CHECKED, READS, RIGHT, solution
from transforms.coding.execute import Executing, executed
from transforms.coding.records import CodeProblem, CodeSolution, CodeTest
from transforms.records import Problem, Reject

LOCAL = LocalSandbox(max_sessions=4)
ASKED = Problem("p", "?", "test", "1", "", "{}")
ONE_CALL = CodeProblem("p", ASKED, (CodeTest("call", "[]", "42"),), "f")


def held_to(check: str) -> CodeProblem:
    body = "".join(f"    {line}\n" for line in check.splitlines())
    return CodeProblem("p", ASKED, (CodeTest("check", f"def check(candidate):\n{body}"),), "f")


def found_of(problem: CodeProblem, code: str, timeout_s: float = 0.5) -> CodeSolution | Reject:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        window = [(problem, [solution(problem, 0, code)])]
        [found] = executed(window, "execute", Executing(LOCAL, timeout_s=timeout_s))
    return found


BUSY = "import time\nend = time.process_time() + 0.25\nwhile time.process_time() < end:\n    pass\n"
CHILDREN = (
    "import os\nfor _ in range(3):\n    if os.fork() == 0:\n"
    + "".join(f"        {line}\n" for line in BUSY.splitlines())
    + "        os._exit(0)\n    os.wait()\n"
)
STOPS_THE_TIMER = "import signal, time\nsignal.setitimer(signal.ITIMER_PROF, 0)\n" + BUSY * 3


def indented(code: str) -> str:
    return "".join(f"    {line}\n" for line in code.splitlines())


@pytest.mark.parametrize(
    ("problem", "code", "verdict", "why"),
    [
        (ONE_CALL, "def f(): return 42", "correct", ""),
        (ONE_CALL, "def f(): return 10**400", "incorrect", "it returned"),
        (ONE_CALL, "def f(): return {k * (2**61 - 1) for k in range(41_000)}", "incorrect", ""),
        (ONE_CALL, "def f(): raise ValueError('\\ud800')", "incorrect", "ValueError"),
        (ONE_CALL, "import os\ndef f():\n    for fd in range(3, 99):\n        try:\n"
         "            os.write(fd, b'\\n{\"value\": \"42\"}\\n')\n        except OSError:\n"
         "            pass\n    os._exit(0)\n", "incorrect", "the interpreter"),
        (ONE_CALL, f"def f():\n{indented(CHILDREN)}    return 42\n", "incorrect", "CPU time"),
        (ONE_CALL, f"def f():\n{indented(STOPS_THE_TIMER)}    return 42\n", "incorrect", "CPU"),
        (ADD, f"{CHILDREN}{READS}print(a + b)\n", "incorrect", "out of CPU time"),
        (ADD, f"{READS}print(a + b)\n", "correct", ""),
        (ADD, "while True:\n    pass\n", "incorrect", "out of CPU time"),
        (ONE_CALL, "def f():\n    while True:\n        pass\n", "incorrect", "out of CPU time"),
        (ONE_CALL, "def f():\n    while True:\n        print('x' * 5000, flush=True)\n",
         "incorrect", "out of CPU time"),
        (ADD, "import os\nos.kill(os.getpid(), 9)\n", "incorrect", "killed by SIGKILL"),
        (CALLED, RIGHT, "correct", ""),
        (CHECKED, RIGHT, "correct", ""),
    ],
)  # fmt: skip
def test_a_program_is_judged_by_what_it_does(problem, code, verdict, why):
    """By all of its CPU time, and by data alone."""
    found = found_of(problem, code)
    assert isinstance(found, CodeSolution), found
    assert (found.verdict, found.counts.unjudged) == (verdict, 0)
    assert why in found.counts.first_fault
    found.counts.first_fault.encode()


@pytest.mark.parametrize(
    ("check", "code", "verdict", "why"),
    [
        ("assert 1 in candidate()", "def f(): return {1}", "correct", ""),
        ("assert max(candidate()) < 9", "def f(): return [8]", "correct", ""),
        ("while candidate(): pass", "def f(): return 0", "correct", ""),
        ("n = candidate()\nwhile n: pass", "def f(): return 1", "incorrect",
         "broke over its answer"),
        ("n = candidate()\nif n: import os; os._exit(1)", "def f(): return 1", "incorrect",
         "broke over its answer"),
        ("import os; os._exit(1)", "def f(): return 1", "untested", "the check itself is broken"),
        ("candidate(len)", "def f(g): return 1", "untested", "has no plain form"),
        ("try:\n    candidate(len)\nexcept TypeError:\n    pass", "def f(g): return 1", "untested",
         "has no plain form"),
        ("assert False", "def f(): return 1", "untested", "asks the program nothing"),
        ("pass", "def f(): return 1", "untested", "asks the program nothing"),
    ],
)  # fmt: skip
def test_what_breaks_a_check_is_the_program_s_once_it_has_answered(check, code, verdict, why):
    """Before, nobody can be judged by it."""
    found = found_of(held_to(check), code, timeout_s=0.2)
    assert isinstance(found, CodeSolution), found
    assert found.verdict == verdict and why in found.counts.first_fault


@pytest.mark.parametrize("where", ["at once", "in the function"])
def test_what_was_given_no_cpu_time_is_no_verdict(where):
    """The clock was up, even after patience, and the CPU time was not."""
    sleeps = "import time\ntime.sleep(99)\n"
    code = sleeps if where == "at once" else f"def f():\n{indented(sleeps)}"
    found = found_of(ONE_CALL, code, timeout_s=0.1)
    assert isinstance(found, Reject) and found.reason == "sandbox_failed"
    assert "its CPU time has not" in found.detail


def test_a_harness_without_room_is_tried_alone_and_then_the_program_s():
    """A program that leaves a folder where its next input is to be."""
    code = f"import os\nos.remove('.input')\nos.mkdir('.input')\n{READS}print(a + b)\n"
    found = found_of(ADD, code)
    assert isinstance(found, CodeSolution) and found.verdict == "incorrect"
    assert "the session has no room" in found.counts.first_fault
    assert (found.counts.passed, found.counts.errors) == (1, 1)
