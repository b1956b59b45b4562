"""Any server that speaks the OpenAI chat completions API: vLLM, NIM, SGLang, a gateway, a host."""

import asyncio
import contextlib
import itertools
import json
import math
import os
import random
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import pydantic

from transforms.engines.engine import (
    KEY_HEADER,
    PROMPT_HEADER,
    Attempted,
    Failure,
    Reply,
    Turn,
)
from transforms.errors import EngineDown

_PASSING = {408, 409, 425, 429, 500, 502, 503, 504}
_CONNECT_S = 10.0
_HELD_S = 15.0  # more than a connection may take to be made
_FATAL = {
    401: "the key is missing or wrong: set the environment variable {key_env}",
    403: "the key may not use this model: check {key_env} and --model",
    404: "check --endpoint (it ends in /v1 on most servers) and --model",
}


class Endpoint(pydantic.BaseModel, frozen=True, extra="forbid"):
    """A server and how to treat it.

    url: the API's base, such as http://localhost:8000/v1.
    model: the name the server knows the model by.
    key_env: the environment variable that holds the key; unset means no key.
    in_flight: requests under way at once, per process.
    timeout_s: the longest one answer may take.
    attempts: how often a request may fail, while the server answers others, before it is given up.
    patience_s: after so long of faults without an answer, the server is down and the run ends.
    """

    url: str
    model: str
    key_env: str = "OPENAI_API_KEY"
    in_flight: int = pydantic.Field(64, ge=1)
    timeout_s: float = pydantic.Field(3600.0, gt=0)
    attempts: int = pydantic.Field(8, ge=1)
    patience_s: float = pydantic.Field(120.0, ge=0)

    @pydantic.field_validator("url")
    @classmethod
    def _with_a_scheme(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is not a URL; write http://HOST:PORT/v1")
        return url.rstrip("/")

    def identity(self) -> str:
        """The model alone: its answers are the same wherever it is served."""
        return f"model:{self.model}"

    def open(self) -> "EndpointTransport":
        """A transport with one connection pool; connections are made on demand."""
        return EndpointTransport(self)


class _Passing(Exception):
    """A fault that may pass: sent again. `widespread` ones say something about the server."""

    def __init__(
        self,
        reason: str,
        detail: str,
        widespread: bool = False,
        slow: bool = False,
        retry_after_s: float = 0.0,
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.widespread = widespread
        self.slow = slow
        self.retry_after_s = retry_after_s


class _Health:
    """Whether a server is up, by what its requests have met.

    It is down when widespread faults have come for `patience_s` without an answer between them,
    and it is not holding a request either: a server that is busy with long answers is not down.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._failing_since: float | None = None
        self._held: dict[object, float] = {}
        self.last_answer = -math.inf

    def answered(self) -> None:
        """A request got an answer of its own, be it a refusal."""
        self.last_answer = time.monotonic()
        self._failing_since = None

    def has_answered(self) -> bool:
        """Whether the server has ever answered a request."""
        return self.last_answer > -math.inf

    def failed(self) -> None:
        """A request met a widespread fault."""
        self._failing_since = self._failing_since or time.monotonic()

    def failing_s(self) -> float:
        """For how long there have been faults only."""
        return time.monotonic() - self._failing_since if self._failing_since else 0.0

    def is_down(self) -> bool:
        """Whether to give up on the server."""
        if self.failing_s() <= self._patience_s:
            return False
        return not any(time.monotonic() - sent > _HELD_S for sent in self._held.values())

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """While a request waits for its response."""
        request = object()
        self._held[request] = time.monotonic()
        try:
            yield
        finally:
            del self._held[request]


class EndpointTransport:
    """One aiohttp session against one server."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._session: aiohttp.ClientSession | None = None
        self._health = _Health(endpoint.patience_s)
        self._url = f"{endpoint.url}/chat/completions"

    async def complete(self, turn: Turn) -> Attempted:
        """Answer one turn; what may pass is sent again, waiting longer each time.

        A refusal that no retry can mend is that turn's `Failure`; so is a fault that outlasts
        `attempts`, of which only those count between which the server answered somebody. A timeout
        is tried once more: the same request would take as long again.

        Raises:
            EngineDown: the server refuses every request, or has been failing for `patience_s`.
        """
        body = json.dumps(self._body(turn)).encode()
        headers = {KEY_HEADER: turn.key, PROMPT_HEADER: turn.prompt}
        strikes, fault_at = 0, time.monotonic()
        for attempt in itertools.count(1):
            try:
                return Attempted(await self._send(body, headers), attempt)
            except _Passing as fault:
                others_get_through = self._health.last_answer > fault_at
                strikes += not fault.widespread or others_get_through
                most = min(2, self._endpoint.attempts) if fault.slow else self._endpoint.attempts
                if strikes >= most or (self._health.is_down() and await self._is_alone(fault)):
                    return Attempted(Failure(fault.reason, str(fault)), attempt)
                fault_at = time.monotonic()
                pause_s = max(fault.retry_after_s, _backoff_s(attempt))
            await asyncio.sleep(pause_s)
        raise AssertionError("unreachable")

    async def _is_alone(self, fault: _Passing) -> bool:
        """Whether a server that fails is up all the same, so that the fault is the request's own.

        Raises:
            EngineDown: it is not.
        """
        assert self._session is not None
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            limit = aiohttp.ClientTimeout(total=10)
            async with self._session.get(f"{self._endpoint.url}/models", timeout=limit) as response:
                if response.status < 500:
                    return True
        raise EngineDown(
            f"{self._endpoint.url} has failed for {self._health.failing_s():.0f} s ({fault}); "
            "start the server or mend --endpoint, then run the same command again: answers so far "
            "are kept"
        ) from fault

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _body(self, turn: Turn) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._endpoint.model,
            "messages": [
                {"role": message.role, "content": message.content} for message in turn.messages
            ],
            "seed": turn.seed,
            **turn.sampling.chosen(),
        }
        if turn.schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": turn.schema},
            }
        return body

    async def _send(self, body: bytes, headers: dict[str, str]) -> Reply | Failure:
        if self._session is None:
            self._session = self._open_session()
        post = self._session.post
        try:
            with self._health.held():
                async with post(self._url, data=body, headers=headers) as response:
                    content = await response.read()
        except aiohttp.ClientError as error:
            self._health.failed()
            raise _Passing("connection_failed", _said(error), widespread=True) from error
        except TimeoutError as error:
            detail = f"no answer within {self._endpoint.timeout_s:g} s"
            raise _Passing("timed_out", detail, slow=True) from error
        return self._outcome(response, content)

    def _open_session(self) -> aiohttp.ClientSession:
        key = os.environ.get(self._endpoint.key_env)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=self._endpoint.timeout_s, sock_connect=_CONNECT_S),
            headers={
                "Content-Type": "application/json",
                **({"Authorization": f"Bearer {key}"} if key else {}),
            },
        )

    def _outcome(self, response: aiohttp.ClientResponse, content: bytes) -> Reply | Failure:
        status = response.status
        detail = f"HTTP {status}: {_server_message(content)}" if status != 200 else ""
        if status in _FATAL and not self._health.has_answered():
            mend = _FATAL[status].format(key_env=self._endpoint.key_env)
            raise EngineDown(f"{self._endpoint.url} answered {detail}; {mend}")
        if status in _PASSING:
            self._health.failed()
            wait_s = _retry_after(response)
            raise _Passing("server_error", detail, widespread=True, retry_after_s=wait_s)
        reply = _reply(content) if status == 200 else Failure("request_refused", detail)
        self._health.answered()
        return reply


def _reply(content: bytes) -> Reply:
    try:
        answer = json.loads(content)
        choice = answer["choices"][0]
        message, usage = choice["message"], answer.get("usage") or {}
        text, reasoning = _split_reasoning(message.get("content") or "")
        return Reply(
            text=text,
            reasoning=message.get("reasoning_content") or message.get("reasoning") or reasoning,
            finish_reason=choice.get("finish_reason") or "stop",
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        beginning = content[:200].decode(errors="replace")
        raise _Passing("bad_response", f"not a chat completion: {beginning!r}") from error


def _said(error: aiohttp.ClientError) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect: {error.os_error.strerror or error.os_error}"
    return str(error) or type(error).__name__


def _split_reasoning(text: str) -> tuple[str, str]:
    """(answer, reasoning) of a text in which the server left the reasoning between think tags."""
    reasoning, closed, answer = text.partition("</think>")
    if not closed:
        unfinished = text.lstrip().startswith("<think>")
        return ("", text.strip()) if unfinished else (text, "")
    return answer.lstrip(), reasoning.removeprefix("<think>").strip()


def _server_message(content: bytes) -> str:
    """What the server says is wrong, on one line."""
    text = content.decode(errors="replace")
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if isinstance(body, dict):
        error = body.get("error", body)
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    return " ".join(text.split())[:300] or "no message"


def _backoff_s(attempt: int) -> float:
    """A random pause below a bound that doubles with each attempt, up to 10 s."""
    return random.uniform(0, min(10.0, 0.25 * 2**attempt))


def _retry_after(response: aiohttp.ClientResponse) -> float:
    """Seconds the server asks to wait; 0 where it says nothing or names a date."""
    try:
        return min(float(response.headers.get("Retry-After", 0)), 300.0)
    except ValueError:
        return 0.0
