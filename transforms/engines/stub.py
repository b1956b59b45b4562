"""An OpenAI-compatible server with rehearsed answers: the fake that stands beside `endpoint`.

    python -m transforms.engines.stub --port 8000 --rehearsal '{"latency_s": 0.05}' \
        --faults '{"error": 0.05, "capacity": 32}'

It answers as the rehearsal would in process, since a request's prompt is in its header and its
sampling seed in its body. It can log every request, stop answering at a given point, and do what
servers do wrong (`Faults`); GET /stats says what it has seen, /version and /metrics what
vLLM tells of itself.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from transforms.constraint import Constraint
from transforms.engines.completions import PATHS
from transforms.engines.engine import (
    KEY_HEADER,
    PROMPT_HEADER,
    Failure,
    Message,
    Reply,
    Sampling,
    Turn,
)
from transforms.engines.faults import Books, Fault, Faults
from transforms.engines.rehearsal import Rehearsal

_PIECES = 10  # of a slow body


class Stub:
    """The server's state.

    Args:
        rehearsal: what it answers, and its latency.
        faults: what it does wrong.
        hold_after: after so many answers, keep every further request waiting.
        log: a file that gets a line per request: "asked KEY" when it comes, "answered KEY" when
            its answer has been written.
    """

    def __init__(
        self,
        rehearsal: Rehearsal,
        faults: Faults,
        hold_after: int | None = None,
        log: str = "",
    ) -> None:
        self._rehearsal = rehearsal
        self._faults = faults
        self._books = Books(faults)
        self._answers_left = hold_after
        self._tokens: Counter[str] = Counter()
        self._prompts: set[str] = set()
        self._log = Path(log).open("a", buffering=1) if log else None  # noqa: SIM115

    def app(self) -> web.Application:
        """The aiohttp application."""
        app = web.Application(client_max_size=64 << 20)
        for path in PATHS.values():
            app.router.add_post(f"/v1{path}", self._complete)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/health", self._health)
        app.router.add_get("/stats", self._stats)
        app.router.add_get("/version", self._version)
        app.router.add_get("/metrics", self._metrics)
        return app

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": self._rehearsal.model}]})

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _stats(self, request: web.Request) -> web.Response:
        return web.json_response(self._books.stats())

    async def _version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": "0.0.0+stub"})

    async def _metrics(self, request: web.Request) -> web.Response:
        """As vLLM tells them; a prompt that was there before is in the cache whole."""
        running = {"num_requests_running": self._books.stats()["in_service"]}
        lines = [f'vllm:{name}{{engine="0"}} {n}.0' for name, n in (running | self._tokens).items()]
        return web.Response(text="\n".join(lines))

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        key = request.headers.get(KEY_HEADER, "")
        self._log_line("asked", key)
        if not self._books.admits():
            self._books.note("limited")
            wait = self._faults.retry_after
            headers = {"Retry-After": wait} if wait else None
            return _error(429, {"message": "too many requests"}, headers)
        try:
            return await self._serve(request, body, key)
        finally:
            self._books.done()

    async def _serve(
        self, request: web.Request, body: dict[str, Any], key: str
    ) -> web.StreamResponse:
        refusal = self._faults.refusal(body)
        if refusal is not None:
            self._books.note("dialect")
            return web.json_response(refusal, status=400)
        await asyncio.sleep(self._faults.latency_s(key, self._rehearsal.latency_s))
        await self._hold()
        fault = self._faults.fate(key, self._books.is_first(key))
        if fault == "error":
            self._books.note(fault)
            return _error(500, {"message": "planted to stumble"})
        if fault == "leak":
            self._books.note(fault)
            said = f"cannot serve {request.headers.get('Authorization', 'nobody')}"
            return _error(400, {"message": said})
        response = self._response(request.headers.get(PROMPT_HEADER, ""), body, key)
        if fault is not None:
            self._books.note(fault)
            return await self._misbehave(request, fault, response)
        self._books.note("answered" if response.status == 200 else "refused")
        await response.prepare(request)
        await response.write_eof()
        self._log_line("answered", key)
        return response

    async def _hold(self) -> None:
        if self._answers_left is not None:
            if self._answers_left <= 0:
                await asyncio.Event().wait()
            self._answers_left -= 1

    def _response(self, prompt: str, body: dict[str, Any], key: str) -> web.Response:
        schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
        held_to = Constraint("json_schema", schema) if schema else None
        is_text = "prompt" in body
        asked = [{"role": "user", "content": body["prompt"]}] if is_text else body["messages"]
        messages = tuple(Message(**message) for message in asked)
        turn = Turn(key, prompt, messages, Sampling(), body.get("seed", 0), held_to)
        outcome = self._rehearsal.outcome(turn)
        if isinstance(outcome, Failure):
            return _error(400, {"message": "planted to fail"})
        self._count(messages, outcome)
        choice: dict[str, Any] = {"index": 0, "finish_reason": outcome.finish_reason}
        if is_text:
            choice["text"] = outcome.text
        else:
            choice["message"] = {"role": "assistant", "content": outcome.text}
        usage = {
            "prompt_tokens": outcome.prompt_tokens,
            "completion_tokens": outcome.completion_tokens,
        }
        return web.json_response({"id": key, "choices": [choice], "usage": usage})

    def _count(self, messages: Sequence[Message], reply: Reply) -> None:
        prompt = repr(messages)
        hits = reply.prompt_tokens if prompt in self._prompts else 0
        self._prompts.add(prompt)
        self._tokens["prefix_cache_queries_total"] += reply.prompt_tokens
        self._tokens["prefix_cache_hits_total"] += hits
        self._tokens["prompt_tokens_total"] += reply.prompt_tokens
        self._tokens["generation_tokens_total"] += reply.completion_tokens

    async def _misbehave(
        self, request: web.Request, fault: Fault, response: web.Response
    ) -> web.StreamResponse:
        content = response.body
        assert isinstance(content, bytes)
        if fault == "html":
            return web.Response(text="<html>Back soon.</html>", content_type="text/html")
        if fault == "truncated":
            return web.Response(body=content[: len(content) // 2], content_type="application/json")
        if fault == "other_shape":
            return web.json_response({"choices": [], "result": "fine"})
        sent = web.StreamResponse(
            status=response.status, headers={"Content-Type": "application/json"}
        )
        sent.content_length = len(content)
        if fault == "slow_body":
            await sent.prepare(request)
            step = -(-len(content) // _PIECES)
            for start in range(0, len(content), step):
                await asyncio.sleep(self._faults.slow_body_s / _PIECES)
                await sent.write(content[start : start + step])
        elif fault == "cut":
            await sent.prepare(request)
            await sent.write(content[: len(content) // 2])
        if fault in ("cut", "drop") and request.transport is not None:
            request.transport.close()
        return sent

    def _log_line(self, event: str, key: str) -> None:
        if self._log is not None:
            self._log.write(f"{event} {key}\n")


def _error(
    status: int, error: dict[str, Any], headers: dict[str, str] | None = None
) -> web.Response:
    return web.json_response({"error": error}, status=status, headers=headers)


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
    parser.add_argument("--faults", default="{}", help="what it does wrong, as a JSON object")
    parser.add_argument("--tail_share", type=float, default=0.0, help="the fault `tail`")
    parser.add_argument("--tail_s", type=float, default=0.0, help="the fault `tail_s`")
    parser.add_argument("--hold_after", type=int)
    parser.add_argument("--log", default="")
    flags = parser.parse_args()
    tail = {"tail": flags.tail_share, "tail_s": flags.tail_s}
    stub = Stub(
        Rehearsal.model_validate_json(flags.rehearsal),
        Faults.model_validate({**tail, **json.loads(flags.faults)}),
        flags.hold_after,
        flags.log,
    )
    asyncio.run(serve(stub.app(), flags.port, say))


if __name__ == "__main__":
    main()
