"""The keeper: one engine for all who hold it, none when they are gone, however they go."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.processes import assert_gone, called
from transforms.engines import hold as hold_module
from transforms.engines.hold import end_engines, held
from transforms.engines.keeper import Kept, reserved_port
from transforms.engines.place import visible_gpus
from transforms.errors import EngineDown

ROOT = Path(__file__).parents[3]
PYTHON = sys.executable
STUB = (PYTHON, "-m", "transforms.engines.stub", "--port", "{port}")
FAKE = (PYTHON, str(Path(__file__).with_name("fake_engine.py")), "{port}")
HOLDER = """
import json, sys, time
from transforms.engines.hold import held
from transforms.engines.keeper import Kept
fields, gpus, sys.executable = json.loads(sys.argv[1]), *sys.argv[2:]
kept = Kept(**{**fields, "command": tuple(fields["command"]), "environment": ()})
print(held(kept, gpus).url)
sys.stdout.flush()
time.sleep(600)
"""


@pytest.fixture
def fake(tmp_path: Path) -> Callable[..., Kept]:
    """A fake engine by its name and what it does; all of them write to one file of notes."""

    def kept(name: str, restarts: int = 2, start_timeout_s: float = 60.0, **does: object) -> Kept:
        command = (*FAKE, name, str(tmp_path / "notes"), json.dumps(does))
        return Kept(name, command, "/v1/models", restarts=restarts, start_timeout_s=start_timeout_s)

    return kept


@pytest.fixture
def hurried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let keepers run with other values of their module's constants."""

    def hurry(**constants: object) -> None:
        program = tmp_path / "python"
        settings = "; ".join(f"keeper.{name} = {value}" for name, value in constants.items())
        script = f"from transforms.engines import keeper; {settings}; keeper.main()"
        program.write_text(f'#!/bin/sh\nshift 2\nexec {sys.executable} -c "{script}" "$@"\n')
        program.chmod(0o700)
        monkeypatch.setattr(hold_module.sys, "executable", str(program))

    return hurry


def keeper_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])


def child_of(name: str) -> list[int]:
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if called(pid).endswith(f" child-of-{name} ")]


def stub_kept(engine: str = "stub", **fields) -> Kept:
    return Kept(engine=engine, command=STUB, health="/v1/models", **fields)


def taking(kept: Kept, gpus: str = "") -> subprocess.Popen[str]:
    """A process that prints the URL of an engine as soon as it has it, and goes on holding it."""
    described = json.dumps(dataclasses.asdict(kept))
    command = [PYTHON, "-c", HOLDER, described, gpus, sys.executable]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def holder(place: Path) -> Iterator[Callable[..., tuple[subprocess.Popen, str]]]:
    """Start a process that holds an engine; the process and the engine's URL."""
    started = []

    def start(kept: Kept, gpus: str = "") -> tuple[subprocess.Popen, str]:
        process = taking(kept, gpus)
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


def test_a_keeper_that_cannot_start_is_one_error(hurried, place):
    """With the path of what it said."""
    hurried(nothing="nowhere")
    with pytest.raises(EngineDown, match="the keeper of the engine does not start; .*gpus-all.log"):
        held(Kept("m", FAKE, "/health"), "")
    assert "NameError" in (place / "gpus-all.log").read_text()


def test_an_engine_that_is_never_ready_is_given_up(place):
    """After the time that it may take to start."""
    kept = Kept("slow", (sys.executable, "-c", "import time; time.sleep(60)"), "/health")
    with pytest.raises(EngineDown, match="it was not ready within 1 s"):
        held(Kept(**{**vars(kept), "start_timeout_s": 1.0}), "")


def test_another_engine_on_the_same_gpus_comes_after_the_first(place):
    """Of one process the second replaces the first; named apart they stand side by side."""
    first = held(stub_kept("one"), "0").url
    beside = held(stub_kept("two"), "1").url
    assert answers(first) and answers(beside)
    second = held(stub_kept("two"), "0").url
    wait_until(lambda: not processes_of(first))
    assert answers(second) and answers(beside)


@pytest.mark.parametrize(("theirs", "ours"), [("", ""), ("0,1", "1"), ("", "0"), ("2", "")])
def test_an_engine_of_another_run_is_left_alone(holder, monkeypatch, theirs, ours):
    """Who wants another one on any of its GPUs is told which one is there."""
    monkeypatch.setattr(hold_module, "_OTHERS_LEAVE_S", 0.5)
    _, url = holder(stub_kept("theirs"), theirs)
    with pytest.raises(EngineDown, match="another run has theirs on these GPUs.*--gpus"):
        held(stub_kept("ours"), ours)
    assert answers(url)


def test_a_keeper_that_was_killed_leaves_no_engine(fake, place, tmp_path):
    """The kernel ends its first process; the next keeper all others, and removes their folder."""
    url = held(fake("one", child=True), "").url
    [engine] = processes_of(url)
    [child] = child_of("one")
    scratch = Path(json.loads((place / "gpus-all.keeper").read_text())["scratch"])
    assert scratch.exists()
    os.kill(keeper_of(engine), signal.SIGKILL)
    wait_until(lambda: not processes_of(url))
    assert child_of("one") == [child]
    assert answers(held(fake("two"), "1").url)
    assert not called(child)
    assert not scratch.exists()
    assert (tmp_path / "notes").read_text().splitlines() == ["started one", "started two 1"]


def test_a_number_that_has_come_to_mean_another_process_is_left_alone(fake, place):
    """A killed keeper's record says when it began, and nothing else of that number is ended."""
    held(fake("one"), "")
    record = place / "gpus-all.keeper"
    fields = json.loads(record.read_text())
    end_engines()
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as other:
        record.write_text(json.dumps({**fields, "session": other.pid}))
        assert answers(held(fake("one"), "").url)
        assert other.poll() is None
        other.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_keeper_that_is_told_to_end_leaves_nothing(fake, place, number):
    """Its engine ends in good order, then all that this has started, then itself."""
    url = held(fake("one", child=True), "").url
    [engine] = processes_of(url)
    keeper = keeper_of(engine)
    os.kill(keeper, number)
    assert_gone({keeper, engine, *child_of("one")}, place.parent)
    assert (place.parent / "notes").read_text().splitlines() == ["started one", "ended one"]


def test_who_leaves_while_the_engine_is_ended_leaves_nothing(fake, hurried, place):
    """The end goes on, though nobody waits for it any more."""
    hurried(_ENDS_WITHIN_S=4.0)
    slow = fake("slow", start_timeout_s=1.0, load_s=300, ends_s=300, child=True)
    loading = taking(slow)
    wait_until(lambda: bool(child_of("slow")))
    below = {*child_of("slow"), keeper_of(keeper_of(child_of("slow")[0]))}
    time.sleep(2)
    loading.kill()
    loading.communicate()
    assert_gone(below, place.parent)


def test_what_differs_in_anything_is_another_engine(monkeypatch, tmp_path):
    """By what runs and where, not by how it is called or how long it is waited for."""
    kept = Kept("m", ("serve", "{port}"), "/health", (("A", "1"),))
    assert kept.key() == dataclasses.replace(kept, restarts=9, start_timeout_s=1.0).key()
    others = [
        dataclasses.replace(kept, command=("serve", "{port}", "--revision", "b")),
        dataclasses.replace(kept, environment=(("A", "2"),)),
        dataclasses.replace(kept, command=("serve",), environment=(("{port}", ""), ("A", "1"))),
    ]
    keys = {kept.key(), *(other.key() for other in others)}
    monkeypatch.chdir(tmp_path)
    assert len(keys | {kept.key()}) == 5


def test_two_revisions_of_a_model_are_two_engines(fake, place):
    """Though they are called the same."""
    first = held(fake("m"), "").url
    [engine] = processes_of(first)
    assert held(fake("m", load_s=0.1), "").url != first
    assert not called(engine)


@pytest.mark.parametrize(("before", "after"), [("0,1", "1"), ("", "0"), ("3", ""), ("", "")])
def test_a_switch_waits_for_the_end_of_the_engine_before(fake, place, tmp_path, before, after):
    """However long that takes, and if only some of its GPUs are wanted."""
    held(fake("one", ends_s=1.5), before)
    held(fake("two"), after)
    noted = [line.split()[:2] for line in (tmp_path / "notes").read_text().splitlines()]
    assert noted == [["started", "one"], ["ended", "one"], ["started", "two"]]


def test_jobs_that_see_different_gpus_have_engines_apart(fake, place, tmp_path, monkeypatch):
    """As Slurm gives them; each engine is told its own."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    first = held(fake("one"), "1").url
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-3f0b,MIG-GPU-7/1/0")
    second = held(fake("two"), "").url
    assert answers(first) and answers(second)
    noted = (tmp_path / "notes").read_text().splitlines()
    assert noted == ["started one 5", "started two GPU-3f0b,MIG-GPU-7/1/0"]


@pytest.mark.parametrize(
    ("inherited", "gpus", "names"),
    [
        (None, "", ()),
        (None, "0,1", ("0", "1")),
        ("", "", ()),
        ("4,5", "", ("4", "5")),
        ("4,5", "1,0", ("5", "4")),
        ("GPU-a, GPU-b", "1", ("GPU-b",)),
    ],
)
def test_gpus_count_within_those_that_are_seen(monkeypatch, inherited, gpus, names):
    """As for any program that this one starts."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if inherited is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", inherited)
    assert visible_gpus(gpus) == names


def test_a_gpu_that_is_not_seen_is_one_error(monkeypatch):
    """Before anything starts."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    with pytest.raises(EngineDown, match="no GPU 2 among those of CUDA_VISIBLE_DEVICES=4,5; --gpu"):
        visible_gpus("0,2")


def test_restarts_are_counted_though_loading_takes_long(fake, hurried, place, tmp_path):
    """Only the time for which it was ready makes a crash count anew."""
    hurried(_LONG_RUN_S=1.0)
    hold = held(fake("one", restarts=1, load_s=1.5, crash_s=0.9), "")
    wait_until(hold.is_over)
    assert "it ended with code 3" in str(hold.failure())
    assert len((tmp_path / "notes").read_text().splitlines()) == 2


def test_an_engine_that_hangs_is_started_again(fake, hurried, place, tmp_path):
    """As after a crash; its holders see that it loads."""
    hurried(_STILL_HEALTHY_EVERY_S=0.1, _SILENT_S=1.0, _ENDS_WITHIN_S=1.0)
    hangs = tmp_path / "hangs"
    hold = held(fake("one", hangs=str(hangs)), "")
    hangs.touch()
    wait_until(lambda: hold.crashes() == 1)
    assert hold.is_ready() and answers(hold.url)


def test_a_port_is_the_engines_before_it_listens():
    """No other program is given it, and the engine can have it."""
    reserved, port = reserved_port()
    with reserved:
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        with socket.create_server(("127.0.0.1", port)):  # with SO_REUSEADDR, as servers do
            socket.create_connection(("127.0.0.1", port)).close()


def test_a_keeper_that_has_given_up_is_in_nobodys_way(holder, fake, place, tmp_path):
    """Others start anew at once, though somebody still holds it."""
    said = "import sys; sys.exit('out of memory')"
    with pytest.raises(EngineDown, match="out of memory"):
        held(Kept("m", (sys.executable, "-c", said), "/health"), "")
    _, url = holder(fake("m"))
    assert answers(url)


def test_who_waits_for_another_engine_to_leave_holds_nobody_up(holder, fake):
    """Those that want the one which runs get it meanwhile."""
    first, url = holder(fake("theirs"))
    got: list[str] = []
    waiting = threading.Thread(target=lambda: got.append(held(fake("ours"), "").url))
    waiting.start()
    time.sleep(0.5)
    second, same = holder(fake("theirs"))
    assert same == url
    assert waiting.is_alive()
    first.kill()
    second.kill()
    waiting.join(30)
    assert answers(got[0])


def test_who_comes_when_the_last_one_leaves_gets_an_engine(fake, place):
    """Another one if need be, at any moment."""
    urls = set()
    for number in range(4):
        hold = held(fake("one"), "")
        assert answers(hold.url)
        urls.add(hold.url)
        hold.let_go()
        time.sleep(0.002 * number)
    assert len(urls) > 1


def test_a_log_that_is_gone_is_no_error(place):
    """What was wrong is said without it."""
    said = f"import os; os.remove({str(place / 'gpus-all.log')!r}); raise SystemExit(7)"
    with pytest.raises(EngineDown, match="it ended with code 7 before it was ready; it said: noth"):
        held(Kept("m", (sys.executable, "-c", said), "/health"), "")


def test_ending_the_engines_waits_for_it(holder, fake, place):
    """Until nothing is left of those that nobody else holds."""
    own = held(fake("own", ends_s=1.0), "0").url
    _, shared = holder(fake("shared"), "1")
    assert held(fake("shared"), "1").url == shared
    end_engines()
    assert not processes_of(own)
    assert answers(shared)
