"""The retry loop of an endpoint: one turn at a time, until it has an answer or is given up."""

import asyncio
import itertools
import json
import math
import random
import time
from collections.abc import Collection, Sequence

from transforms.engines.completions import PATHS, Api, api_of, body_of, message_of, reply_of
from transforms.engines.context import overflow_of
from transforms.engines.dialect import Dialect, refused_parameter
from transforms.engines.engine import (
    KEY_HEADER,
    NOT_SENT,
    PROMPT_HEADER,
    Attempted,
    Failure,
    Reply,
    Turn,
)
from transforms.engines.gate import Gate, Held
from transforms.engines.pace import Pace
from transforms.engines.servers import Server, Stumble, backoff_s
from transforms.engines.stops import Withheld, is_stopped, waiting
from transforms.engines.wire import Response, Wire
from transforms.errors import EngineDown

_PASSING = {408, 409, 425}
_FATAL = {
    401: "the key is missing or wrong: set the environment variable {key_env}",
    402: "the credit is spent: top up the account of the key in {key_env}",
    403: "the key may not use this model: check {key_env} and --model",
    404: "check --endpoint (it ends in /v1 on most servers), --model and --adapter",
}
_TOO_LARGE = "request too large"  # OpenAI's 429 for one that is larger than a minute's tokens
_IN_A_ROW = 20
_IN_A_ROW_AT_FIRST = 5
_KEPT = "run the same command again: answers so far are kept"


class EndpointTransport:
    """Servers of one model, behind one gate.

    Args:
        model: what they are asked for.
        servers: where.
        gate: lets requests through to them.
        pace: the limits per minute that the gate keeps.
        wire: how they are reached.
        dialect: what they do not take.
        attempts: how often a request may fail while its server answers others.
        key_env: where the key came from, for messages.
        api: chat or text completions.
    """

    def __init__(
        self,
        model: str,
        servers: Sequence[Server],
        gate: Gate,
        pace: Pace,
        wire: Wire,
        dialect: Dialect,
        attempts: int,
        key_env: str,
        api: Api = "chat",
    ) -> None:
        self._model = model
        self._servers = servers
        self._gate = gate
        self._pace = pace
        self._wire = wire
        self._dialect = dialect
        self._attempts = attempts
        self._key_env = key_env
        self._api: Api = api
        self._lost: list[float] = []  # since the last answer: when those given up were first sent

    async def complete(self, turn: Turn) -> Attempted:
        """Answer one turn; what may pass is sent again, waiting longer each time.

        A refusal that no retry can mend is that turn's `Failure`; so is a fault that outlasts
        `attempts`, of which only those count between which the server answered somebody. A timeout
        is tried once more: the same request would take as long again. A 429 never counts.

        One that has timed out and is not sent again, because its run is stopped, has the result
        `NOT_SENT`.

        Raises:
            EngineDown: a server refuses every request or a setting of all, or all have been failing
                for too long.
            Withheld: the run is stopped while it waits, and no attempt of it has timed out.
        """
        tokens = self._pace.estimate(turn)
        strikes, timed_out, first_at, stumbled_at, pause_s = 0, 0, 0.0, time.monotonic(), 0.0
        for attempt in itertools.count(1):
            try:
                held = await self._entered(tokens, hash(turn.opening), pause_s)
            except Withheld as stop:
                if not timed_out:
                    raise
                return Attempted(Failure(NOT_SENT, str(stop)), attempt - 1, timed_out=timed_out)
            server, sent_at = held[0], time.monotonic()
            first_at = first_at or sent_at
            try:
                outcome = await self._send(server, turn, sent_at)
            finally:
                self._gate.leave(held)
            now = time.monotonic()
            self._pace.correct(tokens, outcome if isinstance(outcome, Reply) else None)
            if not isinstance(outcome, Stumble):
                return Attempted(outcome, attempt, now - sent_at, timed_out)
            timed_out += outcome.kind == "slow"
            if is_stopped():
                continue
            strikes += _is_own_fault(outcome, server, stumbled_at)
            most = min(2, self._attempts) if outcome.kind == "slow" else self._attempts
            is_alone = strikes < most and await self._is_alone(outcome, server)
            if is_alone or strikes >= most:
                await self._lose(outcome, first_at, now if is_alone else first_at)
                failure = Failure(outcome.reason, outcome.detail)
                return Attempted(failure, attempt, now - sent_at, timed_out)
            stumbled_at, pause_s = now, _pause_s(outcome, server, attempt)
        raise AssertionError("unreachable")

    def meter(self) -> None:
        """None: what a server tells of itself is not the API's."""

    async def close(self) -> None:
        """Close the connections."""
        await self._wire.close()

    async def _entered(self, tokens: int, prompt: int, pause_s: float) -> Held:
        """A place at a server, after a pause."""
        async with waiting():
            if pause_s:
                await asyncio.sleep(pause_s)
            return await self._gate.enter(tokens, prompt)

    async def _send(self, server: Server, turn: Turn, sent_at: float) -> Reply | Failure | Stumble:
        """One attempt; sent again at once where the server says what to leave out or to lower."""
        url = server.url + PATHS[api_of(turn, self._api)]
        headers = {KEY_HEADER: turn.key, PROMPT_HEADER: turn.prompt, **server.headers}
        body = body_of(self._model, turn, self._api)
        may_shrink = turn.sampling.fit_context
        while True:
            sent = self._dialect.spoken(body)
            response = await self._wire.post(url, json.dumps(sent).encode(), headers)
            outcome: Reply | Failure | Stumble
            if isinstance(response, Stumble):
                outcome = response
            elif self._dialect.learns_from(response.status, sent, response.content):
                continue
            elif may_shrink and (room := _room(response)):
                body["max_tokens"], may_shrink = room, False
                continue
            else:
                outcome = self._read(server, response, sent, turn.rendered is not None)
            if isinstance(outcome, Stumble):
                server.stumbled(outcome, sent_at)
            else:
                server.answered()
                self._lost.clear()
            return outcome

    def _read(
        self, server: Server, response: Response, sent: Collection[str], verbatim: bool
    ) -> Reply | Failure | Stumble:
        status = response.status
        if status == 200:
            try:
                reply = reply_of(response.content, verbatim)
            except ValueError as error:
                return Stumble("broken", "bad_response", self._wire.redacted(str(error)))
            server.barred = 0
            return reply
        detail = f"HTTP {status}: {message_of(response.content)}"
        if status == 429 and _TOO_LARGE not in detail.lower():
            return Stumble("limited", "", detail, response.retry_after_s)  # never a reject
        if status in _PASSING or status >= 500:
            return Stumble("broken", "server_error", detail, response.retry_after_s)
        if status in _FATAL:
            self._bar(server, status, detail)
        refused = refused_parameter(status, sent, response.content)
        if refused is not None and not server.has_answered():
            raise EngineDown(
                f"{server.url} does not take {refused} ({detail}); leave --{refused} out, or go on "
                f"without it by --dialect no_{refused}"
            )
        overflow = overflow_of(status, response.content)
        if overflow is not None and overflow.prompt is not None:
            return Failure("prompt_too_long", detail)
        return Failure("request_refused", detail)

    def _bar(self, server: Server, status: int, detail: str) -> None:
        """Note a refusal that may be of one prompt, or of all requests from now on.

        Raises:
            EngineDown: it is the first that the server says, or one of too many in a row.
        """
        server.barred += 1
        if server.has_answered() and server.barred < _IN_A_ROW:
            return
        often = f"{server.barred} requests in a row with " if server.has_answered() else ""
        mend = _FATAL[status].format(key_env=self._key_env)
        raise EngineDown(f"{server.url} answered {often}{detail}; {mend}")

    async def _is_alone(self, stumble: Stumble, server: Server) -> bool:
        """Whether a request fails by itself: all servers seem down, but its own is there.

        Raises:
            EngineDown: all are down, or rate limited.
        """
        if not all(each.is_down() for each in self._servers):
            return False
        if stumble.kind != "limited":
            there = await self._there()
            if there:
                return server in there
        raise _verdict(self._servers, server, stumble)

    async def _there(self) -> list[Server]:
        """The servers that answer `/models`; a refusal will do for one that has answered before."""
        probes = (
            self._wire.is_there(f"{each.url}/models", each.has_answered()) for each in self._servers
        )
        found = await asyncio.gather(*probes)
        return [each for each, is_there in zip(self._servers, found, strict=True) if is_there]

    def _has_answered_since(self, at: float) -> bool:
        return max(each.last_answer for each in self._servers) > at

    async def _lose(self, stumble: Stumble, first_at: float, since: float) -> None:
        """Note that a request is given up, unless another one was answered since then.

        Raises:
            EngineDown: it is one of too many in a row; or it timed out, and no server is there.
        """
        is_slow = stumble.kind == "slow"
        is_hung = is_slow and not await self._there()
        if self._has_answered_since(since):
            return
        self._lost.append(first_at)
        most = _IN_A_ROW if self._has_answered_since(-math.inf) else _IN_A_ROW_AT_FIRST
        if not is_hung and len(self._lost) < most:
            return
        urls = " and ".join(each.url for each in self._servers)
        begun = max(self._lost[0], *(each.last_answer for each in self._servers))
        met = "nor /models" if is_hung else f"{len(self._lost)} in a row were given up"
        mend = ", raise --timeout_s or lower --max_tokens" if is_slow else ""
        raise EngineDown(
            f"{urls} answered no request for {time.monotonic() - begun:.0f} s ({met}, the last "
            f"fault: {stumble.detail}); look at the server{mend}, then {_KEPT}"
        )


def _room(response: Response) -> int:
    """The tokens that a server has left for an answer, of a request that was too long; else 0."""
    overflow = overflow_of(response.status, response.content)
    return max(0, overflow.room) if overflow else 0


def _is_own_fault(stumble: Stumble, server: Server, since: float) -> bool:
    """Whether a stumble counts against its request: others get through, or it takes too long."""
    if stumble.kind == "limited":
        return False
    return stumble.kind == "slow" or server.last_answer > since


def _pause_s(stumble: Stumble, server: Server, attempt: int) -> float:
    """How long a request waits before it stands in line again.

    Where its server is left alone the line waits, and the request need not: another may take it.
    """
    if server.is_aside():
        return random.uniform(0, 0.1)
    return max(stumble.retry_after_s, backoff_s(attempt - 1))


def _verdict(servers: Sequence[Server], server: Server, stumble: Stumble) -> EngineDown:
    if stumble.kind == "limited":
        asked_s = stumble.retry_after_s
        wait = f", and asks to wait {asked_s:.0f} s" if asked_s else ""
        return EngineDown(
            f"{server.url} is rate limited: nothing but 429 for {server.failing_s():.0f} s "
            f"({stumble.detail}){wait}; set --requests_per_minute to what the server allows, wait "
            f"or raise --patience_s, then {_KEPT}"
        )
    failed = " and ".join(
        f"{each.url} has failed for {each.failing_s():.0f} s "
        f"({each.last_stumble.detail if each.last_stumble else 'no answer'})"
        for each in servers
    )
    return EngineDown(f"{failed}; start the server or mend --endpoint, then {_KEPT}")
