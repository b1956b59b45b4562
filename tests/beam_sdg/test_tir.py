"""Solving with Python, whole: what a rehearsal plans comes out, and nothing is lost on the way."""

import contextlib
import importlib.util
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from beam_sdg.models import ModelSettings
from beam_sdg.recipes.tir import TIR
from sandbox import engine, owner
from tests.processes import heed_interrupts
from transforms import seeding
from transforms.chat_template import ChatTemplate
from transforms.engines.store import AnswerStore
from transforms.tir.formats import CODE_FORMATS

ROOT = Path(__file__).parents[2]
DENSE = ("--sandbox_sessions_per_container=16", "--sandbox_max_sessions=32")


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [
        row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()
    ]


def planned(row_id: str) -> Any:
    """The rehearsal's plan of a sample."""
    problem, _, sample = row_id.rpartition("-") if "-" in row_id else (row_id, "", "0")
    path = ROOT / "prompts" / "tir" / "solution.py"
    spec = importlib.util.spec_from_file_location("planned", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    seed = seeding.sampling_seed(0, "solution", problem, int(sample))
    return module.plan_of(seeding.stream("rehearsal", 0, "tir/solution", seed))


def expected(plan: Any) -> str:
    """The reason for which a sample with this plan is lost, or ""."""
    lost = {"trivial": "not_significant", "verification": "not_novel"}
    return plan.fault or lost.get(plan.worth, "")


def printed(blocks: list) -> list[str]:
    """What each cell prints, run here: the rehearsal's own code, which is harmless."""
    space: dict[str, Any] = {}
    outputs = []
    for block in blocks:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            try:
                exec(block.code, space)
            except NameError as error:  # planted
                out.write(f"NameError: {error}")
        outputs.append(out.getvalue().rstrip("\n"))
    return outputs


def without_frames(output: str) -> str:
    """What a cell printed, or the last line of its traceback."""
    return output.splitlines()[-1] if output.startswith("Traceback") else output


def sides(output: Path) -> tuple[dict[str, dict], dict[str, dict]]:
    """The dataset's rows and the rejected solutions, by id."""
    kept, rejects = rows_of(output / "data"), rows_of(output / "rejects")
    rejected = [row for row in rejects if not row["stage"].startswith("judge_")]
    assert len({row["id"] for row in kept + rejected}) == len(kept) + len(rejected)
    return {row["id"]: row for row in kept}, {row["id"]: row for row in rejected}


def test_gsm8k_comes_out_as_planned(docker, data, beam_sdg_command, tmp_path):
    """200 problems: kept or rejected as planned, by filters and judges; outputs are real."""
    output = tmp_path / "out"
    done = beam_sdg_command(
        "tir", f"--output={output}", f"--problems={data / 'gsm8k' / 'test.jsonl'}",
        "--column=question", "--num_records=200", "--samples=1", "--too_many_code_blocks=2",
        "--judge_fragments", *DENSE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    kept, rejected = sides(output)
    assert len(kept) + len(rejected) == 200
    for row in (*kept.values(), *rejected.values()):
        assert expected(planned(row["id"])) == row.get("reason", ""), row
    assert len({row["reason"] for row in rejected.values()}) == 11
    doubtful = sum(row["reason"] == "too_few_votes" for row in rejected.values())
    unread = [row for row in rows_of(output / "rejects") if row["stage"].startswith("judge_")]
    assert {row["reason"] for row in unread} == {"malformed_answer"}
    assert len(unread) >= 2 * 8 * doubtful > 0
    texts = [row["generated_solution"] for row in kept.values()]
    texts += [json.loads(row["row"])["text"] for row in rejected.values()]
    blocks = 0
    for text in texts:
        found = CODE_FORMATS["fenced"].blocks(text)
        ran = [block for block in found if block.output is not None]
        assert [without_frames(block.output) for block in ran] == printed(ran)
        blocks += len(ran)
    stored = list(AnswerStore(f"{output}/.work/store", "solution").executions())
    assert len(stored) == blocks > 200
    assert all(0 < line["execution"]["duration_s"] < 10 for line in stored)
    uses = [row["provenance"]["tool_use"] for row in kept.values()]
    assert Counter(use["ended"] for use in uses) == {"answer": len(kept)}
    assert all(row["predicted_answer"] for row in kept.values())


@pytest.mark.parametrize(
    "code_format", ["fenced", "openmath", "nemotron", "llama3", "gpt-oss", "tool-calls"]
)
def test_every_format_makes_the_same_dataset(local_run, tmp_path, code_format):
    """The plan is the same whatever calls look like."""
    kept, rejected = local_run(
        tmp_path / "out", "--num_records=10", "--samples=6", f"--code_format={code_format}"
    )
    assert len(kept) + len(rejected) == 60
    for row in (*kept.values(), *rejected.values()):
        fault = planned(row["id"]).fault
        if fault in ("too_many_code_blocks", "no_fragment", "too_few_votes"):
            fault = ""  # not looked for here
        if fault == "incomplete_execution" and code_format not in ("fenced", "tool-calls"):
            fault = ""  # an open fence is no call there
        assert row.get("reason", "") == fault, row


@pytest.fixture
def local_run(beam_sdg_command):
    """Run the recipe without isolation, and read what came out."""

    def run(output: Path, *flags: str) -> tuple[dict[str, dict], dict[str, dict]]:
        done = beam_sdg_command("tir", f"--output={output}", "--sandbox=local", *flags)
        assert done.returncode == 0, done.stderr
        assert "isolates nothing" in done.stderr
        return sides(output)

    return run


def test_a_run_that_is_killed_goes_on_and_leaves_no_container(docker, beam_sdg_command, tmp_path):
    """The next start sweeps the dead run's containers, and asks only what it had not been told."""
    output = tmp_path / "out"
    flags = ("--num_records=10", "--samples=8", "--rehearsal=latency_s=0.3", *DENSE)
    command = [sys.executable, "-m", "beam_sdg", "tir", f"--output={output}", *flags]
    store = AnswerStore(f"{output}/.work/store", "solution")
    with subprocess.Popen(
        command,
        cwd=ROOT,
        start_new_session=True,
        preexec_fn=heed_interrupts,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as run:
        give_up_at = time.monotonic() + 120
        while sum(1 for _ in store.executions()) < 40:
            assert run.poll() is None
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
        os.killpg(run.pid, signal.SIGKILL)
    before = {line["key"] for line in (*store.attempts(), *store.executions())}
    done = beam_sdg_command("tir", f"--output={output}", *flags)
    assert done.returncode == 0, done.stderr
    lines = [*store.attempts(), *store.executions()]
    assert len({line["key"] for line in lines}) == len(lines)
    assert before < {line["key"] for line in lines}
    kept, rejected = sides(output)
    assert len(kept) + len(rejected) == 80
    assert not [
        one for one in engine.ours(docker) if owner.has_ended(one["Labels"][engine.OWNER_LABEL])
    ]


def test_without_an_engine_nothing_is_spent(beam_sdg_command, tmp_path):
    """The run is refused before it reads or asks anything."""
    output = tmp_path / "out"
    done = beam_sdg_command(
        "tir", f"--output={output}", f"--sandbox_engine=unix://{tmp_path}/none", "--num_records=3"
    )
    assert done.returncode == 4
    assert "no sandbox can run Python" in done.stderr
    assert "for a rehearsal, --sandbox local does without one" in done.stderr
    assert not list(output.glob(".work/s*/*"))


def test_a_rehearsal_needs_no_engine_unless_one_is_named(beam_sdg_command, tmp_path):
    """What it runs is ours: the bare command makes rows wherever it is tried."""
    nowhere = f"unix://{tmp_path}/none"
    done = beam_sdg_command(
        "tir", f"--output={tmp_path / 'out'}", "--num_records=3", DOCKER_HOST=nowhere
    )
    assert done.returncode == 0, done.stderr
    assert "isolates nothing" in done.stderr
    kept, rejected = sides(tmp_path / "out")
    assert len(kept) + len(rejected) == 12
    named = ("tir", f"--output={tmp_path / 'no'}", "--sandbox=docker")
    assert beam_sdg_command(*named, DOCKER_HOST=nowhere).returncode == 4


def test_a_dry_run_needs_no_engine(beam_sdg_command, tmp_path):
    """It shows the first prompt; what is rehearsed for it is ours."""
    flags = ("--dry_run", f"--sandbox_engine=unix://{tmp_path}/none", "--max_executions=3")
    done = beam_sdg_command("tir", f"--output={tmp_path / 'out'}", *flags)
    assert done.returncode == 0, done.stderr
    assert "You may run code at most\n3 times." in done.stdout
    assert "isolates nothing" not in done.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--sandbox=local", "--sandbox_runtime=runsc"), "--sandbox_runtime is of Docker's"),
        (("--code_format=tool-calls", "--tokenizer=a/b"), "--tokenizer a/b would not be used"),
        (("--code_format=tool-calls", "--api=text"), "tool-calls is of chats"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(beam_sdg_command, tmp_path, flags, said):
    done = beam_sdg_command("tir", f"--output={tmp_path / 'out'}", *flags)
    assert done.returncode == 2
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_a_tokenizer_of_the_hub_is_pinned(model_of_the_hub):
    for written, revision in (("org/model", "main"), ("org/model@v1", "v1")):
        tool = TIR.config(tokenizer=written).python(ModelSettings(model="another"))
        assert tool.template == ChatTemplate.of_model("org/model", model_of_the_hub[revision])


@pytest.mark.parametrize("value", ["x", "3-2", "1-2-3", "-1", ""])
def test_executions_are_a_number_or_a_range(value):
    with pytest.raises(ValueError, match="max_executions"):
        TIR.config(max_executions=value)
