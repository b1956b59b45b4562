"""A process's hold on an engine that a keeper keeps: taken with the first request, let go at exit.

A hold outlives the pipeline that took it, so that one pipeline after the other finds the engine
warm; it is let go when the process ends, or when another engine is wanted on the same GPUs.
"""

import collections
import contextlib
import dataclasses
import fcntl
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transforms.engines.keeper import Kept
from transforms.errors import EngineDown

_SAID = ("state", "engine", "url", "detail", "log")
_KEEPER_COMES_S = 30.0
_OTHERS_LEAVE_S = 60.0
_RETRY_S = 0.2


class Hold:
    """A connection to a keeper, and what it has said last.

    Args:
        connection: to the keeper's socket; the hold lasts as long as it is open.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._changed = threading.Condition()
        self._calls: list[Callable[[], object]] = []
        self._said: dict[str, Any] = dict.fromkeys(_SAID, "")
        threading.Thread(target=self._listen, name="engine-hold", daemon=True).start()

    @property
    def engine(self) -> str:
        """Which engine it is."""
        with self._changed:
            self._changed.wait_for(lambda: self._said["state"] != "")
            return self._said["engine"]

    @property
    def url(self) -> str:
        """Where the engine listens."""
        return self._said["url"]

    def is_ready(self) -> bool:
        """Wait until the engine answers; False where its keeper has gone and another is needed.

        Raises:
            EngineDown: it cannot be started; its own last lines say why.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._said["state"] in ("ready", "failed", "gone"))
            if self._said["state"] == "failed":
                raise self.failure()
            return self._said["state"] == "ready"

    def is_starting(self) -> bool:
        """Whether the engine is loading, at first or after a crash."""
        return self._said["state"] == "starting"

    def is_over(self) -> bool:
        """Whether the engine has been given up, or its keeper has gone."""
        return self._said["state"] in ("failed", "gone")

    def when_over(self, call: Callable[[], object]) -> None:
        """Call this, in another thread, as soon as it is; `forget` takes it back."""
        with self._changed:
            self._calls.append(call)
        if self.is_over():
            call()

    def forget(self, call: Callable[[], object]) -> None:
        """Do not call this any more."""
        with self._changed:
            if call in self._calls:
                self._calls.remove(call)

    def failure(self) -> EngineDown:
        """Why it is over."""
        if self._said["state"] == "gone":
            return EngineDown(
                f"the keeper of {self._said['engine']} has ended; run the same command again: "
                "answers so far are kept"
            )
        return EngineDown(
            f"{self._said['engine']} does not run: {self._said['detail']} (all it said is in "
            f"{self._said['log']})"
        )

    def let_go(self) -> None:
        """End the hold; the last one to do so ends the engine."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError), self._connection.makefile("rb") as lines:
            for line in lines:
                self._note(json.loads(line))
        self._note({**self._said, "state": "gone"})

    def _note(self, said: dict[str, Any]) -> None:
        with self._changed:
            if self._said["state"] == "failed":
                return
            self._said = said
            self._changed.notify_all()
            if self.is_over():
                for call in self._calls:
                    call()


_holds: dict[Path, Hold] = {}
_taking: collections.defaultdict[Path, threading.Lock] = collections.defaultdict(threading.Lock)
_keepers: list[int] = []  # the processes of those that were started here


def held(kept: Kept, gpus: str) -> Hold:
    """This process's hold on an engine that answers, on these GPUs; starts it if need be.

    A hold on another engine there is let go first. Blocks until the engine is ready.

    Raises:
        EngineDown: it cannot be started, or another run uses another engine on these GPUs.
    """
    place = _folder() / f"gpus-{gpus.replace(',', '+') or 'all'}"
    with _taking[place]:
        while True:
            hold = _holds.get(place)
            if hold is None or hold.is_over() or hold.engine != kept.engine:
                if hold is not None:
                    hold.let_go()
                hold = _holds[place] = _taken(place, kept)
            if hold.is_ready():
                return hold


def _taken(place: Path, kept: Kept) -> Hold:
    """A connection to the keeper of this engine, made if there is none."""
    give_up_at = time.monotonic() + _OTHERS_LEAVE_S
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        while True:
            connection = _connected(place)
            if connection is None:
                connection = _started(place, kept)
            hold = Hold(connection)
            if hold.engine == kept.engine:
                return hold
            hold.let_go()
            if hold.engine and time.monotonic() > give_up_at:
                raise EngineDown(
                    f"another run has {hold.engine} on these GPUs; wait for it, or choose others "
                    "with --gpus"
                )
            time.sleep(_RETRY_S)


def _connected(place: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(place.with_suffix(".sock")))
    except OSError:
        connection.close()
        return None
    return connection


def _started(place: Path, kept: Kept) -> socket.socket:
    """Start a keeper that outlives this process if others still need it."""
    at, log = place.with_suffix(".sock"), place.with_suffix(".log")
    at.unlink(missing_ok=True)  # of a keeper that was killed
    described = json.dumps(dataclasses.asdict(kept))
    program = [sys.executable, "-m", "transforms.engines.keeper", str(at), str(log), described]
    pid = os.posix_spawn(  # and not a Popen, which would have to be waited for
        program[0],
        program,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    _keepers.append(pid)
    give_up_at = time.monotonic() + _KEEPER_COMES_S
    while time.monotonic() < give_up_at and os.waitpid(pid, os.WNOHANG) == (0, 0):
        connection = _connected(place)
        if connection is not None:
            return connection
        time.sleep(0.05)
    raise EngineDown(f"the keeper of the engine does not start; {log} says why")


def _folder() -> Path:
    """Where this user's keepers are found, by nobody else."""
    folder = Path(tempfile.gettempdir()) / f"beam-sdg-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise EngineDown(f"{folder} belongs to another user; set TMPDIR to a folder of yours")
    return folder
