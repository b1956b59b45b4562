"""What a sandbox costs: round trips, new sessions and memory, beside a bare interpreter.

    python benchmarks/executions.py

Each rate has beside it that of a bare interpreter in a child process, measured in the same minute:
a line in, `eval`, a line out. Machines differ and are busy; the ratio is what can be compared.
"""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

from sandbox import DockerSandbox, engine
from sandbox.pool import Pool, PooledSession

BARE = """
import sys
for line in sys.stdin.buffer:
    sys.stdout.buffer.write(b"%d\\n" % eval(line))
    sys.stdout.buffer.flush()
"""
ROUNDS, SESSIONS = 4000, 32
MODES = {
    "dense, socket": DockerSandbox(
        sessions_per_container=SESSIONS, max_sessions=64, max_running=SESSIONS, warm=0
    ),
    "a container each, socket": DockerSandbox(max_sessions=64, max_running=SESSIONS, warm=0),
    "a container each, attach": DockerSandbox(
        max_sessions=64, max_running=SESSIONS, warm=0, transport="attach"
    ),
}


def bare_a_second() -> float:
    """Round trips of a bare interpreter."""
    command = [sys.executable, "-c", BARE]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        for number in range(ROUNDS + 1):
            if number == 1:
                before = time.perf_counter()
            child.stdin.write(b"1+1\n")
            child.stdout.readline()
        took_s = time.perf_counter() - before
        child.stdin.close()
    return ROUNDS / took_s


async def rounds(session: PooledSession, count: int) -> None:
    for _ in range(count):
        done = await session.execute("1+1", 10, 1000)
        assert done.output == "2\n", done


async def a_second(sessions: list[PooledSession]) -> tuple[float, float]:
    """Executions a second over all sessions, and CPU milliseconds of ours for each."""
    each = ROUNDS // len(sessions)
    before, used = time.perf_counter(), time.process_time()
    await asyncio.gather(*(rounds(session, each) for session in sessions))
    count = each * len(sessions)
    used = (time.process_time() - used) / count * 1000
    return count / (time.perf_counter() - before), used


async def new_sessions_a_second(sandbox: Pool, count: int) -> float:
    """Opened, used once and closed, four at a time."""
    turns = asyncio.Semaphore(4)

    async def one(number: int) -> None:
        async with turns:
            session = await sandbox.open(f"new {number}", 1)
            await rounds(session, 1)
            await session.close()

    before = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(count)))
    return count / (time.perf_counter() - before)


def memory_mb(sessions: list[PooledSession]) -> float:
    """Proportional memory of all processes of the sessions' containers, for one session."""
    client = engine.connect(engine.Address.of("", ""))
    kilobytes = 0
    for container in {session.box.id for session in sessions}:
        for row in client.api.top(container, ps_args="-eo pid")["Processes"]:
            for line in Path(f"/proc/{row[0]}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    kilobytes += int(line.split()[1])
    client.close()
    return kilobytes / 1024 / len(sessions)


async def measure(name: str, settings: DockerSandbox) -> None:
    sandbox = settings.open()
    try:
        sessions = list(await asyncio.gather(*(sandbox.open(str(n), 1) for n in range(SESSIONS))))
        await asyncio.gather(*(rounds(session, 20) for session in sessions))
        for count in (1, 8, SESSIONS):
            bare = await asyncio.to_thread(bare_a_second)
            rate, cpu_ms = await a_second(sessions[:count])
            print(
                f"{name:26} {count:3} sessions  {rate:7,.0f} a second  bare {bare:7,.0f}  "
                f"ratio {rate / bare:.2f}  round trip {count / rate * 1000:.2f} ms  "
                f"our CPU {cpu_ms:.2f} ms",
                flush=True,
            )
        print(f"{name:26} memory {memory_mb(sessions):.0f} MB a session", flush=True)
        await asyncio.gather(*(session.close() for session in sessions))
        count = 100 if settings.sessions_per_container > 1 else 12
        rate = await new_sessions_a_second(sandbox, count)
        print(f"{name:26} {rate:.1f} new sessions a second", flush=True)
    finally:
        await sandbox.close()


def main() -> None:
    for name, settings in MODES.items():
        asyncio.run(measure(name, settings))


if __name__ == "__main__":
    main()
