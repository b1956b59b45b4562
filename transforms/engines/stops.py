"""Stops: why a run sends no more requests, and what it may still spend.

A run that is stopped finishes what is with a model, and each sample that would take another request
is a reject, `not_sent`. Nothing is lost by it: the same command sends those requests later.

What a run may spend is reserved before a request goes out, by an estimate, and corrected by the
usage in its reply, so that requests in flight do not exceed it together. Where a server tells no
usage, or does not answer in time, what was reserved counts as spent.
"""

import asyncio
import collections
import contextlib
import dataclasses
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from apache_beam.io.filesystems import FileSystems

from transforms.engines.engine import NOT_SENT, Attempted, Failure, Reply, Turn, asked_tokens
from transforms.files import exists, read_file, remove

Send = Callable[[Turn], Coroutine[Any, Any, Attempted]]

_LOOK_EVERY_S = 2.0
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

    @property
    def are_of_spending(self) -> bool:
        """Whether anybody needs to know what is spent."""
        return self.tokens is not None or self.cost is not None


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

    Workers of one run in other processes learn of a stop by a file beside the store: those `watch`.
    """

    def __init__(
        self,
        store: str,
        limits: Limits | None = None,
        spent: Spent | None = None,
        watch: bool = False,
    ) -> None:
        self.store = store
        self._file = f"{store}.stop"
        self._watch = watch
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
        if self._watch and time.monotonic() - self._looked_at > _LOOK_EVERY_S:
            self._looked_at = time.monotonic()
            with contextlib.suppress(OSError):  # a store that cannot be asked may be so next time
                self._why = read_file(self._file).decode() if exists(self._file) else ""
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
        if not self._limits.are_of_spending:
            return None if self.why else await send(turn)
        wanted = self._estimate(ask, turn)
        async with self._settled:
            while not self.why and (exceeded := self._exceeded_by(wanted)):
                if not self._in_flight:
                    self.stop(exceeded)
                else:
                    await self._settled.wait()
            if self.why:
                return None
            self._reserved.add(wanted)
            self._in_flight += 1
        try:
            attempted = await send(turn)
            self._spend(ask, attempted.result, wanted)
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
        answered = turn.sampling.max_tokens or self._longest.get(ask, _FIRST_GUESS)
        return self._of(ask, asked_tokens(turn), answered)

    def _of(self, ask: str, prompt_tokens: int, completion_tokens: int) -> Spent:
        price = self._limits.prices.get(ask, Price())
        cost = price.of(prompt_tokens, completion_tokens)
        return Spent(prompt_tokens + completion_tokens, cost)

    def _exceeded_by(self, wanted: Spent) -> str:
        """The limit that leaves no room for so much more; "" where there is room."""
        tokens, cost = self._limits.tokens, self._limits.cost
        parts = (self._spent, self._reserved, wanted)
        if tokens is not None and sum(part.tokens for part in parts) > tokens:
            return f"--max_tokens_total {tokens}: {self._spent.tokens} tokens are spent"
        if cost is not None and sum(part.cost for part in parts) > cost:
            return f"--max_cost {cost:g}: ${self._spent.cost:.2f} are spent"
        return ""

    def _spend(self, ask: str, reply: Reply | Failure, reserved: Spent) -> None:
        if isinstance(reply, Failure):
            if reply.reason == "timed_out":  # it may have written all the while
                self._spent.add(reserved)
            return
        tokens = reply.prompt_tokens, reply.completion_tokens
        self._spent.add(self._of(ask, *tokens) if any(tokens) else reserved)
        self._longest[ask] = max(self._longest.get(ask, 0), reply.completion_tokens)


_stops: dict[str, Stops] = {}


def stops_of(store: str) -> Stops:
    """Those of the run that keeps its answers in `store`; without limits unless it began here."""
    return _stops.setdefault(store, Stops(store, watch=True))


def begin(stops: Stops) -> Stops:
    """Hold the asks of this process that keep answers in the same store to these."""
    _stops[stops.store] = stops
    return stops
