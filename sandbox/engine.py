"""The Docker engine: where it is, what it is asked for, and how a container of ours is made.

What needs the `docker` package blocks, and is called on threads; nothing here runs for each cell.
"""

import dataclasses
import hashlib
import importlib
import json
import os
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sandbox.contract import GRACE_S, SandboxDown, SandboxError

LABEL, RUN_LABEL, OWNER_LABEL, CODE_LABEL = (
    "beam-sdg.sandbox", "beam-sdg.run", "beam-sdg.owner", "beam-sdg.supervisor",
)  # fmt: skip
SUPERVISOR = Path(__file__).with_name("image") / "supervisor.py"
SECCOMP = Path(__file__).with_name("seccomp.json")
MOUNT = "/run/beam-sdg"
DEFAULT_ADDRESS = "unix:///var/run/docker.sock"


def supervisor_version() -> str:
    """What an image must carry as its label to be of this version."""
    return hashlib.sha256(SUPERVISOR.read_bytes()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class Address:
    """Where a Docker engine listens: a socket's path, or host and port, and the keys for it."""

    url: str
    keys: str

    @classmethod
    def of(cls, url: str, keys: str) -> "Address":
        """What is given, or what the environment says as for Docker's own client.

        Raises:
            SandboxDown: an address that is no unix socket and no TCP port.
        """
        url = url or os.environ.get("DOCKER_HOST", "") or DEFAULT_ADDRESS
        if not keys and os.environ.get("DOCKER_TLS_VERIFY"):
            keys = os.environ.get("DOCKER_CERT_PATH", str(Path.home() / ".docker"))
        parts = urlsplit(url)
        if parts.scheme == "unix" and parts.path or parts.scheme == "tcp" and parts.port:
            return cls(url, keys if parts.scheme == "tcp" else "")
        raise SandboxDown(
            f"no Docker engine can be reached at {url!r}; give unix:///PATH or tcp://HOST:PORT"
        )

    @property
    def local(self) -> bool:
        """Whether paths there are paths here."""
        return self.url.startswith("unix:")

    @property
    def socket_path(self) -> str:
        return urlsplit(self.url).path

    @property
    def host_port(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 0

    def tls(self) -> ssl.SSLContext | None:
        """What the connection is encrypted and both ends are known by; None without keys."""
        if not self.keys:
            return None
        folder = Path(self.keys)
        try:
            context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
            context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        except OSError as error:
            raise SandboxDown(
                f"{folder}: {error.strerror or error}; it must hold ca.pem, cert.pem and key.pem"
            ) from error
        return context


def docker_package() -> Any:
    """The client library, loaded when it is needed.

    Raises:
        SandboxDown: it is not installed.
    """
    try:
        importlib.import_module("docker.errors")  # a folder of that name would do as the package
        return importlib.import_module("docker")
    except ImportError as error:
        raise SandboxDown(
            "the docker package is not installed; pip install 'beam-sdg[sandbox]'"
        ) from error


def connect(address: Address, timeout_s: float = 60) -> Any:
    """A client of the engine.

    Raises:
        SandboxDown: the package is missing, or nothing answers there.
    """
    docker = docker_package()
    keys = None
    if address.keys:
        address.tls()
        folder = Path(address.keys)
        pair = (str(folder / "cert.pem"), str(folder / "key.pem"))
        keys = docker.tls.TLSConfig(client_cert=pair, ca_cert=str(folder / "ca.pem"), verify=True)

    def client(version: str) -> Any:
        made = docker.DockerClient(
            base_url=address.url, tls=keys or False, version=version, timeout=timeout_s,
            max_pool_size=32,
        )  # fmt: skip
        made.api.trust_env = False  # else REQUESTS_CA_BUNDLE wins over the keys
        return made

    try:
        probe = client("1.24")
        try:
            version = probe.api.version(api_version=False)["ApiVersion"]
        finally:
            probe.close()
        return client(version)
    except (docker.errors.DockerException, OSError) as error:
        raise SandboxDown(
            f"no Docker engine answers at {address.url}; start dockerd, or give --engine: "
            f"{_first_line(error)}"
        ) from error


def check_image(client: Any, image: str) -> None:
    """See that the engine has our image, and that it is of this version.

    Raises:
        SandboxDown: it has not, or it is not.
    """
    labels = labels_of(client, image)
    if labels is None:
        raise SandboxDown(
            f"no image {image!r} is there; make it with: beam-sdg sandbox build --image {image}"
        )
    if labels.get(CODE_LABEL) != supervisor_version():
        raise SandboxDown(
            f"image {image!r} was built for another version; renew it: beam-sdg sandbox build "
            f"--image {image}"
        )


def labels_of(client: Any, image: str) -> Mapping[str, str] | None:
    """An image's labels; None where the engine has no such image."""
    docker = docker_package()
    try:
        return client.api.inspect_image(image)["Config"].get("Labels") or {}
    except docker.errors.ImageNotFound:
        return None


@dataclasses.dataclass(frozen=True)
class ContainerSpec:
    """What a container may use, and how its supervisor is to treat its sessions."""

    image: str
    runtime: str
    sessions: int
    memory_mb: int
    cpus: float
    processes: int
    tmp_mb: int
    cpu_s: int

    def command(self, socket: bool, first_uid: int | None) -> list[str]:
        """How the supervisor is started."""
        settings = {
            "socket": f"{MOUNT}/socket" if socket else None,
            "home": "/tmp",
            "first_uid": first_uid,
            "grace_s": GRACE_S,
            "cpu_s": self.cpu_s,
            "memory": (self.memory_mb - min(192, self.memory_mb // 4)) << 20,
            "processes": self.processes,
            "files": self.tmp_mb << 20,
        }
        return ["python3", "-u", "/opt/beam-sdg/supervisor.py", json.dumps(settings)]

    def host_config(self, client: Any, folder: str | None) -> Any:
        """The limits and the walls."""
        docker = docker_package()
        dense = self.sessions > 1
        more = self.sessions if dense else 1  # what all sessions of a container share
        tmpfs = f"rw,nosuid,nodev,size={self.tmp_mb * more}m,mode=1777,nr_inodes={4096 * more}"
        memory = f"{self.memory_mb * min(more, 16) // (4 if dense else 1)}m"
        return client.api.create_host_config(
            network_mode="none",
            read_only=True,
            tmpfs={"/tmp": tmpfs},
            shm_size="16m",
            ipc_mode="private",
            cap_drop=["ALL"],
            # To give each session a user of its own, and to end what that user has started.
            cap_add=["SETUID", "SETGID", "KILL", "CHOWN"] if dense else None,
            security_opt=["no-new-privileges", *seccomp(client)],
            pids_limit=self.processes * min(more, 16),
            mem_limit=memory,
            memswap_limit=memory,
            nano_cpus=int(
                1e9 * (min(self.cpus * more, client.info()["NCPU"]) if dense else self.cpus)
            ),
            ulimits=[
                docker.types.Ulimit(name="nofile", soft=2048, hard=2048),
                docker.types.Ulimit(name="core", soft=0, hard=0),
            ],
            log_config=docker.types.LogConfig(type="none", config={}),
            oom_score_adj=500,
            auto_remove=True,
            binds={folder: {"bind": MOUNT, "mode": "ro"}} if folder else None,
            runtime=self.runtime or None,
        )

    def create(
        self, client: Any, labels: Mapping[str, str], folder: str | None, first_uid: int | None
    ) -> str:
        """Make a container, not yet started; its id."""
        docker = docker_package()
        try:
            made = client.api.create_container(
                self.image,
                command=self.command(folder is not None, first_uid),
                hostname="sandbox",
                user="0:0" if self.sessions > 1 else "65534:65534",
                environment={"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1",
                             "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
                labels={LABEL: "1", **labels},
                stdin_open=folder is None,
                network_disabled=True,
                host_config=self.host_config(client, folder),
                entrypoint=[],
                working_dir="/",
            )  # fmt: skip
        except docker.errors.ImageNotFound as error:
            raise SandboxDown(
                f"no image {self.image!r} is there; make it with: beam-sdg sandbox build "
                f"--image {self.image}"
            ) from error
        except (docker.errors.DockerException, OSError) as error:
            raise SandboxError(f"no container could be made: {_first_line(error)}") from error
        return made["Id"]


def seccomp(client: Any) -> list[str]:
    """Our profile; on other than x86_64 the engine's own holds."""
    return [f"seccomp={SECCOMP.read_text()}"] if architecture(client) == "amd64" else []


def architecture(client: Any) -> str:
    """What the engine's machine is, as Go calls it."""
    return client.api.version()["Arch"]


def start(client: Any, container: str) -> None:
    """Start a container.

    Raises:
        SandboxError: it would not.
    """
    docker = docker_package()
    try:
        client.api.start(container)
    except (docker.errors.DockerException, OSError) as error:
        raise SandboxError(f"a container would not start: {_first_line(error)}") from error


def discard(client: Any, container: str) -> None:
    """Kill and remove a container, if it is there and the engine answers."""
    docker = docker_package()
    try:
        client.api.remove_container(container, force=True)
    except (docker.errors.DockerException, OSError):
        return  # it is gone or going; what a dead engine keeps is swept at the next start


def ours(client: Any) -> Sequence[Any]:
    """All containers of sandboxes, running or not."""
    return client.api.containers(all=True, filters={"label": LABEL})


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def processes_in(client: Any, container: str) -> Sequence[str]:
    """The processes of a container, as the engine sees them; none where it is gone."""
    docker = docker_package()
    try:
        return [" ".join(row) for row in client.api.top(container)["Processes"] or ()]
    except docker.errors.APIError:
        return ()
