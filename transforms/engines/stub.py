"""An OpenAI-compatible server with rehearsed answers: the fake that stands beside `endpoint`.

    python -m transforms.engines.stub --port 8000 --latency_s 0.05 --rehearsal '{"failing": 0.01}'

It answers as the rehearsal would in process, since a request's prompt is in its header and its
sampling seed in its body, and it can log every request and stop answering at a given point.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from transforms import seeding
from transforms.engines.engine import (
    KEY_HEADER,
    PROMPT_HEADER,
    Failure,
    Message,
    Sampling,
    Turn,
)
from transforms.engines.rehearsal import Rehearsal


class Stub:
    """The server's state.

    Args:
        rehearsal: what it answers, and its latency.
        tail: (share, seconds): this share of requests, by key, takes this long instead.
        hold_after: after so many answers, keep every further request waiting.
        log: a file that gets a line per request: "asked KEY" when it comes, "answered KEY" when
            its answer has been written.
    """

    def __init__(
        self,
        rehearsal: Rehearsal,
        tail: tuple[float, float] = (0.0, 0.0),
        hold_after: int | None = None,
        log: str = "",
    ) -> None:
        self._rehearsal = rehearsal
        self._tail = tail
        self._answers_left = hold_after
        self._log = Path(log).open("a", buffering=1) if log else None  # noqa: SIM115

    def app(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=64 << 20)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._models)
        return app

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": self._rehearsal.model}]})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        key = request.headers.get(KEY_HEADER, "")
        self._note("asked", key)
        await asyncio.sleep(self._latency_s(key))
        if self._answers_left is not None:
            if self._answers_left <= 0:
                await asyncio.Event().wait()
            self._answers_left -= 1
        response = self._response(request.headers.get(PROMPT_HEADER, ""), body, key)
        await response.prepare(request)
        await response.write_eof()
        self._note("answered", key)
        return response

    def _latency_s(self, key: str) -> float:
        share, seconds = self._tail
        in_tail = share and seeding.uniform("tail", key) < share
        return seconds if in_tail else self._rehearsal.latency_s

    def _response(self, prompt: str, body: dict[str, Any], key: str) -> web.Response:
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
        messages = tuple(Message(**message) for message in body["messages"])
        turn = Turn(key, prompt, messages, Sampling(), body["seed"], schema)
        outcome = self._rehearsal.outcome(turn)
        if isinstance(outcome, Failure):
            return web.json_response({"error": {"message": "planted to fail"}}, status=400)
        message = {"role": "assistant", "content": outcome.text}
        choice = {"index": 0, "message": message, "finish_reason": outcome.finish_reason}
        usage = {
            "prompt_tokens": outcome.prompt_tokens,
            "completion_tokens": outcome.completion_tokens,
        }
        return web.json_response({"id": key, "choices": [choice], "usage": usage})

    def _note(self, event: str, key: str) -> None:
        if self._log is not None:
            self._log.write(f"{event} {key}\n")


async def serve(app: web.Application, port: int, ready: Callable[[int], None]) -> None:
    """Serve on loopback until cancelled; port 0 takes a free one, `ready` is told which."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    ready(runner.addresses[0][1])
    await asyncio.Event().wait()


def say(port: int) -> None:
    """Print the URL, for whoever started the server to read."""
    sys.stdout.write(f"http://127.0.0.1:{port}/v1\n")
    sys.stdout.flush()


def main() -> None:
    """Parse the flags and serve; the URL is printed once the port is open."""
    parser = argparse.ArgumentParser(description="A rehearsed OpenAI-compatible server.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rehearsal", default="{}", help="settings as a JSON object")
    parser.add_argument("--tail_share", type=float, default=0.0)
    parser.add_argument("--tail_s", type=float, default=0.0)
    parser.add_argument("--hold_after", type=int)
    parser.add_argument("--log", default="")
    flags = parser.parse_args()
    stub = Stub(
        Rehearsal.model_validate_json(flags.rehearsal),
        (flags.tail_share, flags.tail_s),
        flags.hold_after,
        flags.log,
    )
    asyncio.run(serve(stub.app(), flags.port, say))


if __name__ == "__main__":
    main()
