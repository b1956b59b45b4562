"""vLLM itself, on whatever this machine has: one engine for all tests of the module."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_sdg.serving import served
from transforms.engines import hold as hold_module
from transforms.engines.engine import Attempted, Failure, Message, Reply, Sampling, Turn
from transforms.engines.usage import EngineUsage
from transforms.engines.vllm import Vllm
from transforms.seeding import digest

ROOT = Path(__file__).parents[3]
ON_THE_CPU = (
    "--enforce-eager --max-model-len 1024 --max-num-seqs 8 --dtype float32 "
    "--gpu-memory-utilization 0.2 --no-enable-chunked-prefill --max-num-batched-tokens 4096"
)


@pytest.fixture(scope="module")
def settings(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    """An engine that is started with the first request of the module."""
    folder = tmp_path_factory.mktemp("keepers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        patch.setattr("tempfile.tempdir", None)
        patch.setattr(hold_module, "_holds", {})
        yield Vllm(model=str(tiny_model), args=ON_THE_CPU, start_timeout_s=600)
        for taken in hold_module._holds.values():
            taken.let_go()


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
    """A prompt longer than the context is refused in the server's words, and nothing else is."""
    turns = [turn(seed) for seed in range(10)]
    turns[4] = turn(4, "word " * 3000)
    outcomes = [one.result for one in asked(settings, *turns)]
    assert isinstance(outcomes[4], Failure)
    assert outcomes[4].reason == "request_refused"
    assert "1024" in outcomes[4].detail
    assert sum(isinstance(one, Reply) for one in outcomes) == 9


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
    assert (usage.engine, usage.args, usage.slots) == ("vLLM", ON_THE_CPU, 8)
    assert usage.prompt_tokens == sum(one.prompt_tokens for one in replies)
    assert usage.generated_tokens == sum(one.completion_tokens for one in replies)
    assert engine.prefix_cache_hit_rate is not None
    assert 0 < usage.prefix_hits < usage.prefix_tokens
    assert usage.prefix_hits == sum(one.cached_tokens for one in replies)
    assert engine.utilisation is not None
    assert 0 < engine.utilisation <= 1
    assert 0 < usage.kv_cache_peak <= 1


def processes_below(pid: int) -> set[int]:
    found = {pid}
    for folder in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in folder.read_text().split():
            found |= processes_below(int(child))
    return found


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
    keeper = hold_module._keepers[-1]
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
    give_up_at = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in left):
        assert time.monotonic() < give_up_at
        time.sleep(0.2)
    assert not list(tmp_path.glob("beam-sdg-*/*.sock"))
