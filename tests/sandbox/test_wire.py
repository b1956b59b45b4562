"""The host's end of a connection: whatever a container sends, it costs that container alone."""

import asyncio
import json
from collections.abc import Callable

import pytest

from sandbox.contract import SandboxError
from sandbox.wire import MAX_FRAME, AttachedLink, Link, execution

ANSWER = {
    "s": 1, "n": 1, "status": "ok", "output": "2\n", "dropped": 0, "duration": 0.1, "lost": False,
    "notice": "",
}  # fmt: skip


class Sent(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.aborted = b"", False

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.aborted = True


def frame(message: object) -> bytes:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return len(body).to_bytes(4, "big") + body


def asked(check: Callable[[Link, "asyncio.Future[dict]", Sent, list[str]], None]) -> None:
    """A link that waits for the answer to cell 1 of session 1."""

    async def run() -> None:
        ends: list[str] = []
        link = Link(lambda: ends.append("ended"))
        sent = Sent()
        link.connection_made(sent)
        check(link, link.ask(1, 1, {"op": "run"}), sent, ends)

    asyncio.run(run())


def test_an_answer_in_pieces_is_one_answer():
    """Bytes arrive as they like."""

    def check(link, answer, sent, ends):
        for byte in frame(ANSWER):
            link.data_received(bytes([byte]))
        assert answer.result() == ANSWER
        assert sent.written == frame({"op": "run"}) and not ends

    asked(check)


@pytest.mark.parametrize(
    "data",
    [
        (MAX_FRAME + 1).to_bytes(4, "big"),
        frame(b"{not json"),
        frame(b"[" * 100_000),
        frame(b"\xff\xfe"),
        frame([]),
        frame({}),
        frame(ANSWER | {"n": 2}),
        frame(ANSWER | {"s": "1"}),
    ],
    ids=["oversized", "malformed", "nested", "not-utf-8", "list", "empty", "other-cell", "text"],
)
def test_what_no_supervisor_sends_ends_the_link(data):
    """Whoever waits gets a `SandboxError`, and the connection is cut, once."""

    def check(link, answer, sent, ends):
        link.data_received(data)
        link.data_received(frame(ANSWER))
        assert isinstance(answer.exception(), SandboxError)
        assert sent.aborted and ends == ["ended"]
        with pytest.raises(SandboxError):
            link.ask(1, 2, {})

    asked(check)


def test_a_connection_closed_within_a_frame_is_the_machinerys_fault():
    """Half an answer is none."""

    def check(link, answer, sent, ends):
        link.data_received(frame(ANSWER)[:9])
        link.connection_lost(None)
        assert isinstance(answer.exception(), SandboxError)
        assert ends == ["ended"]

    asked(check)


def test_the_answer_to_a_call_that_was_cancelled_is_let_go():
    """It comes late, and disturbs nobody."""

    def check(link, answer, sent, ends):
        link.forget(1)
        link.data_received(frame(ANSWER))
        assert not answer.done() and not ends

    asked(check)


@pytest.mark.parametrize(
    "change",
    [
        {"status": "fine"},
        {"output": 1},
        {"output": "x" * 5000},
        {"dropped": True},
        {"lost": "no"},
        {"duration": None},
    ],
    ids=lambda change: str(change)[:20],
)
def test_an_answer_of_another_shape_is_refused(change):
    """A supervisor of ours would not send it."""
    with pytest.raises(SandboxError, match="no supervisor of ours"):
        execution(ANSWER | change, 4000)


def test_output_is_text_that_can_be_written():
    """Lone surrogates, which JSON can carry, are replaced."""
    assert execution(ANSWER | {"output": "a\ud800"}, 4000).output == "a?"


def test_an_attached_stream_is_taken_out_of_dockers_pieces():
    """What the container writes to its standard output counts, in however many pieces."""

    async def run() -> None:
        link = AttachedLink(lambda: None, b"POST /attach")
        sent = Sent()
        link.connection_made(sent)
        answer = link.ask(1, 1, {"op": "run"})
        assert sent.written.startswith(b"POST /attach")
        stream = b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n"
        for part in (frame(ANSWER)[:7], frame(ANSWER)[7:]):
            stream += b"\1\0\0\0" + len(part).to_bytes(4, "big") + part
            stream += b"\2\0\0\0" + (5).to_bytes(4, "big") + b"noise"
        for start in range(0, len(stream), 3):
            link.data_received(stream[start : start + 3])
        assert link.attached.done()
        assert answer.result() == ANSWER

    asyncio.run(run())


def test_an_engine_that_refuses_to_attach_is_told():
    """An HTTP error is the end of the link."""

    async def run() -> None:
        link = AttachedLink(lambda: None, b"")
        link.connection_made(Sent())
        link.data_received(b"HTTP/1.1 404 Not Found\r\n\r\n")
        with pytest.raises(SandboxError, match="404"):
            await link.attached

    asyncio.run(run())
