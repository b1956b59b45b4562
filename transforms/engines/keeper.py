"""One engine process for all processes of a machine that use it, and for no longer.

    pipeline process ──┐  each holds a connection to the keeper's socket
    pipeline process ──┼──> keeper ──> engine (vllm serve), which listens on 127.0.0.1 only
    pipeline process ──┘

The kernel closes a process's connection however that process dies, so when the last one is closed
the keeper ends the engine with all its processes, and then itself; so it does at a SIGTERM or a
SIGHUP. An engine that has crashed, or answers no more, is started again on its port, so that who
waits for an answer need only send the request once more.

A keeper is found by its socket, of which there is one for each set of GPUs (`place.py`). It tells
everybody who is connected what state the engine is in, a JSON object a line:

    {"state": "starting" | "ready" | "failed", "engine": …, "url": …, "detail": …, "log": …}

One that has said "failed" goes; the connection of the last who leaves is closed when all has ended.
"""

import argparse
import asyncio
import contextlib
import ctypes
import dataclasses
import json
import os
import re
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from transforms.engines import place
from transforms.seeding import digest

T = TypeVar("T")
U = TypeVar("U")

_NOBODY_CAME_S = 60.0
_ENDS_WITHIN_S = 10.0
_HEALTH_EVERY_S = 0.5
_STILL_HEALTHY_EVERY_S = 10.0
_SILENT_S = 120.0
_SHOWN_LINES = 3
_SHOWN_BYTES = 1 << 16
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_LONG_RUN_S = 600.0
_LONGEST_PLACE = 50  # of the 107 characters that a socket's path may have
_ERROR = re.compile(r"(?:^|[\s.])\w*(?:Error|Exception|Exit)\b: \S|\berror: ")
_PREFIX = re.compile(r"^(?:\([\w-]+ pid=\d+\) )?(?:[A-Z]+ [\d-]+ [\d:]+ \[[^\]]+\] )?")


@dataclasses.dataclass(frozen=True)
class Kept:
    """What is kept: a command, where it will answer, and how long and how often it is tried.

    engine: which engine this is, in words.
    command: {port} in it stands for the port that the keeper finds for it.
    health: the path that answers 200 as soon as the engine is ready.
    environment: variables that its processes get beside the keeper's own.
    defaults: the same where the keeper has none of the name; no reason not to share an engine.
    restarts: how often it is started again after a crash; one that was ready for ten minutes counts
        anew.
    """

    engine: str
    command: tuple[str, ...]
    health: str
    environment: tuple[tuple[str, str], ...] = ()
    defaults: tuple[tuple[str, str], ...] = ()
    start_timeout_s: float = 1800.0
    restarts: int = 2

    def key(self) -> str:
        """What runs must have in common to share an engine: all that it is started with."""
        what = [self.engine, self.command, self.health, self.environment, str(Path.cwd())]
        return digest(json.dumps(what))


class Keeper:
    """The keeper's side: one engine, and everybody who holds it.

    Args:
        kept: the engine.
        log: the file that its output goes to.
    """

    def __init__(self, kept: Kept, log: Path) -> None:
        self._kept = kept
        self._log = log
        self._reserved, port = reserved_port()
        self._url = f"http://127.0.0.1:{port}"
        self._command = [part.replace("{port}", str(port)) for part in kept.command]
        self._holders: set[asyncio.StreamWriter] = set()
        self._last: list[asyncio.StreamWriter] = []  # closed when nothing of the engine is left
        self._came = asyncio.Event()
        self._changed = asyncio.Event()
        self._is_over = False
        self._said: dict[str, Any] = {}
        self._say("starting")

    async def run(self, at: str, scratch: str) -> None:
        """Listen at `at` until the last holder is gone; nothing of the engine is left then."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._stop)
        server = await asyncio.start_unix_server(self._welcome, at)
        engine = asyncio.create_task(self._keep(scratch))
        engine.add_done_callback(lambda _: self._changed.set())
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._came.wait(), _NOBODY_CAME_S)
            while self._holders and not self._is_over and not engine.done():
                await self._changed.wait()
                self._changed.clear()
        finally:
            self._is_over = True
            Path(at).unlink(missing_ok=True)  # who comes now waits for the end and starts anew
            server.close()
            engine.cancel()
            await asyncio.wait({engine})
            await _kill_all()

    def _stop(self) -> None:
        self._is_over = True
        self._came.set()
        self._changed.set()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_over:
            writer.close()
            return
        self._holders.add(writer)
        self._tell(writer)
        self._came.set()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await reader.read()  # nothing comes but the end
        self._holders.discard(writer)
        if self._holders:
            writer.close()
        else:
            self._last.append(writer)
        self._changed.set()

    def _say(self, state: str, detail: str = "") -> None:
        self._said = {
            "state": state, "engine": self._kept.engine, "url": self._url, "detail": detail,
            "log": str(self._log),
        }  # fmt: skip
        for writer in self._holders:
            self._tell(writer)

    def _tell(self, writer: asyncio.StreamWriter) -> None:
        writer.write(json.dumps(self._said).encode() + b"\n")

    async def _keep(self, scratch: str) -> None:
        """Start the engine, and again after a crash; say so at each change."""
        crashes, has_been_ready = 0, False
        while True:
            try:
                process = await self._start(scratch)
            except OSError as error:
                await self._give_up(f"{self._command[0]}: {error.strerror}")
                return
            ran_s = 0.0
            try:
                fault = await self._until_ready(process)
                if fault is None:
                    has_been_ready, ready_at = True, time.monotonic()
                    self._say("ready")
                    fault = await self._until_down(process)
                    ran_s = time.monotonic() - ready_at
            finally:
                await _end(process)
            crashes = 1 if ran_s > _LONG_RUN_S else crashes + 1
            if not has_been_ready or crashes > self._kept.restarts:
                await self._give_up(f"{fault}; it said: {self._last_lines() or 'nothing'}")
                return
            self._say("starting", fault)

    async def _give_up(self, detail: str) -> None:
        self._say("failed", detail)
        await self._came.wait()  # somebody has been told

    async def _start(self, scratch: str) -> asyncio.subprocess.Process:
        with self._log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    **dict(self._kept.defaults),
                    **os.environ,
                    "TMPDIR": scratch,
                    **dict(self._kept.environment),
                },
                process_group=0,
                preexec_fn=_die_with_the_keeper,
            )

    async def _until_ready(self, process: asyncio.subprocess.Process) -> str | None:
        """None as soon as the engine answers; else what is wrong with it."""
        async with _first_of(process.wait(), self._healthy(), self._kept.start_timeout_s) as first:
            ended, healthy = first
            if ended.done():  # whatever may answer there
                return f"it ended with code {ended.result()} before it was ready"
            if healthy.done():
                return None
            return f"it was not ready within {self._kept.start_timeout_s:g} s"

    async def _until_down(self, process: asyncio.subprocess.Process) -> str:
        """What is wrong with an engine that was ready, as soon as something is."""
        async with _first_of(process.wait(), self._silent(), None) as (ended, _):
            if ended.done():
                return f"it ended with code {ended.result()}"
            return f"it did not answer {self._kept.health} for {_SILENT_S:g} s"

    async def _healthy(self) -> None:
        """Wait until the engine says that it is."""
        async with _session() as session:
            while not await self._is_healthy(session):
                await asyncio.sleep(_HEALTH_EVERY_S)

    async def _silent(self) -> None:
        """Wait until the engine has not said so for too long."""
        answered_at = time.monotonic()
        async with _session() as session:
            while time.monotonic() - answered_at < _SILENT_S:
                await asyncio.sleep(_STILL_HEALTHY_EVERY_S)
                if await self._is_healthy(session):
                    answered_at = time.monotonic()

    async def _is_healthy(self, session: aiohttp.ClientSession) -> bool:
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with session.get(self._url + self._kept.health) as response:
                return response.status == 200
        return False

    def _last_lines(self) -> str:
        """What it said last; "" where that has been removed."""
        lines: list[str] = []
        with contextlib.suppress(OSError), self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - _SHOWN_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        return " / ".join(telling(lines))


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))


@contextlib.asynccontextmanager
async def _first_of(
    one: Coroutine[Any, Any, T], other: Coroutine[Any, Any, U], within_s: float | None
) -> AsyncIterator[tuple[asyncio.Task[T], asyncio.Task[U]]]:
    """Both as tasks, as soon as one of them is done or it is too late; then they are cancelled."""
    tasks = asyncio.create_task(one), asyncio.create_task(other)
    try:
        await asyncio.wait(tasks, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        yield tasks
    finally:
        for task in tasks:
            task.cancel()


def _scratch(beside: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder for an engine's sockets, whose names may not be long: there, or in /tmp."""
    is_short = len(str(beside)) <= _LONGEST_PLACE
    return tempfile.TemporaryDirectory(prefix="engine-", dir=beside if is_short else "/tmp")


def telling(lines: Sequence[str]) -> list[str]:
    """The lines of an engine's output that say what is wrong: its last errors, else its last lines.

    An engine of several processes reports first the cause, then that its part has ended.
    """
    errors = [line.strip() for line in lines if _ERROR.search(line)]
    last = [line.strip() for line in lines if line.strip()]
    return list(dict.fromkeys(_PREFIX.sub("", line) for line in errors or last))[-_SHOWN_LINES:]


def reserved_port() -> tuple[socket.socket, int]:
    """A free port, and what keeps it so for an engine that is yet to listen there.

    Two sockets may be bound to a port as long as both say SO_REUSEADDR and only one listens.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind(("127.0.0.1", 0))
    return reserved, reserved.getsockname()[1]


def _die_with_the_keeper() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End an engine and every process that it has started, those that outlive it too."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), _ENDS_WITHIN_S)
    await _kill_all()


async def _kill_all() -> None:
    """The keeper is the reaper of orphans: of those that have left the engine's group, too."""
    while _kill_children():
        await asyncio.sleep(0.05)


def _kill_children() -> bool:
    """Kill and reap what is left below the keeper; whether there was anything."""
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    children = [int(pid) for pid in path.read_text().split()]
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    return bool(children)


def main() -> None:
    """Be the keeper of the engine that the arguments describe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stem", type=Path, help="the path of its files, without their suffix")
    parser.add_argument("gpus", type=json.loads)
    parser.add_argument("kept", type=json.loads)
    flags = parser.parse_args()
    fields = flags.kept
    fields["command"] = tuple(fields["command"])
    for name in ("environment", "defaults"):
        fields[name] = tuple(tuple(pair) for pair in fields[name])
    kept = Kept(**fields)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the pipeline
    with _scratch(flags.stem.parent) as scratch:
        record = place.Record.of_this_process(kept.engine, kept.key(), tuple(flags.gpus), scratch)
        record.write(flags.stem)
        keeper = Keeper(kept, flags.stem.with_suffix(".log"))
        asyncio.run(keeper.run(str(flags.stem.with_suffix(".sock")), scratch))
    place.forget(flags.stem)


if __name__ == "__main__":
    main()
