"""A whole run in an object store: the same bytes as on a disk, killed and started again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote

import pytest

from beam_sdg.cli import main
from tests.objects import SCHEME, VARIABLE
from tests.planned import files_of
from transforms.errors import UsageError

ROOT = Path(__file__).parents[2]
OUTPUT = f"{SCHEME}bucket/out"
FLAGS = ("--num_records=20", "--num_shards=2")


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    """Where the objects are."""
    folder = tmp_path / "objects"
    folder.mkdir()
    return folder


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "tests.objects", *map(str, arguments)]


@pytest.fixture
def run(bucket: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line in a process that knows the object store."""

    def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command(*arguments), cwd=ROOT, env=environment(bucket), text=True,
            capture_output=True, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def environment(bucket: Path) -> Mapping[str, str]:
    return {**os.environ, VARIABLE: str(bucket), "PYTHONPATH": str(ROOT)}


def objects(bucket: Path) -> dict[str, bytes]:
    """All objects, by their path below the output."""
    return {
        unquote(file.name).removeprefix("bucket/out/"): file.read_bytes()
        for file in bucket.iterdir()
        if file.is_file()
    }


def data_of(bucket: Path) -> dict[str, bytes]:
    found = objects(bucket)
    return {path: found[path] for path in found if path.startswith(("data/", "rejects/"))}


@pytest.fixture(scope="module")
def on_a_disk(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The data files of the same run on a local filesystem."""
    output = tmp_path_factory.mktemp("disk") / "out"
    arguments = [sys.executable, "-m", "beam_sdg", "infinibyte", f"--output={output}", *FLAGS]
    subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True)
    return files_of(output)


def test_a_run_in_an_object_store_makes_the_same_dataset(run, bucket, on_a_disk):
    """After a preview, whose answers serve it; and all commands about it find what they show."""
    shown = run("preview", "infinibyte", f"--output={OUTPUT}", *FLAGS).stdout
    row_id = shown.split("row 1 of 10: ")[1].split()[0]
    assert "← stop" in run("show", OUTPUT, row_id).stdout
    done = run("infinibyte", f"--output={OUTPUT}", *FLAGS)
    assert f"20 rows in {OUTPUT}/data" in done.stdout
    assert data_of(bucket) == on_a_disk
    kept = objects(bucket)
    assert {"manifest.json", "README.md", "report.html", "report.txt"} < kept.keys()
    assert not [path for path in kept if path.startswith(".publishing") or ".partial" in path]
    assert "is complete" in run("infinibyte", f"--output={OUTPUT}", *FLAGS).stdout
    assert objects(bucket) == kept
    held = run("store", OUTPUT).stdout
    row = next(line for line in held.splitlines() if "solution:" in line)
    assert row.split()[2:4] == ["20", "20"]
    assert "Nothing is wrong" in held
    assert "← stop" in run("show", OUTPUT, row_id).stdout


@pytest.mark.parametrize("where", ["--output", "--work_dir"])
def test_output_and_work_folder_may_be_in_different_places(run, bucket, on_a_disk, tmp_path, where):
    """One in the object store, the other on a disk."""
    other = {"--output": "--work_dir", "--work_dir": "--output"}[where]
    run("infinibyte", f"{where}={OUTPUT}", f"{other}={tmp_path}/local", *FLAGS)
    output = OUTPUT if where == "--output" else f"{tmp_path}/local"
    made = data_of(bucket) if where == "--output" else files_of(tmp_path / "local")
    assert made == on_a_disk
    assert "Rows by stage" in run("report", output).stdout


def test_a_killed_run_goes_on_from_what_was_closed(run, bucket, on_a_disk, stub, tmp_path):
    """SIGKILL while answers arrive: those of closed segments are not asked for again."""
    log, again = tmp_path / "log", tmp_path / "again"
    flags = (*FLAGS, "--model=m", "--in_flight=2")
    first = stub({"latency_s": 0.2}, "--log", str(log))
    arguments = command("infinibyte", f"--output={OUTPUT}", f"--endpoint={first}", *flags)
    killed = subprocess.Popen(arguments, cwd=ROOT, env=environment(bucket))
    try:
        wait_for(lambda: len(segments(bucket)) > 8)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    kept = b"".join(segments(bucket)).decode()
    second = stub({}, "--log", str(again))
    run("infinibyte", f"--output={OUTPUT}", f"--endpoint={second}", *flags)
    asked = [line.split()[1] for line in again.read_text().splitlines() if line[:5] == "asked"]
    assert len(asked) == len(set(asked))
    assert kept.count('"reply"') > 8
    assert not [key for key in asked if f'"key":"{key}"' in kept]
    assert len(asked) + kept.count('"reply"') == 80
    answered = [line.split()[1] for line in log.read_text().splitlines() if line[:5] == "answe"]
    lost = set(answered) & set(asked)
    assert len(lost) <= 2 * 5 / 0.2 + 20  # what two requests at once are answered in some seconds
    assert len(data_of(bucket)) == len(on_a_disk)


def segments(bucket: Path) -> list[bytes]:
    return [content for path, content in objects(bucket).items() if "/store/" in path]


def wait_for(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "the run did not get half-way"
        time.sleep(0.05)


@pytest.fixture
def refusal(bucket, monkeypatch, capsys) -> Callable[..., str]:
    """The one line with which the command line refuses, in this process."""

    def refusal(*arguments: str) -> str:
        monkeypatch.setenv(VARIABLE, str(bucket))
        assert main(arguments) == UsageError.exit_code
        [line] = capsys.readouterr().err.splitlines()
        return line

    return refusal


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([f"--output={SCHEME}refused/out"], "cannot look into objects://refused/out: 403:"),
        ([f"--output={SCHEME}bucket/a*"], "has none of *, ? and ["),
        ([f"--work_dir={SCHEME}bucket/a?b"], "has none of *, ? and ["),
        (["--output=nowhere://bucket/out"], "cannot look into nowhere://bucket/out: Unable to"),
        ([f"--output={OUTPUT}", "--push_to_hub=me/mine"], "--push_to_hub uploads files of this"),
    ],
)
def test_what_does_not_work_there_is_refused(refusal, bucket, flags, said):
    """Before anything is written."""
    assert said in refusal("infinibyte", *flags)
    assert list(bucket.iterdir()) == []


def test_a_folder_of_other_objects_is_left_alone(refusal, bucket):
    """As on a disk; and where there is neither run nor store, the commands about one say so."""
    (bucket / "bucket%2Fout%2Fmine.txt").write_text("mine")
    assert "holds other files" in refusal("infinibyte", f"--output={OUTPUT}")
    assert f"{OUTPUT} holds no run" in refusal("report", OUTPUT)
    assert f"{OUTPUT} holds no answers" in refusal("store", OUTPUT)


def test_several_processes_do_not_publish_in_an_object_store(run, bucket, tmp_path):
    """Wherever they work: none could take the other's files away before it moves its own."""
    failed = run(
        "infinibyte", *FLAGS, "--shard=1/2", f"--work_dir={tmp_path / 'work'}",
        f"--output={OUTPUT}", code=2,
    )  # fmt: skip
    assert f"--shard takes turns by files that {OUTPUT} cannot create as one" in failed.stderr
    assert not objects(bucket)
