"""Sessions over supervisors: who waits for a place, who gets one, and what ends with what.

A *box* is one supervisor and our link to it: a container, or for development a process. Boxes are
started ahead of need, by default one for each session, and thrown away with it. Whatever goes wrong
with one is a `SandboxError` for its sessions, and costs the others nothing.
"""

import asyncio
import contextlib
import hashlib
import itertools
from collections import deque
from pathlib import Path
from typing import Protocol

from sandbox.contract import (
    GRACE_S,
    MAX_CODE,
    SLACK_S,
    Execution,
    SandboxDown,
    SandboxError,
)
from sandbox.wire import MAX_OUTPUT, Link, execution

# How long after its latest time an answer is waited for before its box is given up.
LATE_S = 5.0
STARTS_AT_ONCE = 4
TRIES = 3


class Box:
    """One supervisor; `id` and `folder` are its launcher's."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self.id = ""
        self.folder: Path | None = None
        self.link = Link(self.ended)
        self.numbers = itertools.count(1)

    def ended(self) -> None:
        """Its link has ended; the pool sees to it that the rest does."""
        self._pool.discard(self)


class Launcher(Protocol):
    """Starts and ends boxes."""

    async def prepare(self) -> None:
        """Look for what every box needs; called once.

        Raises:
            SandboxDown: it is not there.
        """
        ...

    async def launch(self, box: Box) -> None:
        """Start a supervisor, and return when it has said hello on `box.link`.

        Raises:
            SandboxError: it did not start.
        """
        ...

    async def discard(self, box: Box) -> None:
        """End what may be left of a box whose link has ended, or that did not start."""
        ...

    async def close(self) -> None:
        """Leave nothing behind; all boxes are discarded."""
        ...


class Pool:
    """A `Sandbox`; made on the event loop that it is used on."""

    def __init__(
        self, launcher: Launcher, sessions: int, running: int, each: int, warm: int, start_s: float
    ) -> None:
        self.sessions, self.running = sessions, running
        self.turns = asyncio.Semaphore(running)
        self._launcher, self._each, self._start_s = launcher, each, start_s
        self._warm = min(warm, sessions)
        self._slots = asyncio.Semaphore(sessions)
        self._preparing: asyncio.Task[None] | None = None
        self._all: set[Box] = set()
        self._rooms: deque[Box] = deque()  # a box is in it once for each free place
        self._waiters: deque[asyncio.Future[Box]] = deque()
        self._starting: set[asyncio.Task[None]] = set()
        self._endings: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._closed = False

    async def open(self, name: str, seed: int) -> "PooledSession":
        """See `Sandbox.open`."""
        await self._slots.acquire()
        try:
            await self.ready()
            while True:
                box = await self._room()
                with contextlib.suppress(SandboxError):  # it has died since
                    return PooledSession(self, box, _seed(name, seed))
        except BaseException:
            self._slots.release()
            raise

    async def close(self) -> None:
        """See `Sandbox.close`."""
        self._closed = True
        if self._preparing is not None and not self._preparing.done():
            await asyncio.wait({self._preparing})
        for task in self._starting:
            task.cancel()
        while self._starting:
            await asyncio.wait(set(self._starting))
        self._fail_waiters(SandboxError("the sandbox was closed"))
        for box in set(self._all):
            box.link.end("the sandbox was closed")
        while self._endings:
            await asyncio.wait(set(self._endings))
        await self._launcher.close()

    async def ready(self) -> None:
        """See `Sandbox.ready`."""
        if self._closed:
            raise SandboxError("the sandbox was closed")
        done = self._preparing
        if done is None or done.done() and (done.cancelled() or done.exception() is not None):
            self._preparing = asyncio.create_task(self._launcher.prepare())
        assert self._preparing is not None
        await asyncio.shield(self._preparing)

    async def _room(self) -> Box:
        """A box with a place for one more session; the place is taken."""
        while self._rooms:
            box = self._rooms.popleft()
            if not box.link.fault:
                self._refill()
                return box
        waiter: asyncio.Future[Box] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._refill()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._offer(waiter.result())
            raise

    def _refill(self) -> None:
        """Start what is missing, a few at a time."""
        while not self._closed and len(self._starting) < STARTS_AT_ONCE:
            waiting = sum(not waiter.done() for waiter in self._waiters)
            coming = len(self._starting) * self._each
            if len(self._rooms) + coming >= waiting + self._warm:
                return
            task = asyncio.create_task(self._start())
            self._starting.add(task)
            task.add_done_callback(self._started)

    async def _start(self) -> None:
        """One more box, with its supervisor ready."""
        box = Box(self)
        self._all.add(box)
        try:
            async with asyncio.timeout(self._start_s):
                await self._launcher.launch(box)
        except BaseException as error:
            box.link.end("the sandbox did not start")
            if isinstance(error, TimeoutError):
                raise SandboxError(f"a sandbox was not ready within {self._start_s:g} s") from error
            if isinstance(error, OSError):
                raise SandboxError(f"a sandbox could not be reached: {error}") from error
            raise
        for _ in range(self._each):
            self._offer(box)

    def _started(self, task: asyncio.Task[None]) -> None:
        """A start is over; after some failures in a row, nobody waits for the next."""
        self._starting.discard(task)
        error = None if task.cancelled() else task.exception()
        self._failures = 0 if error is None else self._failures + 1
        if isinstance(error, SandboxDown) or self._failures >= TRIES:
            self._failures = 0
            kind = SandboxDown if isinstance(error, SandboxDown) else SandboxError
            self._fail_waiters(kind(str(error) or type(error).__name__))
        else:
            self._refill()

    def _fail_waiters(self, error: SandboxError) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(error)

    def _offer(self, box: Box) -> None:
        """A place is free: for who waits longest, or for who comes next."""
        if box.link.fault:
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(box)
                return
        self._rooms.append(box)

    def gave_back(self, box: Box) -> None:
        """A session has ended in peace."""
        self._slots.release()
        if self._each > 1:
            self._offer(box)
        else:
            box.link.end("the session was closed")

    def lost(self) -> None:
        """A session has ended with its box."""
        self._slots.release()

    def discard(self, box: Box) -> None:
        """A box has ended, or is to."""
        if box not in self._all:
            return
        self._all.discard(box)
        self._rooms = deque(other for other in self._rooms if other is not box)
        task = asyncio.get_running_loop().create_task(self._launcher.discard(box))
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)


class PooledSession:
    """A `Session`; made by `Pool.open`."""

    def __init__(self, pool: Pool, box: Box, seed: str) -> None:
        self._pool, self.box, self._link = pool, box, box.link
        self._number = next(box.numbers)
        self._cells = itertools.count(1)
        self._turn = asyncio.Lock()
        self._closed = False
        if self._link.fault:
            raise SandboxError(self._link.fault)
        self._link.tell({"op": "open", "s": self._number, "seed": seed})

    async def execute(self, code: str, timeout_s: float, output_limit: int) -> Execution:
        """See `Session.execute`."""
        if len(code) > MAX_CODE:
            message = f"SyntaxError: a cell of {len(code)} characters; {MAX_CODE} are read\n"
            return Execution("error", message)
        limit = max(64, min(output_limit, MAX_OUTPUT))
        async with self._turn, self._pool.turns:
            if self._closed:
                raise SandboxError("the session was closed")
            number = next(self._cells)
            answer = self._link.ask(
                self._number,
                number,
                {"op": "run", "s": self._number, "n": number, "code": code, "t": timeout_s,
                 "limit": limit},
            )  # fmt: skip
            late_s = timeout_s + GRACE_S + SLACK_S + LATE_S
            timer = asyncio.get_running_loop().call_later(
                late_s, self._link.end, f"no answer came within {late_s:g} s"
            )
            try:
                return execution(await answer, limit)
            except asyncio.CancelledError:
                self._link.forget(self._number)
                self._leave()
                raise
            except SandboxError as error:
                self._link.end(str(error))
                self._lose()
                raise
            finally:
                timer.cancel()

    async def close(self) -> None:
        """See `Session.close`."""
        if self._link.fault:
            self._lose()
        else:
            self._leave()

    def _leave(self) -> None:
        if not self._closed:
            self._closed = True
            self._link.tell({"op": "close", "s": self._number})
            self._pool.gave_back(self.box)

    def _lose(self) -> None:
        if not self._closed:
            self._closed = True
            self._pool.lost()


def _seed(name: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogatepass")).hexdigest()
