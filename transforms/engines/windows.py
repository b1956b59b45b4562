"""Windows that nobody waits for any more, because a runner gave their records to another worker.

A runner that loses a worker, or cancels its task, starts the same bundle elsewhere, and the thread
that worked on it is not told. Where both are of one process they would ask the same. So the second
stops the first, whose answers are in the store: only what was in flight is asked again.
"""

import contextlib
import threading
from collections.abc import Collection, Iterator
from concurrent.futures import Future
from typing import Any

Place = tuple[str, str, int]  # a store, an ask, and a shard of its answers

_lock = threading.Lock()
_open: dict[Place, "Opened"] = {}


class Opened:
    """A window at work."""

    def __init__(self) -> None:
        self.closed = threading.Event()
        self._future: Future[Any] | None = None
        self._is_given_up = False

    def runs(self, future: "Future[Any]") -> None:
        """What it does is this."""
        with _lock:
            self._future = future
            is_given_up = self._is_given_up
        if is_given_up:
            future.cancel()

    def give_up(self) -> None:
        """Let it end with an error, now or as soon as it has begun."""
        with _lock:
            self._is_given_up = True
            future = self._future
        if future is not None:
            future.cancel()


def give_up_all() -> None:
    """Let every window of this process end with an error: nobody waits for what they do."""
    with _lock:
        windows = set(_open.values())
    for window in windows:
        window.give_up()


@contextlib.contextmanager
def opened(places: Collection[Place]) -> Iterator[Opened]:
    """Be the only window of this process at these places; one that was there is given up first."""
    own = Opened()
    with _lock:
        others = {_open[place] for place in places if place in _open}
        _open.update(dict.fromkeys(places, own))
    try:
        for other in others:
            other.give_up()
        for other in others:
            other.closed.wait()
        yield own
    finally:
        own.closed.set()
        with _lock:
            for place in places:
                if _open.get(place) is own:
                    del _open[place]
