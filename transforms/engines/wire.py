"""HTTP to a server: one attempt of one request, and whether anything there speaks the API.

The key is sent with every request and taken out of all that comes back: a server may repeat it in
its error message, and what servers say goes into logs, errors and the answer store.
"""

import contextlib
import dataclasses
import email.utils
import json
import time
from collections.abc import Mapping

import aiohttp

from transforms.engines.progress import under_way
from transforms.engines.servers import Stumble

_CONNECT_S = 10.0
_PROBE_S = 10.0
_LONGEST_RETRY_AFTER_S = 300.0
_PLACEHOLDER_BELOW = 16  # a shorter key is a word like EMPTY, which an answer may well contain


@dataclasses.dataclass(frozen=True, slots=True)
class Response:
    """What a server said, without the key; `retry_after_s` is 0 where it does not say."""

    status: int
    content: bytes
    retry_after_s: float


class Wire:
    """One pool of connections, opened with the first request."""

    def __init__(self, key: str, timeout_s: float) -> None:
        self._key = key
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Response | Stumble:
        """Send a body and wait for the whole response."""
        try:
            with under_way():
                async with self._opened().post(url, data=body, headers=headers) as response:
                    content = await response.read()
        except aiohttp.ClientConnectorError as error:
            return Stumble("unreached", "connection_failed", f"cannot connect: {_cause(error)}")
        except aiohttp.ConnectionTimeoutError:
            detail = f"cannot connect within {_CONNECT_S:g} s"
            return Stumble("unreached", "connection_failed", detail)
        except aiohttp.ClientError as error:
            detail = self.redacted(str(error) or type(error).__name__)
            return Stumble("broken", "connection_failed", " ".join(detail.split())[:300])
        except TimeoutError:
            return Stumble("slow", "timed_out", f"no answer within {self._timeout_s:g} s")
        if response.status != 200 or len(self._key) >= _PLACEHOLDER_BELOW:
            content = self._redacted_bytes(content)
        return Response(response.status, content, _retry_after_s(response.headers))

    async def is_there(self, url: str, refusal_counts: bool) -> bool:
        """Whether a GET of `url` is answered, by JSON or perhaps by a refusal."""
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, ValueError):
            limit = aiohttp.ClientTimeout(total=_PROBE_S)
            async with self._opened().get(url, timeout=limit) as response:
                if response.status == 200:
                    json.loads(await response.read())
                    return True
                return refusal_counts and response.status < 500
        return False

    def redacted(self, text: str) -> str:
        """`text` without the key."""
        return self._redacted_bytes(text.encode(errors="replace")).decode()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            headers = {"Content-Type": "application/json"}
            if self._key:
                headers["Authorization"] = f"Bearer {self._key}"
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
                timeout=aiohttp.ClientTimeout(total=self._timeout_s, sock_connect=_CONNECT_S),
                headers=headers,
            )
        return self._session

    def _redacted_bytes(self, content: bytes) -> bytes:
        for written in {self._key, json.dumps(self._key)[1:-1], self._key.replace("/", r"\/")}:
            if written:
                content = content.replace(written.encode(), b"[key]")
        return content


def _cause(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error.certificate_error)
    return error.os_error.strerror or str(error.os_error)


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """Seconds that a server asks to wait, given as such or as the date to wait for."""
    said = headers.get("Retry-After", "")
    try:
        seconds = float(said)
    except ValueError:
        seconds = _seconds_until(said, headers.get("Date", ""))
    return min(seconds, _LONGEST_RETRY_AFTER_S) if seconds > 0 else 0.0  # 0 where it is no number


def _seconds_until(date: str, now: str) -> float:
    """From the server's own `now`, if it says that, to `date`; 0 where that is no date."""
    try:
        at = email.utils.parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    try:
        return at - email.utils.parsedate_to_datetime(now).timestamp()
    except (ValueError, OverflowError):
        return at - time.time()
