"""vLLM itself, on whatever this machine has: one engine for all tests of the module."""

import asyncio
import contextlib
import dataclasses
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from beam_sdg.serving import served
from tests.processes import assert_gone, keeper_in, processes_below
from transforms.constraint import Constraint
from transforms.engines.endpoint import Endpoint
from transforms.engines.engine import Attempted, Failure, Message, Reply, Sampling, Turn
from transforms.engines.hold import held
from transforms.engines.usage import EngineUsage
from transforms.engines.vllm import Vllm
from transforms.reading import Choice, Fault, Grammar, Pattern, Structured
from transforms.records import NewProblemEvals, TokenLogprob
from transforms.seeding import digest

ROOT = Path(__file__).parents[3]


def turn(seed: int, text: str = "Tell a story.", **sampling: object) -> Turn:
    settings = Sampling(**{"max_tokens": 24, "temperature": 1.0, **sampling})
    messages = (Message("user", text),)
    return Turn(digest(seed, text), "story", messages, settings, seed, None)


def asked(settings: Vllm, *turns: Turn) -> list[Attempted]:
    async def run() -> list[Attempted]:
        transport = settings.open()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(transport.complete(one)) for one in turns]
        await transport.close()
        return [task.result() for task in tasks]

    return asyncio.run(run())


def test_one_in_flight_gives_the_same_text_for_the_same_seed(settings):
    """Twice the same, and another for another seed."""
    one = settings.model_copy(update={"in_flight": 1})
    first, again, other = asked(one, turn(1), turn(1), turn(2))
    assert isinstance(first.result, Reply)
    assert first.result.text == again.result.text
    assert first.result.text != other.result.text


def test_each_request_of_a_window_has_its_own_sampling(settings):
    """Limits of tokens differ, and at temperature 0 the seed does not matter."""
    short, long, cold, colder = asked(
        settings,
        turn(1, max_tokens=3),
        turn(1, max_tokens=30),
        turn(1, temperature=0.0),
        turn(2, temperature=0.0),
    )
    assert short.result.completion_tokens == 3
    assert short.result.finish_reason == "length"
    assert long.result.completion_tokens > 3
    assert cold.result.text == colder.result.text


def test_a_request_that_cannot_be_costs_itself_only(settings):
    """A prompt longer than the context, a value out of range; in the server's words."""
    turns = [turn(seed) for seed in range(10)]
    turns[4] = turn(4, "word " * 9000)
    turns[7] = turn(7, logprobs=90)  # more than the server tells
    outcomes = [one.result for one in asked(settings, *turns)]
    failures = [one for one in outcomes if isinstance(one, Failure)]
    assert failures == [outcomes[4], outcomes[7]]
    assert [one.reason for one in failures] == ["prompt_too_long", "request_refused"]
    assert "4096" in failures[0].detail
    assert "logprobs" in failures[1].detail


def test_it_tells_its_version_and_how_well_it_was_used(settings):
    """Samples of one long prompt find it in the prefix cache, and some of them run at once."""
    noted: list[EngineUsage] = []
    prompt = "Tell me a long story about a fox. " * 15

    async def run() -> list[Attempted]:
        transport = settings.open()
        async with transport.meter().window(noted.append), asyncio.TaskGroup() as group:
            turns = [turn(seed, prompt, max_tokens=300) for seed in range(16)]
            tasks = [group.create_task(transport.complete(one)) for one in turns]
        await transport.close()
        return [task.result() for task in tasks]

    replies = [one.result for one in asyncio.run(run())]
    [usage] = noted
    [engine] = served(noted)
    assert re.match(r"\d+\.\d+", usage.version)
    assert (usage.engine, usage.args, usage.slots) == ("vLLM", settings.args, 8)
    assert usage.prompt_tokens == sum(one.prompt_tokens for one in replies)
    assert usage.generated_tokens == sum(one.completion_tokens for one in replies)
    assert engine.prefix_cache_hit_rate is not None
    assert 0 < usage.prefix_hits < usage.prefix_tokens
    assert usage.prefix_hits == sum(one.cached_tokens for one in replies)
    assert engine.utilisation is not None
    assert 0 < engine.utilisation <= 1
    assert 0 < usage.kv_cache_peak <= 1


async def dropping(seed: int, url: str, ready: asyncio.Future[int]) -> None:
    """Pass bytes on to `url`, but close the connection where a request has that seed."""
    host, port = url.removeprefix("http://").split(":")

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            if f'"seed": {seed},'.encode() in data:
                break
            writer.write(data)
        writer.close()

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, there = await asyncio.open_connection(host, int(port))
        with contextlib.suppress(OSError):
            await asyncio.gather(pump(reader, there), pump(back, writer))

    server = await asyncio.start_server(welcome, "127.0.0.1", 0)
    ready.set_result(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def test_a_connection_that_is_closed_costs_one_element(settings):
    """However often it is tried, while the others are answered."""
    url = held(settings.kept(), "").url

    async def run() -> list[Attempted]:
        ready = asyncio.get_running_loop().create_future()
        proxy = asyncio.create_task(dropping(103, url, ready))
        at = f"http://127.0.0.1:{await ready}/v1"
        transport = Endpoint(url=at, model=settings.model, in_flight=4, attempts=2).open()
        turns = [turn(seed) for seed in range(100, 130)]
        results = await asyncio.gather(*map(transport.complete, turns))
        await transport.close()
        proxy.cancel()
        return results

    outcomes = [one.result for one in asyncio.run(run())]
    [failure] = [one for one in outcomes if isinstance(one, Failure)]
    assert failure == outcomes[3]
    assert failure.reason == "connection_failed"


def held_to(constraint: Constraint | None, **sampling: object) -> Turn:
    return dataclasses.replace(turn(3, max_tokens=200, **sampling), constraint=constraint)


@pytest.mark.parametrize(
    "reader",
    [
        Choice(("accept", "reject")),
        Pattern(r"[A-D]: [0-9]{2}"),
        Grammar('root ::= "(" root ")" | "x"'),
        Structured(NewProblemEvals),
    ],
    ids=["choice", "regex", "grammar", "schema"],
)
def test_an_answer_is_held_to_its_form(settings, reader):
    """And so can be read, though the model knows nothing."""
    [attempted] = asked(settings, held_to(reader.constraint()))
    assert isinstance(attempted.result, Reply)
    assert attempted.result.finish_reason == "stop"
    value = reader.read(attempted.result.text)
    assert not isinstance(value, Fault), value
    if isinstance(reader, Grammar):
        assert re.fullmatch(r"\(*x\)*", value)


def test_an_adapter_answers_where_it_is_asked_for(settings):
    """By its name, for one request and not for the next."""

    def first_token(adapter: str | None) -> TokenLogprob:
        of = held_to(None, temperature=0.0, adapter=adapter, logprobs=3)
        return asked(settings, of)[0].result.logprobs[0]

    plain, tuned, again = map(first_token, (None, "tuned", None))
    assert plain.logprob == pytest.approx(again.logprob)
    assert plain.logprob != pytest.approx(tuned.logprob)
    assert len(plain.top) == 3
    assert plain.logprob == max(logprob for _, logprob in plain.top) < 0


def test_text_is_completed_without_a_template(settings):
    """The prompt then has its own tokens and no others."""
    chat, text = (
        asked(settings.model_copy(update={"api": api}), turn(1, "one", max_tokens=5))[0].result
        for api in ("chat", "text")
    )
    assert text.completion_tokens == 5
    assert text.prompt_tokens < chat.prompt_tokens


def listening(pids: set[int]) -> set[str]:
    """The local addresses at which these processes listen."""
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                inodes.add(str(link.readlink()).removeprefix("socket:[").removesuffix("]"))
            except OSError:
                continue
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                words = bytes.fromhex(fields[1].rpartition(":")[0])
                packed = b"".join(words[i : i + 4][::-1] for i in range(0, len(words), 4))
                found.add(socket.inet_ntop(family, packed))
    return found


def test_nothing_listens_on_a_public_interface(settings):
    """Neither the API nor what its processes use among themselves."""
    asked(settings, turn(1))
    keeper = keeper_in(Path(os.environ["TMPDIR"]))
    assert listening(processes_below(keeper)) <= {"127.0.0.1", "::1"}


HOLDER = """
import asyncio, sys, time
sys.path.insert(0, {root!r})
from tests.transforms.engines.test_vllm_real import asked, turn
from transforms.engines.vllm import Vllm
asked(Vllm.model_validate_json(sys.argv[1]), turn(1))
print("answered", flush=True)
time.sleep(600)
"""


def test_after_a_kill_nothing_is_left(settings, tmp_path):
    """Neither process nor socket of an engine whose only pipeline got a SIGKILL."""
    command = [sys.executable, "-c", HOLDER.format(root=str(ROOT)), settings.model_dump_json()]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "answered\n"
        left = processes_below(holder.pid) - {holder.pid}
        assert len(left) >= 3  # the keeper, the server, the engine's core
        os.kill(holder.pid, signal.SIGKILL)
    assert_gone(left, tmp_path)
