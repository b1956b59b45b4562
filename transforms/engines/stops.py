"""Stops: why a run sends no more requests, and what it may still spend.

A run that is stopped finishes what is with a model, and each sample that would take another request
is a reject, `not_sent`, one that waits for its turn or before another try included. Nothing is lost
by it: the same command sends those requests later.

What a run may spend is reserved before a request goes out, by an estimate, and corrected by the
usage in its reply, so that requests in flight do not exceed it together. Where a server tells no
usage, what was said counts by an estimate; for each attempt that was not answered in time, what was
reserved, though for all attempts of a request it is reserved once.
"""

import asyncio
import collections
import contextlib
import contextvars
import dataclasses
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any

from apache_beam.io.filesystems import FileSystems

from transforms.engines.engine import (
    NOT_SENT,
    Attempted,
    Reply,
    Turn,
    asked_tokens,
    estimated_tokens,
)
from transforms.files import exists, read_file, remove

Send = Callable[[Turn], Coroutine[Any, Any, Attempted]]

_LOOK_EVERY_S = 2.0
_WAIT_ENDS_WITHIN_S = 0.2
_FIRST_GUESS = 4096  # completion tokens of an answer without a limit, before there is one
_JUDGED_OF, _JUDGED_FROM = 200, 100  # samples


class Withheld(Exception):
    """A turn was not sent, or not once more, because its run was stopped; it says by what."""


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
        self.file = f"{store}.stop"
        self._watch = watch
        self._limits = limits or Limits()
        self.spent = spent or Spent()
        self._reserved = Spent()
        self._in_flight = 0
        self._settled = asyncio.Condition()
        self._longest: dict[str, int] = {}
        self._ends: dict[str, collections.deque[str]] = {}
        self._why = ""
        self._looked_at = float("-inf")
        self._waits: set[asyncio.Timeout] = set()
        self._next_look: asyncio.TimerHandle | None = None

    @property
    def why(self) -> str:
        """What has stopped the run; "" while it goes on."""
        if self._watch and time.monotonic() - self._looked_at > _LOOK_EVERY_S:
            self._looked_at = time.monotonic()
            with contextlib.suppress(OSError):  # a store that cannot be asked may be so next time
                self._why = read_file(self.file).decode() if exists(self.file) else ""
        return self._why

    def stop(self, why: str) -> None:
        """Send nothing more from this process; of several reasons the first counts."""
        self._why = self._why or why

    def tell(self) -> None:
        """Let the workers in other processes know."""
        with FileSystems.create(self.file) as file:
            file.write(self._why.encode())

    def clear(self) -> None:
        """Forget what an earlier run has told its workers."""
        remove(self.file)

    async def sent(self, ask: str, turn: Turn, send: Send) -> Attempted | None:
        """Send a turn when there is enough left for it; None once the run has been stopped.

        What is left may be reserved by turns in flight: then it waits for what they really use.
        The result is `NOT_SENT` of one that has timed out and waited for another try.
        """
        if not self._limits.are_of_spending:
            return None if self.why else await self._sent(ask, turn, send)
        estimate = self._estimate(ask, turn)
        wanted = self._of(ask, *estimate)
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
            attempted = await self._sent(ask, turn, send, estimate)
            if attempted is not None:
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

    @contextlib.asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """See the function of that name."""
        if self.why:
            raise Withheld(self.why)
        try:
            async with asyncio.timeout(None) as wait:
                self._waits.add(wait)
                if len(self._waits) == 1:
                    self._look_soon()
                try:
                    yield
                finally:
                    self._waits.discard(wait)
                    if not self._waits and self._next_look is not None:
                        self._next_look.cancel()
        except TimeoutError:
            if not wait.expired():
                raise
            raise Withheld(self.why) from None

    def _look_soon(self) -> None:
        loop = asyncio.get_running_loop()
        self._next_look = loop.call_later(_WAIT_ENDS_WITHIN_S, self._look)

    def _look(self) -> None:
        """End all waits if the run has been stopped, by whatever thread or process."""
        if not self.why:
            self._look_soon()
            return
        now = asyncio.get_running_loop().time()
        while self._waits:
            self._waits.pop().reschedule(now)

    async def _sent(
        self, ask: str, turn: Turn, send: Send, estimate: tuple[int, int] | None = None
    ) -> Attempted | None:
        """Send it unless the run is stopped before it goes, and charge what nobody tells."""
        token = _of_turn.set(self)
        try:
            attempted = await send(turn)
        except Withheld:
            return None
        finally:
            _of_turn.reset(token)
        asked, most = estimate or self._estimate(ask, turn)
        late, reply = attempted.timed_out, attempted.result
        charged = late * asked, late * most
        if isinstance(reply, Reply):
            tokens = reply.completion_tokens
            if not (reply.prompt_tokens or tokens):
                tokens = estimated_tokens(f"{reply.text}{reply.reasoning}")
                charged = charged[0] + asked, charged[1] + tokens
            self._longest[ask] = max(self._longest.get(ask, 0), tokens)
        return dataclasses.replace(attempted, charged=charged) if any(charged) else attempted

    def _estimate(self, ask: str, turn: Turn) -> tuple[int, int]:
        """The tokens of a turn's prompt, and of its answer at most."""
        return asked_tokens(turn), turn.sampling.max_tokens or self._longest.get(ask, _FIRST_GUESS)

    def _of(self, ask: str, prompt_tokens: int, completion_tokens: int) -> Spent:
        price = self._limits.prices.get(ask, Price())
        cost = price.of(prompt_tokens, completion_tokens)
        return Spent(prompt_tokens + completion_tokens, cost)

    def _exceeded_by(self, wanted: Spent) -> str:
        """The limit that leaves no room for so much more; "" where there is room."""
        tokens, cost = self._limits.tokens, self._limits.cost
        parts = (self.spent, self._reserved, wanted)
        if tokens is not None and sum(part.tokens for part in parts) > tokens:
            return f"--max_tokens_total {tokens}: {self.spent.tokens} tokens are spent"
        if cost is not None and sum(part.cost for part in parts) > cost:
            return f"--max_cost {cost:g}: ${self.spent.cost:.2f} are spent"
        return ""

    def _spend(self, ask: str, attempted: Attempted) -> None:
        self.spent.add(self._of(ask, *attempted.charged))
        if isinstance(reply := attempted.result, Reply):
            self.spent.add(self._of(ask, reply.prompt_tokens, reply.completion_tokens))


_of_turn: contextvars.ContextVar[Stops | None] = contextvars.ContextVar("stops", default=None)


def waiting() -> contextlib.AbstractAsyncContextManager[None]:
    """While this task's turn waits, and no engine has its request: a stop of its run ends that.

    Raises:
        Withheld: on entering or within, the run has been stopped.
    """
    stops = _of_turn.get()
    return contextlib.nullcontext() if stops is None else stops.waiting()


def is_stopped() -> bool:
    """Whether the run of this task's turn has been stopped."""
    stops = _of_turn.get()
    return stops is not None and bool(stops.why)


_stops: dict[str, Stops] = {}


def stops_of(store: str) -> Stops:
    """Those of the run that keeps its answers in `store`; without limits unless it began here."""
    return _stops.setdefault(store, Stops(store, watch=True))


def begin(stops: Stops) -> Stops:
    """Hold the asks of this process that keep answers in the same store to these."""
    _stops[stops.store] = stops
    return stops
