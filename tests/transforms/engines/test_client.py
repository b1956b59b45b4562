"""The loop that keeps an engine busy."""

import asyncio
import functools
import gc
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.faults import stats_of
from transforms.engines.client import Client, shared_client
from transforms.engines.endpoint import Endpoint
from transforms.engines.engine import Attempted, Message, Reply, Sampling, Turn
from transforms.engines.rehearsal import Rehearsal
from transforms.errors import EngineDown


class Counting:
    """An engine that records how many turns it answers at once."""

    model = "counting"

    def __init__(self, in_flight: int) -> None:
        self.in_flight = in_flight
        self.now = 0
        self.most = 0
        self.closed = False

    def identity(self) -> str:
        return self.model

    def open(self) -> "Counting":
        return self

    async def complete(self, turn: Turn) -> Attempted:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.002 if turn.seed % 7 else 0.05)
        self.now -= 1
        if turn.seed == 13:
            raise EngineDown("thirteen")
        return Attempted(Reply(str(turn.seed), "", "stop", 0, 0), 1)

    def meter(self) -> None:
        return None

    async def close(self) -> None:
        self.closed = True


def turn(seed: int) -> Turn:
    return Turn("", "infinibyte/evals", (Message("user", "?"),), Sampling(), seed, None)


def jobs(client: Client, seeds: range) -> list[functools.partial]:
    return [functools.partial(client.complete, turn(seed)) for seed in seeds]


def test_results_come_in_the_order_of_the_jobs():
    """However long each takes, the n-th result is the n-th job's."""
    client = Client(Counting(16))
    replies = client.run_window(jobs(client, range(20, 120)))
    assert [attempted.result.text for attempted in replies] == [str(n) for n in range(20, 120)]


def test_a_window_has_more_turns_than_may_be_in_flight():
    """While some wait before they try again, there are others for the engine to take."""
    engine = Counting(4)
    client = Client(engine)
    client.run_window(jobs(client, range(20, 120)))
    assert engine.most == 8


def test_windows_at_once_share_the_limit_of_the_engine(stub):
    """Two windows of an endpoint never have more than `in_flight` at the server, and use it."""
    url = stub({"latency_s": 0.05})
    client = Client(Endpoint(url=url, model="m", in_flight=8))
    windows = [[*jobs(client, range(start, start + 40))] for start in (20, 60)]
    with ThreadPoolExecutor(2) as threads:
        answered = [a for window in threads.map(client.run_window, windows) for a in window]
    assert len(answered) == 80
    assert stats_of(url)["most_in_service"] == 8


def test_a_rehearsal_keeps_its_limit_too():
    """Forty answers of 0.02 s, four at a time, take ten times as long as one."""
    client = Client(Rehearsal(latency_s=0.02, in_flight=4))
    began = time.monotonic()
    client.run_window(jobs(client, range(40)))
    assert time.monotonic() - began >= 0.2


def test_the_first_error_ends_the_window():
    """A job that raises is what the window raises, as it was."""
    client = Client(Counting(4))
    with pytest.raises(EngineDown, match="thirteen"):
        client.run_window(jobs(client, range(100)))


def test_an_empty_window_is_no_work():
    """No jobs, no results, no wait."""
    assert Client(Counting(4)).run_window([]) == []


def test_one_client_per_engine_and_process():
    """Equal settings share a client; it goes when nobody holds it."""
    first = shared_client(Rehearsal(seed=901))
    assert shared_client(Rehearsal(seed=901)) is first
    assert shared_client(Rehearsal(seed=902)) is not first


def test_a_client_that_nobody_holds_is_closed():
    """Dropping the last reference gives the connections back."""
    engine = Counting(2)
    client = Client(engine)
    client.run_window(jobs(client, range(20, 22)))
    del client
    gc.collect()
    Client(Counting(1)).run_window(jobs(Client(Counting(1)), range(20, 21)))
    assert engine.closed
