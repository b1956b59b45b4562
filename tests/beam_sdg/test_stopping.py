"""Runs that end before their end: what they leave is true, and the same command goes on."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from beam_sdg.cli import main
from beam_sdg.models import ModelSettings
from beam_sdg.stopping import StopSettings, stoppable, stops_for
from tests.processes import heed_interrupts
from transforms.engines.engine import Attempted, Failure, Reply
from transforms.engines.progress import asking
from transforms.engines.stops import Stops
from transforms.engines.store import AnswerStore
from transforms.errors import Stopped

ROOT = Path(__file__).parents[2]
FLAGS = ("--num_records=40", "--in_flight=4", "--model=m")


def files_of(output: Path) -> dict[str, bytes]:
    paths = sorted([*output.glob("data/*"), *output.glob("rejects/*")])
    return {str(path.relative_to(output)): path.read_bytes() for path in paths}


def rows_of(output: Path, folder: str) -> list[dict[str, Any]]:
    return [row for path in output.glob(f"{folder}/*") for row in pq.read_table(path).to_pylist()]


def manifest_of(output: Path) -> dict[str, Any]:
    return json.loads((output / "manifest.json").read_text())


def asked_keys(*logs: Path) -> Counter[str]:
    lines = [line.split() for log in logs for line in log.read_text().splitlines()]
    return Counter(key for event, key in lines if event == "asked")


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def started(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "beam_sdg", "infinibyte", *FLAGS, *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rehearsed dataset that nothing stopped."""
    output = tmp_path_factory.mktemp("whole") / "out"
    assert main(["infinibyte", "--num_records=40", f"--output={output}"]) == 0
    return output


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_one_signal_finishes_what_is_in_flight_and_the_same_command_goes_on(
    name, tmp_path, beam_sdg_command, stub
):
    """No answer on its way is lost: over both runs the server is asked for nothing twice."""
    output, first, second = tmp_path / "out", tmp_path / "first", tmp_path / "second"
    slow = stub({"latency_s": 0.3}, "--log", str(first))
    with started(f"--output={output}", f"--endpoint={slow}") as run:
        wait_for(lambda: first.exists() and first.read_text().count("answered") >= 30)
        run.send_signal(signal.Signals[name])
        _, shown = run.communicate(timeout=60)
    assert run.returncode == Stopped.exit_code
    assert "sending nothing more" in shown
    assert f"was stopped by {name}; " in shown.splitlines()[-1]

    made = manifest_of(output)
    rows, rejects = rows_of(output, "data"), rows_of(output, "rejects")
    assert made["stopped"] == name
    assert rows
    assert {reject["reason"] for reject in rejects} == {"not_sent"}
    assert len(rows) + len(rejects) == 40
    assert f"stopped by {name}" in (output / "report.txt").read_text()
    assert "A part of the dataset" in (output / "README.md").read_text()

    url = stub({}, "--log", str(second))
    flags = [*FLAGS, f"--output={output}", f"--endpoint={url}"]
    done = beam_sdg_command("infinibyte", *flags)
    assert done.returncode == 0, done.stderr
    keys = asked_keys(first, second)
    assert len(keys) == 160
    assert set(keys.values()) == {1}
    assert len(rows_of(output, "data")) == 40
    assert manifest_of(output)["stopped"] == ""


@pytest.mark.parametrize(
    ("flags", "faults"),
    [
        (["--requests_per_minute=60"], {}),
        ([], {"requests_per_minute": 3, "retry_after": "60"}),
    ],
)
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_one_signal_ends_a_run_whose_requests_all_wait(name, flags, faults, tmp_path, stub):
    """For a limit of ours or of the server: there is a part of the dataset, and soon."""
    output, log = tmp_path / "out", tmp_path / "log"
    url = stub({"latency_s": 0.01}, "--log", str(log), "--faults", json.dumps(faults))
    with started(f"--output={output}", f"--endpoint={url}", "--num_shards=4", *flags) as run:
        wait_for(lambda: log.exists() and log.read_text().count("answered") >= 3)
        time.sleep(0.4)
        run.send_signal(signal.Signals[name])
        began = time.monotonic()
        _, shown = run.communicate(timeout=60)
    assert run.returncode == Stopped.exit_code, shown
    assert time.monotonic() - began < 30
    assert manifest_of(output)["stopped"] == name
    assert f"stopped by {name}" in (output / "report.txt").read_text()
    assert {reject["reason"] for reject in rows_of(output, "rejects")} == {"not_sent"}
    assert len(rows_of(output, "data")) + len(rows_of(output, "rejects")) == 40


def test_the_first_signal_while_a_stage_asks_stops_and_the_second_interrupts(tmp_path, capfd):
    """Also after a limit: a SIGTERM a little later than the deadline throws nothing away."""
    stops = Stops(str(tmp_path / "store"))
    with stoppable(stops, StopSettings(), tell=False):
        with pytest.raises(KeyboardInterrupt, match="SIGINT"):
            signal.raise_signal(signal.SIGINT)
        assert stops.why == ""
        with asking():
            stops.stop("--deadline 1s")
            signal.raise_signal(signal.SIGTERM)
            assert "sending nothing more" in capfd.readouterr().err
            with pytest.raises(KeyboardInterrupt, match="SIGINT"):
                signal.raise_signal(signal.SIGINT)
    assert stops.why == "--deadline 1s"


def test_a_second_signal_stops_at_once(tmp_path, stub):
    """With a server that never answers: nothing is published, and what was answered is kept."""
    output, log = tmp_path / "out", tmp_path / "log"
    holding = stub({}, "--hold_after", "6", "--log", str(log))
    with started(f"--output={output}", f"--endpoint={holding}") as run:
        wait_for(lambda: log.exists() and len(asked_keys(log)) == 10)
        run.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            run.wait(3)
        run.send_signal(signal.SIGINT)
        _, shown = run.communicate(timeout=30)
    assert run.returncode == 130
    assert shown.splitlines()[-1].startswith("beam-sdg: stopped; answers so far are kept")
    assert not (output / "manifest.json").exists()
    segments = output.glob(".work/store/*/*/*.jsonl")
    assert sum(segment.read_bytes().count(b"\n") for segment in segments) == 6


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--max_tokens_total=30000", "--max_tokens=400"], "--max_tokens_total 30000: "),
        (
            ["--max_cost=0.05", "--price_in=1", "--price_out=2", "--max_tokens=400"],
            "--max_cost 0.05: $0.0",
        ),
        (["--deadline=0.1s", "--rehearsal=latency_s=0.05"], "--deadline 0.1s"),
    ],
)
def test_a_limit_stops_a_run_and_a_higher_one_lets_it_go_on(flags, why, tmp_path, whole, capsys):
    """Its own exit code, what was made by then, and the same bytes in the end."""
    output = tmp_path / "out"
    command = ["infinibyte", "--num_records=40", "--in_flight=2", f"--output={output}"]
    sampling = [flag for flag in flags if flag.startswith("--max_tokens=")]
    assert main([*command, *flags]) == Stopped.exit_code
    assert f"stopped by {why}" in capsys.readouterr().err
    assert manifest_of(output)["stopped"].startswith(why)
    stopped = [row for row in rows_of(output, "rejects") if row["reason"] == "not_sent"]
    assert stopped
    if sampling:
        assert 0 < len(rows_of(output, "data")) < len(rows_of(whole, "data"))
    assert main([*command, *sampling]) == 0
    assert len(rows_of(output, "data")) == len(rows_of(whole, "data"))
    if not sampling:
        assert files_of(output) == files_of(whole)


def test_what_a_run_has_spent_counts_when_it_goes_on(tmp_path, capsys):
    """The same command with the same limit asks for nothing: it was for the whole run."""
    output = tmp_path / "out"
    limit = ["--max_tokens_total=20000", "--max_tokens=400"]
    command = ["infinibyte", "--num_records=40", f"--output={output}", *limit]
    assert main(command) == Stopped.exit_code
    spent = manifest_of(output)["stopped"]
    answers = sum(path.read_bytes().count(b"\n") for path in output.rglob("store/*/*/*.jsonl"))
    assert main(command) == Stopped.exit_code
    again = sum(path.read_bytes().count(b"\n") for path in output.rglob("store/*/*/*.jsonl"))
    assert (manifest_of(output)["stopped"], again) == (spent, answers)


def test_timeouts_are_spent_of_the_whole_run(tmp_path, stub):
    """The same command again has no new budget for a server that does not answer in time."""
    log = tmp_path / "log"
    url = stub({"latency_s": 20.0}, "--log", str(log))
    limit = ["--max_tokens_total=4000", "--max_tokens=400", "--timeout_s=1"]
    command = ["infinibyte", *FLAGS, f"--output={tmp_path / 'out'}", f"--endpoint={url}", *limit]
    asked = []
    for _ in range(3):
        assert main(command) == Stopped.exit_code
        asked.append(sum(asked_keys(log).values()))
    assert asked[0] >= 2
    assert asked == [asked[0]] * 3


def test_what_the_store_holds_is_what_was_spent(tmp_path):
    """What servers tell and what was charged beside it; older lines are estimated."""
    reply, silence = Reply("x" * 30, "", "stop", 100, 50), Reply("x" * 30, "", "stop", 0, 0)
    lines = {
        "told": (reply, {}),
        "mended": (reply, {"charged": (300, 400)}),
        "untold": (silence, {"charged": (1000, 2000)}),
        "late": (Failure("timed_out", "late"), {"charged": (10_000, 20_000)}),
        "old": (silence, {"sent": [["user", "y" * 30]]}),
        "old and late": (Failure("timed_out", "late"), {}),
    }
    with AnswerStore(str(tmp_path), "ask").window([0]) as window:
        for number, (outcome, facts) in enumerate(lines.values()):
            window.append(0, f"{number:032x}", Attempted(outcome, 2), **facts)
    models = {"ask": ModelSettings(price_in=1.0, price_out=1_000_000.0)}
    stops = stops_for(StopSettings(max_tokens_total=100_000), str(tmp_path), models)
    estimated = 10 + len(str([["user", "y" * 30]])) // 3
    assert stops.spent.tokens == 150 + 150 + 700 + 3000 + 30_000 + estimated + 1
    assert int(stops.spent.cost) == 50 + 50 + 400 + 2000 + 20_000 + 10


UNTOLD = """
import os, signal, sys
from beam_sdg.stopping import StopSettings, stoppable
from transforms.engines.stops import Stops

with stoppable(Stops(sys.argv[1]), StopSettings(), tell=True):
    os.mkdir(f"{sys.argv[1]}.stop")
    os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_stop_that_cannot_be_told_keeps_no_process(tmp_path):
    """It ends, and says that workers elsewhere know nothing."""
    done = subprocess.run(
        [sys.executable, "-c", UNTOLD, str(tmp_path / "store")],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "workers were not told to stop: " in done.stderr.splitlines()[-1]
    assert "store.stop cannot be written (Is a directory)" in done.stderr


def test_too_many_rejects_stop_a_run(tmp_path, capsys):
    """A third of all answers are malformed; the other samples are not paid for."""
    output = tmp_path / "out"
    faults = "--rehearsal=malformed=0.3,seed=1"
    command = ["infinibyte", "--num_records=140", f"--output={output}", faults, "--in_flight=4"]
    assert main([*command, "--max_failures=0.2"]) == Stopped.exit_code
    shown = capsys.readouterr().err
    assert "stopped by --max_failures 0.2: " in shown
    assert "samples of problem_candidates are rejects, " in shown
    reasons = Counter(reject["reason"] for reject in rows_of(output, "rejects"))
    assert reasons["malformed_answer"] > 20
    assert reasons["not_sent"] > 20
    assert main([*command, "--max_failures=0.9"]) == 0


def test_a_stop_between_the_stages_of_a_vote_leaves_rows_without_verdicts(tmp_path, capsys):
    """Solutions are there, the judge was never asked, and every sample is accounted for."""
    output = tmp_path / "out"
    command = ["openreasoning-math", f"--output={output}", "--max_tokens=100"]
    assert main([*command, "--max_tokens_total=9000"]) == Stopped.exit_code
    stages = {stage["stage"]: stage for stage in manifest_of(output)["stages"]}
    assert stages["generate_solutions"]["rejects"]["not_sent"] > 0
    assert not stages["problems"]["partial"]
    assert all(stages[name]["partial"] for name in ("generate_solutions", "judge_answers"))
    assert main(command) == 0
    undisturbed = tmp_path / "undisturbed"
    assert main(["openreasoning-math", f"--output={undisturbed}", "--max_tokens=100"]) == 0
    assert files_of(output) == files_of(undisturbed)


def test_a_stopped_stage_alone_is_left_to_run(tmp_path, capsys):
    """Without a dataset the exit code says it, and the next command goes on."""
    command = ["infinibyte", "--num_records=40", "--in_flight=2", f"--output={tmp_path / 'out'}"]
    stages = ["--stages=problems_a,problems_b,seed,problem_candidates", "--max_tokens=300"]
    assert main([*command, *stages, "--max_tokens_total=9000"]) == Stopped.exit_code
    shown = capsys.readouterr()
    assert "left to run before there is a dataset: problem_candidates, best" in shown.out
    assert "stopped by --max_tokens_total 9000: " in shown.err
    assert main([*command, *stages]) == 0
    assert "left to run before there is a dataset: best_problem, " in capsys.readouterr().out


def test_a_part_takes_the_place_of_no_whole_dataset(tmp_path, whole, capsys):
    """It is kept until the one that replaces it is whole too."""
    output = tmp_path / "out"
    shutil.copytree(whole, output)
    before = files_of(output)
    command = ["infinibyte", "--num_records=40", f"--output={output}", "--temperature=1"]
    assert main([*command, "--replace", "--max_tokens_total=1"]) == Stopped.exit_code
    assert "keeps the dataset that was there" in capsys.readouterr().err
    assert files_of(output) == before
    assert manifest_of(output)["stopped"] == ""


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--max_cost=1"], "problem_candidates has no price; pass --price_in and --price_out"),
        (["--deadline=soon"], "write days, hours, minutes and seconds"),
        (["--max_failures=1.5"], "less than 1"),
        (
            ["--max_tokens_total=5", "--shard=1/2", "--num_shards=2"],
            "--max_tokens_total is counted in one process, and --shard has several",
        ),
        (
            ["--max_tokens_total=5", "--runner=FlinkRunner"],
            "--max_tokens_total is counted in the process that sends requests",
        ),
    ],
)
def test_a_limit_that_cannot_be_kept_is_refused(flags, message, tmp_path, capsys):
    """Before anything is read."""
    assert main(["infinibyte", f"--output={tmp_path / 'out'}", *flags]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
