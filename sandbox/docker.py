"""Sessions in Docker containers: the settings, and how a container is started and ended.

What is feared, and what holds it, is told in docs/sandbox.md; what runs inside is
image/supervisor.py; who gets which container is the pool's business.
"""

import asyncio
import contextlib
import itertools
import os
import random
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

import pydantic

from sandbox import engine as docker_engine
from sandbox import owner
from sandbox.contract import SandboxError
from sandbox.pool import STARTS_AT_ONCE, Box, Pool
from sandbox.wire import AttachedLink, listen_once

T = TypeVar("T")

IMAGE = "beam-sdg-sandbox"
FOLDER_PREFIX = "beam-sdg-sandbox-"


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
    memory_mb, cpus, processes, tmp_mb: of a container with one session. A dense container has
        them for as many as 16 of its sessions, of the memory a quarter, and of the cores all.
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
        """The image's name: limits decide only what fails, and may be raised in the middle."""
        return f"docker {self.image}"

    def container(self) -> docker_engine.ContainerSpec:
        """What one container is."""
        return docker_engine.ContainerSpec(
            image=self.image,
            runtime=self.runtime,
            sessions=self.sessions_per_container,
            memory_mb=self.memory_mb,
            cpus=self.cpus,
            processes=self.processes,
            tmp_mb=self.tmp_mb,
            cpu_s=self.cpu_s,
        )

    def address(self) -> docker_engine.Address:
        """The engine.

        Raises:
            SandboxDown: what is given is no address.
        """
        return docker_engine.Address.of(self.engine, self.tls)

    def open(self) -> Pool:
        each = self.sessions_per_container
        return Pool(
            launcher=_Containers(self),
            sessions=self.max_sessions or sessions_here(each),
            running=self.max_running or running_here(),
            each=each,
            warm=self.warm,
            start_s=self.start_timeout_s,
        )


def running_here() -> int:
    """Two for each core: a cell that sleeps keeps its core free for another."""
    return 2 * (os.cpu_count() or 1)


def sessions_here(sessions_per_container: int) -> int:
    """How many sessions half of this machine's memory holds, as they were measured."""
    memory_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    each_mb, most = (160, 256) if sessions_per_container == 1 else (48, 1024)
    return max(2, min(most, memory_mb // 2 // each_mb))


class _Containers:
    """A launcher; it finds the engine when first asked."""

    def __init__(self, settings: DockerSandbox) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(STARTS_AT_ONCE + 2, "sandbox")
        self._client: Any = None
        self._address = docker_engine.Address("", "")
        self._folder: Path | None = None
        self._labels = {
            docker_engine.RUN_LABEL: settings.run,
            docker_engine.OWNER_LABEL: owner.this_process(),
        }
        # Users of dense sessions: numbers that nobody else is likely to have.
        self._uids = itertools.count(random.SystemRandom().randrange(1 << 20, 1 << 30), 1 << 16)

    async def prepare(self) -> None:
        """Find the engine and the image, and sweep what dead runs have left."""
        self._address = self._settings.address()
        self._client = await self._call(docker_engine.connect, self._address)
        await self._call(docker_engine.check_image, self._client, self._settings.image)
        await self._call(sweep, self._client)
        if self._by_socket() and self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
            (self._folder / "owner").write_text(owner.this_process())

    async def launch(self, box: Box) -> None:
        settings, client = self._settings, self._client
        uid = next(self._uids) if settings.sessions_per_container > 1 else None
        async with contextlib.AsyncExitStack() as stack:
            source = None
            if self._folder is not None:
                box.folder = Path(tempfile.mkdtemp(dir=self._folder))
                box.folder.chmod(0o755)
                source = str(box.folder)
                await stack.enter_async_context(listen_once(box.folder / "socket", box.link))
            making = asyncio.ensure_future(
                self._call(settings.container().create, client, self._labels, source, uid)
            )
            try:
                box.id = await asyncio.shield(making)
            except asyncio.CancelledError:  # what is being made must be known, to be removed
                box.id = await making
                raise
            if source is None:
                await self._attach(box)
            await self._call(docker_engine.start, client, box.id)
            await box.link.hello

    async def discard(self, box: Box) -> None:
        if box.id:
            await self._call(docker_engine.discard, self._client, box.id)
        if box.folder is not None:
            shutil.rmtree(box.folder, ignore_errors=True)

    async def close(self) -> None:
        if self._client is not None:
            await self._call(self._client.close)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._threads.shutdown(wait=False)

    async def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call what blocks on one of our few threads.

        Raises:
            SandboxError: the engine does not answer as it should.
        """
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, function, *arguments)
        except (docker_engine.docker_package().errors.DockerException, OSError) as error:
            raise SandboxError(f"the Docker engine failed: {error}") from error

    def _by_socket(self) -> bool:
        chosen = self._settings.transport
        if chosen == "auto":
            return self._address.local and not self._settings.runtime
        return chosen == "socket"

    async def _attach(self, box: Box) -> None:
        """Hold the container's standard streams before it starts."""
        loop, address = asyncio.get_running_loop(), self._address
        request = (
            f"POST /v{self._client.api._version}/containers/{box.id}"
            "/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: docker\r\n"
            "Upgrade: tcp\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n"
        )
        link = AttachedLink(box.ended, request.encode())
        box.link = link
        if address.local:
            await loop.create_unix_connection(lambda: link, address.socket_path)
        else:
            host, port = address.host_port
            await loop.create_connection(lambda: link, host, port, ssl=address.tls())
        await link.attached


def sweep(client: Any, everything: bool = False) -> int:
    """Remove containers whose owner is dead, or all of them; how many that were."""
    found = [
        container["Id"]
        for container in docker_engine.ours(client)
        if everything
        or owner.has_ended((container["Labels"] or {}).get(docker_engine.OWNER_LABEL, ""))
    ]
    for container in found:
        docker_engine.discard(client, container)
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        with contextlib.suppress(OSError):
            if owner.has_ended((folder / "owner").read_text()):
                shutil.rmtree(folder, ignore_errors=True)
    return len(found)
