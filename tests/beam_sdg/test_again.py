"""Commands that go on from a finished dataset: retry, --accepted, --restart."""

import json
import shutil
import stat
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from beam_sdg.cli import main

FAULTY = ("infinibyte", "--num_records=20", "--rehearsal=malformed=0.15")


def files_of(output: Path) -> dict[str, bytes]:
    paths = sorted([*output.glob("data/*"), *output.glob("rejects/*")])
    return {str(path.relative_to(output)): path.read_bytes() for path in paths}


def rows_of(output: Path, folder: str = "data") -> list[dict[str, Any]]:
    return [row for path in output.glob(f"{folder}/*") for row in pq.read_table(path).to_pylist()]


def rejected(output: Path, stage: str) -> set[str]:
    return {reject["id"] for reject in rows_of(output, "rejects") if reject["stage"] == stage}


def asked(output: Path) -> list[tuple[str, str]]:
    """The stage and the record of every answer in the store."""
    segments = sorted(output.glob(".work/store/*/[0-9]*/*.jsonl"))
    return [
        (segment.parts[-3], json.loads(line)["record"])
        for segment in segments
        for line in segment.read_text().splitlines()
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with rejects at every asked stage."""
    output = tmp_path_factory.mktemp("made") / "out"
    assert main([*FAULTY, f"--output={output}"]) == 0
    assert rejected(output, "evals")
    return output


@pytest.fixture
def finished(made: Path, tmp_path: Path) -> Path:
    """A copy of it for one test."""
    shutil.copytree(made, tmp_path / "out")
    return tmp_path / "out"


def test_a_retry_asks_for_the_rejects_of_its_stage_alone(finished, tmp_path, made):
    """With other sampling; what it saves goes on. The run that retries at once makes the same."""
    before, lost = asked(finished), rejected(finished, "evals")
    assert main(["retry", str(finished), "--stage", "evals", "--set", "temperature=0.3"]) == 0
    new = asked(finished)
    for one in before:
        new.remove(one)
    assert {record for stage, record in new if stage == "evals"} == lost
    saved = lost - rejected(finished, "evals")
    assert saved
    assert {record for stage, record in new if stage != "evals"} == saved
    rows = {row["id"]: row for row in rows_of(finished)}
    assert {row["id"] for row in rows_of(made)} < set(rows)
    for row in rows.values():
        [call] = [call for call in row["provenance"]["calls"] if call["ask"] == "evals"]
        assert (json.loads(call["sampling"]).get("temperature") == 0.3) is (row["id"] in saved)

    at_once = tmp_path / "at_once"
    assert main([*FAULTY, f"--output={at_once}", "--retry=evals:temperature=0.3"]) == 0
    assert files_of(at_once) == files_of(finished)


def test_a_retry_comes_on_top_of_those_before(finished):
    """Of two stages: what the first saved stays."""
    assert main(["retry", str(finished), "--stage=evals"]) == 0
    first = {row["id"] for row in rows_of(finished)}
    assert main(["retry", str(finished), "--stage=best_problem"]) == 0
    assert first < {row["id"] for row in rows_of(finished)}


def test_what_a_run_was_started_by_is_for_its_user_alone(finished):
    """Its flags may hold keys."""
    kept = finished / ".work" / "command.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(kept.read_text())["arguments"][:2] == list(FAULTY[:2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "retry takes a folder and a stage"),
        (("OUT",), "required: --stage"),
        (("OUT", "--stage=export"), "--stage export: it has no rejects of its model; those with"),
        (("OUT", "--stage=evals", "--set=in_flight=5"), "--retry evals: in_flight is not of the"),
        (("OUT", "--stage=evals", "--set=warmth=1"), "a stage has no such setting"),
        (("nowhere", "--stage=evals"), "nowhere holds no run"),
    ],
)
def test_a_retry_that_cannot_be_is_refused(arguments, message, made, capsys, monkeypatch):
    """And the dataset stays as it is."""
    monkeypatch.chdir(made.parent)
    before = files_of(made)
    given = [argument.replace("OUT", str(made)) for argument in arguments]
    assert main(["retry", *given]) == 2
    assert message in capsys.readouterr().err
    assert files_of(made) == before


def test_without_its_command_a_retry_says_what_to_run(finished, capsys):
    """The folder of answers was deleted."""
    shutil.rmtree(finished / ".work")
    assert main(["retry", str(finished), "--stage=evals"]) == 2
    assert "--replace --retry evals" in capsys.readouterr().err


def test_whole_waves_are_added_until_enough_rows_are_accepted(tmp_path, capsys):
    """The rows are those of a run of so many records, and the same command is done."""
    output, plain = tmp_path / "out", tmp_path / "plain"
    command = [*FAULTY, f"--output={output}", "--accepted=24"]
    assert main(command) == 0
    settings = json.loads((output / "manifest.json").read_text())["settings"]
    records = settings["num_records"]
    assert records > 20
    assert records % 20 == 0
    assert len(rows_of(output)) >= 24
    answers = asked(output)
    assert len(set(answers)) <= len(answers)
    assert main([*FAULTY, f"--num_records={records}", f"--output={plain}"]) == 0
    assert files_of(plain) == files_of(output)
    assert sorted(asked(plain)) == sorted(answers)
    capsys.readouterr()
    assert main(command) == 0
    assert "is complete; there is nothing to do" in capsys.readouterr().out
    assert main([*command[:-1], f"--accepted={len(rows_of(output)) + 1}"]) == 0
    assert json.loads((output / "manifest.json").read_text())["settings"]["num_records"] > records


def test_where_there_are_no_more_records_what_there_is_is_published(tmp_path, capsys):
    """Twelve problems a side make 144 pairs, of which 50 may be drawn."""
    output = tmp_path / "out"
    command = [*FAULTY, "--limit=50", "--accepted=200", f"--output={output}"]
    assert main(command) == 4
    assert "--accepted 200: only " in capsys.readouterr().err
    assert 20 < len(rows_of(output)) < 50
    assert main(command) == 4
    assert "there is nothing to do" in capsys.readouterr().out


def test_a_restart_runs_every_stage_and_asks_for_nothing(finished, capsys):
    """Even where the dataset is complete."""
    before, answers, stages = files_of(finished), asked(finished), stage_times(finished)
    assert main([*FAULTY, f"--output={finished}", "--restart"]) == 0
    assert "nothing to do" not in capsys.readouterr().out
    assert (files_of(finished), asked(finished)) == (before, answers)
    assert all(stage_times(finished)[path] > at for path, at in stages.items())


def stage_times(output: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in output.glob(".work/stages/*/*/stage.json")}
