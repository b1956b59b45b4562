"""The loop that keeps an engine busy: a bounded number in flight through a window of requests.

One event loop per process, in a thread of its own, serves every step that asks a model; a
transport is shared by all steps with the same engine and keeps its limit of requests in flight. A
window is worked through by twice as many workers, each taking the next job as soon as its last one
is done: a slow answer holds up one worker and nothing else, and while some workers wait before
they try again, the others keep the server busy.
"""

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from transforms.engines.engine import Attempted, Engine, Transport, Turn
from transforms.engines.usage import EngineUsage, Meter

T = TypeVar("T")
Job = Callable[[], Coroutine[Any, Any, T]]

_WORKERS_PER_SLOT = 2


class Client:
    """An open engine, shared within a process.

    Raises:
        EngineDown: what the engine cannot be opened without is missing.
    """

    def __init__(self, engine: Engine) -> None:
        self._transport: Transport = engine.open()
        self._workers = _WORKERS_PER_SLOT * engine.in_flight
        weakref.finalize(self, _close, self._transport)

    async def complete(self, turn: Turn) -> Attempted:
        """Answer one turn as soon as the engine has room for it."""
        return await self._transport.complete(turn)

    def run_window(
        self,
        jobs: Sequence[Job[T]],
        note: Callable[[EngineUsage], object] = lambda usage: None,
        around: Sequence[contextlib.AbstractAsyncContextManager[object]] = (),
        began: Callable[[Future[list[T]]], object] = lambda future: None,
    ) -> list[T]:
        """Run all jobs and return their results in order; blocks the calling thread.

        `note` is called on the event loop with what an engine told of itself meanwhile; `around`
        is entered there before the first job, and left after the last; `began` gets what another
        thread can cancel.

        Memory is that of the results: a job's coroutine is made when its turn comes.

        Raises:
            Whatever a job raised first; the others are cancelled.
        """
        return _blocking(
            _surrounded(self._transport.meter(), jobs, self._workers, note, around), began
        )


def run_jobs(
    jobs: Sequence[Job[T]],
    workers: int,
    around: Sequence[contextlib.AbstractAsyncContextManager[object]] = (),
) -> list[T]:
    """As `Client.run_window`, of jobs that ask no engine: so many of them at once."""
    return _blocking(_surrounded(None, jobs, workers, lambda usage: None, around))


def _blocking(
    work: Coroutine[Any, Any, list[T]],
    began: Callable[[Future[list[T]]], object] = lambda future: None,
) -> list[T]:
    """Work on the process's loop, waited for here: no job of it goes on after the return."""
    begun: list[asyncio.Task[Any]] = []

    async def working() -> list[T]:
        begun.extend(filter(None, [asyncio.current_task()]))
        return await work

    async def over() -> None:
        if begun:
            await asyncio.wait(begun)

    future = asyncio.run_coroutine_threadsafe(working(), _event_loop())
    try:
        began(future)
        return future.result()
    except BaseException:
        future.cancel()
        asyncio.run_coroutine_threadsafe(over(), _event_loop()).result()
        work.close()  # if it never began
        raise


def _close(transport: Transport) -> None:
    asyncio.run_coroutine_threadsafe(transport.close(), _event_loop())


async def _surrounded(
    meter: Meter | None,
    jobs: Sequence[Job[T]],
    workers: int,
    note: Callable[[EngineUsage], object],
    around: Sequence[contextlib.AbstractAsyncContextManager[object]],
) -> list[T]:
    async with contextlib.AsyncExitStack() as stack:
        for manager in around:
            await stack.enter_async_context(manager)
        if meter is not None:
            await stack.enter_async_context(meter.window(note))
        return await _run_window(jobs, workers)


async def _run_window(jobs: Sequence[Job[T]], workers: int) -> list[T]:
    results: list[Any] = [None] * len(jobs)
    numbered = iter(enumerate(jobs))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(workers, len(jobs))):
                group.create_task(_work(numbered, results))
    except BaseExceptionGroup as failed:
        first: BaseException = failed
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
    return results


async def _work(numbered: Iterator[tuple[int, Job[Any]]], results: list[Any]) -> None:
    for index, job in numbered:
        results[index] = await job()


_lock = threading.Lock()
_loops: list[asyncio.AbstractEventLoop] = []


def _event_loop() -> asyncio.AbstractEventLoop:
    """The process's loop, running in its thread; made on first use."""
    with _lock:
        if not _loops:
            _loops.append(asyncio.new_event_loop())
            run = _loops[0].run_forever
            threading.Thread(target=run, name="engine-client", daemon=True).start()
        return _loops[0]


_clients: weakref.WeakValueDictionary[Engine, Client] = weakref.WeakValueDictionary()


def shared_client(engine: Engine) -> Client:
    """The process's client of `engine`; closed when its last user lets it go."""
    with _lock:
        client = _clients.get(engine)
        if client is None:
            client = _clients[engine] = Client(engine)
        return client
