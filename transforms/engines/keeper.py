"""One engine process for all processes of a machine that use it, and for no longer.

    pipeline process ──┐  each holds a connection to the keeper's socket
    pipeline process ──┼──> keeper ──> engine (vllm serve), which listens on 127.0.0.1 only
    pipeline process ──┘

The kernel closes a process's connection however that process dies, so when the last one is closed
the keeper ends the engine with all its processes, and then itself. It starts a crashed engine again
on the same port, so that whoever waits for an answer need only send its request once more.

A keeper is found by its socket, of which there is one for each set of GPUs. It tells everybody who
is connected what state the engine is in, a JSON object a line:

    {"state": "starting" | "ready" | "failed", "engine": …, "url": …, "detail": …, "log": …}
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp

_NOBODY_CAME_S = 60.0
_ENDS_WITHIN_S = 10.0
_HEALTH_EVERY_S = 0.5
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

    engine: says which engine this is: two that differ cannot share a keeper.
    command: {port} in it stands for the port that the keeper finds for it.
    health: the path that answers 200 as soon as the engine is ready.
    environment: variables that its processes get beside the keeper's own.
    restarts: how often it is started again after a crash; one that ran for ten minutes counts anew.
    """

    engine: str
    command: tuple[str, ...]
    health: str
    environment: tuple[tuple[str, str], ...] = ()
    start_timeout_s: float = 1800.0
    restarts: int = 2


class Keeper:
    """The keeper's side: one engine, and everybody who holds it.

    Args:
        kept: the engine.
        log: the file that its output goes to.
    """

    def __init__(self, kept: Kept, log: Path) -> None:
        self._kept = kept
        self._log = log
        port = _free_port()
        self._url = f"http://127.0.0.1:{port}"
        self._command = [part.replace("{port}", str(port)) for part in kept.command]
        self._holders: set[asyncio.StreamWriter] = set()
        self._left = asyncio.Event()
        self._said: dict[str, Any] = {}
        self._say("starting")

    async def run(self, at: str) -> None:
        """Listen at `at` until the last holder is gone; nothing of the engine is left then."""
        server = await asyncio.start_unix_server(self._welcome, at)
        scratch = _scratch(Path(at).parent)
        engine = asyncio.create_task(self._keep(scratch.name))
        try:
            await asyncio.wait_for(self._someone_came(), _NOBODY_CAME_S)
            await self._left.wait()
        except TimeoutError:
            pass
        finally:
            Path(at).unlink(missing_ok=True)  # whoever comes now starts another keeper
            server.close()
            engine.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await engine
            scratch.cleanup()

    async def _someone_came(self) -> None:
        while not self._holders:
            await asyncio.sleep(0.05)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._holders.add(writer)
        self._tell(writer)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await reader.read()  # nothing comes but the end
        self._holders.discard(writer)
        writer.close()
        if not self._holders:
            self._left.set()

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
        crashes = 0
        while True:
            began = time.monotonic()
            try:
                process = await self._start(scratch)
            except OSError as error:
                self._say("failed", f"{self._command[0]}: {error.strerror}")
                return
            try:
                fault = await self._until_ready(process)
                if fault is None:
                    self._say("ready")
                    code = await process.wait()
                    fault = f"it ended with code {code}"
            finally:
                await _end(process)
            if time.monotonic() - began > _LONG_RUN_S:
                crashes = 0
            crashes += 1
            never_ready = self._said["state"] == "starting" and crashes == 1
            if never_ready or crashes > self._kept.restarts:
                self._say("failed", f"{fault}; it said: {self._last_lines()}")
                return
            self._say("starting", fault)

    async def _start(self, scratch: str) -> asyncio.subprocess.Process:
        with self._log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "TMPDIR": scratch, **dict(self._kept.environment)},
                start_new_session=True,
                preexec_fn=_die_with_the_keeper,
            )

    async def _until_ready(self, process: asyncio.subprocess.Process) -> str | None:
        """None as soon as the engine answers; else what is wrong with it."""
        ended = asyncio.create_task(process.wait())
        healthy = asyncio.create_task(self._healthy())
        try:
            await asyncio.wait(
                {ended, healthy},
                timeout=self._kept.start_timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if healthy.done():
                return None
            if ended.done():
                return f"it ended with code {ended.result()} before it was ready"
            return f"it was not ready within {self._kept.start_timeout_s:g} s"
        finally:
            for task in (ended, healthy):
                task.cancel()

    async def _healthy(self) -> None:
        limit = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=limit) as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(self._url + self._kept.health) as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(_HEALTH_EVERY_S)

    def _last_lines(self) -> str:
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - _SHOWN_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        return " / ".join(telling(lines))


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


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _die_with_the_keeper() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End an engine and every process that it has started, those that outlive it too."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(process.wait(), _ENDS_WITHIN_S)
    for _ in range(100):  # the keeper is the reaper of orphans: those that left the group, too
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if not _kill_children():
            return
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
    parser.add_argument("socket")
    parser.add_argument("log", type=Path)
    parser.add_argument("kept", type=json.loads)
    flags = parser.parse_args()
    fields = flags.kept
    fields["command"] = tuple(fields["command"])
    fields["environment"] = tuple(tuple(pair) for pair in fields["environment"])
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the pipeline
    asyncio.run(Keeper(Kept(**fields), flags.log).run(flags.socket))


if __name__ == "__main__":
    main()
