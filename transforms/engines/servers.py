"""The servers of an endpoint: which one is up, and how many requests each takes.

A server is judged by what its requests meet. Faults in a row set it aside for growing pauses, and
after each it is probed by one request a second until one is answered. A 429 lowers the number of
requests it is given by one, down to what it takes; with time the number grows again. Where it holds
no request at all and still says 429, it is left alone for as long as it asks.
"""

import dataclasses
import math
import random
import time
from collections.abc import Mapping
from typing import Literal

_FAULTS_IN_A_ROW = 5
_LONGEST_PAUSE_S = 10.0
_PROBE_EVERY_S = 1.0
_HELD_S = 15.0  # more than a connection may take to be made
_UNREACHED_S = 20.0
_FORGOTTEN_S = 60.0
_GROW_EVERY_S = 1.0
_LONGEST_GROWTH_WAIT_S = 16.0

Kind = Literal["unreached", "broken", "limited", "slow"]


@dataclasses.dataclass(frozen=True, slots=True)
class Stumble:
    """What a request met that may pass, so that it is sent again.

    kind: unreached, no connection could be made; broken, the server failed it; limited, it said
        429; slow, there was no answer in time.
    reason, detail: of the reject, where the request is given up, as one that is limited never is.
    retry_after_s: how long the server asks to wait.
    """

    kind: Kind
    reason: str
    detail: str
    retry_after_s: float = 0.0


class Room:
    """How many requests a server takes at once, learned from its 429s.

    Each 429 is one too many. A second later, or when the server says so, it is given one more, then
    two, four and so on; where already the first is refused, the next try comes twice as late.
    """

    def __init__(self, most: int) -> None:
        self._most = self._base = most
        self._grow_at = math.inf
        self._wait_s = _GROW_EVERY_S

    def limit(self, now: float) -> int:
        """The most requests it is given."""
        if self._base == self._most:
            return self._most
        return min(self._most, self._base + 2 ** min(self._steps(now), 16) - 1)

    def refused(self, now: float, retry_after_s: float) -> None:
        """The server said 429."""
        steps = self._steps(now)
        if steps == 1:
            self._wait_s = min(2 * self._wait_s, _LONGEST_GROWTH_WAIT_S)
        elif steps > 1:
            self._wait_s = _GROW_EVERY_S
        self._base = max(1, self.limit(now) - 1)
        self._grow_at = now + max(self._wait_s, retry_after_s)

    def opens_at(self, busy: int, now: float) -> float:
        """When there is room for another beside so many; inf: when one of them is done."""
        if busy < self.limit(now):
            return -math.inf
        if busy >= self._most:
            return math.inf
        return self._grow_at + self._steps(now) * _GROW_EVERY_S

    def _steps(self, now: float) -> int:
        if now < self._grow_at:
            return 0
        return 1 + int((now - self._grow_at) / _GROW_EVERY_S)


class Server:
    """One base URL.

    Args:
        url: of the API.
        most: requests it may be given at once.
        patience_s: after so long of faults without an answer it is down. Where not even one
            connection could ever be made, 20 s are enough.
        headers: what its requests carry beside those of every request.
    """

    def __init__(
        self, url: str, most: int, patience_s: float, headers: Mapping[str, str] | None = None
    ) -> None:
        self.url = url
        self.headers = headers or {}
        self.sent = 0
        self.barred = 0  # refusals in a row that may be of every request, such as of the key
        self.last_answer = -math.inf
        self.last_stumble: Stumble | None = None
        self._room = Room(most)
        self._patience_s = patience_s
        self._reached = False
        self._failing_since: float | None = None
        self._faults = 0
        self._aside_at = self._resume_at = -math.inf
        self._held: dict[object, float] = {}
        self._idle_since = -math.inf

    @property
    def busy(self) -> int:
        """The requests it holds."""
        return len(self._held)

    def opens_at(self, now: float) -> float:
        """When it may be given another request; inf: when one of its own is done."""
        return max(self._resume_at, self._room.opens_at(self.busy, now))

    def take(self) -> object:
        """Give it a request; what is returned is for `release`."""
        now = time.monotonic()
        if not self._held and now - max(self._idle_since, self._resume_at) > _FORGOTTEN_S:
            self._failing_since = None
        if self._is_suspect():
            self._resume_at = now + _PROBE_EVERY_S
        request = object()
        self._held[request] = now
        self.sent += 1
        return request

    def release(self, request: object) -> None:
        """It holds the request no more."""
        del self._held[request]
        self._idle_since = time.monotonic()

    def answered(self) -> None:
        """A request got an answer of its own, be it a refusal."""
        self.last_answer = time.monotonic()
        self._reached = True
        self._failing_since = None
        if self._is_suspect():
            self._resume_at = self.last_answer
        self._faults = 0

    def stumbled(self, stumble: Stumble, sent_at: float) -> None:
        """A request sent at that time met something that may pass; it is still held."""
        if stumble.kind == "slow":
            return
        now = time.monotonic()
        self.last_stumble = stumble
        self._reached |= stumble.kind != "unreached"
        self._failing_since = self._failing_since or now
        if stumble.kind == "limited":
            self._room.refused(now, stumble.retry_after_s)
            if self.busy > 1:
                return
        if sent_at >= self._aside_at:  # else it says nothing that was not known then
            self._faults += 1
            self._set_aside(now, stumble)

    def has_answered(self) -> bool:
        """Whether it has ever answered a request."""
        return self.last_answer > -math.inf

    def failing_s(self) -> float:
        """For how long there have been faults only."""
        return time.monotonic() - self._failing_since if self._failing_since else 0.0

    def is_aside(self) -> bool:
        """Whether it is left alone for now."""
        return time.monotonic() < self._resume_at

    def is_down(self) -> bool:
        """Whether to give it up: nothing but faults for too long, and it holds no request.

        A server that is busy with long answers is not down.
        """
        if self._failing_since is None or self.failing_s() < self._patience():
            return False
        now = time.monotonic()
        return not any(now - sent > _HELD_S for sent in self._held.values())

    def _is_suspect(self) -> bool:
        return self._faults >= _FAULTS_IN_A_ROW

    def _patience(self) -> float:
        return self._patience_s if self._reached else min(self._patience_s, _UNREACHED_S)

    def _set_aside(self, now: float, stumble: Stumble) -> None:
        if stumble.kind == "limited":
            doublings = self._faults - 1
        elif self._is_suspect():
            doublings = self._faults - _FAULTS_IN_A_ROW
        else:
            return
        pause_s = max(stumble.retry_after_s, backoff_s(doublings))
        patience_left_s = self._patience() - self.failing_s()
        if patience_left_s > 0:  # the last try comes when patience ends
            pause_s = min(pause_s, patience_left_s)
        self._aside_at = now
        self._resume_at = now + pause_s


def backoff_s(doublings: int) -> float:
    """A random pause up to a bound that doubles from 0.5 s to 10 s, and of half of it at least."""
    return min(_LONGEST_PAUSE_S, 0.5 * 2.0 ** min(doublings, 10)) * random.uniform(0.5, 1.0)
