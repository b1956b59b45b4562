"""How many requests a server is given, and when it is left alone or given up."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.engines.servers import Room, Server, Stumble, backoff_s

BROKEN = Stumble("broken", "server_error", "HTTP 500")


@given(st.integers(1, 64), st.integers(1, 64), st.floats(0, 30))
def test_room_shrinks_to_the_capacity_and_finds_it_again(most, capacity, retry_after_s):
    """A burst of refusals ends at the capacity; later probes are few and stay near it."""
    room, now = Room(most), 1000.0
    while room.limit(now) > capacity:
        room.refused(now, retry_after_s)
    assert room.limit(now) == min(most, capacity)
    refusals = 0
    for second in range(600):
        at = now + second
        while room.limit(at) > capacity:
            room.refused(at, 0.0)
            refusals += 1
        assert room.limit(at) >= min(most, capacity) - 1
    assert refusals < 100


def test_room_grows_faster_and_faster_where_it_is_not_refused():
    """From one to 64 in seconds once the server takes all again."""
    room = Room(64)
    for _ in range(70):
        room.refused(0.0, 5.0)
    assert [room.limit(at) for at in (0, 4.9, 5, 6, 7, 12)] == [1, 1, 2, 4, 8, 64]


def test_room_says_when_it_opens():
    """At once below the limit, at the next growth at it, and never at the most."""
    room = Room(4)
    assert (room.opens_at(3, 0.0), room.opens_at(4, 0.0)) == (-math.inf, math.inf)
    room.refused(0.0, 2.0)
    assert (room.opens_at(2, 0.0), room.opens_at(3, 0.0)) == (-math.inf, 2.0)


class Clock:
    """A time that tests set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def meet(server: Server, clock: Clock, stumble: Stumble) -> None:
    """One request that stumbles."""
    request = server.take()
    server.stumbled(stumble, clock.now)
    server.release(request)


def test_faults_in_a_row_set_a_server_aside_and_an_answer_brings_it_back(clock):
    """A fault now and then does not; five do, until a probe is answered."""
    server = Server("u", 8, 120)
    for _ in range(30):
        meet(server, clock, BROKEN)
        server.answered()
    assert not server.is_aside()
    for _ in range(5):
        meet(server, clock, BROKEN)
    assert clock.now < server.opens_at(clock.now) <= clock.now + 0.5
    clock.now += 0.5
    server.take()
    assert server.is_aside()  # one probe, and the next a second later
    server.answered()
    assert server.opens_at(clock.now) <= clock.now


def test_a_burst_of_faults_is_one_reason_to_pause(clock):
    """What was sent before the server was set aside does not make the pause longer."""
    server = Server("u", 64, 120)
    requests = [server.take() for _ in range(64)]
    for request in requests:
        server.stumbled(BROKEN, clock.now - 1)
        server.release(request)
    assert server.opens_at(clock.now) <= clock.now + 0.5


def test_a_server_is_down_after_its_patience_unless_it_holds_a_request(clock):
    """A long answer under way means that it is busy and not down."""
    server = Server("u", 8, 120)
    held = server.take()
    meet(server, clock, BROKEN)
    clock.now += 119
    meet(server, clock, BROKEN)
    assert not server.is_down()
    clock.now += 2
    assert not server.is_down()
    server.release(held)
    assert server.is_down()


def test_an_old_fault_is_forgotten_while_nothing_is_asked(clock):
    """A fault before a long idle time does not count towards the patience after it."""
    server = Server("u", 8, 120)
    meet(server, clock, BROKEN)
    clock.now += 3600
    meet(server, clock, BROKEN)
    assert not server.is_down()


def test_a_429_with_nothing_under_way_is_waited_out_within_the_patience(clock):
    """For as long as the server says, but the last try comes when patience ends."""
    for retry_after_s, opens in ((30.0, 30.0), (300.0, 120.0)):
        server = Server("u", 8, 120)
        meet(server, clock, Stumble("limited", "rate_limited", "HTTP 429", retry_after_s))
        assert server.opens_at(clock.now) == clock.now + opens


def test_a_429_beside_others_under_way_leaves_the_server_open(clock):
    """It takes as many as it holds."""
    server = Server("u", 8, 120)
    server.take()
    meet(server, clock, Stumble("limited", "rate_limited", "HTTP 429", 30.0))
    assert server.opens_at(clock.now) <= clock.now


@given(st.integers(0, 10_000))
def test_pauses_grow_to_a_bound_and_differ(doublings):
    """Never nothing, never above ten seconds."""
    pauses = {backoff_s(doublings) for _ in range(5)}
    assert all(0.25 <= pause <= 10 for pause in pauses)
    assert len(pauses) > 1
