"""OpenReasoning's math data, whole: verdicts, votes, repairs, summaries and filters of the plan."""

import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beam_sdg.cli import main
from tests import planned
from tests.planned import Judge, Rejected, Solved
from transforms.engines.rehearsal import Rehearsal

ROOT = Path(__file__).parents[2]
FAULTS = {"malformed": 0.02, "failing": 0.02}
ENGINE = Rehearsal(**FAULTS)
SAMPLES, SUMMARIES = 4, 2
LONGEST_PROBLEM, LONGEST, LEAST_SHARE = 450, 800, 0.6
BUCKET = 120
SUMMARY = "math/summary"
REFUSED = {
    "other_answer": "summary_differs", "no_box": "no_boxed_answer", "tag": "tag_in_summary",
}  # fmt: skip


def truth(text: str, number: int) -> str:
    return planned.spelt(planned.generator("math/solution").truth(text), number)


def thought(text: str) -> str:
    """The reasoning of every sample of a problem."""
    written = planned.generator("math/solution").rehearse(
        [{"role": "user", "content": f"<problem>\n{text}\n</problem>"}], random.Random(0)
    )
    return written.split("</think>")[0].removeprefix("<think>").strip()


def summary_of(sample: Any, rejects: Rejected) -> tuple[str, str] | None:
    """The text of the summary that is put in, and its answer; None where all are refused."""
    made = planned.generator(SUMMARY)
    best: list[tuple[int, int, str, str]] = []
    for number in range(SUMMARIES):
        lost, rng = planned.draws(ENGINE, "generate_new_summaries", SUMMARY, sample.id, number)
        plan = made.plan_of(rng)
        if reason := lost or REFUSED.get(plan.fault, ""):
            rejects.add(("generate_new_summaries", sample.id, number, reason))
            continue
        answer = (
            f"{sample.answer}.0" if plan.is_respelt and sample.answer.isdigit() else sample.answer
        )
        steps = "".join(made._STEP.format(step) for step in range(1, plan.steps + 1))
        text = f"{steps}\nThe answer is \\boxed{{{answer}}}."
        best.append((-len(text), number, text, answer))
    return min(best)[2:] if best else None


def filtered(problem: Solved, sample: Any, text: str) -> str:
    """The reason for which the filters drop a solution, or ""."""
    length = len(thought(problem.text)) + len(text)
    if reason := planned.unfit(sample.verdict):
        return reason
    if problem.action in ("filled", "repaired"):
        vote = problem.majority
        if vote["votes"] < vote["ballots"] * LEAST_SHARE:
            return "majority_filter"
    if len(problem.text) > LONGEST_PROBLEM:
        return "remove_len_outlier_problems"
    return "remove_len_outlier_solutions" if length > LONGEST else ""


def test_gsm8k_comes_out_as_planned(data, beam_sdg_command, tmp_path):
    """500 problems with faults on the way: what each sample becomes, and why a lost one is lost."""
    output = tmp_path / "out"
    flags = planned.write_problems(data, tmp_path / "in.jsonl", 500, truth)
    done = beam_sdg_command(
        "openreasoning-math", f"--output={output}", *flags, f"--samples={SAMPLES}",
        f"--new_summaries={SUMMARIES}", f"--max_problem_length={LONGEST_PROBLEM}",
        f"--max_solution_length={LONGEST}", f"--min_majority_percentage={LEAST_SHARE}",
        "--rehearsal", ",".join(f"{name}={share}" for name, share in FAULTS.items()),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    read = planned.stage_rows(output, "problems")
    assert len(read) == 500

    rejects: Rejected = set()
    judge, again = Judge("judge_answers", ENGINE), Judge("judge_again", ENGINE)
    rows, kept = {}, {}
    actions: Counter[str] = Counter()
    for problem in read.values():
        samples = planned.solutions(problem, range(SAMPLES), rejects, engine=ENGINE)
        solved = Solved(problem["id"], problem["text"], problem["expected_answer"], samples)
        solved.judge(judge)
        solved.fill(repair=True)
        solved.judge(again)
        solved.count()
        rows |= solved.rows()
        actions[solved.action] += bool(samples)
        left = []
        for one in samples:
            put = summary_of(one, rejects) if one.verdict == "correct" else (one.answer, one.answer)
            if put is None:
                rejects.add(("merge_new_summaries", one.id, 0, "no_valid_summary"))
            elif reason := filtered(solved, one, put[0] or ""):
                rejects.add(("prepare_for_sft", one.id, 0, reason))
            else:
                left.append((one.id, put))
        stay, same = planned.unlike(left)
        rejects |= {("prepare_for_sft", of, 0, "duplicate_solution") for of in same}
        kept |= {of: (solved, put) for of, put in left if of in stay}

    judged = planned.stage_rows(output, "judge_again.solutions")
    assert {of: planned.told(row) for of, row in judged.items()} == rows
    assert planned.rejected(output) == rejects | judge.rejects | again.rejects
    data_rows = planned.dataset_rows(output)
    assert data_rows.keys() == kept.keys()
    for of, row in data_rows.items():
        solved, (text, answer) = kept[of]
        assert (row["generation"], row["predicted_answer"]) == (text, answer)
        assert row["output"] == f"<think>\n{thought(solved.text)}\n</think>\n\n{text}"
        assert row["expected_answer"] == solved.expected
        is_voted = solved.action in ("filled", "repaired")
        counts = (solved.majority["votes"], solved.majority["ballots"])
        assert (row["majority_votes"], row["total_votes"]) == (counts if is_voted else (None, None))
    # Nothing above is true for want of a case.
    assert min(actions[name] for name in ("kept", "filled", "repaired", "no_consensus")) >= 5
    found = Counter((stage, reason) for stage, _, _, reason in rejects)
    assert min(found.values()) >= 5 and len(found) == 14, found
    assert {row["verdict"] for row in rows.values()} == {
        "correct", "incorrect", "unjudged", "no_answer", "no_expected_answer",
    }  # fmt: skip
    assert {row["majority"]["why"] for row in rows.values()} == {"", "tie"}


def test_judges_vote_and_problems_are_of_the_right_difficulty(data, tmp_path):
    """Three votes of which some cannot be read, quorums, and rows drawn into buckets."""
    output = tmp_path / "out"
    flags = planned.write_problems(data, tmp_path / "in.jsonl", 60, truth)
    assert (
        main([
            "openreasoning-math", f"--output={output}", *flags, "--samples=5", "--judge_votes=3",
            "--vote_quorum=3", "--min_verdicts=3", "--min_pass_rate=0.3", "--max_pass_rate=0.9",
            "--rehearsal=malformed=0.2", "--downsampling_method=fair", "--num_output_samples=30",
            f"--buckets={BUCKET}", "--exclude_optional_keys",
        ]) == 0
    )  # fmt: skip
    engine = Rehearsal(malformed=0.2)
    judge, again = Judge("judge_answers", engine, 3), Judge("judge_again", engine, 3)
    rejects: Rejected = set()
    rows: dict[str, Any] = {}
    left: dict[str, tuple[int, str | None]] = {}
    for problem in planned.stage_rows(output, "problems").values():
        samples = planned.solutions(problem, range(5), rejects, engine=engine)
        solved = Solved(problem["id"], problem["text"], problem["expected_answer"], samples)
        solved.judge(judge)
        solved.fill(quorum=3, repair=True, min_verdicts=3)
        solved.judge(again)
        solved.count()
        rows |= solved.rows()
        rate = samples[0].pass_rate if samples else None
        if rate is not None and not 0.3 <= rate < 0.9:
            reason = "too_easy" if rate >= 0.9 else "too_hard"
            rejects |= {("filter_solutions", one.id, 0, reason) for one in samples}
            continue
        for one in samples:
            if reason := planned.unfit(one.verdict):
                rejects.add(("prepare_for_sft", one.id, 0, reason))
        correct = [(one.id, one.text) for one in samples if one.verdict == "correct"]
        stay, same = planned.unlike(correct)
        rejects |= {("prepare_for_sft", of, 0, "duplicate_solution") for of in same}
        left |= {of: (len(stay), solved.expected) for of in stay}

    judged = planned.stage_rows(output, "judge_again.solutions")
    assert {of: planned.told(row) for of, row in judged.items()} == rows
    assert planned.rejected(output) == rejects | judge.rejects | again.rejects
    short, long = (planned.dataset_rows(output, f"train_{name}") for name in (
        f"up_to_{BUCKET}", f"over_{BUCKET}"
    ))  # fmt: skip
    drawn = short | long
    assert all(len(row["output"]) <= BUCKET for row in short.values())
    assert all(len(row["output"]) > BUCKET for row in long.values())
    assert len(drawn) == len(short) + len(long) == 30 < len(left)
    assert [*next(iter(drawn.values()))] == ["expected_answer", "input", "output", "id"]
    assert {of: left[of][1] for of in drawn} == {
        of: row["expected_answer"] for of, row in drawn.items()
    }
    taken = Counter(of.split("-")[0] for of in drawn)
    most = max(taken.values())
    assert all(taken[of.split("-")[0]] >= min(count, most - 1) for of, (count, _) in left.items())
    # Nothing above is true for want of a case.
    assert short and long
    assert {"too_few_verdicts", "repaired"} <= {row["action"] for row in rows.values()}
    assert "below_quorum" in {row["majority"]["why"] for row in rows.values()}
    assert {"too_easy", "too_hard"} <= {reason for _, _, _, reason in rejects}
    assert {1, 2, 3} <= {row["judge_calls"] for row in rows.values()}


def test_a_range_without_a_pass_rate_is_refused(tmp_path, capsys):
    """In one line, before anything is read."""
    rates = ("--min_pass_rate=0.9", "--max_pass_rate=0.5")
    assert main(["openreasoning-math", f"--output={tmp_path / 'out'}", *rates]) == 2
    said = capsys.readouterr().err
    assert "no pass rate is from min_pass_rate 0.9 to below max_pass_rate 0.5; swap them" in said
    assert said.count("\n") == 1


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[str], Path]]:
    """The flags of a small run of two shards, and where it was made in one go."""
    folder = tmp_path_factory.mktemp("small")
    path = ROOT / "beam_sdg" / "samples" / "math.jsonl"
    flags = [
        "openreasoning-math", f"--problems={path}", "--num_records=12", "--samples=4",
        "--new_summaries=2", "--num_shards=2", "--rehearsal=malformed=0.05",
    ]  # fmt: skip
    assert main([*flags, f"--output={folder / 'out'}"]) == 0
    yield flags, folder / "out"


def test_stages_one_at_a_time_write_the_same_bytes(small, tmp_path):
    """By their published names; the steps of each come along."""
    flags, whole = small
    manifest = json.loads((whole / "manifest.json").read_text())
    names = [stage["stage"] for stage in manifest["stages"] if "." not in stage["stage"]]
    assert names == [
        "problems", "generate_solutions", "judge_answers", "fill_majority_answer", "judge_again",
        "select_correct", "generate_new_summaries", "merge_new_summaries", "prepare_for_sft",
        "export",
    ]  # fmt: skip
    for name in names:
        assert not (tmp_path / "out" / "manifest.json").exists()
        assert main([*flags, f"--output={tmp_path / 'out'}", f"--stages={name}"]) == 0
    assert planned.files_of(tmp_path / "out") == planned.files_of(whole)


def test_worker_processes_vote_as_one_process_does(small, tmp_path, beam_sdg_command):
    """From the same verdicts: the bytes of what is agreed."""
    flags, whole = small
    output, vote = tmp_path / "out", "fill_majority_answer"
    shutil.copytree(whole / ".work", output / ".work")
    shutil.rmtree(output / ".work" / "stages" / vote)
    workers = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    done = beam_sdg_command(*flags, f"--output={output}", f"--stages={vote}", *workers)
    assert done.returncode == 0, done.stderr
    assert files_of_stage(output, vote) == files_of_stage(whole, vote)


def files_of_stage(output: Path, stage: str) -> dict[str, bytes]:
    """The bytes of its rows and rejects."""
    paths = sorted(output.glob(f".work/stages/{stage}/*/r*.parquet"))
    assert len(paths) == 4  # two shards of each
    return {path.name: path.read_bytes() for path in paths}


def test_the_portable_job_service_writes_the_same_bytes(
    small, tmp_path, beam_sdg_command, job_service
):
    """All stages there, pickled and over gRPC."""
    flags, whole = small
    portable = (
        "--runner=PortableRunner", f"--job_endpoint={job_service}", "--environment_type=LOOPBACK",
    )  # fmt: skip
    done = beam_sdg_command(*flags, f"--output={tmp_path / 'out'}", *portable)
    assert done.returncode == 0, done.stderr
    assert planned.files_of(tmp_path / "out") == planned.files_of(whole)
