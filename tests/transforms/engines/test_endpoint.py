"""The endpoint against servers that answer, refuse, stumble, hang and are not there."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from transforms.engines.endpoint import Endpoint
from transforms.engines.engine import Attempted, Failure, Message, Reply, Sampling, Turn
from transforms.engines.rehearsal import Rehearsal
from transforms.errors import EngineDown
from transforms.reading import Structured
from transforms.records import NewProblemEvals

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SCHEMA = Structured(NewProblemEvals).schema()


def turn(seed: int = 1, prompt: str = "infinibyte/evals", **sampling: Any) -> Turn:
    messages = (Message("system", "you"), Message("user", "ask"))
    return Turn(f"{seed:032x}", prompt, messages, Sampling(**sampling), seed, SCHEMA)


def completion(text: str, **message: Any) -> web.Response:
    choice = {"message": {"content": text, **message}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    return web.json_response({"choices": [choice], "usage": usage})


async def models(request: web.Request) -> web.Response:
    return web.json_response({"data": []})


def asked(handler: Handler, *turns: Turn, **settings: Any) -> list[Attempted]:
    """What an endpoint makes of a server with this handler, all turns at once."""

    async def run() -> list[Attempted]:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", handler)
        app.router.add_get("/v1/models", models)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        transport = Endpoint(url=url, model="m", **settings).open()
        try:
            return await asyncio.gather(*(transport.complete(turn) for turn in turns))
        finally:
            await transport.close()
            await runner.cleanup()

    return asyncio.run(run())


def scripted(*responses: Callable[[], web.Response]) -> Handler:
    """A handler that gives these responses in order, the last one for ever."""
    left = list(responses)

    async def handler(request: web.Request) -> web.Response:
        return left.pop(0)() if len(left) > 1 else left[0]()

    return handler


def test_the_body_says_all_that_decides_the_answer(monkeypatch):
    """Model, messages, seed, sampling and schema are in the body; the key is in the header."""
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    seen: dict[str, Any] = {}

    async def handler(request: web.Request) -> web.Response:
        seen.update(await request.json(), auth=request.headers["Authorization"])
        return completion("hello")

    asked(handler, turn(5, temperature=0.5, max_tokens=9))
    assert seen["model"] == "m"
    assert seen["messages"][1] == {"role": "user", "content": "ask"}
    assert (seen["seed"], seen["temperature"], seen["max_tokens"]) == (5, 0.5, 9)
    assert seen["response_format"]["json_schema"]["schema"] == SCHEMA
    assert seen["auth"] == "Bearer secret"
    assert "top_p" not in seen


def test_a_reply_keeps_text_reasoning_and_usage():
    """Reasoning comes from its own field or from think tags; tokens from the usage."""
    handler = scripted(lambda: completion("4", reasoning_content="2 + 2"))
    assert asked(handler, turn())[0].result == Reply("4", "2 + 2", "stop", 7, 3)
    handler = scripted(lambda: completion("<think>\n2 + 2\n</think>\n\n4"))
    assert asked(handler, turn())[0].result == Reply("4", "2 + 2", "stop", 7, 3)


def test_a_4xx_is_that_requests_failure_with_the_servers_message():
    """The message is kept on one line and nothing is retried."""
    error = {"error": {"message": "context of 4096\ntokens exceeded"}}
    handler = scripted(lambda: web.json_response(error, status=400))
    [attempted] = asked(handler, turn())
    detail = "HTTP 400: context of 4096 tokens exceeded"
    assert attempted == Attempted(Failure("request_refused", detail), attempts=1)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_may_pass_is_sent_again(status):
    """Two faults and then an answer: three attempts and a reply."""
    fault = lambda: web.Response(status=status)  # noqa: E731
    handler = scripted(fault, fault, lambda: completion("hello"))
    [attempted] = asked(handler, turn())
    assert isinstance(attempted.result, Reply)
    assert attempted.attempts == 3


def test_a_body_that_is_no_completion_is_sent_again():
    """Garbage in place of JSON counts as a fault that may pass."""
    handler = scripted(lambda: web.Response(text="<html>"), lambda: completion("hello"))
    assert asked(handler, turn())[0].attempts == 2


def test_retry_after_is_honoured():
    """A server that asks for 1.2 s gets them."""
    times: list[float] = []

    async def handler(request: web.Request) -> web.Response:
        times.append(asyncio.get_running_loop().time())
        if len(times) == 1:
            return web.Response(status=429, headers={"Retry-After": "1.2"})
        return completion("hello")

    asked(handler, turn())
    assert times[1] - times[0] >= 1.2


async def poisoned(request: web.Request) -> web.Response:
    """Fails for ever for seed 1; answers all others after a moment."""
    if (await request.json())["seed"] == 1:
        return web.Response(status=500)
    await asyncio.sleep(0.1)
    return completion("hello")


def test_a_request_that_always_fails_is_a_failure_while_others_get_through():
    """One poisoned request is given up after `attempts`; the others are answered."""
    in_order = [turn(seed) for seed in range(1, 40)]
    attempted = asked(poisoned, *in_order, attempts=1)
    assert attempted[0].result == Failure("server_error", "HTTP 500: no message")
    assert all(isinstance(other.result, Reply) for other in attempted[1:])


def test_the_last_request_fails_alone_where_the_server_is_up():
    """Nobody else is left to get through: the server is asked whether it is there."""
    [attempted] = asked(poisoned, turn(1), patience_s=0.5)
    assert attempted.result == Failure("server_error", "HTTP 500: no message")
    assert attempted.attempts > 1


def test_an_outage_within_the_patience_makes_no_rejects():
    """Requests that others overtook before the outage are not given up during it."""
    begun: list[float] = []

    async def handler(request: web.Request) -> web.Response:
        now = asyncio.get_running_loop().time()
        begun.append(now)
        if (await request.json())["seed"] % 2:
            await asyncio.sleep(0.2)
        down = 0.1 < asyncio.get_running_loop().time() - begun[0] < 2.5
        return web.Response(status=503) if down else completion("hello")

    turns = [turn(seed) for seed in range(30)]
    results = [attempted.result for attempted in asked(handler, *turns, attempts=2)]
    assert all(isinstance(result, Reply) for result in results)


def test_a_403_after_an_answer_is_that_requests_failure():
    """A gateway that blocks one prompt does not end the run."""

    async def ordered(request: web.Request) -> web.Response:
        if (await request.json())["seed"] == 2:
            await asyncio.sleep(0.2)
            return web.Response(status=403, text="blocked")
        return completion("hello")

    good, blocked = asked(ordered, turn(1), turn(2))
    assert isinstance(good.result, Reply)
    assert blocked.result == Failure("request_refused", "HTTP 403: blocked")


def test_a_hanging_request_times_out_as_a_failure_while_others_get_through():
    """The timeout ends one request, not the run."""

    async def handler(request: web.Request) -> web.Response:
        if (await request.json())["seed"] == 1:
            await asyncio.sleep(30)
        await asyncio.sleep(0.1)
        return completion("hello")

    hanging, good = asked(handler, turn(1), turn(2), attempts=1, timeout_s=0.3)
    assert hanging.result == Failure("timed_out", "no answer within 0.3 s")
    assert isinstance(good.result, Reply)


@pytest.mark.parametrize(("status", "mend"), [(401, "OPENAI_API_KEY"), (404, "--model")])
def test_a_server_that_refuses_everyone_ends_the_run(status, mend):
    """A wrong key or model is not a million rejects: the error says what to mend."""
    with pytest.raises(EngineDown, match=mend):
        asked(scripted(lambda: web.Response(status=status)), turn())


def test_a_server_that_is_not_there_ends_the_run_within_its_patience():
    """Nothing listens: after `patience_s` the error names the URL."""

    async def run() -> None:
        transport = Endpoint(url="http://127.0.0.1:9/v1", model="m", patience_s=0.5).open()
        try:
            await transport.complete(turn())
        finally:
            await transport.close()

    with pytest.raises(EngineDown, match="http://127.0.0.1:9/v1 has failed for"):
        asyncio.run(asyncio.wait_for(run(), 20))


def test_a_server_that_comes_back_in_time_costs_nothing():
    """Faults for a second, then answers: all requests are answered, none is a failure."""
    begun: list[float] = []

    async def handler(request: web.Request) -> web.Response:
        now = asyncio.get_running_loop().time()
        begun.append(now)
        return web.Response(status=503) if now - begun[0] < 1 else completion("hello")

    turns = [turn(seed) for seed in range(20)]
    outcomes = [attempted.result for attempted in asked(handler, *turns, attempts=2)]
    assert all(isinstance(outcome, Reply) for outcome in outcomes)


def test_the_key_is_not_shown(monkeypatch):
    """No representation of the settings holds the key."""
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    endpoint = Endpoint(url="http://127.0.0.1:9/v1", model="m")
    assert "secret" not in repr(endpoint) + endpoint.model_dump_json() + endpoint.identity()


@pytest.mark.parametrize("prompt", ["infinibyte/evals"])
def test_the_stub_answers_as_the_rehearsal_does(stub, prompt):
    """Conformance: over HTTP and in process, every turn has the same outcome."""
    settings = {"malformed": 0.2, "failing": 0.2}
    turns = [turn(seed, prompt) for seed in range(60)]

    async def run(url: str) -> list[Attempted]:
        transport = Endpoint(url=url, model="m").open()
        try:
            return await asyncio.gather(*(transport.complete(turn) for turn in turns))
        finally:
            await transport.close()

    over_http = [attempted.result for attempted in asyncio.run(run(stub(settings)))]
    in_process = [Rehearsal(**settings).outcome(turn) for turn in turns]
    assert [outcome for outcome in over_http if isinstance(outcome, Reply)] == [
        outcome for outcome in in_process if isinstance(outcome, Reply)
    ]
    assert [type(outcome) for outcome in over_http] == [type(outcome) for outcome in in_process]
    assert {type(outcome) for outcome in over_http} == {Reply, Failure}


def test_an_url_without_a_scheme_is_refused():
    """The error shows what one looks like."""
    with pytest.raises(ValueError, match="http://HOST:PORT/v1"):
        Endpoint(url="localhost:8000", model="m")


def test_the_body_is_json_whatever_the_text():
    """Control characters, emoji and lone surrogates survive the way to the server."""
    text = "a\u0000b \U0001f600 \ud800"
    seen: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(json.loads(await request.read())["messages"][0]["content"])
        return completion("ok")

    asked(handler, Turn("0" * 32, "p", (Message("user", text),), Sampling(), 1, None))
    assert seen == [text]
