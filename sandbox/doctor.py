"""What is missing or weak on this machine for running untrusted code, and how to mend it."""

import dataclasses
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal

from sandbox import engine
from sandbox.contract import SandboxDown, SandboxError
from sandbox.docker import DockerSandbox
from sandbox.pool import PooledSession

Level = Literal["ok", "warning", "missing"]

_TRIAL = "import numpy, sympy; print(int(numpy.arange(5).sum()), sympy.factorint(12))"
_LIMITS = {
    "MemoryLimit": "memory",
    "SwapLimit": "swap",
    "PidsLimit": "processes",
    "CpuCfsQuota": "CPU",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One line: `missing` keeps sessions from being opened; a warning says what is weak."""

    level: Level
    about: str
    text: str


async def examine(settings: DockerSandbox) -> AsyncIterator[Finding]:
    """Everything there is to say, one thing after the other; it ends where nothing can go on."""
    try:
        address = settings.address()
        client = engine.connect(address, timeout_s=20)
    except SandboxDown as error:
        yield Finding("missing", "engine", str(error))
        return
    info = client.info()
    yield Finding("ok", "engine", f"Docker {info['ServerVersion']} at {address.url}")
    for finding in (*_address(address), *_engine(info, settings), *_runtime(info, settings)):
        yield finding
    try:
        engine.check_image(client, settings.image)
        yield Finding("ok", "image", f"{settings.image} is there and of this version")
    except SandboxDown as error:
        yield Finding("missing", "image", str(error))
        return
    finally:
        client.close()
    async for finding in _trial(settings):
        yield finding


def _address(address: engine.Address) -> list[Finding]:
    if address.local or address.keys:
        return []
    text = (
        f"{address.url} is not encrypted, and whoever reaches it is root on that machine; "
        "start dockerd with --tlsverify, and give --tls FOLDER with ca.pem, cert.pem and key.pem"
    )
    return [Finding("warning", "address", text)]


def _engine(info: Mapping[str, Any], settings: DockerSandbox) -> list[Finding]:
    findings = []
    driver = info["Driver"]
    if driver in ("overlay2", "overlayfs", "btrfs", "zfs", "fuse-overlayfs"):
        findings.append(Finding("ok", "storage", driver))
    else:
        text = (
            f"{driver} copies the whole image for each container, which takes seconds; "
            "start dockerd with --storage-driver overlay2"
        )
        findings.append(Finding("warning", "storage", text))
    weak = [what for key, what in _LIMITS.items() if not info.get(key)]
    if weak:
        text = (
            f"the kernel does not limit {', '.join(weak)} here; "
            "boot with cgroup_enable=memory swapaccount=1, or use cgroup v2"
        )
        findings.append(Finding("warning", "limits", text))
    else:
        findings.append(Finding("ok", "limits", f"cgroup v{info.get('CgroupVersion', 1)} has all"))
    options = " ".join(info.get("SecurityOptions") or ())
    if "seccomp" not in options:
        text = "the engine does not filter system calls; use a kernel and an engine with seccomp"
        findings.append(Finding("warning", "seccomp", text))
    elif info["Architecture"] != "x86_64":
        text = (
            f"our profile is for x86_64; on {info['Architecture']} the engine's own holds, "
            "which allows more; give --runtime runsc to have less depend on it"
        )
        findings.append(Finding("warning", "seccomp", text))
    else:
        findings.append(Finding("ok", "seccomp", "our profile"))
    if "rootless" in options or "userns" in options:
        findings.append(Finding("ok", "users", "nobody in a container is root outside"))
    elif settings.sessions_per_container > 1:
        text = (
            "a dense container's supervisor is root, with four capabilities, in the engine's own "
            "user namespace; start dockerd with --userns-remap default"
        )
        findings.append(Finding("warning", "users", text))
    return findings


def _runtime(info: Mapping[str, Any], settings: DockerSandbox) -> list[Finding]:
    known = info.get("Runtimes") or {}
    if not settings.runtime:
        also = "; --runtime runsc is there and would put a second kernel between"
        text = f"{info.get('DefaultRuntime', 'runc')}: what holds is this kernel"
        return [Finding("ok", "runtime", text + (also if "runsc" in known else ""))]
    if settings.runtime in known:
        return [Finding("ok", "runtime", settings.runtime)]
    text = f"{settings.runtime} is not one of {', '.join(known)}; name it in dockerd's daemon.json"
    return [Finding("missing", "runtime", text)]


async def _trial(settings: DockerSandbox) -> AsyncIterator[Finding]:
    """Open a session and run something in it."""
    sandbox = settings.open()
    try:
        before = time.monotonic()
        session = await sandbox.open("doctor", 0)
        opened_s = time.monotonic() - before
        done = await session.execute(_TRIAL, 30, 1000)
        if done.output != "10 {2: 2, 3: 1}\n":
            yield Finding("missing", "session", f"numpy and sympy do not run in it: {done.text}")
            return
        before = time.monotonic()
        for _ in range(200):
            await session.execute("1+1", 10, 1000)
        trip_ms = (time.monotonic() - before) / 200 * 1000
        text = f"opened in {opened_s:.1f} s, answers in {trip_ms:.2f} ms"
        yield Finding("ok", "session", text)
        if settings.sessions_per_container > 1 and isinstance(session, PooledSession):
            yield _landlock(session.box.link.hello.result())
        await session.close()
        text = f"{sandbox.sessions} sessions may be open, {sandbox.running} cells run at once"
        yield Finding("ok", "room", text)
    except SandboxError as error:
        yield Finding("missing", "session", str(error))
    finally:
        await sandbox.close()


def _landlock(hello: Mapping[str, Any]) -> Finding:
    version = hello.get("landlock", 0)
    if version >= 6:
        return Finding("ok", "landlock", "sessions of one container cannot signal or call others")
    text = (
        f"this kernel's Landlock (version {version} of the 6 that are needed) does not keep "
        "sessions of one container from each other's sockets; use --sessions_per_container 1, "
        "or a kernel of 6.12 or newer"
    )
    return Finding("warning", "landlock", text)
