"""vLLM's settings and its transport, with the stub in the place of `vllm serve`."""

import asyncio
import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pydantic
import pytest

from tests.processes import assert_gone, heed_interrupts, keeper_in, processes_below
from transforms.engines import vllm as vllm_module
from transforms.engines.endpoint import Endpoint
from transforms.engines.engine import Attempted, Message, Reply, Sampling, Turn
from transforms.engines.flags import deciding
from transforms.engines.rehearsal import Rehearsal
from transforms.engines.stops import Stops
from transforms.engines.usage import EngineUsage
from transforms.engines.vllm import Vllm
from transforms.errors import EngineDown
from transforms.seeding import digest

ROOT = Path(__file__).parents[3]
PROMPT = "infinibyte/solution"


@pytest.fixture
def served(tmp_path, monkeypatch, place):
    """Let the stub stand for `vllm`; the rehearsal's settings decide what it answers."""

    def serve(**rehearsal) -> None:
        program, log = tmp_path / "vllm.py", str(tmp_path / "asked")
        settings = json.dumps(Rehearsal(**rehearsal).model_dump(mode="json"))
        program.write_text(
            "import sys, runpy\n"
            "port = sys.argv[sys.argv.index('--port') + 1]\n"
            f"sys.argv = ['stub', '--port', port, '--rehearsal', {settings!r}, '--log', {log!r}]\n"
            "runpy.run_module('transforms.engines.stub', run_name='__main__')\n"
        )
        monkeypatch.setattr(vllm_module, "_program", lambda: [sys.executable, str(program)])

    return serve


def turn(number: int) -> Turn:
    text = f"<problem>\nWhat is {number} + 1?\n</problem>"
    messages = (Message("user", text),)
    return Turn(digest(number), PROMPT, messages, Sampling(), number, None)


def kill_the_engine(place: Path) -> None:
    keeper = keeper_in(place.parent)
    [engine] = processes_below(keeper) - {keeper}
    os.kill(engine, signal.SIGKILL)


async def asked(transport, *turns: Turn) -> list[Attempted]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(transport.complete(one)) for one in turns]
    return [task.result() for task in tasks]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("", 256),
        ("--max-num-seqs 32 --dtype float32", 32),
        ("--max_num_seqs=8", 8),
        ("--max-model-len 2048", 256),
    ],
)
def test_twice_what_the_engine_works_on_is_in_flight(args, expected):
    """Whichever way the flag is written; vLLM is told the number where the user does not."""
    settings = Vllm(model="m", args=args)
    assert settings.max_num_seqs() == expected
    assert settings.in_flight == 2 * expected
    assert Vllm(model="m", args=args, in_flight=5).in_flight == 5


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("--port 80", "--port is set by this program"),
        ("--host=0.0.0.0", "--host is set by this program"),
        ("--served_model_name x", "--served-model-name is set by this program"),
        ("--hos 0.0.0.0", "--hos is set by this program"),
        ("--hf-token abc", "--hf-token would be seen by everybody"),
        ("--dtype 'float32", "No closing quotation"),
    ],
)
def test_flags_that_are_ours_or_broken_are_refused(args, said):
    """The engine listens where we say, and nowhere else."""
    with pytest.raises(pydantic.ValidationError, match=said):
        Vllm(model="m", args=args)


def test_what_is_started(monkeypatch):
    """The user's flags as they are, the model's revision, the loopback."""
    monkeypatch.setattr(vllm_module, "_program", lambda: ["vllm"])
    args = "--tensor-parallel-size 2 --override-generation-config '{\"a\": 1}'"
    kept = Vllm(model="org/m", revision="abc", args=args, gpus="2,3").kept()
    assert kept.command == (
        *("vllm", "serve", "org/m"),
        *("--tensor-parallel-size", "2", "--override-generation-config", '{"a": 1}'),
        *("--max-num-seqs", "256", "--revision", "abc", "--enable-prompt-tokens-details"),
        "--disable-uvicorn-access-log",
        *("--host", "127.0.0.1", "--port", "{port}"),
    )
    assert dict(kept.environment)["VLLM_API_KEY"] == ""


def test_a_process_that_has_imported_pytorch_shares_the_engine(monkeypatch):
    """That sets a variable on its way, which is no reason for an engine of its own."""
    monkeypatch.setattr(vllm_module, "_program", lambda: ["vllm"])
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    key = Vllm(model="m").kept().key()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/elsewhere")
    assert Vllm(model="m").kept().key() == key


def test_a_file_of_settings_may_say_how_many_are_worked_on(monkeypatch):
    """What stands on the command line would win over it."""
    monkeypatch.setattr(vllm_module, "_program", lambda: ["vllm"])
    assert "--max-num-seqs" not in Vllm(model="m", args="--config f.yaml").kept().command


@pytest.mark.parametrize(
    "args",
    [
        "--lora-modules t=/a",
        "--lora-modules t=/b",
        "--chat-template a.jinja",
        "--quantization fp8",
        "-q awq",
        "--reasoning-parser qwen3",
    ],
)
def test_flags_that_decide_answers_are_part_of_their_keys(args):
    """Each has answers of its own."""
    assert Vllm(model="m", args=args).identity() == f"model:m with {deciding(args)}"
    assert deciding(args) != ""


def test_other_flags_leave_answers_to_the_model():
    """However it is served, here or elsewhere, its answers are the same."""
    one = Vllm(model="m", args="--tensor-parallel-size 8 --max-num-seqs 4", in_flight=3)
    assert one.identity() == Endpoint(url="http://h/v1", model="m").identity()
    assert one.identity() != Vllm(model="m", api="text").identity()


def test_a_template_counts_by_its_content(tmp_path):
    """Not by the name of its file."""
    template = tmp_path / "t.jinja"
    seen = set()
    for text in ("a", "b", "a"):
        template.write_text(text)
        seen.add(Vllm(model="m", args=f"--chat-template={template}").identity())
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("args", "replicas"),
    [
        ("", 1),
        ("--data-parallel-size 4", 4),
        ("-dp 2", 2),
        ("--data_parallel_size=8 --data-parallel-external-lb", 1),
        ("--data-parallel-size 8 --data-parallel-rank 3", 1),
    ],
)
def test_replicas_are_those_that_vllm_spreads_requests_over(args, replicas):
    """Each is kept full."""
    settings = Vllm(model="m", args=f"{args} --max-num-seqs 10")
    assert settings.replicas() == replicas
    assert settings.in_flight == 20 * replicas


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        ("--ssl-key abc --max-num-seqs 4", "--ssl-key ... --max-num-seqs 4"),
        ("--ssl_key=abc", "--ssl_key=..."),
        ("--max-num-batched-tokens 4", "--max-num-batched-tokens 4"),
        (
            """--model-loader-extra-config '{"aws_secret_access_key": "abc", "max_tokens": "4"}'""",
            "--model-loader-extra-config "
            """'{"aws_secret_access_key": "...", "max_tokens": "4"}'""",
        ),
        ("--hf-overrides '{\"a\": 1}'", "--hf-overrides '{\"a\": 1}'"),
    ],
)
def test_a_token_among_the_flags_is_not_told(args, shown):
    """Manifests are published; all other flags are as they were given."""
    assert Vllm(model="m", args=args).described().args == shown


def test_the_commit_is_that_of_the_hubs_cache(tmp_path, monkeypatch):
    """Where this machine has the model at that revision; a folder has none."""
    hub = pytest.importorskip("huggingface_hub")
    model = tmp_path / "models--org--m"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("c0ffee")
    (model / "snapshots" / "c0ffee").mkdir(parents=True)
    (model / "snapshots" / "c0ffee" / "config.json").write_text("{}")
    found = functools.partial(hub.try_to_load_from_cache, cache_dir=tmp_path)
    monkeypatch.setattr(hub, "try_to_load_from_cache", found)
    assert Vllm(model="org/m").commit() == "c0ffee"
    assert Vllm(model="org/m", revision="other").commit() == ""
    assert Vllm(model=str(tmp_path)).commit() == ""
    assert Vllm(model="no/such/model").commit() == ""


def test_a_window_notes_how_the_engine_was_used(served, place):
    """From its start on, if it was started."""
    served(latency_s=0.5)
    noted: list[EngineUsage] = []

    async def run() -> None:
        transport = Vllm(model="rehearsal", args="--max-num-seqs 4").open()
        async with transport.meter().window(noted.append):
            pass
        assert noted == []
        async with transport.meter().window(noted.append):
            answered = await asked(transport, turn(1), turn(1), turn(2))
        async with transport.meter().window(noted.append):
            pass
        await transport.close()
        usage, after = noted
        replies = [one.result for one in answered]
        assert usage.version == "0.0.0+stub"
        assert usage.prompt_tokens == sum(one.prompt_tokens for one in replies)
        assert usage.prefix_hits == replies[0].prompt_tokens
        assert usage.running is not None
        assert 1 < usage.running <= 3
        assert (after.prompt_tokens, after.slots) == (0, 4)

    asyncio.run(run())


def test_the_engine_starts_with_the_first_request(served, place):
    """Opening starts nothing; a run whose answers are all stored never does."""
    served()
    settings = Vllm(model="rehearsal")

    async def run() -> None:
        transport = settings.open()
        assert not place.exists()
        [attempted] = await asked(transport, turn(1))
        assert isinstance(attempted.result, Reply)
        assert (place / "gpus-all.sock").exists()
        await transport.close()

    asyncio.run(run())


def test_a_crash_loses_no_request(served, place):
    """Killed with forty requests under way, the engine comes back and answers all of them."""
    served(latency_s=0.3)

    async def run() -> list[Attempted]:
        transport = Vllm(model="rehearsal", in_flight=8).open()
        await asked(transport, turn(0))

        async def crash() -> None:
            await asyncio.sleep(0.5)
            kill_the_engine(place)

        crashing = asyncio.create_task(crash())
        answered = await asked(transport, *map(turn, range(1, 41)))
        await crashing
        await transport.close()
        return answered

    answered = asyncio.run(run())
    assert all(isinstance(one.result, Reply) for one in answered)
    assert max(one.attempts for one in answered) > 1


@pytest.mark.parametrize("restarts", [False, True])
def test_a_stop_does_not_wait_for_an_engine_that_loads(restarts, served, tmp_path, place):
    """Nor for one that is started again; another run's turn, which waits beside, is answered."""
    served(latency_s=1.0)
    program, held = tmp_path / "vllm.py", tmp_path / "held"
    wait = f"import os, time\nwhile os.path.exists({str(held)!r}): time.sleep(0.05)\n"
    program.write_text(wait + program.read_text())
    stops = Stops(str(tmp_path / "store"))

    async def run() -> tuple[list[Attempted | None], Attempted]:
        transport = Vllm(model="rehearsal").open()
        if restarts:
            await asked(transport, turn(0))
        held.touch()
        waiting = [
            asyncio.create_task(stops.sent("ask", turn(number), transport.complete))
            for number in (1, 2)
        ]
        other = asyncio.create_task(transport.complete(turn(3)))
        if restarts:
            await asyncio.sleep(0.3)
            kill_the_engine(place)
        await asyncio.sleep(1.0)
        assert not any(task.done() for task in (*waiting, other))
        stops.stop("SIGINT")
        withheld = await asyncio.wait_for(asyncio.gather(*waiting), 20)
        held.unlink()
        answered = await other
        await transport.close()
        return withheld, answered

    withheld, answered = asyncio.run(run())
    assert withheld == [None, None]
    assert isinstance(answered.result, Reply)


def test_an_engine_that_does_not_start_is_one_error(monkeypatch, place):
    """Whoever asks gets its last lines."""
    said = "raise SystemExit('CUDA out of memory')"
    monkeypatch.setattr(vllm_module, "_program", lambda: [sys.executable, "-c", said])

    async def run() -> None:
        transport = Vllm(model="m").open()
        with pytest.raises(EngineDown, match="vllm serve m does not run.*CUDA out of memory"):
            await transport.complete(turn(1))

    asyncio.run(run())


def test_an_engine_that_is_given_up_ends_every_request(served, tmp_path, place):
    """Those that wait for it, too: none waits for its patience."""
    served(latency_s=30.0)

    async def run() -> None:
        transport = Vllm(model="rehearsal", restarts=0).open()

        async def crash() -> None:
            while not (tmp_path / "asked").exists() or not (tmp_path / "asked").stat().st_size:
                await asyncio.sleep(0.05)
            kill_the_engine(place)

        crashing = asyncio.create_task(crash())
        outcomes = await asyncio.gather(
            *(transport.complete(turn(number)) for number in range(20)), return_exceptions=True
        )
        await crashing
        assert all(isinstance(one, EngineDown) for one in outcomes)
        assert "it ended with code -9" in str(outcomes[0])
        await transport.close()

    asyncio.run(run())


def test_after_a_lost_keeper_the_next_window_gets_another(served, place):
    """Requests that wait for it fail, and those that come later are answered."""
    served(latency_s=0.3)

    async def run() -> None:
        transport = Vllm(model="rehearsal").open()
        await asked(transport, turn(0))
        waiting = asyncio.gather(*map(transport.complete, map(turn, range(1, 9))))
        await asyncio.sleep(0.1)
        os.kill(keeper_in(place.parent), signal.SIGKILL)
        with pytest.raises(EngineDown, match="the keeper of vllm serve rehearsal has ended"):
            await waiting
        [attempted] = await asked(transport, turn(9))
        assert isinstance(attempted.result, Reply)
        await transport.close()

    asyncio.run(run())


def test_who_waits_for_an_engine_that_cannot_start_waits_together(monkeypatch, tmp_path, place):
    """It is started once for all of them, and again for who comes later."""
    program, starts = tmp_path / "vllm.py", tmp_path / "starts"
    program.write_text(f"open({str(starts)!r}, 'a').write('.')\nraise SystemExit('no memory')\n")
    monkeypatch.setattr(vllm_module, "_program", lambda: [sys.executable, str(program)])

    async def run() -> None:
        transport = Vllm(model="m").open()
        for number in (1, 2):
            turns = map(transport.complete, map(turn, range(5)))
            outcomes = await asyncio.gather(*turns, return_exceptions=True)
            assert all("no memory" in str(one) for one in outcomes)
            assert starts.read_text() == "." * number
        await transport.close()

    asyncio.run(run())


def test_a_crash_that_outlasts_an_endpoints_patience_loses_no_request(
    served, tmp_path, monkeypatch, place
):
    """However long the engine takes to load again, and whenever it is back."""
    served(latency_s=0.2)
    program = tmp_path / "vllm.py"
    once = f"import os, time\nif os.path.exists({str(tmp_path / 'asked')!r}): time.sleep(4)\n"
    program.write_text(once + program.read_text())
    hasty = functools.partial(vllm_module.Endpoint, patience_s=1.0)
    monkeypatch.setattr(vllm_module, "Endpoint", hasty)

    async def run() -> list[Attempted]:
        transport = Vllm(model="rehearsal", in_flight=16).open()
        await asked(transport, turn(0))
        asyncio.get_running_loop().call_later(0.3, kill_the_engine, place)
        answered = await asked(transport, *map(turn, range(1, 100)))
        await transport.close()
        return answered

    assert all(isinstance(one.result, Reply) for one in asyncio.run(run()))


LOADING = """
import functools, sys
from tests.transforms.engines.test_vllm import turn
from transforms.engines import vllm
from transforms.engines.client import shared_client
vllm._program = lambda: [sys.executable, "-c", "import time; time.sleep(300)"]
client = shared_client(vllm.Vllm(model="m"))
client.run_window([functools.partial(client.complete, turn(1))])
"""


def test_a_pipeline_that_is_interrupted_while_the_engine_loads_ends(place):
    """And the engine with it: no thread that waits for it is waited for."""
    command = [sys.executable, "-c", LOADING]
    with subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=heed_interrupts) as pipeline:
        give_up_at = time.monotonic() + 60
        while not (place / "gpus-all.sock").exists():
            assert time.monotonic() < give_up_at
            time.sleep(0.1)
        time.sleep(1)
        below = processes_below(pipeline.pid) - {pipeline.pid}
        pipeline.send_signal(signal.SIGINT)
        try:
            _, said = pipeline.communicate(timeout=20)
        finally:
            pipeline.kill()
    assert b"KeyboardInterrupt" in said
    assert_gone(below, place.parent)


def test_without_vllm_the_mend_is_named(monkeypatch, tmp_path):
    """Before anything is read: opening the engine says so."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(EngineDown, match=r"pip install 'beam-sdg\[vllm\]'.*--endpoint"):
        Vllm(model="m").open()
