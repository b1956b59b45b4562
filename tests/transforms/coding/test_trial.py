"""Programs and their tests in the sandbox: no false verdict, and none that a program gives itself.

HumanEval's canonical solutions pass, and what a bare interpreter has shown to fail fails here too.
"""

import ast
import gzip
import json
import resource
import subprocess
import sys
from typing import Any

from sandbox import DockerSandbox
from tests import planned
from tests.transforms.coding import mutants
from transforms.coding.execute import Executing, executed
from transforms.coding.questions import code_problem
from transforms.coding.records import CodeProblem, CodeSolution, CodeTest
from transforms.records import Problem, Reject, Solution
from transforms.seeding import stream

DENSE = DockerSandbox(sessions_per_container=32, max_sessions=64, warm=0)
EACH = DockerSandbox(max_sessions=4, warm=0)
BARE_S = 2


def humaneval(data) -> list[tuple[CodeProblem, str]]:
    """Each problem and its canonical solution."""
    found = []
    with gzip.open(data / "humaneval" / "HumanEval.jsonl.gz") as file:
        for number, row in enumerate(map(json.loads, file)):
            extra = json.dumps({name: row[name] for name in ("test", "entry_point")})
            problem = Problem(f"h{number}", row["prompt"], "humaneval", row["task_id"], "", extra)
            made = code_problem(problem)
            assert isinstance(made, CodeProblem)
            found.append((made, row["prompt"] + row["canonical_solution"]))
    assert len(found) == 164
    return found


def solution(problem: CodeProblem, sample: int, code: str) -> CodeSolution:
    solved = Solution(f"{problem.id}-{sample}", problem.problem, "", None, ())
    return CodeSolution(solved.id, solved, "python", code, "")


def judged(window, sandbox, timeout_s: float = 4.0, samples: int = 1) -> dict[str, Any]:
    """What is said of each program, by id."""
    some = [
        (problem, [solution(problem, sample, code) for sample, code in enumerate(codes)])
        for problem, codes in window
    ]
    found = executed(some, "execute", Executing(sandbox, 0, timeout_s, None, samples))
    assert len({one.id for one in found}) == sum(len(codes) for _, codes in window)
    return {one.id: one for one in found}


def passes_bare(problem: CodeProblem, code: str) -> bool:
    """Whether a bare interpreter comes to the end of the check without an error."""

    def limits() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (BARE_S, BARE_S))
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))

    [test] = problem.tests
    program = "\n\n".join((code, test.input, f"check({problem.entry_point})"))
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, preexec_fn=limits, check=False
    )
    return done.returncode == 0


def test_humaneval_has_no_false_verdict(docker, data):
    """164 canonical solutions pass; a mutant fails here if and only if it does without a sandbox.

    Of each of the first problems there is one: of 82, or as many as BEAM_SDG_PROBLEMS says.
    """
    window, expected = [], {}
    for number, (problem, code) in enumerate(humaneval(data)):
        expected[f"{problem.id}-0"] = "correct"
        if number >= planned.problems(82):
            window.append((problem, [code]))
            continue
        mutant = mutants.mutant_of(code, problem.entry_point, stream("mutant", problem.id))
        assert ast.dump(ast.parse(mutant)) != ast.dump(ast.parse(code))
        window.append((problem, [code, mutant]))
        is_right = passes_bare(problem, mutant)
        expected[f"{problem.id}-1"] = "correct" if is_right else "incorrect"
    found = judged(window, DENSE, timeout_s=BARE_S)
    assert {of: one.verdict for of, one in found.items()} == expected
    assert list(expected.values()).count("incorrect") > 60
    wrong = [one.counts for one in found.values() if one.verdict == "incorrect"]
    assert any(one.failed for one in wrong) and any(one.timeouts for one in wrong)


ADD = CodeProblem(
    "stdin",
    Problem("stdin", "Add two numbers.", "test", "1", "", "{}"),
    (CodeTest("stdin", "1 2\n", "3\n"), CodeTest("stdin", "20 22\n", "42\n")),
)
CALLED = CodeProblem(
    "call",
    Problem("call", "Add two numbers.", "test", "2", "", "{}"),
    (CodeTest("call", "[1,41]", "[42]"), CodeTest("call", "[20,22]", "42")),
    entry_point="add",
)
CHECKED = CodeProblem(
    "check",
    Problem("check", "Add two numbers.", "test", "3", "", "{}"),
    (CodeTest("check", "def check(candidate):\n    assert candidate(20, offset(21)) == 42\n"),),
    entry_point="add",
    preamble="def offset(n):\n    return n + 1\n",
)
READS = "a, b = map(int, input().split())\n"
# Programs that read, that are right in an unusual way.
GOOD = {
    "exits": f"{READS}print(a + b)\nimport sys\nsys.exit(0)\n",
    "reads bytes": "import sys\nprint(sum(map(int, sys.stdin.buffer.read().split())))\n",
    "reads fd 0": "print(sum(map(int, open(0).read().split())))\n",
    "reads by os": "import os\nprint(sum(map(int, os.read(0, 99).split())))\n",
    "in a thread": f"import threading\ndef f():\n    {READS}    print(a + b)\n"
    "threading.stack_size(1 << 26)\nthreading.Thread(target=f).start()\n",
    "as main": f"def f():\n    {READS}    print(a + b)\nif __name__ == '__main__':\n    f()\n",
    "writes bytes": f"{READS}import sys\nsys.stdout.buffer.write(b'%d' % (a + b))\n",
    "warns": f"{READS}import sys\nprint('hm', file=sys.stderr)\nprint(a + b)\n",
    "at exit": f"{READS}import atexit\natexit.register(print, a + b)\n",
    "numpy": f"{READS}import numpy\nprint(numpy.add(a, b))\n",
}  # fmt: skip
LIE = '{"passed": true}'
# What ends in no verdict but wrong, whatever it tries.
BAD = {
    "silent": "",
    "loops": "while True:\n    pass\n",
    "sleeps": "import time\ntime.sleep(99)\n",
    "floods": "while True:\n    print('x' * 9999)\n",
    "quits": "import os\nos._exit(0)\n",
    "kills itself": "import os\nos.kill(os.getpid(), 9)\n",
    "kills all": "import os\nos.kill(os.getppid(), 9)\nos.kill(-1, 9)\n",
    "forks": "import os, time\nfor _ in range(500):\n    if os.fork() == 0:\n"
    "        time.sleep(99)\n",
    "eats memory": "x = bytearray(1 << 20)\nwhile True:\n    x += x\n",
    "lies": f"print('{LIE}')\nprint('passed')\nprint('ok')\n",
    "lies to the supervisor": "import os\nfor fd in range(3, 200):\n    try:\n"
    f"        os.write(fd, b'{LIE}')\n    except OSError:\n        pass\n",
    "writes to its parent": "import os\nopen(f'/proc/{os.getppid()}/fd/1', 'w').write('3')\n",
    "patches": "import builtins, json, os, zlib\njson.loads = json.dumps = lambda *a, **k: True\n"
    "builtins.exec = builtins.compile = print\nos.wait4 = lambda *a: (0, 0, None)\n",
    "looks for answers": "import gc\nprint([o for o in gc.get_objects() if isinstance(o, dict) and "
    "'output' in o])\n",
    "leaves a process": "import os, time\nif os.fork() == 0:\n    os.setsid()\n"
    "    time.sleep(99)\n",
    "is no Python": "print(",
    "fills the disk": "import itertools\ntry:\n    for n in itertools.count():\n"
    "        open(str(n), 'w').close()\nexcept OSError:\n    pass\n",
    "computes in children": "import os\nfor _ in range(5):\n    if os.fork() == 0:\n"
    "        for _ in range(4 * 10**7): pass\n        os._exit(0)\n    os.wait()\n"
    "print(sum(map(int, input().split())))\n",
}  # fmt: skip
# Of functions that are called: what they return or do.
LIARS = {
    "always equal": "class Any(int):\n    def __eq__(self, other):\n        return True\n"
    "def add(a, b):\n    return Any(7)\n",
    "forged value": "import os\ndef add(a, b):\n    for fd in range(1, 200):\n        try:\n"
    "            os.write(fd, b'\\n{\"value\": \"42\"}\\n')\n        except OSError:\n"
    "            pass\n    os._exit(0)\n",
    "forged pass": f"def add(a, b):\n    print('{LIE}')\n    raise SystemExit(0)\n",
    "patches the harness": "import sys\nfor m in list(sys.modules.values()):\n"
    "    for name in ('same_value', 'check', '_be_check', 'encode'):\n"
    "        setattr(m, name, lambda *a, **k: True) if m else None\n"
    "def add(a, b):\n    return object()\n",
    "raises": "def add(a, b):\n    raise AssertionError\n",
    "quits": "import os\ndef add(a, b):\n    os._exit(0)\n",
    "loops": "def add(a, b):\n    while True:\n        pass\n",
    "will not wake": "import time\ndef add(a, b):\n    while True:\n        try:\n"
    "            time.sleep(9)\n        except BaseException:\n            pass\n",
    "is not there": "def sub(a, b):\n    return a - b\n",
    "loops at once": "while True:\n    pass\n",
}  # fmt: skip
ASLEEP = ("sleeps", "will not wake")  # what uses no CPU time: nobody knows whether it was given any
RIGHT = "def add(a, b):\n    print('noise')\n    return a + b\n"
METHOD = "class Solution:\n    def add(self, a, b):\n        return a + b\n"


def attacked(sandbox, timeout_s: float, bad, liars) -> None:
    """Right programs beside wrong ones: each gets what is its own."""
    good = [f"{READS}print(a + b)\n", *GOOD.values()]
    window = [
        (ADD, [*good, *bad.values()]),
        (CALLED, [RIGHT, METHOD, *liars.values()]),
        (CHECKED, [RIGHT, METHOD, *liars.values()]),
    ]
    found = judged(window, sandbox, timeout_s)
    wrong = {"stdin": [*bad], "call": [*liars], "check": [*liars]}
    rights = {"stdin": len(good), "call": 2, "check": 2}
    names = {}
    for of, one in found.items():
        kind, _, number = of.rpartition("-")
        place = int(number) - rights[kind]
        name = f"{kind}: {wrong[kind][place]}" if place >= 0 else f"{of} right"
        names[name] = getattr(one, "verdict", None) or one.reason, one
        if place >= 0 and isinstance(one, Reject):  # nothing, for it was given no time, or slept
            assert "its CPU time has not" in one.detail, (name, one)
            continue
        assert name.partition(": ")[2] not in ASLEEP
        expected = "incorrect" if place >= 0 else "correct"
        assert getattr(one, "verdict", "") == expected, (name, one)
    if "loops" in bad:
        assert names["stdin: floods"][1].counts.errors == 2
        assert names["check: always equal"][1].counts.failed == 1


def test_a_bad_program_costs_itself_only(docker):
    """Loops, floods, bombs and lies, many in one container with right ones, which stay right."""
    attacked(DENSE, 1.0, BAD, LIARS)


def test_a_container_each_says_the_same(docker):
    """With programs of both kinds."""
    some = {name: BAD[name] for name in ("kills all", "lies")}
    window = [
        (ADD, [f"{READS}print(a + b)\n", *some.values()]),
        (CHECKED, [RIGHT, LIARS["forged value"]]),
    ]
    found = judged(window, EACH, 2.0)
    assert [one.verdict for one in found.values()] == [
        "correct", "incorrect", "incorrect", "correct", "incorrect",
    ]  # fmt: skip


def test_long_inputs_and_outputs_arrive_whole(docker):
    """A megabyte in pieces; what is longer than can be looked at is not judged, and said so."""
    numbers = [str(stream("long", n).randrange(10**18)) for n in range(40_000)]
    text = "\n".join(numbers)
    test = CodeTest("stdin", text, text)
    long = CodeTest("stdin", "1", "1" * 1_100_000)
    code = "import sys\nprint(sys.stdin.read())\n"
    ask = Problem("p", "?", "test", "1", "", "{}")
    found = judged(
        [
            (CodeProblem("p", ask, (test,)), [code]),
            (CodeProblem("q", ask, (test, long)), [code]),
            (CodeProblem("r", ask), [code]),
            (CodeProblem("s", ask, (CodeTest("check", "def check(:"),), "f"), ["def f(): pass"]),
        ],
        DENSE,
        8.0,
    )
    assert [one.verdict for one in found.values()] == [
        "correct", "correct", "untested", "untested",
    ]  # fmt: skip
    assert found["q-0"].counts.unjudged == found["q-0"].counts.passed == 1
    assert "too long" in found["q-0"].counts.first_fault
    assert "the check itself is broken" in found["s-0"].counts.first_fault
    assert found["r-0"].pass_rate is None and found["r-0"].pass_at == ()
