"""The cells of one solution: what became of them before, or a session in which they run now.

A solution that was begun in an earlier run goes on in a fresh session, and so does one whose
session broke. Earlier cells are not run again, for they may have drawn numbers or read the clock;
the model is told that what they left is gone.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import re
import time
from collections.abc import AsyncIterator
from typing import Protocol

from sandbox import Execution, Sandbox, SandboxDown, SandboxError, SandboxSettings, Session
from transforms.errors import RunError

FRESH = (
    "[this ran in a fresh interpreter, the one before was lost: variables and files of earlier "
    "calls are gone]"
)
_TRIES = 5
_PATIENCE_S = 120.0
_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 5.0


class CellLost(Exception):
    """Sessions broke under a cell again and again: nothing is known of its code."""


class Executions(Protocol):
    """Where executions are kept, by the key of their call."""

    def execution(self, key: str) -> Execution | None:
        """What became of the code of a call, if it has been run."""
        ...

    def append_execution(self, key: str, execution: Execution) -> None:
        """Keep what became of it; returned from, it outlives the process."""
        ...


class Cells:
    """Runs the cells of one solution, each once.

    Args:
        sandbox: where, if any have to be run.
        name: the sample's id; random numbers in the session are a function of it and `seed`.
        seed: of the run.
        kept: the store.
        timeout_s: of one cell.
        output_limit: bytes of output that are kept of one cell.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        name: str,
        seed: int,
        kept: Executions,
        timeout_s: float,
        output_limit: int,
    ) -> None:
        self._sandbox = sandbox
        self._name = name
        self._seed = seed
        self._kept = kept
        self._timeout_s = timeout_s
        self._output_limit = output_limit
        self._session: Session | None = None
        self._has_run = False  # a cell, in this session or in one before

    async def run(self, key: str, code: str) -> Execution:
        """What becomes of a cell.

        Raises:
            CellLost: its session broke, and so did fresh ones.
            RunError: there is none that could run it, or the store cannot be written.
        """
        execution = self._kept.execution(key)
        if execution is None:
            execution = await self._executed(code)
            self._kept.append_execution(key, execution)
        self._has_run = True
        return execution

    async def close(self) -> None:
        """End the session, if there is one."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _executed(self, code: str) -> Execution:
        for _ in range(_TRIES):
            is_fresh = self._session is None
            session = self._session or await opened(self._sandbox, self._name, self._seed)
            self._session = session
            try:
                execution = await session.execute(code, self._timeout_s, self._output_limit)
            except SandboxError as error:
                fault = error
                await self.close()
                continue
            return _told_of_loss(execution) if is_fresh and self._has_run else execution
        raise CellLost(f"{_TRIES} sessions broke, the last with: {fault}")


async def opened(sandbox: Sandbox, name: str, seed: int) -> Session:
    """A fresh session; an engine that is away for a while costs no sample.

    Raises:
        RunError: nothing here can run Python, or has not for too long.
    """
    since = time.monotonic()
    for attempt in itertools.count():
        try:
            return await sandbox.open(name, seed)
        except SandboxDown as error:
            raise _refusal(error) from error
        except SandboxError as error:
            if time.monotonic() > since + _PATIENCE_S:
                raise RunError(
                    f"no session could be opened for {_PATIENCE_S:g} s: {error}; look at "
                    "beam-sdg sandbox doctor, then run the same command again: answers so far "
                    "are kept"
                ) from error
        await asyncio.sleep(min(_LONGEST_PAUSE_S, _PAUSE_S * 2**attempt))
    raise AssertionError("unreachable")


async def ready(sandbox: Sandbox) -> None:
    """Make sure that code can be run.

    Raises:
        RunError: it cannot; what is missing, and how to mend it.
    """
    try:
        await sandbox.ready()
    except SandboxError as error:
        raise _refusal(error) from error


def require(settings: SandboxSettings, rehearsed: bool = False) -> None:
    """Make sure that these settings can run code here, before anything is spent.

    Args:
        settings: of the sandbox.
        rehearsed: no model writes the code; then it can do without.

    Raises:
        RunError: as `ready`.
    """

    async def look() -> None:
        sandbox = settings.open()
        try:
            await sandbox.ready()
        except SandboxError as error:
            mend = "; for a rehearsal, --sandbox local does without one" if rehearsed else ""
            raise _refusal(error, mend) from error
        finally:
            await sandbox.close()

    if settings.isolated:  # what isolates nothing needs nothing
        asyncio.run(look())


def can_run(settings: SandboxSettings) -> bool:
    """Whether code can be run here with these settings."""
    try:
        require(settings)
    except RunError:
        return False
    return True


def _refusal(error: SandboxError, mend: str = "") -> RunError:
    """The sandbox's words, its flags by the names that runs have for them."""
    words = re.sub(r"--(engine|tls|image|runtime)\b", r"--sandbox_\1", str(error)) + mend
    return RunError(f"no sandbox can run Python: {words}")


def _told_of_loss(execution: Execution) -> Execution:
    notice = "\n".join(filter(None, (execution.notice, FRESH)))
    return dataclasses.replace(execution, state_lost=True, notice=notice)


class SharedSandbox:
    """The process's sandbox of some settings, open while somebody is within `used`."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._users = 0
        self._sandbox: Sandbox | None = None
        self._places: asyncio.Semaphore | None = None
        self._turn: asyncio.Lock | None = None

    @contextlib.asynccontextmanager
    async def used(self) -> AsyncIterator[Sandbox]:
        """Open it if need be; the last who leaves closes it. On one event loop."""
        if self._sandbox is None:
            self._sandbox = self._settings.open()
            self._places = asyncio.Semaphore(self._sandbox.sessions)
            self._turn = asyncio.Lock()
        self._users += 1
        try:
            yield self._sandbox
        finally:
            self._users -= 1
            if not self._users:
                sandbox, self._sandbox = self._sandbox, None
                await sandbox.close()

    @property
    def places(self) -> asyncio.Semaphore:
        """For as many solutions at once as sessions may be open: for those within `used`."""
        assert self._places is not None
        return self._places

    @property
    def turn(self) -> asyncio.Lock:
        """Of whoever takes several places: of two who do at once, each may wait for the other."""
        assert self._turn is not None
        return self._turn

    @property
    def sandbox(self) -> Sandbox:
        """The open sandbox: for those within `used`."""
        assert self._sandbox is not None
        return self._sandbox


_shared: dict[SandboxSettings, SharedSandbox] = {}


def shared_sandbox(settings: SandboxSettings) -> SharedSandbox:
    """The process's own of these settings; nothing is opened yet."""
    return _shared.setdefault(settings, SharedSandbox(settings))
