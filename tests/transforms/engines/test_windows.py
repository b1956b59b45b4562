"""Windows that are taken over: the next one begins when nothing of the last one goes on."""

import asyncio
import threading
import time
from concurrent.futures import CancelledError

import pytest

from transforms.engines.client import Client, run_jobs
from transforms.engines.rehearsal import Rehearsal
from transforms.engines.windows import opened

PLACES = [("store", "evals", 5), ("store", "evals", 6)]
SLOW_S = 0.3


class Worker(threading.Thread):
    """A window of one job at these places, which takes long to give up."""

    def __init__(self, places: list[tuple[str, str, int]]) -> None:
        super().__init__(daemon=True)
        self.places = places
        self.began, self.may_end, self.ended = threading.Event(), threading.Event(), 0.0
        self.is_cancelled = False

    def run(self) -> None:
        with opened(self.places) as window:
            try:
                Client(Rehearsal()).run_window([self.job], began=window.runs)
            except CancelledError:
                self.is_cancelled = True

    async def job(self) -> None:
        self.began.set()
        try:
            while not self.may_end.is_set():
                await asyncio.sleep(0.01)
        finally:
            await asyncio.sleep(SLOW_S)  # as a sandbox's session takes some time to end
            self.ended = time.monotonic()


def test_a_window_begins_when_nothing_of_the_one_before_goes_on():
    """Not when it has only been told to stop: until then it may still write answers."""
    first = Worker(PLACES)
    first.start()
    first.began.wait()
    with opened(PLACES[1:]):
        entered = time.monotonic()
        assert 0.0 < first.ended <= entered
    first.join()
    assert first.is_cancelled


def test_windows_of_other_places_are_left_alone():
    """Two shards of one ask, beside one another."""
    first = Worker(PLACES[:1])
    first.start()
    first.began.wait()
    with opened(PLACES[1:]):
        assert not first.ended
    first.may_end.set()
    first.join()
    assert not first.is_cancelled


def test_a_window_that_was_given_up_before_it_began_does_nothing():
    """Its jobs are cancelled as soon as there are any."""
    with opened(PLACES) as window:
        window.give_up()
        done = []

        async def job() -> None:
            await asyncio.sleep(SLOW_S)
            done.append(1)

        with pytest.raises(CancelledError):
            Client(Rehearsal()).run_window([job] * 3, began=window.runs)
        time.sleep(2 * SLOW_S)
    assert done == []


def test_what_a_failed_window_has_begun_is_over_when_it_returns():
    """The other jobs are cancelled, and waited for."""
    ended = []

    async def fails() -> None:
        await asyncio.sleep(0.01)
        raise ValueError("no")

    async def lasts() -> None:
        try:
            await asyncio.sleep(60.0)
        finally:
            await asyncio.sleep(SLOW_S)
            ended.append(1)

    with pytest.raises(ValueError, match="no"):
        run_jobs([fails, lasts], 2)
    assert ended == [1]
