"""What a user meets: flags, messages, exit codes, and folders that are never overwritten."""

import fcntl
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from beam_sdg.cli import main

ROOT = Path(__file__).parents[2]
USAGE, INPUT, FAILED = 2, 3, 4


def write_lines(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def problems(path: Path, count: int) -> Path:
    return write_lines(path, [json.dumps({"problem": f"What is {n} + 1?"}) for n in range(count)])


def assert_explained(done, code: int, *parts: str) -> None:
    """One line on stderr that begins with the program's name, and the exit code."""
    assert done.returncode == code, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("beam-sdg: ")
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in last


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["infinybite"], ["unknown command 'infinybite'", "infinibyte"]),
        (["infinibyte", "--num_recrods=3"], ["--num_recrods", "did you mean --num_records?"]),
        (["infinibyte", "--num_records=many"], ["--num_records 'many'", "integer"]),
        (["infinibyte", "--num_records=0"], ["--num_records '0'"]),
        (["infinibyte", "--num_records=9", "--limit=8"], ["--num_records 9", "--limit 8"]),
        (["infinibyte", "--strategy=ocr"], ["'ocr' is not one of ocr_omr, sample"]),
        (["infinibyte", "--strategy=ocr_omr", "--problems_a=humaneval"], ["humaneval=FILE"]),
        (["infinibyte", "--combination_weights=mixing=1"], ["mixing", "obfuscation"]),
        (
            ["infinibyte", "--combination_weights=mixing"],
            ["--combination_weights mixing", "write mixing=VALUE"],
        ),
        (
            ["openreasoning-math", "--buckets=a,b"],
            ["--buckets ('a', 'b')", "longest output", "as in 16000,32000"],
        ),
        (["prepare-sft", "--temperature=1"], ["unknown flag --temperature"]),
        (["infinibyte", "--model=m", "--gpus=all"], ["--gpus 'all'"]),
        (["infinibyte", "--model=m", "--vllm_args=--port 1"], ["--vllm_args", "--port is set by"]),
        (["infinibyte", "--model=m", "--vllm_args", "--port"], ["--vllm_args", "--port is set by"]),
        (["infinibyte", "--endpoint=http://h/v1"], ["needs the --model"]),
        (["infinibyte", "--endpoint=h:80", "--model=m"], ["http://HOST:PORT/v1"]),
        (
            ["infinibyte", "--rehearsal=speed=1"],
            ["rehearsal speed: no such setting; there are seed, m"],
        ),
        (["infinibyte", "--rehearsal=failing=2"], ["rehearsal failing '2'"]),
        (["infinibyte", "--in_flight=0"], ["--in_flight '0'", "greater than or equal to 1"]),
        (["infinibyte", "--prompts=/nowhere"], ["--prompts /nowhere is not a folder"]),
        (["infinibyte", "--format=csv"], ["--format 'csv'", "'parquet' or 'jsonl'"]),
        (["infinibyte", "--num_shards=0"], ["--num_shards '0'", "greater than or equal to 1"]),
        (["infinibyte", "--temperature=-1"], ["--temperature"]),
        (["infinibyte", "--output=no://bucket/out"], ["cannot look into no://bucket/out"]),
        (["report"], ["report takes one folder"]),
        (["report", "/nowhere"], ["/nowhere holds no run"]),
    ],
)
def test_bad_usage_is_one_line_that_names_flag_value_and_mend(
    beam_sdg_command, tmp_path, arguments, parts
):
    """Exit code 2, no traceback, nothing written."""
    output = tmp_path / "out"
    if arguments[0] != "report" and not any("--output" in flag for flag in arguments):
        arguments = [*arguments, f"--output={output}"]
    assert_explained(beam_sdg_command(*arguments), USAGE, *parts)
    assert not output.exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["--endpoint=https://user:SECRET@host/v1", "--model=m"],
        ["--endpoint=https://user:SECRET@host/v1"],
        ["--endpoint=http://host/v1?api-key=SECRET", "--model=m"],
        ["--endpoint=http://host/v1?api-key=SECRET", "--model=m", "--debug"],
        ["--endpoint=user:SECRET@host", "--model=m"],
        ["--set=solution.endpoint=http://host/v1?api-key=SECRET", "--set=solution.model=m"],
        ["--set=endpoint=https://user:SECRET@host/v1"],
    ],
)
def test_a_secret_in_a_url_is_never_shown(beam_sdg_command, tmp_path, flags):
    """The message says that the URL holds one, or what else is wrong, and not the URL."""
    done = beam_sdg_command("infinibyte", *flags, f"--output={tmp_path / 'out'}")
    assert done.returncode != 0
    assert "endpoint" in done.stderr
    assert "SECRET" not in done.stderr + done.stdout


def test_bad_inputs_are_one_line(beam_sdg_command, tmp_path):
    """A missing file, a missing column, too few pairs: exit code 3 before a model is asked."""
    run = beam_sdg_command
    flags = ["infinibyte", f"--output={tmp_path / 'out'}"]
    assert_explained(run(*flags, "--problems_a=nowhere.jsonl"), INPUT, "no file matches nowhere")
    few = problems(tmp_path / "few.jsonl", 2)
    done = run(*flags, f"--problems_a={few}", "--column_a=question")
    assert_explained(done, INPUT, "no column 'question'", "have problem", "--column_a")
    done = run(*flags, f"--problems_a={few}", f"--problems_b={few}")
    assert_explained(done, INPUT, "--num_records 5 is more than the 4 pairs of 2 of 2 rows")
    assert not list(tmp_path.glob("out/.work/store/*"))


def test_bad_rows_become_rejects_and_are_counted(beam_sdg_command, tmp_path):
    """Malformed rows, a wrong type and duplicates: the run goes on and accounts for each."""
    source = write_lines(
        tmp_path / "rows.jsonl",
        [
            *('{"problem": "one"}', "{oops", '{"problem": 3}', "[]", '{"problem": "one"}'),
            *('{"problem": "two"}', '{"other": 1}', '{"problem": ""}', '{"problem": "three"}'),
        ],
    )
    output = tmp_path / "out"
    done = beam_sdg_command(
        "infinibyte", f"--problems_a={source}", "--num_records=4", f"--output={output}"
    )
    assert done.returncode == 0, done.stderr
    rejects = pq.read_table(next(output.glob("rejects/*"))).to_pylist()
    assert sorted(reject["reason"] for reject in rejects) == sorted(
        ["not_json", "not_text", "not_an_object", "duplicate", "missing_text", "empty_text"]
    )
    details = {reject["reason"]: reject["detail"] for reject in rejects}
    assert details["not_json"].startswith("rows.jsonl, line 2, byte 19: not JSON")
    [stage] = [
        stage
        for stage in json.loads((output / "manifest.json").read_text())["stages"]
        if stage["stage"] == "problems_a"
    ]
    assert (stage["rows_in"], stage["rows"], sum(stage["rejects"].values())) == (9, 3, 6)
    assert ["not_json", "1"] in [line.split() for line in done.stdout.splitlines()]


def test_rows_beyond_max_records_are_counted_as_not_sampled(beam_sdg_command, tmp_path):
    """The sample is of the size asked for, and the report says how many it left out."""
    source = problems(tmp_path / "rows.jsonl", 30)
    done = beam_sdg_command(
        "infinibyte", f"--problems_a={source}", "--max_records_a=7", f"--output={tmp_path / 'o'}"
    )
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stdout.splitlines() if "problems_a" in line]
    assert line.split() == ["problems_a", "30", "7", "0", "23"]


def test_a_finished_output_is_never_overwritten(beam_sdg_command, tmp_path):
    """The same command does nothing; other settings are refused, and --replace replaces."""
    output = tmp_path / "out"
    flags = ["infinibyte", f"--output={output}"]
    assert beam_sdg_command(*flags).returncode == 0
    manifest = (output / "manifest.json").read_bytes()
    again = beam_sdg_command(*flags)
    assert again.returncode == 0
    assert "is complete; there is nothing to do" in again.stdout
    assert_explained(beam_sdg_command(*flags, "--num_records=6"), USAGE, "--replace")
    tried = beam_sdg_command(*flags, "--num_records=6", "--dry_run")
    assert tried.returncode == 0
    last = tried.stdout.splitlines()[-1]
    assert last.startswith(f"warning: without --dry_run: {output} holds a finished dataset of")
    assert (output / "manifest.json").read_bytes() == manifest
    done = beam_sdg_command(*flags, "--num_records=6", "--replace")
    assert done.returncode == 0, done.stderr
    assert pq.read_table(next(output.glob("data/*"))).num_rows == 6
    assert "6 rows in" in beam_sdg_command("report", output).stdout


def test_a_dry_run_is_of_this_process(beam_sdg_command, tmp_path):
    """Wherever the run itself would be: no cluster is asked, and none is paid for."""
    output = tmp_path / "out"
    flags = ("--runner=FlinkRunner", "--flink_master=localhost:1", f"--output={output}")
    tried = beam_sdg_command("infinibyte", *flags, "--dry_run")
    assert tried.returncode == 0, tried.stderr
    assert "Nothing was asked or written." in tried.stdout
    assert not output.exists()
    assert_explained(beam_sdg_command("infinibyte", *flags), USAGE, "no Flink answers there")
    tried = beam_sdg_command(
        "infinibyte", "--runner=DataflowRunner", "--dry_run", f"--output={output}"
    )
    assert tried.returncode == 0, tried.stderr
    warning = tried.stdout[tried.stdout.index("warning: without --dry_run: ") :]
    assert "Dataflow's machines do not have the folder" in " ".join(warning.split())


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        (("--runner=DataflowRunner", "--output=out"), "Dataflow's machines do not have the folder"),
        (("--runner=DataflowRunner", "--output=/out"), "name a bucket: --work_dir gs://"),
        (
            ("--runner=FlinkRunner", "--environment_type=DOCKER", "--output=/out"),
            "containers do not have the folder /out/.work",
        ),
        (("--runner=PortableRunner", "--output=/out"), "containers do not have the folder"),
        (("--runner=portable", "--output=/out"), "containers do not have the folder"),
        (("--runner=dataflow", "--output=/out"), "Dataflow's machines do not have the folder"),
        (("--runner=SparkRunner", "--output=/out"), "containers do not have the folder"),
        (
            ("--runner=FlinkRunner", "--environment_type=beam:env:docker:v1", "--output=/out"),
            "containers do not have the folder",
        ),
        (
            ("--runner=FlinkRunner", "--environment_type=EXTERNAL", "--output=out"),
            "workers need the whole path of out/.work",
        ),
    ],
)
def test_a_store_that_workers_do_not_have_is_refused(flags, wanted, tmp_path, capsys, monkeypatch):
    """What they are answered would be paid for, and gone with them."""
    monkeypatch.chdir(tmp_path)
    assert main(["infinibyte", *flags]) == USAGE
    assert wanted in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_runner_that_there_is_not_is_bad_usage(tmp_path, capsys):
    """Before a folder is made."""
    output = tmp_path / "out"
    assert main(["infinibyte", "--runner=NoSuchRunner", f"--output={output}"]) == USAGE
    assert "--runner NoSuchRunner: there is no such runner" in capsys.readouterr().err
    assert not output.exists()


def test_a_folder_of_other_files_is_left_alone(beam_sdg_command, tmp_path):
    """A folder with foreign files, or a file, is refused as output."""
    (tmp_path / "thesis.tex").write_text("x")
    done = beam_sdg_command("infinibyte", f"--output={tmp_path}")
    assert_explained(done, USAGE, "holds other files")
    done = beam_sdg_command("infinibyte", f"--output={tmp_path / 'thesis.tex'}")
    assert_explained(done, USAGE, "is a file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.tex"]


def test_a_dead_endpoint_is_one_line(beam_sdg_command, tmp_path):
    """Nothing listens: exit code 4 within the patience, no rejects, and the mend is named."""
    done = beam_sdg_command(
        "infinibyte", "--endpoint=http://127.0.0.1:9/v1", "--model=m", "--patience_s=1",
        f"--output={tmp_path / 'out'}",
    )  # fmt: skip
    assert_explained(done, FAILED, "http://127.0.0.1:9/v1 has failed for", "start the server")
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_an_output_that_cannot_be_made_is_one_line(beam_sdg_command, tmp_path):
    """A file where a folder should be: exit code 2 and the path."""
    (tmp_path / "file").write_text("x")
    done = beam_sdg_command("infinibyte", f"--output={tmp_path / 'file' / 'out'}")
    assert_explained(done, USAGE, "cannot write", str(tmp_path / "file"))


def test_a_server_that_refuses_everything_makes_no_dataset(beam_sdg_command, tmp_path, stub):
    """All requests refused: exit code 4 with the server's words, and nothing is published."""
    url = stub({"failing": 1.0})
    done = beam_sdg_command(
        "infinibyte", f"--endpoint={url}", "--model=m", f"--output={tmp_path / 'out'}"
    )
    assert_explained(done, FAILED, "all 5 requests of problem_candidates failed", "planted to fail")
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_dataset_whose_files_are_gone_is_one_line(beam_sdg_command, tmp_path):
    """`report` names the file that it misses."""
    output = tmp_path / "out"
    assert beam_sdg_command("infinibyte", f"--output={output}").returncode == 0
    shutil.rmtree(output / "data")
    assert_explained(beam_sdg_command("report", output), FAILED, "train-00000")


def test_a_damaged_stage_says_which_folder_to_delete(beam_sdg_command, tmp_path):
    """With that folder gone the same command ends well, and asks nothing again."""
    output = tmp_path / "out"
    assert beam_sdg_command("infinibyte", f"--output={output}").returncode == 0
    [damaged] = output.glob(".work/stages/solution/*/rows-*")
    damaged.write_text("junk")
    [export] = output.glob(".work/stages/export/*")
    shutil.rmtree(export)
    (output / "manifest.json").unlink()
    done = beam_sdg_command("infinibyte", f"--output={output}")
    assert_explained(done, FAILED, "is missing or damaged; delete", str(damaged.parent))
    shutil.rmtree(damaged.parent)
    assert beam_sdg_command("infinibyte", f"--output={output}").returncode == 0
    stored = output.glob(".work/store/solution/*/*")
    assert sum(len(path.read_text().splitlines()) for path in stored) == 5


def test_a_prompt_with_an_unknown_variable_is_one_line(beam_sdg_command, tmp_path):
    """The prompt and the variable are named, and no step of the dataflow."""
    (tmp_path / "infinibyte").mkdir()
    template = "{% block user %}{{ nope }}{% endblock %}"
    (tmp_path / "infinibyte" / "evals.jinja").write_text(template)
    done = beam_sdg_command("infinibyte", f"--prompts={tmp_path}", f"--output={tmp_path / 'out'}")
    assert_explained(done, FAILED, "prompt infinibyte/evals: 'nope' is undefined")
    assert "while running" not in done.stderr


def test_the_report_is_the_same_from_anywhere(tmp_path, beam_sdg_command, monkeypatch):
    """With a relative output, another working directory finds the store too."""
    monkeypatch.chdir(tmp_path)
    assert beam_sdg_command("infinibyte", "--output=out").returncode == 0
    here = beam_sdg_command("report", "out").stdout
    monkeypatch.chdir("/")
    there = beam_sdg_command("report", tmp_path / "out").stdout
    assert here.replace("out/", f"{tmp_path}/out/") == there
    assert "tokens" in there


def test_a_server_without_the_model_is_one_line(beam_sdg_command, tmp_path, stub):
    """A wrong path of the API answers 404: the flags to look at are named."""
    url = stub({}).removesuffix("/v1")
    done = beam_sdg_command(
        "infinibyte", f"--endpoint={url}", "--model=m", f"--output={tmp_path / 'out'}"
    )
    assert_explained(done, FAILED, "HTTP 404", "--endpoint", "--model")


def test_two_runs_never_share_a_work_folder(beam_sdg_command, tmp_path):
    """While one holds it, the other is refused."""
    (tmp_path / "out" / ".work").mkdir(parents=True)
    with (tmp_path / "out" / ".work" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = beam_sdg_command("infinibyte", f"--output={tmp_path / 'out'}")
    assert_explained(done, USAGE, "another run is using")


def test_two_runs_never_share_an_output(beam_sdg_command, tmp_path):
    """Whatever their work folders are: the second would publish over the first."""
    output = tmp_path / "out"
    (output / ".work").mkdir(parents=True)
    with (output / ".work" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        flags = (f"--output={output}", f"--work_dir={tmp_path / 'work'}")
        done = beam_sdg_command("infinibyte", *flags)
    assert_explained(done, USAGE, f"another run is using {output}/.work")


def test_a_push_that_cannot_succeed_is_refused_before_anything_is_asked(beam_sdg_command, tmp_path):
    """Without a token, or to what is no name: not after the run has been paid for."""
    output = tmp_path / "out"
    flags = ("infinibyte", f"--output={output}")
    nobody = {"HF_HOME": str(tmp_path), "HF_TOKEN": ""}
    done = beam_sdg_command(*flags, "--push_to_hub=me/rows", **nobody)
    assert_explained(done, USAGE, "no token to push to me/rows", "HF_TOKEN")
    done = beam_sdg_command(*flags, "--push_to_hub=me/my rows", HF_TOKEN="hf_" + "x" * 30)
    assert_explained(done, USAGE, "'me/my rows' is no name of a dataset")
    assert not output.exists()


def test_a_missing_key_is_said_before_anything_is_read(beam_sdg_command, tmp_path):
    """Not after the sources have been."""
    flags = ("infinibyte", f"--output={tmp_path / 'out'}", "--endpoint=nvidia", "--model=m")
    done = beam_sdg_command(*flags, NVIDIA_API_KEY="")
    assert_explained(done, FAILED, "set the environment variable NVIDIA_API_KEY")
    assert "problems_a" not in done.stderr


def test_a_model_alone_needs_vllm_here(command_without_vllm, tmp_path):
    """Where there is none, the two mends are named before anything is read."""
    output = f"--output={tmp_path / 'out'}"
    done = command_without_vllm("infinibyte", output, "--model=m", PATH="")
    assert_explained(done, FAILED, "pip install 'beam-sdg[vllm]'", "--endpoint")
    assert "problems_a" not in done.stderr


def test_help_lists_flags_with_their_defaults(beam_sdg_command):
    """Every setting of the recipe is a flag; the published defaults are shown."""
    shown = beam_sdg_command("infinibyte", "--help").stdout
    for part in ("--num_records", "(default: 5)", "--limit", "(default: 10000)", "--endpoint"):
        assert part in shown
    assert "the models" in shown
    assert "the models" not in beam_sdg_command("prepare-sft", "--help").stdout
    assert "infinibyte" in beam_sdg_command("recipes").stdout
    assert "usage: beam-sdg RECIPE" in beam_sdg_command().stdout


def test_the_key_is_written_nowhere(beam_sdg_command, tmp_path, stub):
    """After a run with a key, no file and no output holds it."""
    output = tmp_path / "out"
    done = beam_sdg_command(
        "infinibyte", f"--endpoint={stub({})}", "--model=m", f"--output={output}",
        OPENAI_API_KEY="sk-very-secret",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    texts = [path.read_bytes() for path in output.rglob("*") if path.is_file()]
    assert not any(b"sk-very-secret" in text for text in texts)
    assert "sk-very-secret" not in done.stdout + done.stderr
