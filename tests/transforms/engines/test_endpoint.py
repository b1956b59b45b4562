"""The endpoint against servers that answer, refuse, stumble, hang and are not there."""

import asyncio
import contextlib
import dataclasses
import json
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from transforms.engines.endpoint import PROVIDERS, Endpoint
from transforms.engines.engine import Attempted, Failure, Message, Reply, Sampling, Turn
from transforms.engines.rehearsal import Rehearsal
from transforms.engines.stops import Stops
from transforms.errors import EngineDown
from transforms.reading import Structured
from transforms.records import NewProblemEvals

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
CONSTRAINT = Structured(NewProblemEvals).constraint()


def turn(seed: int = 1, prompt: str = "infinibyte/evals", **sampling: Any) -> Turn:
    messages = (Message("system", "you"), Message("user", "ask"))
    return Turn(f"{seed:032x}", prompt, messages, Sampling(**sampling), seed, CONSTRAINT)


def completion(text: str, **message: Any) -> web.Response:
    choice = {"message": {"content": text, **message}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    return web.json_response({"choices": [choice], "usage": usage})


async def models(request: web.Request) -> web.Response:
    return web.json_response({"data": []})


def asked(handler: Handler, *turns: Turn, **settings: Any) -> list[Attempted]:
    """What an endpoint makes of a server with this handler, all turns at once."""
    return asked_of([handler], *turns, **settings)


def asked_of(handlers: list[Handler | str], *turns: Turn, **settings: Any) -> list[Attempted]:
    """The same of several servers; a text in place of a handler is a URL."""

    async def run() -> list[Attempted]:
        async with contextlib.AsyncExitStack() as servers:
            urls = [
                handler if isinstance(handler, str) else await serve(servers, handler)
                for handler in handlers
            ]
            transport = Endpoint(url=",".join(urls), model="m", **settings).open()
            servers.push_async_callback(transport.close)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(transport.complete(turn)) for turn in turns]
            return [task.result() for task in tasks]

    try:
        return asyncio.run(run())
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def serve(servers: contextlib.AsyncExitStack, handler: Handler) -> str:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    app.router.add_post("/v1/completions", handler)
    app.router.add_get("/v1/models", models)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    servers.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}/v1"


def scripted(*responses: Callable[[], web.Response]) -> Handler:
    """A handler that gives these responses in order, the last one for ever."""
    left = list(responses)

    async def handler(request: web.Request) -> web.Response:
        return left.pop(0)() if len(left) > 1 else left[0]()

    return handler


def stopped(handler: Handler, turns: int, after_s: float, **settings: Any) -> list[Any]:
    """The same of turns whose run is stopped after a while, and how long they took from then."""

    async def run() -> list[Any]:
        async with contextlib.AsyncExitStack() as servers:
            transport = Endpoint(url=await serve(servers, handler), model="m", **settings).open()
            servers.push_async_callback(transport.close)
            stops, loop = Stops("store"), asyncio.get_running_loop()
            loop.call_later(after_s, stops.stop, "SIGINT")
            began = time.monotonic()
            each = (stops.sent("ask", turn(seed), transport.complete) for seed in range(turns))
            return [await asyncio.gather(*each), time.monotonic() - began - after_s]

    return asyncio.run(run())


@pytest.mark.parametrize("retry_after", [None, "60"])
def test_a_stop_does_not_wait_for_a_server_that_limits(retry_after):
    """What was refused by it, and what waits behind that, is not sent."""
    headers = {"Retry-After": retry_after} if retry_after else {}
    handler = scripted(lambda: web.Response(status=429, headers=headers))
    attempted, took_s = stopped(handler, 20, 1.0, in_flight=4)
    assert attempted == [None] * 20
    assert took_s < 10


def test_a_stop_does_not_wait_for_a_limit_per_minute():
    """Of twenty requests at one a second, those that were sent are answered."""
    handler = scripted(lambda: completion("hello"))
    attempted, took_s = stopped(handler, 20, 1.5, requests_per_minute=60)
    assert 1 <= sum(one is not None for one in attempted) <= 4
    assert took_s < 10


def test_a_stop_ends_the_tries_at_a_server_that_fails():
    """It is not found to be down then."""
    handler = scripted(lambda: web.Response(status=500))
    attempted, took_s = stopped(handler, 8, 0.5, patience_s=1.0)
    assert attempted == [None] * 8
    assert took_s < 10


async def silent(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError


def test_a_request_that_timed_out_before_a_stop_is_not_sent_again():
    """But what it may have cost is known."""
    [[attempted], _] = stopped(silent, 1, 0.1, timeout_s=0.5)
    assert attempted == Attempted(Failure("not_sent", "SIGINT"), 1, timed_out=1, charged=(2, 4096))


def test_attempts_that_timed_out_are_counted_apart():
    """A 429 is none of them, and a retry may mend one."""
    left = [429, 0, 200]

    async def handler(request: web.Request) -> web.StreamResponse:
        match left.pop(0):
            case 429:
                return web.Response(status=429, headers={"Retry-After": "0"})
            case 0:
                return await silent(request)
        return completion("hello")

    [mended] = asked(handler, turn(), timeout_s=0.5)
    assert (mended.attempts, mended.timed_out) == (3, 1)
    [given_up] = asked(silent, turn(), timeout_s=0.5)
    assert (given_up.attempts, given_up.timed_out) == (2, 2)


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
    assert seen["response_format"]["json_schema"]["schema"] == CONSTRAINT.schema
    assert seen["auth"] == "Bearer secret"
    assert "top_p" not in seen


def test_an_answer_may_speak_of_think_tags():
    """Where the server has split the reasoning off, the text is as it is."""
    said = "Close it with </think>, then answer."
    handler = scripted(lambda: completion(said, reasoning_content="hm"))
    reply = asked(handler, turn())[0].result
    assert isinstance(reply, Reply)
    assert (reply.text, reply.reasoning) == (said, "hm")


def test_text_completions_have_a_path_of_their_own():
    """What comes back is read from where that API has it; its answers are stored apart."""

    async def handler(request: web.Request) -> web.Response:
        assert request.path == "/v1/completions"
        said = (await request.json())["prompt"]
        return web.json_response({"choices": [{"text": f"{said}!", "finish_reason": "stop"}]})

    reply = asked(handler, turn(), api="text")[0].result
    assert isinstance(reply, Reply)
    assert reply.text == "you\n\nask!"
    apis = {Endpoint(url="http://x/v1", model="m", api=api).identity() for api in ("chat", "text")}
    assert len(apis) == 2


def too_long(context: int, prompt: int) -> Handler:
    """A server as vLLM has been: it refuses what prompt and answer may not have together."""

    async def handler(request: web.Request) -> web.Response:
        tokens = (await request.json())["max_tokens"]
        if prompt + tokens <= context:
            return completion(str(tokens))
        said = (
            f"'max_tokens' is too large: {tokens}. This model's maximum context length is {context}"
            f" tokens and your request has {prompt} input tokens"
        )
        return web.json_response({"error": {"message": said}}, status=400)

    return handler


def test_a_prompt_that_leaves_too_little_room_is_a_failure_of_its_own():
    """With the counts, in the server's words; and nothing is asked twice."""
    failure = asked(too_long(1024, 300), turn(max_tokens=900))[0].result
    assert isinstance(failure, Failure)
    assert failure.reason == "prompt_too_long"
    assert "1024" in failure.detail and "300 input tokens" in failure.detail


def test_the_budget_is_lowered_to_what_the_prompt_leaves_where_that_is_asked_for():
    """Unless it leaves nothing."""
    reply = asked(too_long(1024, 300), turn(max_tokens=900, fit_context=True))[0].result
    assert isinstance(reply, Reply)
    assert reply.text == "724"
    failure = asked(too_long(1024, 1024), turn(max_tokens=9, fit_context=True))[0].result
    assert isinstance(failure, Failure)
    assert failure.reason == "prompt_too_long"


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


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 503, 529])
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


def answering_then(answers: int, then: Callable[[], Awaitable[web.Response]]) -> Handler:
    """A handler that answers so many requests and treats all others in another way."""
    left = iter(range(answers))

    async def handler(request: web.Request) -> web.Response:
        return completion("hello") if next(left, None) is not None else await then()

    return handler


@pytest.mark.parametrize(
    ("status", "mend"), [(401, "OPENAI_API_KEY"), (402, "top up"), (403, "--model"), (404, "/v1")]
)
def test_a_key_that_is_revoked_in_the_middle_ends_the_run(status, mend):
    """After twenty refusals in a row, and not after a thousand rejects."""

    async def refuse() -> web.Response:
        return web.Response(status=status, text="no more")

    handler, calls = counted(answering_then(5, refuse))
    line = f"20 requests in a row with HTTP {status}: no more; .*{mend}"
    with pytest.raises(EngineDown, match=line):
        asked(handler, *map(turn, range(100)), in_flight=1)
    assert len(calls) in (25, 26)


def test_prompts_that_are_blocked_here_and_there_are_rejects_however_many():
    """An answer between them shows that the key is good."""

    async def gateway(request: web.Request) -> web.Response:
        blocks = (await request.json())["seed"] % 10
        return web.Response(status=403) if blocks else completion("hello")

    attempted = asked(gateway, *map(turn, range(60)), in_flight=1)
    assert sum(isinstance(one.result, Failure) for one in attempted) == 54


def test_a_gateway_whose_backend_is_dead_ends_the_run():
    """It says 500 to everything but `/models`: twenty rejects in a row are the server's fault."""

    async def fail() -> web.Response:
        return web.Response(status=500, text="no backend")

    line = r"/v1 answered no request for \d+ s \(20 in a row .* HTTP 500: no backend\); look at"
    with pytest.raises(EngineDown, match=line) as raised:
        asked(answering_then(5, fail), *map(turn, range(100)), patience_s=0)
    assert "--timeout_s" not in str(raised.value)


@pytest.mark.parametrize(("status", "often"), [(200, "5 in a row"), (404, "has failed for")])
def test_a_server_that_has_answered_nothing_ends_the_run_soon(monkeypatch, status, often):
    """After a few losses where it lists its models, and else as soon as patience ends."""

    async def listed(request: web.Request) -> web.Response:
        return web.json_response({"data": []}, status=status)

    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=500, text="no backend")

    monkeypatch.setitem(globals(), "models", listed)
    with pytest.raises(EngineDown, match=often):
        asked(handler, *map(turn, range(100)), patience_s=0)


def test_an_answer_between_them_makes_failing_requests_rejects_however_many(monkeypatch):
    """The count begins again with each answer."""
    monkeypatch.setattr("transforms.engines.transport._IN_A_ROW", 4)

    async def handler(request: web.Request) -> web.Response:
        seed = (await request.json())["seed"]
        return completion("hello") if seed % 4 == 3 else web.Response(status=500)

    attempted = asked(handler, *map(turn, range(24)), patience_s=0, in_flight=1)
    assert sum(isinstance(one.result, Failure) for one in attempted) == 18


async def hang() -> web.Response:
    await asyncio.sleep(30)
    return web.Response()


def test_a_server_that_hangs_ends_the_run():
    """`/models` answers, no request does: twenty that timed out twice are enough."""
    line = r"answered no request for \d+ s \(20 in a row .*no answer within 0.2 s\).*--timeout_s"
    with pytest.raises(EngineDown, match=line):
        asked(answering_then(5, hang), *map(turn, range(60)), timeout_s=0.2, in_flight=8)


def test_a_server_that_hangs_with_all_it_has_ends_the_run_at_once(monkeypatch):
    """The first request that timed out twice says so, where `/models` does not answer either."""
    monkeypatch.setattr("transforms.engines.wire._PROBE_S", 0.2)

    async def hanging(request: web.Request) -> web.Response:
        return await hang()

    monkeypatch.setitem(globals(), "models", hanging)
    with pytest.raises(EngineDown, match=r"no request for \d+ s \(nor /models, the last fault: no"):
        asked(hanging, turn(), timeout_s=0.2)


@pytest.mark.parametrize("name", ["temperature", "top_p", "stop"])
def test_a_server_that_does_not_take_a_sampling_setting_ends_the_run(name):
    """Without it other answers would be sampled: that is the user's to decide."""
    refusal = lambda: web.Response(status=400, text=f"Unknown field: {name}")  # noqa: E731
    values = {"temperature": 0.6, "top_p": 0.9, "stop": ("x",)}
    ask = turn(**{name: values[name]})
    line = rf"/v1 does not take {name} \(HTTP 400: Unknown field: {name}\); leave .*{name} out, or"
    with pytest.raises(EngineDown, match=f"{line} go on without it by --dialect no_{name}"):
        asked(scripted(refusal), ask)
    handler = scripted(lambda: completion("hello"), refusal)
    answered, refused = asked(handler, turn(), ask, in_flight=1)
    assert isinstance(answered.result, Reply)
    assert refused.result == Failure("request_refused", f"HTTP 400: Unknown field: {name}")
    [answered] = asked(scripted(lambda: completion("hello")), ask, dialect=(f"no_{name}",))
    assert isinstance(answered.result, Reply)


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


@pytest.mark.parametrize(
    ("status", "mend"), [(401, "OPENAI_API_KEY"), (402, "top up"), (404, "--model")]
)
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


DEAD = "http://127.0.0.1:9/v1"


def counted(handler: Handler) -> tuple[Handler, list[int]]:
    """A handler and how often it was called."""
    calls: list[int] = []

    async def counting(request: web.Request) -> web.StreamResponse:
        calls.append(1)
        return await handler(request)

    return counting, calls


def test_requests_are_spread_over_the_servers():
    """Two servers get about half of the requests each, even one by one."""
    (first, ones), (second, twos) = (counted(scripted(lambda: completion("a"))) for _ in range(2))
    turns = [dataclasses.replace(turn(n), messages=(Message("user", str(n)),)) for n in range(20)]
    asked_of([first, second], *turns, in_flight=1)
    assert len(ones) == len(twos) == 10


def test_a_dead_server_costs_nothing_where_another_is_up():
    """Every request is answered, and the run does not end."""
    up, calls = counted(scripted(lambda: completion("a")))
    attempted = asked_of([DEAD, up], *map(turn, range(60)), patience_s=0.2, attempts=2, in_flight=4)
    assert all(isinstance(one.result, Reply) for one in attempted)
    assert len(calls) == 60
    assert sum(one.attempts for one in attempted) < 90  # the dead one is left alone


def test_all_servers_down_is_one_line_that_names_them():
    """Each URL with what was met there."""
    failing = scripted(lambda: web.Response(status=503, text="overloaded"))
    with pytest.raises(EngineDown, match=r"127.0.0.1:9/v1 has failed for .*Connect") as raised:
        asked_of([DEAD, DEAD.replace("9", "7")], turn(), patience_s=0.3)
    assert "127.0.0.1:7/v1 has failed for" in str(raised.value)
    assert "\n" not in str(raised.value)
    [alone] = asked_of([DEAD, failing], turn(), patience_s=0.3)
    assert alone.result == Failure("server_error", "HTTP 503: overloaded")


def test_a_server_that_nobody_ever_reached_is_given_up_sooner(monkeypatch):
    """Where no connection was ever made, the long patience is not waited for."""
    monkeypatch.setattr("transforms.engines.servers._UNREACHED_S", 0.3)
    began = time.monotonic()
    with pytest.raises(EngineDown, match="cannot connect"):
        asked_of([DEAD], turn(), patience_s=3600)
    assert time.monotonic() - began < 30


def test_a_server_that_only_says_429_is_rate_limited_and_not_a_reject():
    """After `patience_s` the run ends with the limit's own mend, however few the attempts."""
    limited = scripted(
        lambda: web.Response(status=429, text="quota", headers={"Retry-After": "9999"})
    )
    with pytest.raises(EngineDown, match=r"rate limited.*429: quota.*300 s.*requests_per_minute"):
        asked(limited, turn(1), turn(2), patience_s=0.5, attempts=1)


def test_a_429_never_uses_up_a_requests_attempts():
    """Refused again and again while others get through, a request is answered in the end."""
    refusals = iter(range(4))

    async def handler(request: web.Request) -> web.Response:
        if (await request.json())["seed"] == 1 and next(refusals, None) is not None:
            return web.Response(status=429)
        await asyncio.sleep(0.1)
        return completion("a")

    attempted = asked(handler, *map(turn, range(1, 60)), attempts=1, in_flight=4)
    assert all(isinstance(one.result, Reply) for one in attempted)
    assert attempted[0].attempts == 5


def test_a_request_larger_than_the_limit_is_a_failure():
    """OpenAI says so with a 429, which no wait can mend."""
    error = {"error": {"message": "Request too large for m on tokens per min (TPM): Limit 9"}}
    [attempted] = asked(scripted(lambda: web.json_response(error, status=429)), turn())
    assert attempted.result.reason == "request_refused"


def test_requests_are_few_where_the_server_takes_few():
    """Above a capacity of four all is refused at once: it is found out with few 429s."""
    busy, refused = 0, 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal busy, refused
        if busy >= 4:
            refused += 1
            return web.Response(status=429, headers={"Retry-After": "1"})
        busy += 1
        await asyncio.sleep(0.02)
        busy -= 1
        return completion("a")

    attempted = asked(handler, *map(turn, range(200)), in_flight=32)
    assert all(isinstance(one.result, Reply) for one in attempted)
    assert 28 <= refused < 80


def test_a_request_that_waits_holds_no_slot():
    """With one slot, the others are answered while one waits for its retry."""
    order: list[int] = []

    async def handler(request: web.Request) -> web.Response:
        seed = (await request.json())["seed"]
        order.append(seed)
        if order.count(1) == 1 and seed == 1:
            return web.Response(status=503, headers={"Retry-After": "1"})
        return completion("a")

    asked(handler, *map(turn, range(1, 6)), in_flight=1)
    assert order == [1, 2, 3, 4, 5, 1]


def test_retry_after_may_be_a_date():
    """Measured by the server's own clock, where it says what time it is."""
    times: list[float] = []

    async def handler(request: web.Request) -> web.Response:
        times.append(time.monotonic())
        headers = {
            "Date": "Wed, 21 Oct 2015 07:28:00 GMT",
            "Retry-After": "Wed, 21 Oct 2015 07:28:02 GMT",
        }
        return completion("a") if len(times) > 1 else web.Response(status=503, headers=headers)

    asked(handler, turn())
    assert times[1] - times[0] >= 1.9


def test_a_limit_per_minute_spaces_the_requests():
    """At 600 a minute, twenty requests take a second, after a first second's worth at once."""
    times: list[float] = []

    async def handler(request: web.Request) -> web.Response:
        times.append(time.monotonic())
        return completion("a")

    asked(handler, *map(turn, range(20)), requests_per_minute=600)
    assert times[-1] - times[0] >= 0.85
    assert times[15] - times[12] >= 0.15


@pytest.mark.parametrize("status", [400, 422])
def test_a_dialect_is_learned_once_and_costs_no_reject(status, caplog):
    """What the server does not take is left out from then on; all requests are answered."""
    bodies: list[dict[str, Any]] = []
    caplog.set_level(logging.INFO)

    async def handler(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        for name in ("max_tokens", "seed", "response_format"):
            if name in bodies[-1]:
                message = f"Unsupported parameter: '{name}' is not supported with this model."
                error = {"code": "unsupported_parameter", "param": name, "message": message}
                return web.json_response({"error": error}, status=status)
        return completion("a")

    turns = [turn(seed, max_tokens=5, temperature=0.1, top_p=0.5) for seed in range(12)]
    attempted = asked(handler, *turns, in_flight=2)
    assert all(one == Attempted(one.result, 1) for one in attempted)
    assert all(isinstance(one.result, Reply) for one in attempted)
    assert len(bodies) <= 12 + 2 * 3
    last = {"model", "messages", "max_completion_tokens", "temperature", "top_p"}
    assert set(bodies[-1]) == last
    said = [record.getMessage() for record in caplog.records if "does not take" in record.msg]
    assert len(said) == 3


def test_a_dialect_can_be_given():
    """Then the first request is right."""
    seen: dict[str, Any] = {}

    async def handler(request: web.Request) -> web.Response:
        seen.update(await request.json())
        return completion("a")

    asked(handler, turn(max_tokens=5), dialect=("max_completion_tokens", "no_seed"))
    assert seen["max_completion_tokens"] == 5
    assert not {"max_tokens", "seed"} & seen.keys()


@pytest.mark.parametrize("key", ["sk-a-very/secret+key", "short"])
@pytest.mark.parametrize("status", [400, 401, 200])
def test_a_key_that_the_server_repeats_is_taken_out(key, status, monkeypatch):
    """From a reject's detail, from the error that ends a run and from what is no completion."""
    monkeypatch.setenv("OPENAI_API_KEY", key)

    async def handler(request: web.Request) -> web.Response:
        said = f"no {request.headers['Authorization']}"
        return web.json_response({"error": {"message": said}}, status=status)

    try:
        [attempted] = asked(handler, turn(), patience_s=0.3)
        said = attempted.result.detail
    except EngineDown as error:
        said = str(error)
    assert key not in said
    assert "Bearer [key]" in said


def test_a_key_in_an_answer_is_taken_out_too(monkeypatch):
    """The store keeps answers; a word like EMPTY, given as a key, is left where it is."""
    for key, text in (("sk-0123456789abcdef", "[key]"), ("EMPTY", "EMPTY")):
        monkeypatch.setenv("OPENAI_API_KEY", key)
        [attempted] = asked(scripted(lambda key=key: completion(key)), turn())
        assert attempted.result.text == text


def test_a_provider_is_named_by_itself(monkeypatch):
    """Its URL and its key's variable come from the table; a missing key names the variable."""
    for name, provider in PROVIDERS.items():
        endpoint = Endpoint(url=name, model="m")
        assert (endpoint.urls, endpoint.key_env) == ((provider.url,), provider.key_env)
        assert Endpoint(url=f"{provider.url}/", model="m") == endpoint
        assert Endpoint(url=name, model="m", key_env="OTHER").key_env == "OTHER"
        monkeypatch.delenv(provider.key_env, raising=False)
        with pytest.raises(EngineDown, match=f"set the environment variable {provider.key_env}"):
            endpoint.open()
        monkeypatch.setenv(provider.key_env, " k\n")
        assert endpoint.key() == "k"


def test_a_server_of_ones_own_needs_no_key(monkeypatch):
    """Nothing is missing where the variable is not set."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert Endpoint(url="http://h/v1", model="m").key() == ""


def test_urls_are_cleaned_and_a_key_in_one_is_refused():
    """Several are split at commas; what cannot be one is refused with the mend."""
    endpoint = Endpoint(url=" http://a/v1/, https://b:1/v1 ,http://a/v1", model="m")
    assert endpoint.urls == ("http://a/v1", "https://b:1/v1")
    for wrong in ("http://", "", ",", "ftp://a"):
        with pytest.raises(ValueError, match="http://HOST:PORT/v1"):
            Endpoint(url=wrong, model="m")


@pytest.mark.parametrize(
    ("url", "mend"),
    [
        ("http://me:SECRET@a/v1", "must not hold a key"),
        ("http://SECRET@a/v1", "must not hold a key"),
        ("http://a/v1,http://:SECRET@b/v1", "must not hold a key"),
        ("me:SECRET@a/v1", "it is not a URL"),
        ("ftp://me:SEC,RET@a/v1", "it is not a URL"),
        ("http://a/v1?api-key=SECRET", "must end before"),
        ("http://a/v1,b?api-key=SECRET", "must end before"),
        ("http://a/v1#SECRET", "must end before"),
        ("http://a/v1?", "must end before"),
    ],
)
def test_a_secret_in_a_url_is_refused_and_not_repeated(url, mend):
    """Neither by us nor by pydantic."""
    with pytest.raises(ValueError, match=mend) as raised:
        Endpoint(url=url, model="m")
    assert "SEC" not in str(raised.value) + repr(raised.value)


def test_a_page_in_place_of_the_api_ends_the_run():
    """A proxy that answers everything with HTML is no server: no rejects."""

    async def run() -> None:
        app = web.Application()

        async def page(request: web.Request) -> web.Response:
            return web.Response(text="<html>down for maintenance", content_type="text/html")

        app.router.add_route("*", "/{path:.*}", page)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        transport = Endpoint(url=url, model="m", patience_s=0.5).open()
        try:
            await transport.complete(turn())
        finally:
            await transport.close()
            await runner.cleanup()

    with pytest.raises(EngineDown, match="not a completion: '<html>"):
        asyncio.run(run())
