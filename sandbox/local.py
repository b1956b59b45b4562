"""Sessions in processes of this machine, without any isolation: for development only."""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import pydantic

from sandbox.contract import GRACE_S
from sandbox.engine import SUPERVISOR
from sandbox.pool import Box, Pool
from sandbox.wire import listen_once

WARNING = (
    "the local sandbox isolates nothing: code that a model writes can read, change and send "
    "whatever you can; it is for development only"
)


class LocalSandbox(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Interpreters of this environment, as this user; `open` warns each time.

    Limits of time, memory and output hold; walls there are none, and a process that a cell
    has hidden in a session of its own goes on.
    """

    max_sessions: int = pydantic.Field(64, ge=1)
    max_running: int | None = pydantic.Field(None, ge=1)
    memory_mb: int = pydantic.Field(4096, ge=256)
    cpu_s: int = pydantic.Field(3600, ge=1)
    start_timeout_s: float = pydantic.Field(60.0, gt=0)

    @property
    def isolated(self) -> bool:
        return False

    def identity(self) -> str:
        return f"local {self.memory_mb}"

    def open(self) -> Pool:
        logging.getLogger(__name__).warning(WARNING)
        warnings.warn(WARNING, stacklevel=2)
        return Pool(
            launcher=_Processes(self),
            sessions=self.max_sessions,
            running=self.max_running or 2 * (os.cpu_count() or 1),
            each=self.max_sessions,
            warm=0,
            start_s=self.start_timeout_s,
        )


class _Processes:
    """A launcher of supervisors as our children."""

    def __init__(self, settings: LocalSandbox) -> None:
        self._settings = settings
        self._running: dict[Box, asyncio.subprocess.Process] = {}

    async def prepare(self) -> None:
        return

    async def launch(self, box: Box) -> None:
        box.folder = Path(tempfile.mkdtemp(prefix="beam-sdg-local-"))
        path = box.folder / "socket"
        settings = {
            "socket": str(path),
            "home": str(box.folder),
            "first_uid": None,
            "grace_s": GRACE_S,
            "cpu_s": self._settings.cpu_s,
            "memory": self._settings.memory_mb << 20,
        }
        environment = {**os.environ, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
        async with listen_once(path, box.link):
            self._running[box] = await asyncio.create_subprocess_exec(
                sys.executable, str(SUPERVISOR), json.dumps(settings), env=environment,
                stdin=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
            await box.link.hello

    async def discard(self, box: Box) -> None:
        process = self._running.pop(box, None)
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if box.folder is not None:
            shutil.rmtree(box.folder, ignore_errors=True)

    async def close(self) -> None:
        return
