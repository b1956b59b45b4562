"""Flink for tests: a cluster of its own on this machine, from the distribution that PyPI has.

The distribution is kept in the user's cache. It is never installed: it would bring an old Beam.
"""

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

VERSION = "1.19.3"
LIBRARIES = Path.home() / ".cache" / "beam-sdg" / f"flink-{VERSION}"
_PARTS = ("flink-dist-", "log4j-")
_MAIN = "org.apache.flink.runtime"
_JAVA = ("java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
_STARTS_WITHIN_S = 60
# What Flink's shell scripts would work out.
_MEMORY = "taskmanager.memory"
_HEAPS = [f"{_MEMORY}.{part}.heap.size" for part in ("framework", "task")]
_NETWORK = [f"{_MEMORY}.network.{bound}" for bound in ("min", "max")]
_OFF_HEAPS = [
    *(f"{_MEMORY}.{part}.off-heap.size" for part in ("framework", "task")),
    *(f"{_MEMORY}.{part}" for part in ("managed.size", "jvm-metaspace.size")),
    *(f"{_MEMORY}.jvm-overhead.{bound}" for bound in ("min", "max")),
]


def libraries() -> Path:
    """The folder of Flink's jars; fetched where it is not there.

    Raises:
        CalledProcessError: it cannot be fetched.
    """
    if LIBRARIES.is_dir():
        return LIBRARIES
    LIBRARIES.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=LIBRARIES.parent) as folder:
        fetch = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            f"--dest={folder}",
        ]
        fetch += ["--no-build-isolation", f"apache-flink-libraries=={VERSION}"]
        subprocess.run(fetch, check=True, capture_output=True)
        jars = Path(folder, "jars")
        jars.mkdir()
        [archive] = Path(folder).glob("*.tar.gz")
        with tarfile.open(archive) as content:
            for member in content:
                name = Path(member.name).name
                if "/lib/" in member.name and name.startswith(_PARTS):
                    part = content.extractfile(member)
                    assert part is not None
                    with (jars / name).open("wb") as file:
                        shutil.copyfileobj(part, file)
        jars.rename(LIBRARIES)
    return LIBRARIES


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """A job manager and task managers of two slots each, on the loopback."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rest = free_port()
        self._processes: list[subprocess.Popen[bytes]] = []
        self.task_managers: list[subprocess.Popen[bytes]] = []
        settings: dict[str, object] = {
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.rpc.port": free_port(),
            "jobmanager.bind-host": "127.0.0.1",
            "jobmanager.memory.process.size": "1g",
            "rest.address": "127.0.0.1",
            "rest.bind-address": "127.0.0.1",
            "rest.port": self._rest,
            "taskmanager.host": "127.0.0.1",
            "taskmanager.bind-host": "127.0.0.1",
            "taskmanager.numberOfTaskSlots": 2,
            "taskmanager.cpu.cores": 2,
            **dict.fromkeys(_HEAPS, "256m"),
            **dict.fromkeys(_OFF_HEAPS, "64m"),
            **dict.fromkeys(_NETWORK, "256m"),
            "taskmanager.network.sort-shuffle.min-buffers": 32,
            "cluster.evenly-spread-out-slots": "true",
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": 3,
            "restart-strategy.fixed-delay.delay": "1 s",
            "heartbeat.interval": 1000,
            "heartbeat.timeout": 30000,
            "io.tmp.dirs": str(folder),
        }
        lines = [f"{name}: {value}\n" for name, value in settings.items()]
        (folder / "config.yaml").write_text("".join(lines))

    @classmethod
    @contextlib.contextmanager
    def running(cls, folder: Path) -> Iterator["Cluster"]:
        """One that ends at last, with whatever it has started."""
        cluster = cls(folder)
        try:
            cluster._start(f"{_MAIN}.entrypoint.StandaloneSessionClusterEntrypoint")
            for _ in range(2):
                cluster.add_task_manager()
            cluster._wait_for(2)
            yield cluster
        finally:
            for process in cluster._processes:
                process.kill()
                process.wait()

    @property
    def master(self) -> str:
        """What --flink_master takes."""
        return f"127.0.0.1:{self._rest}"

    def add_task_manager(self) -> None:
        """Start one more."""
        self.task_managers.append(self._start(f"{_MAIN}.taskexecutor.TaskManagerRunner"))

    def kill_task_manager(self) -> None:
        """As a machine that loses its power."""
        killed = self.task_managers.pop()
        killed.send_signal(signal.SIGKILL)
        killed.wait()

    def ask(self, path: str) -> Mapping[str, Any]:
        """What the job manager says to a request."""
        with urllib.request.urlopen(f"http://{self.master}/{path}", timeout=10) as response:
            return json.load(response)

    def jobs(self) -> list[str]:
        """The ids of all jobs so far."""
        return [job["id"] for job in self.ask("jobs")["jobs"]]

    def failures(self, job: str) -> list[Any]:
        """What has failed of a job, and was started again."""
        return self.ask(f"jobs/{job}/exceptions")["exceptionHistory"]["entries"]

    def _start(self, main: str) -> "subprocess.Popen[bytes]":
        path = f"{libraries()}/*"
        command = [*_JAVA, "-cp", path, main, "--configDir", str(self._folder)]
        with (self._folder / f"log-{len(self._processes)}").open("wb") as log:
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log))
        return self._processes[-1]

    def _wait_for(self, task_managers: int) -> None:
        give_up_at = time.monotonic() + _STARTS_WITHIN_S
        while True:
            try:
                if self.ask("overview")["taskmanagers"] == task_managers:
                    return
            except OSError:
                pass
            running = all(process.poll() is None for process in self._processes)
            assert running and time.monotonic() < give_up_at, f"{self._folder} has the logs"
            time.sleep(0.2)
