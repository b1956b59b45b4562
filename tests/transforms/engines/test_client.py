"""The loop that keeps an engine busy."""

import asyncio
import functools
import gc

import pytest

from transforms.engines.client import Client, shared_client
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

    async def close(self) -> None:
        self.closed = True


def turn(seed: int) -> Turn:
    return Turn("", "p", (Message("user", "?"),), Sampling(), seed, None)


def jobs(client: Client, seeds: range) -> list[functools.partial]:
    return [functools.partial(client.complete, turn(seed)) for seed in seeds]


def test_results_come_in_the_order_of_the_jobs():
    """However long each takes, the n-th result is the n-th job's."""
    client = Client(Counting(16))
    replies = client.run_window(jobs(client, range(20, 120)))
    assert [attempted.result.text for attempted in replies] == [str(n) for n in range(20, 120)]


def test_no_more_than_the_limit_is_in_flight_and_the_limit_is_used():
    """Two windows at once share the one limit, which is reached."""
    engine = Counting(8)
    client = Client(engine)
    with asyncio.Runner() as runner:

        async def both() -> None:
            windows = (jobs(client, range(20, 80)), jobs(client, range(80, 140)))
            await asyncio.gather(*(asyncio.to_thread(client.run_window, w) for w in windows))

        runner.run(both())
    assert engine.most == 8


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
