"""Who may send, when and where to."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

from transforms.engines.gate import Gate
from transforms.engines.pace import Pace
from transforms.engines.servers import Server


def gate_of(number: int, in_flight: int) -> tuple[Gate, list[Server]]:
    servers = [Server(str(n), in_flight, 120) for n in range(number)]
    return Gate(servers, in_flight, Pace(None, None)), servers


prompts = itertools.count()


@contextlib.asynccontextmanager
async def slot(gate: Gate, prompt: int | None = None) -> AsyncIterator[Server]:
    held = await gate.enter(0, next(prompts) if prompt is None else prompt)
    try:
        yield held[0]
    finally:
        gate.leave(held)


def test_the_line_is_served_in_order_and_within_the_limit():
    """First come, first served; never more than `in_flight` at once over all servers."""
    gate, servers = gate_of(2, 3)
    order: list[int] = []
    most = 0

    async def visit(number: int) -> None:
        nonlocal most
        async with slot(gate):
            order.append(number)
            most = max(most, sum(server.busy for server in servers))
            await asyncio.sleep(0)

    async def run() -> None:
        await asyncio.gather(*map(visit, range(50)))

    asyncio.run(run())
    assert order == list(range(50))
    assert most == 3
    assert [server.sent for server in servers] == [25, 25]


def test_a_cancelled_wait_gives_its_place_to_the_next():
    """Cancelled in line, or in the moment when the place is given: nothing is lost."""
    gate, [server] = gate_of(1, 1)

    async def visit() -> None:
        async with slot(gate):
            pass

    async def run() -> None:
        async with slot(gate):
            waiting = [asyncio.create_task(visit()) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            await asyncio.sleep(0)
        waiting[1].cancel()  # it has just been let in
        await asyncio.gather(*waiting, return_exceptions=True)
        assert not waiting[2].cancelled()
        async with asyncio.timeout(5), slot(gate):
            assert server.busy == 1

    asyncio.run(run())
    assert server.busy == 0


def test_a_server_that_is_left_alone_is_gone_around():
    """Requests go to the other; where there is none, they wait for it."""
    gate, [first, second] = gate_of(2, 4)

    async def run() -> None:
        loop = asyncio.get_running_loop()
        first._resume_at = loop.time() + 3600
        for _ in range(5):
            async with slot(gate) as server:
                assert server is second
        resume_at = second._resume_at = loop.time() + 0.1
        async with asyncio.timeout(30), slot(gate):
            assert loop.time() >= resume_at

    asyncio.run(run())


def test_samples_of_a_prompt_go_to_one_server():
    """In whatever order prompts come, as long as it is not much busier than another."""
    gate, servers = gate_of(4, 64)
    seen: dict[int, set[str]] = {}

    async def visit(prompt: int) -> None:
        async with slot(gate, prompt) as server:
            seen.setdefault(prompt, set()).add(server.url)
            await asyncio.sleep(0)

    async def run() -> None:
        await asyncio.gather(*(visit(prompt) for prompt in range(16) for _ in range(4)))

    asyncio.run(run())
    assert all(len(urls) == 1 for urls in seen.values())
    assert [server.sent for server in servers] == [16] * 4


def test_a_prompt_with_many_samples_uses_all_servers():
    """Its own is left for another where it has a few requests more."""
    gate, servers = gate_of(2, 64)

    async def visit() -> None:
        async with slot(gate, 1):
            await asyncio.sleep(0.01)

    async def run() -> None:
        await asyncio.gather(*(visit() for _ in range(64)))

    asyncio.run(run())
    assert min(server.sent for server in servers) >= 24
