"""Several processes, one dataset: the bytes and the requests of one process, whoever does what."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beam_sdg.cli import main
from tests.conftest import rehearsed_servers
from tests.warm import Warm

ROOT = Path(__file__).parents[2]
FLAGS = ("--num_records=36", "--num_shards=4", "--in_flight=4", "--model=m")
REQUESTS = 36 * 4
# As the command line, but that a process is thought dead sooner.
COMMAND = "import sys, beam_sdg.claims as c; c.DEAD_AFTER_S = {}; from beam_sdg.cli import main; "
COMMAND += "sys.exit(main())"
DEAD_AFTER_S = 5
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sends a key that happens to be set."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start InfiniByte in a process of its own, which does not outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def start(output: Path, *flags: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", COMMAND.format(DEAD_AFTER_S), "infinibyte", *FLAGS, *flags]
        with (tmp_path / f"stderr-{len(started)}").open("w") as stderr:
            process = subprocess.Popen(
                [*command, f"--output={output}"],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def said(tmp_path: Path, number: int) -> str:
    """What the process that was started as that one has said of its progress."""
    return (tmp_path / f"stderr-{number}").read_text()


def ended(process: "subprocess.Popen[str]") -> str:
    """What a process that has done its work has printed."""
    stdout, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return stdout


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, warm: Warm
) -> tuple[dict[str, bytes], set[str]]:
    """The files that one process makes, and the keys of its requests."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with rehearsed_servers(warm) as serve, pytest.MonkeyPatch.context() as patch:
        patch.delenv("OPENAI_API_KEY", raising=False)
        url = serve({}, "--log", str(folder / "log"))
        assert main(["infinibyte", *FLAGS, f"--endpoint={url}", f"--output={folder / 'out'}"]) == 0
    asked = keys(folder / "log")
    assert len(asked) == REQUESTS
    return files_of(folder / "out"), asked


def files_of(output: Path) -> dict[str, bytes]:
    """What is in the data files and in those of rejects."""
    files = [*output.glob("data/*"), *output.glob("rejects/*")]
    assert len(files) == 8
    return {path.name: path.read_bytes() for path in files}


def keys(log: Path, event: str = "asked") -> set[str]:
    """The keys of the requests to a server, none of them twice."""
    lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    found = [key for name, key in lines if name == event]
    assert len(found) == len(set(found))
    return set(found)


def until(condition: Callable[[], object], timeout_s: float = 180) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_processes_at_once_make_the_dataset_of_one(tmp_path, start, stub, undisturbed):
    """Equal bytes and requests, none twice, and each has asked some; one publishes."""
    logs = [tmp_path / f"log-{number}" for number in (1, 2, 3)]
    processes = [
        start(
            tmp_path / "out",
            f"--shard={number}/3",
            f"--endpoint={stub({'latency_s': 0.5}, '--log', str(log))}",
        )
        for number, log in enumerate(logs, start=1)
    ]
    printed = [ended(process) for process in processes]
    assert sum("is complete; there is nothing to do" in text for text in printed) == 2
    asked = [keys(log) for log in logs]
    assert all(asked)
    assert sum(map(len, asked)) == REQUESTS
    files, requests = undisturbed
    assert set().union(*asked) == requests
    assert files_of(tmp_path / "out") == files
    assert not (tmp_path / "out" / ".work" / "tmp").exists()


def test_one_process_of_several_does_it_all(tmp_path, stub, undisturbed, capsys):
    """The second of three, alone; the others find the dataset there and ask nothing."""
    log, output = tmp_path / "log", f"--output={tmp_path / 'out'}"
    command = ["infinibyte", *FLAGS, f"--endpoint={stub({}, '--log', str(log))}", output]
    assert main([*command, "--shard=2/3"]) == 0
    assert "is complete" not in capsys.readouterr().out
    files, requests = undisturbed
    assert keys(log) == requests
    assert files_of(tmp_path / "out") == files
    for others in ("--shard=1/3", "--shard=3/3"):
        assert main([*command, others]) == 0
        assert "is complete; there is nothing to do" in capsys.readouterr().out
    assert len(keys(log)) == REQUESTS


def test_what_a_killed_process_had_is_done_by_another(tmp_path, start, stub, undisturbed, capsys):
    """Its answers are used; the other says for whom it waits. Meanwhile no other run gets in."""
    output, logs = tmp_path / "out", [tmp_path / "log-1", tmp_path / "log-2"]
    holding = stub({}, "--hold_after", "20", "--log", str(logs[0]))
    killed = start(output, "--shard=1/2", f"--endpoint={holding}")
    until(lambda: len(keys(logs[0], "answered")) == 20)

    others = ["infinibyte", f"--endpoint={holding}", f"--output={output}"]
    for flags in (
        [*FLAGS, "--shard=2/2", "--seed=7"],
        [*FLAGS, "--shard=2/3"],
        [*FLAGS, "--shard=2/2", "--stages=seed"],
        [*FLAGS],
    ):
        assert main([*others, *flags]) == 2
        [line] = capsys.readouterr().err.splitlines()
        shared = "is used by a run with other flags or without --shard"
        assert (shared if len(flags) > len(FLAGS) else "another run is using") in line

    other = start(output, "--shard=2/2", f"--endpoint={stub({}, '--log', str(logs[1]))}")
    until(lambda: f"waiting for process {killed.pid} on " in said(tmp_path, 1))
    time.sleep(2 * DEAD_AFTER_S)
    assert other.poll() is None
    killed.send_signal(signal.SIGKILL)
    assert "is complete" not in ended(other)
    files, requests = undisturbed
    answered, asked = keys(logs[0], "answered"), keys(logs[1])
    assert len(answered) == 20
    assert answered.isdisjoint(asked)
    assert answered | asked == requests
    assert files_of(output) == files
    assert not (output / ".work" / "tmp").exists()


def test_a_process_that_slept_in_a_slice_finds_the_dataset_there(
    tmp_path, start, stub, undisturbed
):
    """The other has made all meanwhile; what it was making is gone, which is no failure."""
    output, logs = tmp_path / "out", [tmp_path / "log-1", tmp_path / "log-2"]
    asleep = start(
        output, "--shard=1/2", f"--endpoint={stub({'latency_s': 0.5}, '--log', str(logs[0]))}"
    )
    until(lambda: len(keys(logs[0], "answered")) >= 10)
    asleep.send_signal(signal.SIGSTOP)
    assert "is complete" not in ended(
        start(output, "--shard=2/2", f"--endpoint={stub({}, '--log', str(logs[1]))}")
    )
    before = keys(logs[0])
    asleep.send_signal(signal.SIGCONT)
    assert "is complete; there is nothing to do" in ended(asleep)
    assert len(keys(logs[0]) - before) < 16  # it stops asking, though its slice has 16 more
    assert files_of(output) == undisturbed[0]
    assert not (output / ".work" / "tmp").exists()
    assert not (output / ".publishing").exists()


def test_a_shard_does_not_join_a_run_that_is_whole(tmp_path, capsys):
    """Two runs that do not know of each other would pay twice."""
    work = tmp_path / "work"
    work.mkdir()
    lock = os.open(work / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    flags = ["--shard=1/2", "--num_shards=2", f"--work_dir={work}", f"--output={tmp_path / 'out'}"]
    assert main(["infinibyte", *flags]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f"{work} is used by a run with other flags or without --shard" in line
    os.close(lock)


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--shard=3/2"], "--shard '3/2': write I/N, with I from 1 to N"),
        (["--shard=0/3"], "--shard '0/3': write I/N, with I from 1 to N"),
        (["--shard=x"], "--shard 'x': write I/N"),
        (["--shard=/3"], "--shard '/3': write I/N"),
        (["--shard=1/"], "--shard '1/': write I/N"),
        (["--shard=1/2/3"], "--shard '1/2/3': write I/N"),
        (["--shard=1/2"], "more processes than files, which are 1 here; give all of them --num_"),
        (["--shard=1/2", "--num_shards=2", "--runner=PortableRunner"], "drop it, or --runner"),
        (["--shard=1/2", "--num_shards=2", "--dry_run"], "--shard is for whole runs"),
    ],
)
def test_a_wrong_share_is_one_line(tmp_path, capsys, flags, part):
    """Before anything is written."""
    assert main(["infinibyte", *flags, f"--output={tmp_path / 'out'}"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert part in line
    assert not (tmp_path / "out").exists()


def test_a_preview_is_not_shared(tmp_path, capsys):
    """It has ten rows."""
    flags = ["--shard=1/2", "--num_shards=2", f"--output={tmp_path / 'out'}"]
    assert main(["preview", "infinibyte", *flags]) == 2
    assert "--shard is for whole runs" in capsys.readouterr().err
