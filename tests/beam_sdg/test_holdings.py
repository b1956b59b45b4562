"""`beam-sdg store`: what is held is counted, what is wrong is shown, and a run goes on."""

import re
from pathlib import Path

import pytest

from beam_sdg.cli import main
from beam_sdg.holdings import holdings
from sandbox import Execution
from tests.planned import files_of
from transforms.engines.engine import Attempted, Failure, Reply
from transforms.engines.store import AnswerStore
from transforms.engines.usage import EngineUsage
from transforms.errors import RunError, UsageError
from transforms.seeding import digest

SMALL = Reply("yes", "", "stop", 10, 3)


def fill(work_dir: Path) -> AnswerStore:
    """A store of two stages, one of them asked of two models, with a refusal and retries."""
    store = AnswerStore(f"{work_dir}/store", "evals")
    with store.window([]) as window:
        for number in range(4):
            model = f"model-{number % 2}"
            window.append(number % 3, digest(number), Attempted(SMALL, 1 + number), model=model)
        refused = Failure("request_refused", "HTTP 400")
        window.append(1, digest("refused"), Attempted(refused, 2), model="model-0")
        window.note(EngineUsage("vllm", "model-0"))
    with AnswerStore(store.root, "solution").window([]) as window:
        window.append(7, digest("turn"), Attempted(SMALL, 1), model="model-1")
        window.append_execution(7, digest("cell"), Execution("ok", "4"), record="0" * 32, sample=0)
    return store


@pytest.fixture
def shown(capsys):
    """What the command prints about a folder, spaces squeezed; and that it ends well."""

    def shown(folder: Path, code: int = 0) -> str:
        assert main(["store", str(folder)]) == code
        return re.sub(r" +", " ", "".join(capsys.readouterr()))

    return shown


def test_what_is_held_is_counted_by_stage_and_model(tmp_path, shown):
    """Answers, requests with their retries, refusals, tokens; executions, segments and size."""
    fill(tmp_path)
    said = shown(tmp_path)
    for row in (
        "evals: model-0 2 6 1 20 6",
        "evals: model-1 2 6 0 20 6",
        "solution: model-1 1 1 0 10 3",
        "Nothing is wrong with it.",
    ):
        assert row in said
    sizes = {one.name: one.stat().st_size for one in tmp_path.glob("store/evals/*/*")}
    held = holdings(f"{tmp_path}/store")
    assert [(one.executions, one.segments) for one in held.stages] == [(0, 4), (1, 1)]
    files = [*tmp_path.glob("store/evals/*/*.jsonl")]
    assert held.stages[0].size == sum(file.stat().st_size for file in files) > max(sizes.values())
    assert re.search(r"evals 0 4 [\d.,]+ (B|KiB)", said)
    assert re.search(r"solution 1 1 [\d.,]+ (B|KiB)", said)


@pytest.mark.parametrize("place", ["out/.work", "out/.work/store", "out"])
def test_the_store_is_found_from_output_work_folder_and_itself(tmp_path, shown, place):
    """Whichever of them is named, with or without a slash."""
    fill(tmp_path / "out" / ".work")
    assert f"answers in {tmp_path}/out/.work/store\n" in shown(f"{tmp_path / place}/")


def test_a_folder_without_answers_is_bad_usage(tmp_path, shown):
    """One line, and the exit code of it."""
    (tmp_path / "data").mkdir()
    said = shown(tmp_path, UsageError.exit_code)
    assert said == (
        f"beam-sdg: {tmp_path} holds no answers; name an output folder, a work folder or a store "
        "in one\n"
    )
    assert main(["store"]) == UsageError.exit_code


def test_of_a_dataset_without_a_model_nothing_was_asked(tmp_path, shown, dataset):
    """It says so, and that is no mistake."""
    _, folder = dataset([], asks={})
    assert shown(Path(folder)) == f"nothing was asked for the dataset in {folder}\n"


def test_what_is_wrong_is_counted_and_shown(tmp_path, shown):
    """Each kind with its place; also of engines' notes, and beside the stages."""
    store = fill(tmp_path)
    segment = Path(store.segments()[0].path)
    with segment.open("ab") as file:
        file.write(b"garbage\n" * 25 + b'{"key":"to')
    (segment.parents[2] / "README").write_text("mine")
    (segment.parents[1] / "engines" / "000001.jsonl").write_text("[]\n")
    (segment.parent / "000001.jsonl").symlink_to("/proc/self/mem")
    with store.window([]) as window:
        window.append(0, digest(0), Attempted(SMALL, 1), model="model-0")
        window.append(0, digest(3), Attempted(Reply("no", "", "stop", 10, 3), 1), model="model-0")
    said = shown(tmp_path)
    for line in (
        "1 torn line: ",
        f" {segment}, line 28\n",
        "26 damaged lines: ",
        " … and 6 more",
        f"1 foreign file: not named like a segment, or in no place of one; left alone\n {tmp_path}",
        "1 unreadable segment: ",
        "000001.jsonl, a part of the answer store: Input/output error",
        "1 answer that is there twice: ",
        "1 question with different answers: ",
        f" {digest(3)}: 2 answers, and that of ",
    ):
        assert line in said, line


def test_a_run_reads_past_damage_and_its_report_tells(tmp_path, beam_sdg_command):
    """The same bytes; asked again is what was lost, and the report has a line about the store."""
    whole, output = tmp_path / "whole", tmp_path / "out"
    flags = ("infinibyte", "--stages=problems_a,problems_b,seed,problem_candidates")
    assert beam_sdg_command("infinibyte", "--output", whole).returncode == 0
    assert beam_sdg_command(*flags, "--output", output).returncode == 0
    segments = sorted(output.glob(".work/store/problem_candidates/*/*.jsonl"))
    segments[0].write_bytes(segments[0].read_bytes()[:-100])
    segments[1].write_bytes(b"[[[\n" + segments[1].read_bytes())
    (segments[0].parent / "core").write_bytes(b"\0")
    for folder in output.glob(".work/stages/problem_candidates/*"):
        (folder / "stage.json").unlink()
    done = beam_sdg_command("infinibyte", "--output", output)
    assert done.returncode == 0, done.stderr
    line = (
        "Answer store: 1 torn line, 1 damaged line and 1 foreign file; beam-sdg store "
        f"{output} shows where"
    )
    assert line in done.stdout.splitlines()
    assert line in (output / "report.txt").read_text().splitlines()
    assert (
        "1 damaged line and 1 foreign file; beam-sdg store DIR"
        in (output / "report.html").read_text()
    )
    assert "Answer store:" not in (whole / "report.txt").read_text()
    assert files_of(output) == files_of(whole)
    asked = AnswerStore(f"{output}/.work/store", "problem_candidates").attempts()
    assert len(list(asked)) == 5


def test_a_store_that_cannot_be_listed_is_an_error(tmp_path):
    """What is no folder has no answers; a folder that cannot be read is no empty one."""
    assert list(AnswerStore(str(tmp_path), "evals").attempts()) == []
    (tmp_path / "evals").symlink_to(tmp_path / "evals")
    with pytest.raises(RunError, match="cannot read .*/evals, a part of the answer store"):
        list(AnswerStore(str(tmp_path), "evals").attempts())
