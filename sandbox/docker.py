"""Sessions in Docker containers: settings, the pool of containers, and the session itself.

What is feared, and what holds it, is told in docs/sandbox.md; what runs inside is
image/supervisor.py. Here it is only: containers are started ahead of need, by default one for each
session, and thrown away with it. Whatever goes wrong with one is a `SandboxError` for its sessions,
and costs the others nothing.
"""

import asyncio
import contextlib
import hashlib
import itertools
import os
import random
import shutil
import tempfile
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

import pydantic

from sandbox import engine as docker_engine
from sandbox import owner
from sandbox.contract import (
    GRACE_S,
    MAX_CODE,
    SLACK_S,
    Execution,
    SandboxDown,
    SandboxError,
)
from sandbox.wire import MAX_OUTPUT, AttachedLink, Link, execution

T = TypeVar("T")

IMAGE = "beam-sdg-sandbox"
FOLDER_PREFIX = "beam-sdg-sandbox-"
# How long after its latest time an answer is waited for before its container is given up.
LATE_S = 5.0
STARTS_AT_ONCE = 4
TRIES = 3


class DockerSandbox(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Containers of a Docker engine; the defaults are the safe ones.

    engine: unix:///PATH or tcp://HOST:PORT; "" for what DOCKER_HOST says, or the local one.
    tls: the folder of ca.pem, cert.pem and key.pem, for an engine elsewhere.
    max_sessions, max_running: sessions open and cells running at once; None for what this
        machine's memory and cores allow, which for an engine elsewhere is to be given.
    sessions_per_container: more than 1 is far cheaper, and weaker between sessions: a user each,
        and a Landlock domain where the kernel has it, instead of a container each.
    warm: sessions that are made ready before they are asked for.
    runtime: an OCI runtime that the engine knows, such as runsc.
    transport: a socket in a folder that the container sees, or its standard streams; auto takes
        the socket where the engine is local and the runtime its default.
    memory_mb, cpus, processes, tmp_mb: of a container with one session. A dense container has a
        quarter of the memory for each session, and `cpus` for all.
    cpu_s: CPU seconds that one process may use in all, however long it lives.
    run: a name for the run that the containers are labelled with.
    """

    image: str = IMAGE
    engine: str = ""
    tls: str = ""
    max_sessions: int | None = pydantic.Field(None, ge=1)
    max_running: int | None = pydantic.Field(None, ge=1)
    sessions_per_container: int = pydantic.Field(1, ge=1, le=256)
    warm: int = pydantic.Field(2, ge=0)
    runtime: str = ""
    transport: Literal["auto", "socket", "attach"] = "auto"
    memory_mb: int = pydantic.Field(1024, ge=256)
    cpus: float = pydantic.Field(1.0, gt=0)
    processes: int = pydantic.Field(128, ge=8)
    tmp_mb: int = pydantic.Field(64, ge=1)
    cpu_s: int = pydantic.Field(3600, ge=1)
    start_timeout_s: float = pydantic.Field(60.0, gt=0)
    run: str = ""

    @property
    def isolated(self) -> bool:
        return True

    def identity(self) -> str:
        """The image's name and what a cell may use."""
        return f"docker {self.image} {self.memory_mb} {self.cpus} {self.processes} {self.tmp_mb}"

    def box(self) -> docker_engine.Box:
        """What one container is."""
        return docker_engine.Box(
            image=self.image,
            runtime=self.runtime,
            sessions=self.sessions_per_container,
            memory_mb=self.memory_mb,
            cpus=self.cpus,
            processes=self.processes,
            tmp_mb=self.tmp_mb,
            cpu_s=self.cpu_s,
        )

    def open(self) -> "Containers":
        return Containers(self)


def sessions_here(sessions_per_container: int) -> int:
    """How many sessions half of this machine's memory holds, as they were measured."""
    memory_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    each_mb, most = (160, 256) if sessions_per_container == 1 else (48, 1024)
    return max(2, min(most, memory_mb // 2 // each_mb))


class Containers:
    """The pool; made on the event loop that it is used on."""

    def __init__(self, settings: DockerSandbox) -> None:
        self._settings = settings
        self.sessions = settings.max_sessions or sessions_here(settings.sessions_per_container)
        self.running = settings.max_running or os.cpu_count() or 1
        self.turns = asyncio.Semaphore(self.running)
        self._slots = asyncio.Semaphore(self.sessions)
        self._threads = ThreadPoolExecutor(STARTS_AT_ONCE + 2, "sandbox")
        self._ready_once: asyncio.Task[None] | None = None
        self._client: Any = None
        self._address: docker_engine.Address | None = None
        self._folder: Path | None = None
        self._all: set[Container] = set()
        self._rooms: deque[Container] = deque()  # a container is in it once for each free place
        self._waiters: deque[asyncio.Future[Container]] = deque()
        self._starting: set[asyncio.Task[None]] = set()
        self._endings: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._uids = itertools.count(random.SystemRandom().randrange(1 << 20, 1 << 30), 1 << 16)
        self._closed = False

    async def open(self, name: str, seed: int) -> "DockerSession":
        """See `Sandbox.open`."""
        await self._slots.acquire()
        try:
            await self._prepared()
            for attempt in range(TRIES):
                container = await self._room()
                try:
                    return DockerSession(self, container, _seed(name, seed))
                except SandboxError:  # it has died since; each other may be well
                    if attempt == TRIES - 1:
                        raise
            raise AssertionError
        except BaseException:
            self._slots.release()
            raise

    async def close(self) -> None:
        """See `Sandbox.close`."""
        self._closed = True
        if self._ready_once is not None and not self._ready_once.done():
            await asyncio.wait({self._ready_once})
        for task in self._starting:
            task.cancel()
        while self._starting:
            await asyncio.wait(set(self._starting))
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(SandboxError("the sandbox was closed"))
        for container in set(self._all):
            container.link.end("the sandbox was closed")
            self._discard(container)
        while self._endings:
            await asyncio.wait(set(self._endings))
        if self._client is not None:
            await self.call(self._client.close)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._threads.shutdown(wait=False)

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call what blocks on one of our few threads."""
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, function, *arguments
        )

    # containers

    async def _prepared(self) -> None:
        """Find the engine and the image, and sweep what dead runs have left; once."""
        if self._closed:
            raise SandboxError("the sandbox was closed")
        if self._ready_once is None or (
            self._ready_once.done() and self._ready_once.exception() is not None
        ):
            self._ready_once = asyncio.create_task(self._prepare())
        await asyncio.shield(self._ready_once)

    async def _prepare(self) -> None:
        settings = self._settings
        self._address = docker_engine.Address.of(settings.engine, settings.tls)
        self._client = await self.call(docker_engine.connect, self._address)
        await self.call(docker_engine.check_image, self._client, settings.image)
        await self.call(sweep, self._client)
        if self._by_socket():
            self._folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-"))
            (self._folder / "owner").write_text(owner.this_process())
        self._refill()

    def _by_socket(self) -> bool:
        assert self._address is not None
        chosen = self._settings.transport
        if chosen == "auto":
            return self._address.local and not self._settings.runtime
        return chosen == "socket"

    async def _room(self) -> "Container":
        """A container with a place for one more session; it is taken."""
        while self._rooms:
            container = self._rooms.popleft()
            if not container.link.fault:
                self._refill()
                return container
        waiter: asyncio.Future[Container] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._refill()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._offer(waiter.result())
            raise

    def _refill(self) -> None:
        """Start what is missing, a few at a time."""
        each = self._settings.sessions_per_container
        while not self._closed and len(self._starting) < STARTS_AT_ONCE:
            waiting = sum(not waiter.done() for waiter in self._waiters)
            free = sum(not container.link.fault for container in self._rooms)
            wanted = waiting + min(self._settings.warm, self.sessions)
            if free + len(self._starting) * each >= wanted:
                return
            task = asyncio.create_task(self._start())
            self._starting.add(task)
            task.add_done_callback(self._started)

    def _started(self, task: asyncio.Task[None]) -> None:
        self._starting.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is None:
            self._failures = 0
            self._refill()
            return
        self._failures += 1
        final = isinstance(error, SandboxDown) or self._failures >= TRIES
        if not final:
            self._refill()
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                kind = SandboxDown if isinstance(error, SandboxDown) else SandboxError
                waiter.set_exception(kind(str(error) or type(error).__name__))
        self._failures = 0

    async def _start(self) -> None:
        """One more container, with its supervisor connected and ready."""
        container = Container(self)
        self._all.add(container)
        try:
            async with asyncio.timeout(self._settings.start_timeout_s):
                await self._run(container)
        except BaseException as error:
            container.link.end("the container did not start")
            self._discard(container)
            if isinstance(error, TimeoutError):
                raise SandboxError(
                    f"a container was not ready within {self._settings.start_timeout_s:g} s"
                ) from error
            if isinstance(error, OSError):
                raise SandboxError(f"a container could not be reached: {error}") from error
            raise
        for _ in range(self._settings.sessions_per_container):
            self._offer(container)

    async def _run(self, container: "Container") -> None:
        settings, client, loop = self._settings, self._client, asyncio.get_running_loop()
        labels = {docker_engine.RUN_LABEL: settings.run, docker_engine.OWNER_LABEL: owner.this_process()}
        uid = next(self._uids) if settings.sessions_per_container > 1 else None
        folder = None
        if self._by_socket():
            assert self._folder is not None
            container.folder = folder = Path(tempfile.mkdtemp(dir=self._folder))
            folder.chmod(0o755)
            path = folder / "socket"
            links = iter([container.link])

            def only_one() -> asyncio.Protocol:
                return next(links, None) or _Refused()

            server = await loop.create_unix_server(only_one, str(path))
            path.chmod(0o666)
        try:
            box = settings.box()
            source = str(folder) if folder else None
            making = asyncio.ensure_future(self.call(box.create, client, labels, source, uid))
            try:
                container.id = await asyncio.shield(making)
            except asyncio.CancelledError:  # what is being made must be known, to be removed
                container.id = await making
                raise
            if folder is None:
                await self._attach(container)
            await self.call(docker_engine.start, client, container.id)
            await container.link.hello
        finally:
            if folder is not None:
                server.close()
                path.unlink(missing_ok=True)

    async def _attach(self, container: "Container") -> None:
        """Hold the container's standard streams before it starts."""
        assert self._address is not None
        loop, address = asyncio.get_running_loop(), self._address
        version = self._client.api._version
        request = (
            f"POST /v{version}/containers/{container.id}/attach?stream=1&stdin=1&stdout=1 HTTP/1.1"
            "\r\nHost: docker\r\nUpgrade: tcp\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n"
        )
        link = AttachedLink(container.ended, request.encode())
        container.link = link
        if address.local:
            await loop.create_unix_connection(lambda: link, address.socket_path)
        else:
            host, port = address.host_port
            await loop.create_connection(lambda: link, host, port, ssl=address.tls())
        await link.attached

    def _offer(self, container: "Container") -> None:
        """A place is free: for who waits longest, or for who comes next."""
        if container.link.fault:
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(container)
                return
        self._rooms.append(container)

    def gave_back(self, container: "Container") -> None:
        """A session has ended in peace."""
        self._slots.release()
        if self._settings.sessions_per_container > 1:
            self._offer(container)
        else:
            container.link.end("the session was closed")

    def lost(self) -> None:
        """A session's container is gone."""
        self._slots.release()
        if not self._closed:
            self._refill()

    def ended(self, container: "Container") -> None:
        """A container's link has ended; so has the container, and we see to it that it has."""
        if container in self._all:
            self._discard(container)

    def _discard(self, container: "Container") -> None:
        if container not in self._all:
            return
        self._all.discard(container)
        with contextlib.suppress(ValueError):
            while True:
                self._rooms.remove(container)
        task = asyncio.get_running_loop().create_task(self._end(container))
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    async def _end(self, container: "Container") -> None:
        if container.id:
            await self.call(docker_engine.discard, self._client, container.id)
        if container.folder is not None:
            shutil.rmtree(container.folder, ignore_errors=True)


class _Refused(asyncio.Protocol):
    """A second connection to a socket that is for one."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class Container:
    """A container of the pool, and the connection to its supervisor."""

    def __init__(self, pool: Containers) -> None:
        self._pool = pool
        self.id = ""
        self.folder: Path | None = None
        self.link = Link(self.ended)
        self.numbers = itertools.count(1)

    def ended(self) -> None:
        self._pool.ended(self)


class DockerSession:
    """One session; made by `Containers.open`."""

    def __init__(self, pool: Containers, container: Container, seed: str) -> None:
        self._pool, self.container, self._link = pool, container, container.link
        self._number = next(container.numbers)
        self._cells = itertools.count(1)
        self._turn = asyncio.Lock()
        self._closed = False
        if self._link.fault:
            raise SandboxError(self._link.fault)
        self._link.tell({"op": "open", "s": self._number, "seed": seed})

    async def execute(self, code: str, timeout_s: float, output_limit: int) -> Execution:
        """See `Session.execute`."""
        if len(code) > MAX_CODE:
            message = f"SyntaxError: a cell of {len(code)} characters; {MAX_CODE} are read\n"
            return Execution("error", message)
        limit = max(64, min(output_limit, MAX_OUTPUT))
        async with self._turn, self._pool.turns:
            if self._closed:
                raise SandboxError("the session was closed")
            number = next(self._cells)
            answer = self._link.ask(
                self._number,
                number,
                {"op": "run", "s": self._number, "n": number, "code": code, "t": timeout_s,
                 "limit": limit},
            )  # fmt: skip
            late_s = timeout_s + GRACE_S + SLACK_S + LATE_S
            timer = asyncio.get_running_loop().call_later(
                late_s, self._link.end, f"no answer came within {late_s:g} s"
            )
            try:
                return execution(await answer, limit)
            except asyncio.CancelledError:
                self._link.forget(self._number)
                self._leave()
                raise
            except SandboxError as error:
                self._link.end(str(error))
                self._lose()
                raise
            finally:
                timer.cancel()

    async def close(self) -> None:
        """See `Session.close`."""
        if self._link.fault:
            self._lose()
        else:
            self._leave()

    def _leave(self) -> None:
        if not self._closed:
            self._closed = True
            self._link.tell({"op": "close", "s": self._number})
            self._pool.gave_back(self.container)

    def _lose(self) -> None:
        if not self._closed:
            self._closed = True
            self._pool.lost()


def _seed(name: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogatepass")).hexdigest()


def sweep(client: Any, everything: bool = False) -> int:
    """Remove containers whose owner is dead, or all of them; how many that were."""
    found = [
        container["Id"]
        for container in docker_engine.ours(client)
        if everything or owner.has_ended((container["Labels"] or {}).get(docker_engine.OWNER_LABEL, ""))
    ]
    for container in found:
        docker_engine.discard(client, container)
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        with contextlib.suppress(OSError):
            if owner.has_ended((folder / "owner").read_text()):
                shutil.rmtree(folder, ignore_errors=True)
    return len(found)
