"""Each option and command does what it says: these would fail if it did nothing."""

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest


def problems(path: Path, count: int) -> Path:
    path.write_text(
        "".join(json.dumps({"problem": f"What is {n} + 1?"}) + "\n" for n in range(count))
    )
    return path


def rows(output: Path, kind: str = "data") -> list[dict]:
    return [
        row for path in output.glob(f"{kind}/*.parquet") for row in pq.read_table(path).to_pylist()
    ]


def asked(output: Path, stage: str) -> list[dict]:
    """The lines of an answer store."""
    paths = sorted(output.glob(f".work/store/{stage}/*/*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


@pytest.fixture
def run(beam_sdg_command, tmp_path):
    """Run InfiniByte, or another command in its place, into tmp_path/out."""

    def infinibyte(*flags, before=(), code=0):
        command = (*before, "infinibyte", f"--output={tmp_path / 'out'}", *flags)
        done = beam_sdg_command(*command)
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return infinibyte


def test_a_dry_run_shows_the_plan_and_leaves_nothing(run, tmp_path):
    """Every stage, the calls, the first prompts, a cost; and no folder."""
    done = run(
        "--dry_run", "--num_records=200", "--max_tokens=1000",
        "--price_in=1", "--price_out=2",
    )  # fmt: skip
    shown = re.sub(r"\s+", " ", done.stdout)
    for stage in ("problems_a", "seed", "problem_candidates", "evals", "solution", "export"):
        assert stage in shown
    assert re.search(r"evals rehearsal 200 [\d,]+ ≤ 200,000 ≤ \$0\.\d\d", shown)
    assert "first prompt of problem_candidates (infinibyte/problem_candidates)" in shown
    assert "Here is a base problem" in shown
    assert not (tmp_path / "out").exists()


def test_a_dry_run_asks_no_server(run, stub, tmp_path):
    """With a model named, its server gets nothing; the model is in the plan."""
    log = tmp_path / "log"
    url = stub({}, "--log", str(log))
    done = run("--dry_run", f"--endpoint={url}", "--model=some/model")
    assert "some/model" in done.stdout
    assert not log.exists() or not log.read_text()


def test_a_dry_run_finds_what_is_wrong(run):
    """A source without its column fails a dry run as it would fail the run."""
    done = run("--dry_run", "--column_a=nope", code=3)
    assert "no column 'nope'" in done.stderr


def test_set_changes_a_setting_of_the_recipe(run, tmp_path):
    """A number, and one entry of a mapping whose others stay."""
    run("--set=num_records=8", "--set=combination_weights.obfuscation=0")
    made = rows(tmp_path / "out")
    assert len(made) == 8
    assert {row["combination_type"] for row in made} == {"complication"}


def test_set_gives_one_stage_a_model_of_its_own(run, stub, tmp_path):
    """The solution is asked elsewhere, with its own sampling; the other stages are rehearsed."""
    run(
        f"--set=solution.endpoint={stub({})}", "--set=solution.model=solver",
        "--set=solution.temperature=0.6", "--set=evals.max_tokens=99",
    )  # fmt: skip
    calls = {call["ask"]: call for call in rows(tmp_path / "out")[0]["provenance"]["calls"]}
    assert {name: call["model"] for name, call in calls.items()} == {
        "problem_candidates": "rehearsal",
        "best_problem": "rehearsal",
        "evals": "rehearsal",
        "solution": "solver",
    }
    assert json.loads(calls["solution"]["sampling"]) == {"temperature": 0.6}
    assert json.loads(calls["evals"]["sampling"]) == {"max_tokens": 99}


@pytest.mark.parametrize(
    ("assignment", "parts"),
    [
        ("num_recrods=3", ["no setting 'num_recrods'", "did you mean num_records?"]),
        ("num_records", ["write PATH=VALUE"]),
        ("num_records.x=3", ["num_records has no parts"]),
        ("num_records=none", ["--num_records 'none'", "integer"]),
        ("solution.temprature=1", ["--set solution.temprature", "temperature"]),
        ("solution.temperature=hot", ["--set solution.temperature 'hot'", "number"]),
        ("export.temperature=1", ["neither a setting nor an asked stage 'export'", "solution"]),
    ],
)
def test_a_wrong_assignment_is_one_line(run, tmp_path, assignment, parts):
    """It names the path, the value and what there is."""
    done = run(f"--set={assignment}", code=2)
    [line] = done.stderr.splitlines()
    assert all(part in line for part in parts), line
    assert not (tmp_path / "out").exists()


def test_a_mode_is_a_set_of_flags_and_flags_win(run):
    """`demo` asks ten rows of NVIDIA's hosts; a flag of one's own replaces one of the mode's."""
    shown = run("--mode=demo", "--dry_run").stdout
    assert "at most 10 rows" in shown
    assert "meta/llama-3.3-" in shown
    shown = run("--mode=demo", "--num_records=3", "--dry_run").stdout
    assert "at most 3 rows" in shown
    assert "known: demo, published" in run("--mode=full", code=2).stderr


def test_stages_run_alone_and_in_any_number_of_commands(run, tmp_path):
    """Nothing else is run, nothing is published before the last one, and the bytes are equal."""
    whole = tmp_path / "whole"
    run(f"--output={whole}")
    output = tmp_path / "out"
    done = run("--stages=problems_a,problems_b,seed,problem_candidates")
    assert "left to run before there is a dataset: best_problem, evals" in done.stdout
    assert asked(output, "problem_candidates")
    assert not asked(output, "best_problem")
    assert not (output / "manifest.json").exists()
    run("--stages=best_problem,evals")
    assert len(asked(output, "evals")) == 5
    assert not asked(output, "solution")
    run("--stages=solution,export")
    for name in ("data/train-00000-of-00001.parquet", "rejects/rejects-00000-of-00001.parquet"):
        assert (output / name).read_bytes() == (whole / name).read_bytes()


def test_stages_that_lack_their_input_are_one_line(run):
    """The stage that is missing, and the flag with it; or the stages there are."""
    done = run("--stages=evals", code=2)
    assert "evals needs the rows of best_problem" in done.stderr
    assert "--stages evals: evals needs" in done.stderr
    assert done.stderr.rstrip().endswith("--stages best_problem,evals")
    done = run("--stages=evil", code=2)
    assert "--stages evil: no such stage; there are problems_a" in done.stderr


def test_a_preview_shows_ten_rows_and_its_answers_serve_the_run(run, stub, tmp_path):
    """Prompts, raw replies and values of ten rows; then the run asks for the other two only."""
    output, log = tmp_path / "out", tmp_path / "log"
    url = stub({"malformed": 0.1}, "--log", str(log))
    flags = (f"--endpoint={url}", "--model=m", "--num_records=12")
    shown = run(*flags, before=["preview"]).stdout
    assert shown.count("row ") >= 10
    assert "row 10 of 10" in shown
    for part in ("→ system", "→ user", "← stop", "evals", "✗ malformed_answer"):
        assert part in shown
    assert not (output / "data").exists()
    previewed = set(log.read_text().splitlines())
    ids = re.findall(r"row \d+ of 10: (\w+)", shown)
    assert len(set(ids)) == 10
    run(*flags)
    lines = log.read_text().splitlines()
    assert len(lines) == len(set(lines))
    assert previewed < set(lines)
    assert set(ids) <= {row["id"] for kind in ("data", "rejects") for row in rows(output, kind)}


def test_show_tells_a_rows_whole_way(run, beam_sdg_command, tmp_path):
    """Its problems, the prompt and the reply of each stage, word for word, and its values."""
    run("--rehearsal=correctable=0.5", "--num_records=8")
    output = tmp_path / "out"
    corrected = next(
        row
        for row in rows(output)
        if any(call["turns"] == 2 for call in row["provenance"]["calls"])
    )
    shown = beam_sdg_command("show", output, corrected["id"]).stdout
    assert corrected["problem_a"] in shown
    assert corrected["problem_b"] in shown
    assert corrected["solution"] in shown
    for call in corrected["provenance"]["calls"]:
        lines = {line["key"]: line for line in asked(output, call["ask"])}
        for key in call["keys"]:
            assert lines[key]["reply"]["text"] in shown
            assert all(text in shown for _, text in lines[key]["sent"])
    source = beam_sdg_command("show", output, corrected["provenance"]["a"]["id"]).stdout
    assert corrected["problem_a"] in source


def test_show_tells_why_a_row_was_lost(run, beam_sdg_command, tmp_path):
    """A reject's way ends with its reason, its detail and the raw reply."""
    run("--rehearsal=malformed=0.25", "--num_records=8")
    [reject, *_] = rows(tmp_path / "out", "rejects")
    shown = beam_sdg_command("show", tmp_path / "out", reject["id"]).stdout
    assert f"✗ {reject['reason']}" in shown
    assert reject["detail"] in shown
    assert reject["reply"] in shown


def test_show_of_nothing_is_one_line(run, beam_sdg_command, tmp_path):
    """An unknown id, a folder without a run, and a missing argument."""
    run()
    for arguments, code, part in (
        (["show", tmp_path / "out", "no-such-id"], 3, "no stage has a row no-such-id"),
        (["show", tmp_path, "x"], 2, "holds no run"),
        (["show", tmp_path / "out"], 2, "beam-sdg show DIR ID"),
    ):
        done = beam_sdg_command(*arguments)
        assert done.returncode == code
        [line] = done.stderr.splitlines()
        assert part in line


def test_prompts_of_ones_own_are_what_is_asked(run, tmp_path):
    """The template in the folder is rendered; the others stay as they are."""
    folder = tmp_path / "mine" / "infinibyte"
    folder.mkdir(parents=True)
    text = "{% block user %}Solve: <problem>\n{{ new_problem }}\n</problem>{% endblock %}"
    (folder / "solution.jinja").write_text(text)
    run(f"--prompts={tmp_path / 'mine'}")
    output = tmp_path / "out"
    [[role, sent]] = asked(output, "solution")[0]["sent"]
    assert (role, sent[:7]) == ("user", "Solve: ")
    assert len(asked(output, "evals")[0]["sent"]) == 2


def test_jsonl_is_a_format_of_the_output(run, tmp_path):
    """The same rows, one JSON object a line."""
    run("--format=jsonl")
    [path] = (tmp_path / "out" / "data").iterdir()
    assert path.suffix == ".jsonl"
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 5


def test_recipes_lists_modes(beam_sdg_command):
    """Each recipe with its summary, and the flags each of its modes stands for."""
    shown = beam_sdg_command("recipes").stdout
    assert "infinibyte" in shown
    assert "--mode demo" in shown
    assert "--endpoint=nvidia" in shown
