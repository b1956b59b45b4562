"""Containers: what goes wrong around them, what is left of them, and what they answer."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox import DockerSandbox, SandboxDown, SandboxError, engine, owner, pool
from sandbox.docker import sweep

ROOT = Path(__file__).parents[2]
DEFAULT = DockerSandbox(max_sessions=4, max_running=4, warm=0)
DENSE = DockerSandbox(max_sessions=64, max_running=16, sessions_per_container=32, warm=0)


def within(settings, body):
    """Run `body(sandbox)` and close the sandbox."""

    async def run():
        sandbox = settings.open()
        try:
            return await body(sandbox)
        finally:
            await sandbox.close()

    return asyncio.run(run())


def ours(client):
    """Containers of this process."""
    mine = owner.this_process()
    return [one for one in engine.ours(client) if one["Labels"][engine.OWNER_LABEL] == mine]


async def value(session, code, timeout_s=10):
    return (await session.execute(code, timeout_s, 4000)).text


@pytest.mark.parametrize("settings", [DEFAULT, DENSE], ids=["default", "dense"])
@pytest.mark.parametrize("harm", ["kill", "remove", "pause"])
def test_a_container_lost_in_the_middle_is_an_infrastructure_error(
    docker, settings, harm, monkeypatch
):
    """Its sessions get a `SandboxError`, in time, and a fresh session works."""
    monkeypatch.setattr(pool, "LATE_S", 0.5)

    async def body(sandbox):
        session = await sandbox.open("a", 1)
        assert await value(session, "x = 1; x") == "1"
        running = asyncio.create_task(session.execute("import time; time.sleep(2)", 2, 4000))
        await asyncio.sleep(0.3)
        container = docker.containers.get(session.box.id)
        harms = {
            "kill": container.kill,
            "remove": lambda: container.remove(force=True),
            "pause": container.pause,
        }
        await asyncio.to_thread(harms[harm])
        before = time.monotonic()
        with pytest.raises(SandboxError):
            await running
        assert time.monotonic() - before < 6
        with pytest.raises(SandboxError):
            await session.execute("1", 2, 4000)
        await session.close()
        fresh = await sandbox.open("a", 1)
        assert await value(fresh, "6*7") == "42"

    within(settings, body)
    assert ours(docker) == []


def test_a_thousand_sessions_at_once_wait_for_their_turn(docker):
    """More are asked for than may be open: each is served in the end."""

    async def body(sandbox):
        async def one(number):
            session = await sandbox.open(str(number), 1)
            answer = await value(session, f"{number} + 1", 60)
            await session.close()
            return answer

        answers = await asyncio.gather(*(one(number) for number in range(1000)))
        assert answers == [str(number + 1) for number in range(1000)]
        assert len(ours(docker)) <= 64 / 32 + 1

    within(DENSE, body)
    assert ours(docker) == []


def test_an_open_that_is_cancelled_takes_no_place(docker):
    """Its place goes to the next."""

    async def body(sandbox):
        first = await sandbox.open("a", 1)
        waiting = asyncio.create_task(sandbox.open("b", 1))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        waiting.cancel()
        await first.close()
        third = await asyncio.wait_for(sandbox.open("c", 1), 30)
        assert await value(third, "1") == "1"

    within(DEFAULT.model_copy(update={"max_sessions": 1}), body)


def test_a_call_that_is_cancelled_ends_its_session_and_no_other(docker):
    """What runs is ended, and the place is free."""

    async def body(sandbox):
        victim = await sandbox.open("v", 1)
        session = await sandbox.open("a", 1)
        assert await value(victim, "x = 1; x") == "1"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session.execute("while True: pass", 30, 100), 0.5)
        with pytest.raises(SandboxError):
            await session.execute("1", 1, 100)
        assert await value(victim, "x") == "1"
        assert await value(await sandbox.open("b", 1), "2") == "2"

    within(DENSE.model_copy(update={"max_sessions": 2}), body)


def test_a_cell_that_sleeps_delays_no_other_session(docker):
    """As long as there is a turn left."""

    async def body(sandbox):
        sessions = await asyncio.gather(*(sandbox.open(str(n), 1) for n in range(3)))
        sleeping = [asyncio.create_task(s.execute("import time; time.sleep(9)", 1.5, 100))
                    for s in sessions[:2]]  # fmt: skip
        await asyncio.sleep(0.1)
        before = time.monotonic()
        assert [await value(sessions[2], "1") for _ in range(20)] == ["1"] * 20
        assert time.monotonic() - before < 1
        assert [(await one).status for one in sleeping] == ["timeout"] * 2

    within(DENSE.model_copy(update={"max_running": 3}), body)


def test_random_numbers_are_a_function_of_seed_and_name(docker):
    """The same in every run and container, after a restart too; others for another sample."""
    code = "import random, numpy; print(random.random(), numpy.random.rand(), hash('a'))"

    async def body(sandbox):
        drawn = []
        for name, seed in (("a", 1), ("a", 1), ("b", 1), ("a", 2)):
            session = await sandbox.open(name, seed)
            first = await value(session, code)
            assert (await session.execute("import os; os._exit(1)", 5, 100)).state_lost
            drawn.append((first, await value(session, code)))
            await session.close()
        return drawn

    drawn = within(DEFAULT, body)
    assert drawn == within(DENSE, body)
    assert drawn[0] == drawn[1]
    draws = {text.rsplit(" ", 1)[0] for pair in drawn[1:] for text in pair}
    assert len(draws) == 6


def test_output_over_the_limit_keeps_head_and_tail_and_counts_the_rest(docker):
    """Bytes in, bytes dropped: nothing is miscounted at the cut of a wide character."""

    async def body(sandbox):
        session = await sandbox.open("a", 1)
        done = await session.execute("print('é' * 50_000 + 'END')", 10, 1001)
        head, said, tail = done.output.split("\n", 2)
        assert said == f"[{done.dropped} bytes not shown]"
        assert len((head + tail).encode()) + done.dropped == 100_004
        assert len((head + tail).encode()) <= 1001
        assert set(head) == {"é"} and tail.endswith("éEND\n")

    within(DEFAULT, body)


def test_a_new_interpreter_is_there_at_once(docker):
    """Where one dies, the next answers in a fraction of a second, and says that state is lost."""

    async def body(sandbox):
        session = await sandbox.open("a", 1)
        await session.execute("x = 1", 5, 100)
        died = await session.execute("import os; os.abort()", 5, 100)
        assert (died.status, died.state_lost) == ("died", True)
        assert "SIGABRT" in died.text and "all variables are lost" in died.text
        assert "NameError" in await value(session, "x")

    within(DEFAULT, body)


def test_one_killed_between_cells_is_told_at_the_next(docker):
    """A cell that has left a bomb behind does not lose the state without a word."""

    async def body(sandbox):
        session = await sandbox.open("a", 1)
        bomb = "import threading, os\nx = 1\nthreading.Timer(0.2, os.abort).start()"
        assert (await session.execute(bomb, 5, 100)).status == "ok"
        await asyncio.sleep(0.6)
        later = await session.execute("1", 5, 100)
        assert later.state_lost and "before this cell" in later.notice
        assert not (await session.execute("1", 5, 100)).state_lost

    within(DEFAULT, body)


KILLED = """
import asyncio, sys
from sandbox import DockerSandbox

async def main():
    sandbox = DockerSandbox(max_sessions=4, warm=1, sessions_per_container=int(sys.argv[1])).open()
    sessions = [await sandbox.open(str(n), 1) for n in range(3)]
    running = [asyncio.create_task(s.execute("while True: pass", 60, 100)) for s in sessions]
    await asyncio.sleep(0.3)
    print("ready", flush=True)
    await asyncio.gather(*running)

asyncio.run(main())
"""


@pytest.mark.parametrize("each", [1, 4], ids=["default", "dense"])
def test_a_process_that_is_killed_leaves_no_container(docker, each):
    """SIGKILL in the middle: its containers end with the connection."""
    command = [sys.executable, "-c", KILLED, str(each)]
    child = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    child.stdout.close()

    def left():
        return [one for one in engine.ours(docker)
                if f"/{child.pid}/" in one["Labels"][engine.OWNER_LABEL]]  # fmt: skip

    assert left()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    deadline = time.monotonic() + 15
    while left() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left()


def test_the_next_start_sweeps_what_the_dead_have_left(docker):
    """A container that outlived its owner is removed; one of a living process is not."""
    dead = owner.this_process().rsplit("/", 1)[0] + "/1"
    alive = owner.this_process()
    made = {}
    for label in (dead, alive):
        made[label] = docker.api.create_container(
            DEFAULT.image, ["python3"], labels={engine.LABEL: "1", engine.OWNER_LABEL: label}
        )["Id"]
    try:
        assert sweep(docker) == 1
        assert [one["Id"] for one in ours(docker)] == [made[alive]]
    finally:
        for container in made.values():
            engine.discard(docker, container)


def test_every_wall_stands_around_a_container(docker):
    """The engine was asked for all of them, and says that it has them."""

    async def body(sandbox):
        session = await sandbox.open("a", 1)
        return docker.api.inspect_container(session.box.id)

    found = within(DEFAULT.model_copy(update={"run": "a run"}), body)
    host, config = found["HostConfig"], found["Config"]
    assert host["NetworkMode"] == "none" and host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"] and not host["CapAdd"] and not host["Privileged"]
    assert config["User"] == "65534:65534" and config["Hostname"] == "sandbox"
    assert config["Labels"][engine.RUN_LABEL] == "a run"
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (1 << 30, 1 << 30, 128)
    assert (host["NanoCpus"], host["ShmSize"], host["IpcMode"]) == (10**9, 16 << 20, "private")
    assert host["OomScoreAdj"] == 500 and host["LogConfig"]["Type"] == "none"
    assert host["AutoRemove"] and [bind.split(":")[1:] for bind in host["Binds"]] == [
        [engine.MOUNT, "ro"]
    ]
    options = host["SecurityOpt"]
    assert options[0] == "no-new-privileges"
    [profile] = [o.removeprefix("seccomp=") for o in options if o.startswith("seccomp=")]
    assert json.loads(profile)["defaultAction"] == "SCMP_ACT_ERRNO"


def test_an_image_that_is_not_there_is_named_with_its_mend(docker):
    """And so is one that was built for another version."""
    with pytest.raises(SandboxDown, match="no image 'not-there'.*sandbox build"):
        within(DEFAULT.model_copy(update={"image": "not-there"}), lambda s: s.open("a", 1))
    docker.api.tag(DEFAULT.image, "beam-sdg-test-old")
    made = docker.api.create_container("beam-sdg-test-old", ["python3"])["Id"]
    try:
        docker.api.commit(made, "beam-sdg-test-old", changes=[f"LABEL {engine.CODE_LABEL}=old"])
        with pytest.raises(SandboxDown, match="built for another version"):
            engine.check_image(docker, "beam-sdg-test-old")
    finally:
        docker.api.remove_container(made)
        docker.api.remove_image("beam-sdg-test-old", force=True)


def test_an_engine_that_does_not_answer_is_named():
    """Nothing waits for it."""
    settings = DEFAULT.model_copy(update={"engine": "unix:///nowhere/docker.sock"})
    with pytest.raises(SandboxDown, match=r"no Docker engine answers at unix:///nowhere"):
        within(settings, lambda sandbox: sandbox.open("a", 1))
    with pytest.raises(SandboxDown, match="can be reached at 'ssh://host'"):
        engine.Address.of("ssh://host", "")


def test_a_cell_that_nobody_reads_is_an_error_of_its_own(docker):
    """No model writes so much; the session goes on."""

    async def body(sandbox):
        session = await sandbox.open("a", 1)
        done = await session.execute("x=1\n" * 100_000, 2, 100)
        assert done.status == "error" and "400000 characters" in done.output
        assert await value(session, "1") == "1"

    within(DEFAULT, body)


def test_an_owner_is_dead_only_where_this_machine_can_know_it():
    """Another machine's, and what is no label, are left alone."""
    assert not owner.has_ended(owner.this_process())
    place, pid, started = owner.this_process().rsplit("/", 2)
    assert owner.has_ended(f"{place}/{pid}/{int(started) + 1}")
    assert not owner.has_ended(f"elsewhere/1/{pid}/{started}")
    assert not owner.has_ended("")


def test_the_end_of_a_session_touches_no_other_that_begins(docker):
    """Sessions of one container open and close at once, and none dies of it."""

    async def body(sandbox):
        turns = asyncio.Semaphore(4)

        async def one(number):
            async with turns:
                session = await sandbox.open(str(number), 1)
                done = await session.execute("1+1", 20, 100)
                await session.close()
                return done.status, done.output

        assert set(await asyncio.gather(*(one(n) for n in range(60)))) == {("ok", "2\n")}

    within(DENSE, body)
