"""The host's end of a container's connection. It trusts nothing that comes out of it.

Frames are bounded, JSON, and must be the answer to what was asked. Anything else ends the link, and
with it the container: whoever waits for an answer gets a `SandboxError`.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

from sandbox.contract import Execution, SandboxError, Status

MAX_FRAME = 16 << 20
MAX_OUTPUT = 1 << 20
_STATUSES = frozenset({"ok", "error", "timeout", "died"})


class Link(asyncio.Protocol):
    """A connection to one supervisor; `on_end` is told once, however it ends."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self.hello: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.fault = ""
        self._on_end = on_end
        self._transport: asyncio.WriteTransport | None = None
        self._received = bytearray()
        self._waiting: dict[int, tuple[int, asyncio.Future[dict[str, Any]]]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        if self.fault:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.end(f"the connection to the container was lost{f': {exc}' if exc else ''}")

    def ask(self, session: int, number: int, message: dict[str, Any]) -> asyncio.Future[Any]:
        """Send a request of a session; its answer is awaited.

        Raises:
            SandboxError: the link has ended.
        """
        if self.fault or self._transport is None:
            raise SandboxError(self.fault or "the container is not connected")
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[session] = (number, future)
        self.tell(message)
        return future

    def tell(self, message: dict[str, Any]) -> None:
        """Send what has no answer."""
        if self._transport is not None and not self.fault:
            body = json.dumps(message).encode()
            self._transport.write(len(body).to_bytes(4, "big") + body)

    def forget(self, session: int) -> None:
        """Nobody waits for this session's answer any more."""
        self._waiting.pop(session, None)

    def end(self, fault: str) -> None:
        """Close the connection: the container ends with it, and all that runs there."""
        if self.fault:
            return
        self.fault = fault
        if self._transport is not None:
            self._transport.abort()
        waiting = [future for _, future in self._waiting.values()]
        self._waiting.clear()
        for future in [self.hello, *waiting]:
            if not future.done():
                future.set_exception(SandboxError(fault))
                future.exception()  # told, even where nobody is left to hear it
        self._on_end()

    def feed(self, data: bytes) -> None:
        """Take bytes of the supervisor, and whatever frames they complete."""
        received = self._received
        received += data
        while len(received) >= 4 and not self.fault:
            size = int.from_bytes(received[:4], "big")
            if size > MAX_FRAME:
                self.end(f"the container sent a frame of {size} bytes")
                return
            if len(received) < 4 + size:
                return
            body = bytes(received[4 : 4 + size])
            del received[: 4 + size]
            self._take(body)

    def _take(self, body: bytes) -> None:
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):
            self.end("the container sent a frame that is not JSON")
            return
        if isinstance(message, dict) and "hello" in message and not self.hello.done():
            self.hello.set_result(message)
            return
        session = message.get("s") if isinstance(message, dict) else None
        if type(session) is not int:
            self.end("the container answered what was not asked")
            return
        if session not in self._waiting:
            return  # a session that was closed, or a call that was cancelled
        number, future = self._waiting[session]
        if message.get("n") != number:
            self.end("the container answered what was not asked")
            return
        del self._waiting[session]
        if not future.done():
            future.set_result(message)


def execution(message: dict[str, Any], limit: int) -> Execution:
    """A supervisor's answer as an execution.

    Raises:
        SandboxError: it is not what a supervisor answers.
    """
    output, notice = message.get("output"), message.get("notice")
    if (
        type(message.get("status")) is not str
        or message["status"] not in _STATUSES
        or type(output) is not str
        or type(notice) is not str
        or len(output) > limit + 100
        or type(message.get("dropped")) is not int
        or type(message.get("duration")) is not float
        or type(message.get("lost")) is not bool
    ):
        raise SandboxError("the container sent an answer that no supervisor of ours would send")
    return Execution(
        status=cast(Status, message["status"]),
        output=_valid(output),
        dropped=message["dropped"],
        duration_s=message["duration"],
        state_lost=message["lost"],
        notice=_valid(notice[:500]),
    )


def _valid(text: str) -> str:
    """The text without what no encoding can write."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


class AttachedLink(Link):
    """The same through Docker: an HTTP request that becomes a stream of labelled pieces."""

    def __init__(self, on_end: Callable[[], None], request: bytes) -> None:
        super().__init__(on_end)
        self.attached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._raw = bytearray()
        self._errors = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        cast(asyncio.WriteTransport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        raw = self._raw
        raw += data
        if not self.attached.done():
            head, found, _ = raw.partition(b"\r\n\r\n")
            if not found:
                if len(raw) > 1 << 16:
                    self.end("the Docker engine did not let us attach")
                return
            if bytes(head).split(b" ", 2)[1:2] not in ([b"101"], [b"200"]):
                self.end(f"the Docker engine did not let us attach: {bytes(head[:100])!r}")
                return
            del raw[: len(head) + 4]
            self.attached.set_result(None)
        while len(raw) >= 8:
            size = int.from_bytes(raw[4:8], "big")
            if size > MAX_FRAME:
                self.end("the Docker engine sent a piece that is too long")
                return
            if len(raw) < 8 + size:
                return
            piece, kind = bytes(raw[8 : 8 + size]), raw[0]
            del raw[: 8 + size]
            if kind == 1:
                self.feed(piece)

    def end(self, fault: str) -> None:
        if not self.attached.done():
            self.attached.set_exception(SandboxError(fault))
            self.attached.exception()
        super().end(fault)


@contextlib.asynccontextmanager
async def listen_once(path: Path, link: Link) -> AsyncIterator[None]:
    """A unix socket for one connection, which becomes `link`, that is gone afterwards.

    The supervisor connects before it runs anybody's code, so no code can connect in its place.
    """
    links = iter([link])

    def accept() -> asyncio.Protocol:
        return next(links, None) or _Refused()

    server = await asyncio.get_running_loop().create_unix_server(accept, str(path))
    try:
        path.chmod(0o666)
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


class _Refused(asyncio.Protocol):
    """A second connection where only one is meant to be."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
