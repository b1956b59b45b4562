"""The cells of one solution: what became of them before, or a session in which they run now.

A solution that was begun in an earlier run goes on in a fresh session, and so does one whose
session broke. Earlier cells are not run again, for they may have drawn numbers or read the clock;
the model is told that what they left is gone.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from typing import Protocol

from sandbox import Execution, Sandbox, SandboxDown, SandboxError, SandboxSettings, Session
from transforms.errors import RunError

FRESH = (
    "[this ran in a fresh interpreter, the one before was lost: variables and files of earlier "
    "calls are gone]"
)
_TRIES = 5
_PAUSE_S = 0.5


class CellLost(Exception):
    """A sandbox failed again and again: nothing is known of the code."""


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
            CellLost: the sandbox failed, and so did fresh sessions after it.
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
        fault: SandboxError | None = None
        for attempt in range(_TRIES):
            if attempt:
                await asyncio.sleep(_PAUSE_S * 2 ** (attempt - 1))
            is_fresh = self._session is None
            try:
                if self._session is None:
                    self._session = await self._sandbox.open(self._name, self._seed)
                execution = await self._session.execute(code, self._timeout_s, self._output_limit)
            except SandboxDown as error:
                raise _refusal(error) from error
            except SandboxError as error:
                fault = error
                await self.close()
                continue
            return _told_of_loss(execution) if is_fresh and self._has_run else execution
        raise CellLost(f"{_TRIES} sessions failed, the last with: {fault}")


async def ready(sandbox: Sandbox) -> None:
    """Make sure that code can be run.

    Raises:
        RunError: it cannot; what is missing, and how to mend it.
    """
    try:
        await sandbox.ready()
    except SandboxDown as error:
        raise _refusal(error) from error


def require(settings: SandboxSettings) -> None:
    """Make sure that these settings can run code here, before anything is spent.

    Raises:
        RunError: as `ready`.
    """

    async def look() -> None:
        sandbox = settings.open()
        try:
            await ready(sandbox)
        finally:
            await sandbox.close()

    if settings.isolated:  # what isolates nothing needs nothing
        asyncio.run(look())


def _refusal(error: SandboxDown) -> RunError:
    return RunError(f"no sandbox can run Python: {error}")


def _told_of_loss(execution: Execution) -> Execution:
    notice = "\n".join(filter(None, (execution.notice, FRESH)))
    return dataclasses.replace(execution, state_lost=True, notice=notice)


class SharedSandbox:
    """The process's sandbox of some settings, open while somebody is within `used`."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._users = 0
        self._sandbox: Sandbox | None = None

    @contextlib.asynccontextmanager
    async def used(self) -> AsyncIterator[Sandbox]:
        """Open it if need be; the last who leaves closes it. On one event loop."""
        if self._sandbox is None:
            self._sandbox = self._settings.open()
        self._users += 1
        try:
            yield self._sandbox
        finally:
            self._users -= 1
            if not self._users:
                sandbox, self._sandbox = self._sandbox, None
                await sandbox.close()

    @property
    def sandbox(self) -> Sandbox:
        """The open sandbox: for those within `used`."""
        assert self._sandbox is not None
        return self._sandbox


_shared: dict[SandboxSettings, SharedSandbox] = {}


def shared_sandbox(settings: SandboxSettings) -> SharedSandbox:
    """The process's own of these settings; nothing is opened yet."""
    return _shared.setdefault(settings, SharedSandbox(settings))
