"""The gate before the servers: who may send now, and to which of them.

Requests wait in line, first come first served. The first goes as soon as fewer than `in_flight` are
under way, the limits per minute allow it, and a server has room. Of several it is the one that had
the same prompt last, so that its prefix cache is used, unless another is much less busy. A request
holds its place only while a server has it, never while it waits before another try.
"""

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import Sequence

from transforms.engines.pace import Pace
from transforms.engines.servers import Server

Held = tuple[Server, object]  # a server, and what it calls the request
_REMEMBERED = 4096  # prompts
_SLACK = 4  # requests, or a quarter, that a prompt's own server may have more than the least busy


class Gate:
    """Lets requests through to servers; used from one event loop."""

    def __init__(self, servers: Sequence[Server], in_flight: int, pace: Pace) -> None:
        self._servers = servers
        self._in_flight = in_flight
        self._pace = pace
        self._busy = 0
        self._line: deque[tuple[asyncio.Future[Held], int, int]] = deque()
        self._seen: OrderedDict[int, Server] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self, tokens: int, prompt: int) -> Held:
        """The server to send a request to that will use about so many tokens; then `leave`.

        `prompt` is a hash of it.
        """
        if not self._line and (held := self._let_in(tokens, prompt)):
            return held
        place: asyncio.Future[Held] = asyncio.get_running_loop().create_future()
        self._line.append((place, tokens, prompt))
        self._set_timer()
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave(place.result())
            raise

    def leave(self, held: Held) -> None:
        """The request is done, for now or for good."""
        server, request = held
        server.release(request)
        self._busy -= 1
        self._move()

    def _move(self) -> None:
        while self._line and self._busy < self._in_flight:
            place, tokens, prompt = self._line[0]
            if not place.done():
                held = self._let_in(tokens, prompt)
                if held is None:
                    break
                place.set_result(held)
            self._line.popleft()
        self._set_timer()

    def _let_in(self, tokens: int, prompt: int) -> Held | None:
        now = time.monotonic()
        if self._busy >= self._in_flight or now < self._pace.ready_at:
            return None
        ready = [server for server in self._servers if server.opens_at(now) <= now]
        if not ready:
            return None
        server = ready[0] if len(self._servers) == 1 else self._chosen(ready, prompt)
        self._busy += 1
        self._pace.spend(tokens, now)
        return server, server.take()

    def _chosen(self, ready: Sequence[Server], prompt: int) -> Server:
        least = min(ready, key=_load)
        own = self._seen.pop(prompt, least)
        is_near = own.busy <= least.busy + max(_SLACK, least.busy // 4)
        server = self._seen[prompt] = own if own in ready and is_near else least
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return server

    def _set_timer(self) -> None:
        """Come back when time alone will let the next one in."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._line or self._busy >= self._in_flight:
            return
        now = time.monotonic()
        opens_at = min(server.opens_at(now) for server in self._servers)
        if opens_at < math.inf:
            at = max(self._pace.ready_at, opens_at)
            self._timer = asyncio.get_running_loop().call_at(at, self._move)


def _load(server: Server) -> tuple[int, int]:
    return server.busy, server.sent
