"""The keeper: one engine for all who hold it, none when they are gone, however they go."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from transforms.engines import hold as hold_module
from transforms.engines.hold import held
from transforms.engines.keeper import Kept
from transforms.errors import EngineDown

ROOT = Path(__file__).parents[3]
STUB = (sys.executable, "-m", "transforms.engines.stub", "--port", "{port}")
HOLDER = """
import json, sys, time
from transforms.engines.hold import held
from transforms.engines.keeper import Kept
fields = json.loads(sys.argv[1])
print(held(Kept(**{**fields, "command": tuple(fields["command"]), "environment": ()}), "").url)
sys.stdout.flush()
time.sleep(600)
"""


def stub_kept(engine: str = "stub", **fields) -> Kept:
    return Kept(engine=engine, command=STUB, health="/v1/models", **fields)


@pytest.fixture
def holder(place: Path) -> Iterator[Callable[[Kept], tuple[subprocess.Popen, str]]]:
    """Start a process that holds an engine; the process and the engine's URL."""
    started = []

    def start(kept: Kept) -> tuple[subprocess.Popen, str]:
        fields = {"engine": kept.engine, "command": kept.command, "health": kept.health}
        command = [sys.executable, "-c", HOLDER, json.dumps(fields)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/v1/models", timeout=2) as response:
            return response.status == 200
    except OSError:
        return False


def wait_until(is_so: Callable[[], bool], within_s: float = 60.0) -> None:
    give_up_at = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < give_up_at, "it did not come to that"
        time.sleep(0.05)


def processes_of(url: str) -> list[int]:
    """The processes whose command line has the engine's port, the keeper not among them."""
    port = url.rpartition(":")[2]
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if port.encode() in words:
            found.append(int(folder.name))
    return found


def test_an_engine_is_shared_and_ends_with_its_last_holder(holder):
    """Two processes get one URL; after one is killed it answers, after both nothing is left."""
    first, url = holder(stub_kept())
    second, same = holder(stub_kept())
    assert url == same
    assert len(processes_of(url)) == 1
    first.kill()
    first.wait()
    time.sleep(0.5)
    assert answers(url)
    os.kill(second.pid, signal.SIGKILL)
    second.wait()
    wait_until(lambda: not answers(url) and not processes_of(url))


def test_nothing_listens_but_on_the_loopback(holder):
    """The engine's port is refused on any other address of the machine."""
    _, url = holder(stub_kept())
    port = int(url.rpartition(":")[2])
    listening = [
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and int(line.split()[1].rpartition(":")[2], 16) == port
    ]
    loopback = socket.inet_aton("127.0.0.1")[::-1].hex().upper()
    assert listening == [f"{loopback}:{port:04X}"]


def test_a_crashed_engine_comes_back_at_the_same_place(place):
    """Killed, it is started again on its port; whoever asks again gets an answer."""
    url = held(stub_kept(), "").url
    [engine] = processes_of(url)
    os.kill(engine, signal.SIGKILL)
    wait_until(lambda: processes_of(url) not in ([], [engine]) and answers(url))
    assert held(stub_kept(), "").url == url


def test_an_engine_that_crashes_too_often_is_given_up(place):
    """After its restarts, everybody who holds it is told, with its last words."""
    kept = stub_kept(restarts=1)
    hold = held(kept, "")
    told: list[bool] = []
    hold.when_over(lambda: told.append(True))
    for _ in range(2):
        wait_until(lambda: answers(hold.url))
        time.sleep(0.7)  # the keeper looks every half second whether it is ready
        for engine in processes_of(hold.url):
            os.kill(engine, signal.SIGKILL)
        wait_until(lambda: not answers(hold.url))
    wait_until(lambda: bool(told))
    assert "it ended with code -9" in str(hold.failure())


def test_an_engine_that_cannot_start_says_why(place):
    """Its own last lines are in the error, and where the others are."""
    said = "import sys; sys.exit('no such model: nowhere')"
    kept = Kept("broken", (sys.executable, "-c", said), "/health")
    with pytest.raises(EngineDown, match=r"before it was ready.*no such model: nowhere") as raised:
        held(kept, "")
    assert str(place / "gpus-all.log") in str(raised.value)


def test_a_program_that_is_not_there_is_one_error(place):
    """Nobody waits for it."""
    with pytest.raises(EngineDown, match="/nowhere/vllm: No such file or directory"):
        held(Kept("missing", ("/nowhere/vllm",), "/health"), "")


def test_an_engine_that_is_never_ready_is_given_up(place):
    """After the time that it may take to start."""
    kept = Kept("slow", (sys.executable, "-c", "import time; time.sleep(60)"), "/health")
    with pytest.raises(EngineDown, match="it was not ready within 1 s"):
        held(Kept(**{**vars(kept), "start_timeout_s": 1.0}), "")


def test_another_engine_on_the_same_gpus_comes_after_the_first(place):
    """Of one process the second replaces the first; named apart they stand side by side."""
    first = held(stub_kept("one"), "").url
    beside = held(stub_kept("two"), "1").url
    assert answers(first) and answers(beside)
    second = held(stub_kept("two"), "").url
    wait_until(lambda: not processes_of(first))
    assert answers(second) and answers(beside)


def test_an_engine_of_another_run_is_left_alone(holder, monkeypatch):
    """Who wants another one on its GPUs is told which one is there."""
    monkeypatch.setattr(hold_module, "_OTHERS_LEAVE_S", 0.5)
    _, url = holder(stub_kept("theirs"))
    with pytest.raises(EngineDown, match="another run has theirs on these GPUs.*--gpus"):
        held(stub_kept("ours"), "")
    assert answers(url)


def test_a_keeper_that_was_killed_leaves_no_engine(holder, place):
    """The kernel ends the engine with it, and the next hold starts another."""
    _, url = holder(stub_kept())
    [engine] = processes_of(url)
    keeper = int(Path(f"/proc/{engine}/stat").read_text().rpartition(") ")[2].split()[1])
    os.kill(keeper, signal.SIGKILL)
    wait_until(lambda: not processes_of(url))
    assert answers(held(stub_kept(), "").url)
