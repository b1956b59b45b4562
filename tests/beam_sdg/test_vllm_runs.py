"""Whole runs on vLLM itself: what parses, what a crash costs, and what is left behind."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.processes import (
    assert_gone,
    heed_interrupts,
    keeper_in,
    processes_below,
)
from transforms.errors import Stopped

ROOT = Path(__file__).parents[2]
PAIRS = "--combination_weights=complication=1"  # those that may be any text
UNREADABLE = {"malformed_answer", "empty_answer", "truncated_answer"}


def rejects(output: Path) -> Counter[tuple[str, str]]:
    """By stage and reason; `blank` are answers with a text of spaces, which a schema allows."""
    rows = [row for path in output.glob("rejects/*") for row in pq.read_table(path).to_pylist()]
    blank = "should have at least 1 character"
    return Counter(
        (row["stage"], "blank" if blank in row["detail"] else row["reason"]) for row in rows
    )


def answers(output: Path, stage: str) -> int:
    lines = [
        line
        for path in (output / ".work" / "store" / stage).glob("[0-9]*/*.jsonl")
        for line in path.read_text().splitlines()
    ]
    return sum("reply" in json.loads(line) for line in lines)


@pytest.mark.parametrize(
    "asked", [("problem_candidates", "evals"), ("best_problem",)], ids="+".join
)
def test_every_structured_stage_parses(beam_sdg_command, served_model, tmp_path, asked):
    """A model that knows nothing is held to the schemas; the other stages are rehearsed."""
    output = tmp_path / "out"
    flags = [flag for stage in asked for flag in served_model.flags(f"--set={stage}.")]
    flags += [f"--set={stage}.max_tokens=1500" for stage in asked]
    done = beam_sdg_command(
        "infinibyte", f"--output={output}", "--num_records=8", PAIRS, *flags,
        **served_model.environment,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert all(answers(output, stage) >= 8 for stage in asked)
    assert (output / "manifest.json").exists(), done.stderr  # without rows, too
    found = rejects(output)
    assert not [(stage, reason) for stage, reason in found if reason in UNREADABLE]
    if "evals" in asked:
        assert done.returncode == 0, done.stderr
        manifest = json.loads((output / "manifest.json").read_text())
        [engine] = manifest["asks"]["evals"]["served"]
        assert engine["args"] == served_model.args
        assert engine["version"]
        assert engine["tokens_per_s"] > 0
        # Eight short requests: its first look may fall before them, and find none.
        assert engine["utilisation"] is None or 0 <= engine["utilisation"] <= 1
        assert engine["prefix_cache_hit_rate"] >= 0


def test_science_questions_parse_in_every_format(beam_sdg_command, served_model, tmp_path):
    """Without options, with four and with ten: a model that knows nothing is held to each."""
    output = tmp_path / "out"
    done = beam_sdg_command(
        "openreasoning-science", f"--output={output}", "--num_records=12", "--generators=1",
        "--augmentations=0", "--samples=1", *served_model.flags("--set=generate_questions_1."),
        "--set=generate_questions_1.max_tokens=1500", **served_model.environment,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert (output / "manifest.json").exists(), done.stderr  # without rows, too
    lost = rejects(output)
    for number, of_format in {0: "open", 4: "mcq_4", 10: "mcq_10"}.items():
        stage = f"generate_questions_1_{of_format}"
        assert answers(output, stage) >= 4
        rows = [
            row
            for path in output.glob(f".work/stages/{stage}/*/rows-*.parquet")
            for row in pq.read_table(path).to_pylist()
        ]
        assert all(len(row["options"]) == number for row in rows)
        reasons = {reason for each, reason in lost if each == stage}
        assert not reasons & {*UNREADABLE, "wrong_number", "letters_out_of_order"}
        assert len(rows) + sum(lost[stage, reason] for reason in reasons) == 4


def started(served_model, output: Path, *flags: str) -> subprocess.Popen[bytes]:
    """A run whose last stage asks vLLM, in a process group of its own."""
    command = [sys.executable, "-m", "beam_sdg", "infinibyte", f"--output={output}", *flags]
    command += [*served_model.flags("--set=solution."), "--set=solution.max_tokens=150"]
    return subprocess.Popen(
        command,
        env={**os.environ, **served_model.environment},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=heed_interrupts,
    )


def wait_for_answers(run: subprocess.Popen[bytes], output: Path, number: int) -> None:
    give_up_at = time.monotonic() + 300
    while answers(output, "solution") < number:
        assert run.poll() is None, run.stderr and run.stderr.read().decode()
        assert time.monotonic() < give_up_at
        time.sleep(0.2)


def test_an_engine_that_is_killed_in_a_run_loses_nothing(beam_sdg_command, served_model, tmp_path):
    """It is started again, what it had taken is asked again, and it ends with the run.

    The next run finds all answers in the store and starts no engine.
    """
    output, place = tmp_path / "out", tmp_path / "engines"
    place.mkdir()
    apart = served_model.apart(place)
    flags = ("--num_records=24", "--set=solution.in_flight=4")
    with started(apart, output, *flags) as run:
        wait_for_answers(run, output, 3)
        keeper = keeper_in(place)
        below = processes_below(keeper)
        [log] = place.glob("beam-sdg-*/*.log")
        core = int(re.findall(r"EngineCore pid=(\d+)", log.read_text())[-1])
        assert core in below
        os.kill(core, signal.SIGKILL)
        give_up_at = time.monotonic() + 300
        while run.poll() is None:
            assert time.monotonic() < give_up_at
            below |= processes_below(keeper)
            time.sleep(0.5)
        assert run.returncode == 0
    assert_gone(below, place)
    rows = sum(pq.read_metadata(path).num_rows for path in output.glob("data/*"))
    assert rows + sum(rejects(output).values()) == 24
    noise = {"truncated_answer", "empty_answer", "broken_code"}  # what no model can help
    assert {reason for _, reason in rejects(output)} <= noise
    paid = answers(output, "solution")
    assert paid >= 24

    for folder in (output / ".work").glob("stages/*solution*"):
        shutil.rmtree(folder)
    (output / "manifest.json").unlink()
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir()
    elsewhere = served_model.apart(nowhere)
    done = beam_sdg_command(
        "infinibyte", f"--output={output}", *flags, *elsewhere.flags("--set=solution."),
        "--set=solution.max_tokens=150", **elsewhere.environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not list(nowhere.glob("beam-sdg-*"))
    assert answers(output, "solution") == paid


def test_after_ctrl_c_nothing_is_left(served_model, tmp_path):
    """The run says that it goes on later, and its engine ends with it."""
    output, place = tmp_path / "out", tmp_path / "engines"
    place.mkdir()
    with started(served_model.apart(place), output, "--num_records=100") as run:
        wait_for_answers(run, output, 1)
        below = processes_below(keeper_in(place))
        os.killpg(run.pid, signal.SIGINT)
        _, said = run.communicate(timeout=300)
        assert run.returncode in (Stopped.exit_code, 130)  # whether it was asked anything just then
    assert b"the same command goes on" in said
    assert len(below) >= 3  # the keeper, the server, the engine's core
    assert_gone(below, place)
