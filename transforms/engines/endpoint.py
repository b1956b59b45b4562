"""Any server that speaks the OpenAI chat completions API: vLLM, NIM, SGLang, a gateway, a host."""

import contextlib
import functools
import json
import math
import os
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import pydantic
import tenacity

from transforms.engines.engine import Attempted, Failure, Reply, Turn
from transforms.errors import EngineDown

_PASSING = {408, 409, 425, 429, 500, 502, 503, 504}
_HELD_S = 5.0
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
    attempts: how often a request is sent, while the server answers others, before it has failed.
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
        self, reason: str, detail: str, widespread: bool = False, retry_after_s: float = 0.0
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.widespread = widespread
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
        self._backoff = tenacity.wait_random_exponential(multiplier=0.25, max=10)

    async def complete(self, turn: Turn) -> Attempted:
        """Answer one turn; what may pass is sent again, waiting longer each time.

        A refusal (a 4xx that no retry can mend), and a fault that outlasts `attempts` while the
        server answers others, is that turn's `Failure`.

        Raises:
            EngineDown: the server refuses every request, or has been failing for `patience_s`.
        """
        started = time.monotonic()
        body = json.dumps(self._body(turn)).encode()
        headers = {"X-Request-Id": turn.key, "X-Beam-SDG-Prompt": turn.prompt}
        try:
            return Attempted(await self._send(body, headers), attempts=1)
        except _Passing as passing:
            return await self._send_again(body, headers, passing, started)

    async def _send_again(
        self, body: bytes, headers: dict[str, str], first: _Passing | None, started: float
    ) -> Attempted:
        """Go on after a first attempt that failed with `first`."""
        attempts = 0
        try:
            async for attempt in self._retrying(started):
                attempts = attempt.retry_state.attempt_number
                with attempt:
                    if first is not None:
                        failed, first = first, None
                        raise failed
                    return Attempted(await self._send(body, headers), attempts)
        except _Passing as passing:
            if passing.widespread and self._health.is_down():
                raise EngineDown(
                    f"{self._endpoint.url} has failed for {self._health.failing_s():.0f} s "
                    f"({passing.detail}); start the server or mend --endpoint, then run the same "
                    "command again: answers so far are kept"
                ) from passing
            return Attempted(Failure(passing.reason, passing.detail), attempts)
        raise AssertionError("tenacity ends with a return or an exception")

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _retrying(self, started: float) -> tenacity.AsyncRetrying:
        return tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(_Passing),
            stop=functools.partial(self._stop, started),
            wait=self._wait,
            reraise=True,
        )

    def _stop(self, started: float, state: tenacity.RetryCallState) -> bool:
        """Whether to give up: on this turn, where others get through, or on the server."""
        error = state.outcome.exception() if state.outcome else None
        exhausted = state.attempt_number >= self._endpoint.attempts
        if isinstance(error, _Passing) and error.widespread:
            others_get_through = self._health.last_answer > started
            return (exhausted and others_get_through) or self._health.is_down()
        return exhausted

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after_s if isinstance(error, _Passing) else 0.0
        return max(asked, self._backoff(state))

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
            raise _Passing("timed_out", detail) from error
        return self._outcome(response, content)

    def _open_session(self) -> aiohttp.ClientSession:
        key = os.environ.get(self._endpoint.key_env)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=self._endpoint.timeout_s, sock_connect=10),
            headers={
                "Content-Type": "application/json",
                **({"Authorization": f"Bearer {key}"} if key else {}),
            },
        )

    def _outcome(self, response: aiohttp.ClientResponse, content: bytes) -> Reply | Failure:
        status = response.status
        detail = f"HTTP {status}: {_server_message(content)}" if status != 200 else ""
        if status in _FATAL:
            mend = _FATAL[status].format(key_env=self._endpoint.key_env)
            raise EngineDown(f"{self._endpoint.url} answered {detail}; {mend}")
        if status in _PASSING:
            self._health.failed()
            wait_s = _retry_after(response)
            raise _Passing("server_error", detail, widespread=True, retry_after_s=wait_s)
        self._health.answered()
        return _reply(content) if status == 200 else Failure("request_refused", detail)


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
        return text, ""
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


def _retry_after(response: aiohttp.ClientResponse) -> float:
    """Seconds the server asks to wait; 0 where it says nothing or names a date."""
    try:
        return min(float(response.headers.get("Retry-After", 0)), 300.0)
    except ValueError:
        return 0.0
