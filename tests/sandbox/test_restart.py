"""The Docker engine is restarted under a solution: a session is lost, and no answer."""

import asyncio
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from sandbox import DockerSandbox, SandboxDown, engine
from sandbox.docker import IMAGE
from tests.transforms.tir.test_loop import Kept
from transforms.tir.cells import FRESH, Cells


class Dockerd:
    """An engine of its own, beside the machine's."""

    def __init__(self, folder: Path) -> None:
        self.url = f"unix://{folder}/socket"
        self._command = [
            "dockerd", f"--data-root={folder}/data", f"--exec-root={folder}/exec",
            f"--pidfile={folder}/pid", f"--host={self.url}", "--bridge=none", "--iptables=false",
            "--ip6tables=false", "--shutdown-timeout=1",
        ]  # fmt: skip
        self._log = folder / "log"
        self.start()

    def start(self) -> None:
        with self._log.open("a") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        give_up_at = time.monotonic() + 60
        while True:
            try:
                self.client().close()
                return
            except SandboxDown:
                assert self._process.poll() is None, self._log.read_text()[-2000:]
                assert time.monotonic() < give_up_at
                time.sleep(0.2)

    def client(self) -> Any:
        return engine.connect(engine.Address.of(self.url, ""), timeout_s=600)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(60)


@pytest.fixture
def dockerd(docker, tmp_path_factory):
    """One that may be stopped, with the sandbox's image."""
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("only root can start a Docker engine, where dockerd is installed")
    daemon = Dockerd(tmp_path_factory.mktemp("d"))
    try:
        client = daemon.client()
        client.images.load(docker.images.get(IMAGE).save(named=True))
        client.close()
        yield daemon
    finally:
        daemon.stop()


def test_a_cell_under_way_is_run_again_in_a_fresh_session(dockerd):
    """And its answer says that what was there is gone."""

    async def run():
        sandbox = DockerSandbox(engine=dockerd.url, max_sessions=2, max_running=2, warm=0).open()
        try:
            kept = Kept()
            cells = Cells(sandbox, "a", 1, kept, 40.0, 1000)
            first = await cells.run("1", "x = 20; x")
            code = "import time\nif 'x' in globals():\n    time.sleep(30)\n'x' in globals()"
            running = asyncio.create_task(cells.run("2", code))
            await asyncio.sleep(0.5)
            await asyncio.to_thread(dockerd.stop)
            await asyncio.sleep(1)
            assert not running.done()
            await asyncio.to_thread(dockerd.start)
            second = await running
            last = await cells.run("3", "1 + 1")
            await cells.close()
            return first, second, last, kept
        finally:
            await sandbox.close()

    first, second, last, kept = asyncio.run(run())
    assert (first.output, second.output, last.output) == ("20\n", "False\n", "2\n")
    assert FRESH in second.text and not last.state_lost
    assert list(kept.executions) == ["1", "2", "3"]
