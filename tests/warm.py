"""An interpreter that has imported the project and forks: a process of its own without the wait.

Importing Beam takes two seconds of a processor, which a few hundred commands of the tests would
each spend. What is forked has its own environment, folder, streams and exit code, as any process:

    warm = Warm()
    process = warm.start("beam_sdg", ["infinibyte"], os.environ, stdout=write_end)
    process.wait(timeout=300)
    warm.close()
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMPORTED = ("beam_sdg.cli", "transforms.engines.stub", "matplotlib.figure")
_MOST = 1 << 20  # bytes of a request


class Process:
    """One that was forked; it is no child of this one, so its end is told by a socket."""

    def __init__(self, told: socket.socket) -> None:
        self._told = told
        self.pid = int(told.recv(16).split()[0])
        self.returncode: int | None = None

    def wait(self, timeout: float) -> int:
        """Its exit code, or minus the signal that ended it.

        Raises:
            TimeoutError: it still runs.
        """
        if self.returncode is None:
            self._told.settimeout(timeout)
            self.returncode = int(self._told.recv(16))
            self._told.close()
        return self.returncode

    def kill(self) -> None:
        """End it, if it runs."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait(timeout=60)


class Warm:
    """The interpreter, until it is closed or this process ends."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="warm-")
        self._place = f"{self._folder.name}/socket"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm", self._place],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def start(
        self,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        stdout: int,
        stderr: int | None = None,
    ) -> Process:
        """Run a module as a program; the streams are descriptors."""
        asked = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        asked.connect(self._place)
        request = [module, list(arguments), str(Path.cwd()), dict(environment)]
        streams = [stdout, 2 if stderr is None else stderr]
        socket.send_fds(asked, [json.dumps(request).encode()], streams)
        return Process(asked)

    def close(self) -> None:
        """End it; what it has forked goes on."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._folder.cleanup()


def serve(place: str) -> tuple[str, list[str]] | None:
    """Fork for each request: the program to run, in the new process; None in this one's end."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(place)
    listener.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who has told of its program is not waited for
    print("ready", flush=True)  # noqa: T201
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            return None
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return _forked(connection)
        connection.close()


def _forked(connection: socket.socket) -> tuple[str, list[str]]:
    """In the new process: become the program, and leave behind one that tells of its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    said, streams, _, _ = socket.recv_fds(connection, _MOST, 2)
    module, arguments, folder, environment = json.loads(said)
    program = os.fork()
    if program:
        connection.send(b"%d" % program)
        _, status = os.waitpid(program, 0)
        connection.send(b"%d" % os.waitstatus_to_exitcode(status))
        os._exit(0)
    connection.close()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for descriptor, stream in ((nothing, 0), (streams[0], 1), (streams[1], 2)):
        os.dup2(descriptor, stream)
        os.close(descriptor)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None
    return module, arguments


if __name__ == "__main__":
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # so that a collection in what is forked copies nothing of it
    found = serve(sys.argv[1])
    if found:
        del sys.argv[1:]
        sys.argv += found[1]
        runpy.run_module(found[0], run_name="__main__", alter_sys=True)
