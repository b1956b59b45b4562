"""Equality of formulas by math-verify, in one child process that can be killed.

math-verify keeps its own time by SIGALRM, which no thread may use, and sympy can compute for ever
or fill the memory, whatever the text looks like: `9^{9^{9^9}}`. So it runs in a process of its own,
which starts at the first question, stays for all later ones and is replaced where it was killed. A
comparison that reached its limit counts as "different", and is remembered as that.
"""

import atexit
import collections
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transforms.errors import RunError

LIMIT_S = 5.0
MEMORY_BYTES = 1 << 30
REMEMBERED = 1 << 16
_WALL_FACTOR = 6  # processor time is the limit: how busy the machine is decides no verdict
_START_LIMIT_S = 120.0
_MAX_FRAME = 1 << 16
_PROBE = "2"
_ENDS = ""  # of a pair with it, what is remembered is whether a comparison of the text ends
_CHILD = Path(__file__).with_name("symbolic_child.py")


class MathVerify:
    """Says whether two formulas are equal, and remembers what it has said.

    Threads may share it; they take turns. The child is gone soon after this process, however that
    ends, gets no Ctrl-C and writes to no terminal.

    Args:
        limit_s: processor time for a comparison. A child that is stuck without using any is killed
            after six times as long.
        memory_bytes: the address space that the child may have.
        remembered: the number of verdicts kept, those that were used last.
    """

    def __init__(
        self,
        limit_s: float = LIMIT_S,
        memory_bytes: int = MEMORY_BYTES,
        remembered: int = REMEMBERED,
    ) -> None:
        self._settings = {"limit_s": limit_s, "memory_bytes": memory_bytes, "parent": os.getpid()}
        self._wall_s = limit_s * _WALL_FACTOR
        self._remembered = remembered
        self._verdicts: collections.OrderedDict[tuple[str, str], bool] = collections.OrderedDict()
        self._memo_lock = threading.Lock()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def equal(self, a: str, b: str) -> bool:
        """Whether math-verify takes one for the other, in either order.

        A text that reaches the limit beside a plain number, too, is compared with nothing more.

        Raises:
            RunError: the child cannot be started, so that nothing can be said.
        """
        pair = (a, b) if a <= b else (b, a)
        known = self._recalled(pair)
        if known is None:
            if any(self._recalled((text, _ENDS)) is False for text in pair):
                return False
            known = self._asked(*pair)
            self._remember(pair, bool(known))
            if known is None:
                self._find_endless(pair)
        return bool(known)

    def _find_endless(self, texts: Iterable[str]) -> None:
        """Remember which of the texts is to blame for a comparison that reached its limit."""
        for text in texts:
            if self._recalled((text, _ENDS)) is None:
                self._remember((text, _ENDS), self._asked(text, _PROBE) is not None)

    def _recalled(self, pair: tuple[str, str]) -> bool | None:
        with self._memo_lock:
            if pair in self._verdicts:
                self._verdicts.move_to_end(pair)
            return self._verdicts.get(pair)

    def _remember(self, pair: tuple[str, str], verdict: bool) -> None:
        with self._memo_lock:
            self._verdicts[pair] = verdict
            while len(self._verdicts) > self._remembered:
                self._verdicts.popitem(last=False)

    def close(self) -> None:
        """End the child; the next question starts another."""
        with self._lock:
            self._end()

    def _asked(self, a: str, b: str) -> bool | None:
        """The child's verdict; None where it reached its limit, or died of the question."""
        with self._lock:
            for _ in range(2):  # what a child dies of may be what it had been asked before
                if self._child is None or self._child.poll() is not None:
                    self._start()
                answer = self._exchange({"a": a, "b": b}, self._wall_s)
                if answer is not None:
                    return answer.get("equal") is True
                if self._end() == -signal.SIGPROF:
                    return None
        return None

    def _start(self) -> None:
        self._end()
        self._child = subprocess.Popen(
            [sys.executable, "-P", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONHASHSEED": "0"},  # sympy's order of terms hangs on it
            start_new_session=True,
            bufsize=0,
        )
        hello = self._exchange(self._settings, _START_LIMIT_S)
        if hello is None or not hello.get("ready"):
            fault = (hello or {}).get("fault") or f"it ended with {self._end()}"
            self._end()
            raise RunError(f"math-verify does not start: {fault}; install beam-sdg anew")

    def _exchange(self, message: dict[str, Any], limit_s: float) -> dict[str, Any] | None:
        """The child's answer; None where it has ended, or was killed for giving none in time."""
        child = self._child
        assert child is not None and child.stdin is not None and child.stdout is not None
        body = json.dumps(message).encode()
        deadline = time.monotonic() + limit_s
        answer = None
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(len(body).to_bytes(4, "big") + body)
            answer = _frame(child.stdout.fileno(), deadline)
        if answer is None:
            self._kill_after(deadline)
        return answer

    def _kill_after(self, deadline: float) -> None:
        """Let the child end by itself if it is about to."""
        assert self._child is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(max(0.0, min(1.0, deadline - time.monotonic())))
        self._child.kill()

    def _end(self) -> int | None:
        """End the child and say what it ended with."""
        child, self._child = self._child, None
        if child is None:
            return None
        child.kill()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
        return child.wait()


def _frame(descriptor: int, deadline: float) -> dict[str, Any] | None:
    """One frame off a pipe, or None: the end, the deadline, or what no child of ours would send."""
    received = bytearray()
    size = 4
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    while len(received) < size:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not waiting.poll(left_s * 1000):
            return None
        piece = os.read(descriptor, size - len(received))
        if not piece:
            return None
        received += piece
        if len(received) == size == 4:
            size += int.from_bytes(received, "big")
            if not 4 < size <= _MAX_FRAME:
                return None
    try:
        message = json.loads(received[4:])
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


_shared = MathVerify()
atexit.register(lambda: _shared.close())


def _renew() -> None:
    """A fork has neither its parent's child nor, if it was unlucky, its locks."""
    global _shared
    _shared = MathVerify()


os.register_at_fork(after_in_child=_renew)


def equal_formulas(a: str, b: str) -> bool:
    """Whether two formulas are equal, by the child that all of this process shares."""
    return _shared.equal(a, b)
