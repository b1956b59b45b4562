"""A process's hold on an engine that a keeper keeps: taken with the first request, let go at exit.

A hold outlives the pipeline that took it, so that one pipeline after the other finds the engine
warm; it is let go when the process ends, or when another engine is wanted on any of its GPUs. That
one starts when nothing is left of the first.
"""

import collections
import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transforms.engines.keeper import Kept
from transforms.engines.place import (
    VISIBLE,
    Place,
    alone,
    in_the_way,
    locked_record,
    place_of,
    visible_gpus,
)
from transforms.errors import EngineDown

_SAID = ("state", "engine", "url", "detail", "log")
_KEEPER_COMES_S = 30.0
_OTHERS_LEAVE_S = 60.0
_ENDED_WITHIN_S = 60.0
_RETRY_S = 0.05
_KEEPERS = 5  # one after the other that end while their engine loads


class Hold:
    """A connection to a keeper, and what it has said last.

    Args:
        connection: to the keeper's socket; the hold lasts as long as it is open.
        engine, key: which engine it keeps, in words and exactly.
    """

    def __init__(self, connection: socket.socket, engine: str, key: str) -> None:
        self.key = key
        self._connection = connection
        self._changed = threading.Condition()
        self._calls: list[Callable[[], object]] = []
        self._said: dict[str, Any] = {**dict.fromkeys(_SAID, ""), "engine": engine}
        self._crashes = 0
        self._listener = threading.Thread(target=self._listen, name="engine-hold", daemon=True)
        self._listener.start()

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

    def crashes(self) -> int:
        """How often the engine has been started again since this hold was taken."""
        return self._crashes

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
        self._note({**self._said, "state": "gone"})
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def wait_for_the_end(self) -> None:
        """After `let_go`: until nothing of the engine is left, or only others hold it."""
        self._listener.join(_ENDED_WITHIN_S)

    def _listen(self) -> None:
        with (
            self._connection,
            contextlib.suppress(OSError),
            self._connection.makefile("rb") as lines,
        ):
            for line in lines:
                self._note(json.loads(line))
        self._note({**self._said, "state": "gone"})

    def _note(self, said: dict[str, Any]) -> None:
        with self._changed:
            if self.is_over():
                return
            self._crashes += said["state"] == "starting" and self._said["state"] != ""
            self._said = said
            self._changed.notify_all()
            if self.is_over():
                for call in self._calls:
                    call()


_holds: dict[Place, Hold] = {}
_taking: collections.defaultdict[Place, threading.Lock] = collections.defaultdict(threading.Lock)


def held(kept: Kept, gpus: str) -> Hold:
    """This process's hold on an engine that answers, on these GPUs; starts it if need be.

    A hold on another engine on any of them is let go first. Blocks until the engine is ready.

    Args:
        kept: the engine.
        gpus: such as 0,1, counted within what this process sees; "" is all of that.

    Raises:
        EngineDown: it cannot be started, or another run uses another engine on these GPUs.
    """
    names = visible_gpus(gpus)
    place = place_of(names)
    if names or VISIBLE in os.environ:
        environment = {**dict(kept.environment), VISIBLE: ",".join(names)}
        kept = dataclasses.replace(kept, environment=tuple(environment.items()))
    hold = None
    with _taking[place]:
        for _ in range(_KEEPERS):
            hold = _holds.get(place)
            if hold is None or hold.is_over() or hold.key != kept.key():
                _let_go_of(place)
                hold = _holds[place] = _taken(place, kept)
            if hold.is_ready():
                return hold
    assert hold is not None
    raise hold.failure()


def end_engines() -> None:
    """Let go of this process's engines, and wait until those that nobody else holds have ended."""
    holds = list(_holds.values())
    _holds.clear()
    for hold in holds:
        hold.let_go()
    for hold in holds:
        hold.wait_for_the_end()


def _let_go_of(place: Place) -> None:
    for other in [each for each in list(_holds) if place.overlaps(each.gpus)]:
        hold = _holds.pop(other, None)
        if hold is not None:
            hold.let_go()


def _taken(place: Place, kept: Kept) -> Hold:
    """A hold on this engine, whose keeper is started as soon as nobody has its GPUs."""
    key = kept.key()
    keeper: subprocess.Popen[bytes] | None = None
    give_up_at = time.monotonic() + _OTHERS_LEAVE_S
    while True:
        is_late = time.monotonic() > give_up_at
        if keeper is not None and (is_late or keeper.poll()):
            raise EngineDown(f"the keeper of the engine does not start; {_log(place)} says why")
        with alone(place):
            there = in_the_way(place)
            if not there:
                keeper = _started(place, kept)
                give_up_at = time.monotonic() + _KEEPER_COMES_S
        if any(each is not None and (each.key, each.gpus) == (key, place.gpus) for each in there):
            connection = _connected(place)
            if connection is not None:
                return Hold(connection, kept.engine, key)
        if is_late:
            names = [each.engine for each in there if each is not None]
            raise EngineDown(
                f"another run has {names[0] if names else 'another engine'} on these GPUs; wait "
                "for it, or choose others with --gpus"
            )
        time.sleep(_RETRY_S)


def _connected(place: Place) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(place.stem.with_suffix(".sock")))
    except OSError:  # it is just coming, or going
        connection.close()
        return None
    return connection


def _started(place: Place, kept: Kept) -> subprocess.Popen[bytes]:
    """Start a keeper that outlives this process if others still need it; the GPUs are its own."""
    described = [json.dumps(place.gpus), json.dumps(dataclasses.asdict(kept))]
    program = [sys.executable, "-m", "transforms.engines.keeper", str(place.stem), *described]
    with locked_record(place) as record, _log(place).open("wb") as log:
        keeper = subprocess.Popen(
            program,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[record.fileno()],  # so it holds the lock, from now to its end
            start_new_session=True,
        )
    threading.Thread(target=keeper.wait, name="engine-keeper", daemon=True).start()
    return keeper


def _log(place: Place) -> Path:
    return place.stem.with_suffix(".log")
