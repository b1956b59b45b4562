"""Stops: why a run sends no more requests, and what it may still spend.

A run that is stopped finishes what is with a model, and each sample that would take another request
is a reject, `not_sent`. Nothing is lost by it: the same command sends those requests later.

What a run may spend is reserved before a request goes out and corrected by the usage in its reply,
so that requests in flight cannot exceed it together.
"""

import asyncio
import collections
import dataclasses
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from apache_beam.io.filesystems import FileSystems

from transforms.engines.engine import NOT_SENT, Attempted, Failure, Turn
from transforms.files import exists, read_file, remove

Send = Callable[[Turn], Coroutine[Any, Any, Attempted]]

_LOOK_EVERY_S = 1.0
_CHARACTERS_PER_TOKEN = 3  # fewer than most texts have: what is reserved is rather too much
_FIRST_GUESS = 4096  # completion tokens of an answer without a limit, before there is one
_JUDGED_OF, _JUDGED_FROM = 200, 100  # samples


@dataclasses.dataclass(frozen=True)
class Price:
    """US dollars for a million tokens."""

    prompt: float = 0.0
    completion: float = 0.0

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What so many tokens cost."""
        return (prompt_tokens * self.prompt + completion_tokens * self.completion) / 1e6


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a run may spend and lose before it stops by itself; None is no limit.

    tokens: in and out, of all asks.
    cost: US dollars, by the `prices` of each ask.
    failures: the share of an ask's last 200 samples that may be rejects, once there are 100.
    """

    tokens: int | None = None
    cost: float | None = None
    failures: float | None = None
    prices: Mapping[str, Price] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Spent:
    """Tokens, in and out, and US dollars."""

    tokens: int = 0
    cost: float = 0.0

    def add(self, other: "Spent", sign: int = 1) -> None:
        """Add what another has, or take it away."""
        self.tokens += sign * other.tokens
        self.cost += sign * other.cost


class Stops:
    """Whether a run goes on: one for all asks of a process that share an answer store.

    Workers of one run in other processes learn of a stop by a file beside the store.
    """

    def __init__(
        self, store: str, limits: Limits | None = None, spent: Spent | None = None
    ) -> None:
        self._file = f"{store}.stop"
        self._limits = limits or Limits()
        self._spent = spent or Spent()
        self._reserved = Spent()
        self._in_flight = 0
        self._settled = asyncio.Condition()
        self._longest: dict[str, int] = {}
        self._ends: dict[str, collections.deque[str]] = {}
        self._why = ""
        self._looked_at = float("-inf")

    @property
    def why(self) -> str:
        """What has stopped the run; "" while it goes on."""
        if not self._why and time.monotonic() - self._looked_at > _LOOK_EVERY_S:
            self._looked_at = time.monotonic()
            if exists(self._file):
                self._why = read_file(self._file).decode()
        return self._why

    def stop(self, why: str) -> None:
        """Send nothing more from this process; of several reasons the first counts."""
        self._why = self._why or why

    def tell(self) -> None:
        """Let the workers in other processes know."""
        with FileSystems.create(self._file) as file:
            file.write(self._why.encode())

    def clear(self) -> None:
        """Forget what an earlier run has told its workers."""
        remove(self._file)

    async def sent(self, ask: str, turn: Turn, send: Send) -> Attempted | None:
        """Send a turn when there is enough left for it; None once the run has been stopped.

        What is left may be reserved by turns in flight: then it waits for what they really use.
        """
        wanted = self._estimate(ask, turn)
        async with self._settled:
            while not self.why and not self._has_room_for(wanted):
                if not self._in_flight:
                    self.stop(self._spent_up())
                else:
                    await self._settled.wait()
            if self.why:
                return None
            self._reserved.add(wanted)
            self._in_flight += 1
        try:
            attempted = await send(turn)
            self._spend(ask, attempted)
        finally:
            self._in_flight -= 1
            self._reserved.add(wanted, -1)
            async with self._settled:
                self._settled.notify_all()
        return attempted

    def ended(self, ask: str, reason: str) -> None:
        """A sample that a model was asked about is done: a row (no reason), or a reject for one."""
        if self._limits.failures is None or reason == NOT_SENT:
            return
        last = self._ends.setdefault(ask, collections.deque(maxlen=_JUDGED_OF))
        last.append(reason)
        reasons = collections.Counter(reason for reason in last if reason)
        if len(last) >= _JUDGED_FROM and reasons.total() > self._limits.failures * len(last):
            most, number = reasons.most_common(1)[0]
            self.stop(
                f"--max_failures {self._limits.failures:g}: {reasons.total()} of the last "
                f"{len(last)} samples of {ask} are rejects, {number} of them {most}"
            )

    def _estimate(self, ask: str, turn: Turn) -> Spent:
        asked = sum(len(message.content) for message in turn.messages) // _CHARACTERS_PER_TOKEN
        answered = turn.sampling.max_tokens or self._longest.get(ask, _FIRST_GUESS)
        return self._of(ask, asked, answered)

    def _of(self, ask: str, prompt_tokens: int, completion_tokens: int) -> Spent:
        price = self._limits.prices.get(ask, Price())
        cost = price.of(prompt_tokens, completion_tokens)
        return Spent(prompt_tokens + completion_tokens, cost)

    def _has_room_for(self, wanted: Spent) -> bool:
        limits = (self._limits.tokens, self._limits.cost)
        spent = (self._spent.tokens, self._spent.cost)
        reserved = (self._reserved.tokens, self._reserved.cost)
        more = (wanted.tokens, wanted.cost)
        return all(
            limit is None or sum(parts) <= limit
            for limit, *parts in zip(limits, spent, reserved, more, strict=True)
        )

    def _spent_up(self) -> str:
        if self._limits.tokens is not None and self._limits.cost is None:
            return (
                f"--max_tokens_total {self._limits.tokens}: {self._spent.tokens} tokens are spent"
            )
        return f"--max_cost {self._limits.cost:g}: ${self._spent.cost:.2f} are spent"

    def _spend(self, ask: str, attempted: Attempted) -> None:
        reply = attempted.result
        if isinstance(reply, Failure):
            return
        self._spent.add(self._of(ask, reply.prompt_tokens, reply.completion_tokens))
        self._longest[ask] = max(self._longest.get(ask, 0), reply.completion_tokens)


_stops: dict[str, Stops] = {}


def stops_of(store: str) -> Stops:
    """Those of the run that keeps its answers in `store`; without limits unless it began here."""
    return _stops.setdefault(store, Stops(store))


def begin(stops: Stops, store: str) -> Stops:
    """Hold the asks of this process that keep answers in `store` to these."""
    _stops[store] = stops
    return stops
