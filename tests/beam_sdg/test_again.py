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
    [kept] = finished.glob(".work/commands/*")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(kept.read_text())["arguments"][:2] == list(FAULTY[:2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "retry takes a folder and a stage"),
        (("OUT",), "required: --stage"),
        (("OUT", "--stage=export"), "--stage export: it has no rejects of its model; those with"),
        (("OUT", "--stage=nosuch"), "--stage nosuch: no such stage; those that ask a model are p"),
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
    assert main([*FAULTY, f"--num_records={records}", f"--output={plain}"]) == 0
    assert files_of(plain) == files_of(output)
    assert sorted(asked(plain)) == sorted(answers)
    capsys.readouterr()
    assert main(command) == 0
    assert "is complete; there is nothing to do" in capsys.readouterr().out
    assert main([*command[:-1], f"--accepted={len(rows_of(output)) + 1}"]) == 0
    assert json.loads((output / "manifest.json").read_text())["settings"]["num_records"] > records


def test_a_limit_holds_over_all_waves(tmp_path):
    """The second wave has what the first has left."""
    output = tmp_path / "out"
    limit = ["--max_tokens=300", "--max_tokens_total=60000", "--in_flight=2"]
    assert main([*FAULTY, f"--output={output}", "--accepted=100", *limit]) == 5
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["stopped"].startswith("--max_tokens_total 60000: ")
    assert manifest["settings"]["num_records"] > 20
    assert 0 < len(rows_of(output)) < 100


def test_waves_without_a_row_come_to_an_end(tmp_path, capsys):
    """A model that is never understood is not paid for until the sources are used up."""
    output = tmp_path / "out"
    flags = ["--num_records=2", "--rehearsal=malformed=1", "--accepted=5", f"--output={output}"]
    assert main(["infinibyte", *flags]) == 4
    assert "has no rows" in capsys.readouterr().err
    settings = json.loads((output / "manifest.json").read_text())["settings"]
    assert settings["num_records"] == 20


def test_accepted_rows_are_of_whole_runs(tmp_path, capsys):
    """A stage alone accepts nothing."""
    flags = [f"--output={tmp_path / 'out'}", "--stages=seed", "--accepted=5"]
    assert main(["infinibyte", *flags]) == 2
    assert "--accepted counts rows that passed all stages" in capsys.readouterr().err


def test_where_there_are_no_more_records_what_there_is_is_published(tmp_path, capsys):
    """Twelve problems a side make 144 pairs, of which 50 may be drawn."""
    output = tmp_path / "out"
    command = [*FAULTY, "--limit=50", "--accepted=200", f"--output={output}"]
    assert main(command) == 4
    assert "--accepted 200: only " in capsys.readouterr().err
    assert 20 < len(rows_of(output)) < 50
    assert main(command) == 4
    assert "there is nothing to do" in capsys.readouterr().out


def test_a_retry_is_of_the_command_that_made_the_dataset(tmp_path):
    """Another one since then, in the same work folder, is not taken for it."""
    one, two = tmp_path / "one", tmp_path / "two"
    work = f"--work_dir={tmp_path / 'work'}"
    flags = [*FAULTY[:1], "--num_records=8", "--rehearsal=malformed=0.3", work]
    assert main([*flags, f"--output={one}"]) == 0
    assert main([*flags, f"--output={two}", "--seed=7"]) == 0
    assert main(["retry", str(one), "--stage=problem_candidates"]) == 0
    assert json.loads((one / "manifest.json").read_text())["seed"] == 0
    assert json.loads((two / "manifest.json").read_text())["seed"] == 7


def test_a_command_that_would_make_something_else_is_not_retried(finished, monkeypatch, capsys):
    """A new version of the program, here."""
    monkeypatch.setattr("beam_sdg.launch.code_hash", lambda: "new")
    assert main(["retry", str(finished), "--stage=evals"]) == 2
    assert "would make something else by now" in capsys.readouterr().err


def test_what_follows_from_a_stage_that_is_made_again_is_too(finished):
    """In a later phase: it would hold rows that are not there any more."""
    [export] = finished.glob(".work/stages/export/*/stage.json")
    before = export.stat().st_mtime_ns, files_of(finished)
    (finished / "manifest.json").unlink()
    [evals] = finished.glob(".work/stages/evals/*")
    shutil.rmtree(evals)
    assert main([*FAULTY, f"--output={finished}"]) == 0
    assert export.stat().st_mtime_ns > before[0]
    assert files_of(finished) == before[1]


def test_a_restart_runs_every_stage_and_asks_for_nothing(finished, capsys):
    """Even where the dataset is complete."""
    before, answers, stages = files_of(finished), asked(finished), stage_times(finished)
    assert main([*FAULTY, f"--output={finished}", "--restart"]) == 0
    assert "nothing to do" not in capsys.readouterr().out
    assert (files_of(finished), asked(finished)) == (before, answers)
    assert all(stage_times(finished)[path] > at for path, at in stages.items())


def stage_times(output: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in output.glob(".work/stages/*/*/stage.json")}
