"""The child that compares formulas: what it costs, what ends it, and what it cannot do to us."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from transforms import symbolic
from transforms.errors import RunError
from transforms.symbolic import MathVerify

ENDLESS = ("9^{9^{9^9}}", "9^{9^{9^8}}")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def verifier() -> Iterator[MathVerify]:
    """One of the test's own, with a short limit."""
    own = MathVerify(limit_s=1.0)
    yield own
    own.close()


def child_of(verifier: MathVerify) -> int:
    assert verifier._child is not None
    return verifier._child.pid


def gone_within(pid: int, seconds: float) -> bool:
    give_up_at = time.monotonic() + seconds
    while True:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z" or time.monotonic() > give_up_at:
            return state == "Z"
        time.sleep(0.05)


def test_it_starts_at_the_first_question_and_stays(verifier):
    """One process for all questions, and none before."""
    assert verifier._child is None
    assert verifier.equal("x+1", "1+x")
    first = child_of(verifier)
    assert not verifier.equal("x+1", "x+2")
    assert verifier.equal(r"\sqrt{4}", "2")
    assert child_of(verifier) == first


def test_a_comparison_that_never_ends_is_killed_and_remembered(verifier):
    """It counts as different; the next question has a new child, the same one needs none."""
    verifier.equal("x", "y")
    first = child_of(verifier)
    start = time.monotonic()
    assert not verifier.equal(*ENDLESS)
    assert 0.5 < time.monotonic() - start < 30
    assert gone_within(first, 0)
    assert verifier.equal("x+1", "1+x")
    second = child_of(verifier)
    assert second != first
    start = time.monotonic()
    assert not verifier.equal(*reversed(ENDLESS))
    assert time.monotonic() - start < 0.1
    assert child_of(verifier) == second


def test_a_text_that_never_ends_is_compared_no_more():
    """Of many such texts, the time is that of each and not of each pair; others are not blamed."""
    own = MathVerify(limit_s=1.0)
    asked = []

    def ask(a: str, b: str) -> bool | None:
        asked.append((a, b))
        return MathVerify._asked(own, a, b)

    own._asked = ask  # type: ignore[method-assign]
    texts = ["x+1", *(f"9^{{9^{{9^{number}}}}}" for number in range(5, 9)), "1+x"]
    try:
        for a, b in itertools.combinations(texts, 2):
            assert own.equal(a, b) is ((a, b) == ("x+1", "1+x"))
    finally:
        own.close()
    assert len(asked) == 1 + 4 * 2 + 1, asked


def test_a_child_that_says_nothing_is_killed(verifier):
    """One that is stopped uses no processor time: the clock on the wall ends it."""
    verifier._wall_s = 1.0
    verifier.equal("x", "y")
    first = child_of(verifier)
    os.kill(first, signal.SIGSTOP)
    assert verifier.equal("x+1", "1+x"), "the second child answers"
    assert gone_within(first, 0)


def test_a_child_that_was_killed_is_replaced(verifier):
    """Whoever killed it, between two questions or in one, the answer is the same."""
    verifier.equal("x", "y")
    os.kill(child_of(verifier), signal.SIGKILL)
    assert verifier.equal("x+1", "1+x")
    threading.Timer(0.3, os.kill, (child_of(verifier), signal.SIGKILL)).start()
    assert not verifier.equal(*ENDLESS)
    assert verifier.equal("x+2", "2+x")


def test_memory_is_bounded():
    """What would fill the machine is different, and the next question is answered."""
    small = MathVerify(limit_s=20, memory_bytes=300 << 20)
    try:
        assert small.equal("x+1", "1+x")
        assert not small.equal("10^{10^9}+1", "10^{10^9}+2")
        assert small.equal("x+2", "2+x")
    finally:
        small.close()


def test_the_memo_is_bounded():
    """It forgets what was used least lately."""
    own = MathVerify(remembered=2)
    own._asked = lambda a, b: asked.append((a, b)) or True  # type: ignore[method-assign]
    asked: list[tuple[str, str]] = []
    for a, b in [
        ("a", "b"),
        ("b", "a"),
        ("c", "d"),
        ("a", "b"),
        ("e", "f"),
        ("b", "a"),
        ("c", "d"),
    ]:
        assert own.equal(a, b)
    assert asked == [("a", "b"), ("c", "d"), ("e", "f"), ("c", "d")]


def test_threads_share_it(verifier):
    """Each gets the answer to its own question."""
    wrong = []

    def ask(number: int) -> None:
        for other in range(number, number + 4):
            if verifier.equal(f"x+{number}", f"{other}+x") is not (number == other):
                wrong.append((number, other))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_it_outlives_the_thread_that_started_it(verifier):
    thread = threading.Thread(target=verifier.equal, args=("x", "y"))
    thread.start()
    thread.join()
    first = child_of(verifier)
    time.sleep(0.7)
    assert verifier.equal("x+1", "1+x")
    assert child_of(verifier) == first


@pytest.mark.parametrize("question", [("x+1", "1+x"), ENDLESS])
def test_it_ends_with_a_parent_that_is_killed(question):
    """Idle or at work, even where another process has a copy of its pipes."""
    program = f"""
import os, threading, time
from transforms.symbolic import MathVerify
own = MathVerify(limit_s=60)
own.equal("x", "y")
print(own._child.pid, flush=True)
copy = os.fork()
if not copy:
    time.sleep(20)
    os._exit(0)
print(copy, flush=True)
own.equal(*{question!r})
time.sleep(60)
"""
    parent = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert parent.stdout is not None
    child, copy = int(parent.stdout.readline()), int(parent.stdout.readline())
    time.sleep(1.0)
    assert not gone_within(child, 0)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    try:
        assert gone_within(child, 10)
    finally:
        os.kill(copy, signal.SIGKILL)


def test_it_ends_with_a_program_that_ends():
    """Without a word on the terminal, whatever math-verify logs."""
    program = """
from transforms.symbolic import equal_formulas
assert equal_formulas("x+1", "1+x")
from transforms import symbolic
print(symbolic._shared._child.pid)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stderr == ""
    assert gone_within(int(done.stdout), 5)


def test_ctrl_c_is_not_for_it(verifier):
    """It is in no group of the terminal's, and heeds no SIGINT."""
    verifier.equal("x", "y")
    child = child_of(verifier)
    assert os.getpgid(child) == child != os.getpgid(0)
    os.kill(child, signal.SIGINT)
    time.sleep(0.2)
    assert verifier.equal("x+1", "1+x")
    assert child_of(verifier) == child


def test_its_output_is_not_the_terminals(verifier):
    verifier.equal("x", "y")
    outputs = [str(Path(f"/proc/{child_of(verifier)}/fd/{number}").readlink()) for number in (1, 2)]
    assert outputs == [os.devnull] * 2


def test_a_fork_has_a_child_of_its_own():
    """Two processes on one pair of pipes would read each other's verdicts."""
    program = """
import os
from transforms import symbolic
assert symbolic.equal_formulas("x+1", "1+x")
shared = symbolic._shared
pid = os.fork()
if not pid:
    os._exit(0 if symbolic._shared is not shared and symbolic._shared._child is None else 1)
assert os.waitpid(pid, 0)[1] == 0
assert symbolic._shared is shared and symbolic.equal_formulas("x+2", "2+x")
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise SystemExit(7)", "it ended with 7"),
        (
            'import os; body = b\'{"fault": "no such module"}\'; '
            "os.write(1, len(body).to_bytes(4, 'big') + body)",
            "no such module",
        ),
        ("import os, time; os.write(1, b'\\xff' * 9); time.sleep(60)", "it ended with -9"),
        ("import os; os.write(1, b'\\0\\0\\0\\4nope')", "it ended with 0"),
    ],
)
def test_a_child_that_cannot_start_is_an_error(tmp_path, monkeypatch, body, says):
    """A broken machine decides no verdict; and what it sends is not believed."""
    child = tmp_path / "child.py"
    child.write_text(body)
    monkeypatch.setattr(symbolic, "_CHILD", child)
    with pytest.raises(RunError, match=f"math-verify does not start: {says}"):
        MathVerify().equal("x", "y")
