"""GenSelect, whole: real judged solutions with planted faults come out as planned.

The solutions are those of four models to problems of GSM8K, with their published labels; what is
kept of them, compared and told again is worked out from the rows as they were written.
"""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from beam_sdg.cli import main
from beam_sdg.models import ModelSettings
from beam_sdg.preview import rows_to_come
from beam_sdg.publish import read_manifest
from beam_sdg.recipes.genselect import GenSelectConfig, stages
from beam_sdg.recipes.recipe import Context
from tests import planned
from tests.planned import Rejected
from tests.solved import judged_rows
from transforms.engines.rehearsal import Rehearsal

COMPARED, TOLD = "genselect/comparison", "genselect/summary"
ENGINE = Rehearsal(malformed=0.05, failing=0.05)
REASONS = {
    "no_judgment": "no_judgment",
    "out_of_range": "judgment_out_of_range",
    "other_choice": "judgment_differs",
    "tag": "tag_in_summary",
}
PREPARED = "prepare_labeling_data"

# What is done to a row, and the reason for which it must be lost.
FAULTS: dict[str, Callable[[dict[str, Any]], None]] = {
    "missing_text": lambda row: row.update(problem=None),
    "missing_generation": lambda row: row.update(generation=None),
    "truncated": lambda row: row.update(finish_reason="length"),
    "unlabeled": lambda row: row.update(symbolic_correct=None),
    "no_reasoning_end": lambda row: row.update(generation=f"<think>{row['generation']}"),
    "several_boxes": lambda row: row.update(generation=rf"\boxed{{1}} {row['generation']}"),
    "box_cut_off": lambda row: row.update(generation=row["generation"] + " " + "." * 3000),
    "answer_differs": lambda row: row.update(predicted_answer="-7"),
    "other_expected_answer": lambda row: row.update(expected_answer="-7"),
}


def rows_with_faults(data: Path, problems: int) -> list[tuple[dict[str, Any], str]]:
    """Every row and the reason for which it is lost by itself or ""; copies of some."""
    found = []
    for number, row in enumerate(judged_rows(data, problems)):
        reason = "" if row["predicted_answer"] is not None else "no_boxed_answer"
        if not reason and number % 23 == 4:
            reason = [*FAULTS][number // 23 % len(FAULTS)]
            FAULTS[reason](row)
        found.append((row, reason))
        if number % 19 == 0 and not reason:  # the same text, by another name and with another label
            is_same = number % 2 == 0
            label = row["symbolic_correct"] is is_same
            copy = {**row, "id": f"{row['id']} again", "symbolic_correct": label}
            found[-1] = (row, "" if is_same else "contradictory_labels")
            found.append((copy, "duplicate_solution" if is_same else "contradictory_labels"))
    return found


def fates(rows: Sequence[tuple[dict[str, Any], str]]) -> dict[str, list[Any]]:
    """The reasons of rejects, and by problem the labels of solutions that can be chosen among."""
    by_problem = defaultdict(list)
    for row, reason in rows:
        if not reason:
            by_problem[row["problem"]].append(row)
    lost, kept = [reason for _, reason in rows if reason], []
    for of in by_problem.values():
        labels = [row["symbolic_correct"] for row in of]
        if all(labels) or not any(labels):
            lost += ["all_correct" if all(labels) else "all_incorrect"] * len(of)
        elif len(of) < 4:
            lost += ["too_few_solutions"] * len(of)
        else:
            kept.append({row["id"]: row for row in of})
    return {"lost": lost, "kept": kept}


def written(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def answers_of(instance: Mapping[str, Any]) -> list[str]:
    return [one["answer"] for one in instance["solutions"]]


def outcome(fault: str, lost: str) -> str:
    """Why an answer of this plan and fate is a reject, or ""."""
    return lost or REASONS.get(fault, "")


def test_gsm8ks_solutions_come_out_as_planned(data, tmp_path, beam_sdg_command):
    """300 problems: rejects by reason, instances, choices, summaries and rows."""
    rows = rows_with_faults(data, planned.problems(300))
    output = tmp_path / "out"
    done = beam_sdg_command(
        "genselect", f"--output={output}", "--num_records=1000", "--max_instances_per_problem=3",
        f"--problems={written(tmp_path / 'in' / 'rows.jsonl', [row for row, _ in rows])}",
        "--new_summaries=3", "--rehearsal=malformed=0.05,failing=0.05",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    plan = fates(rows)
    found = planned.rejected(output, "rows", f"{PREPARED}.solutions", f"{PREPARED}.problems")
    assert Counter(reason for *_, reason in found) == Counter(plan["lost"])
    problems = planned.stage_rows(output, f"{PREPARED}.drawn")
    usable = {
        frozenset(one["id"].removesuffix(" again") for one in row["candidates"])
        for row in problems.values()
    }
    assert usable == {frozenset(of) for of in plan["kept"]}
    labels = {of: row["symbolic_correct"] for kept in plan["kept"] for of, row in kept.items()}
    labels |= {f"{of} again": label for of, label in labels.items()}
    instances = planned.stage_rows(output, PREPARED)
    assert {row["problem_id"] for row in instances.values()} == problems.keys()
    for instance in instances.values():
        right = [labels[one["id"]] for one in instance["solutions"]]
        assert right == [one["is_correct"] for one in instance["solutions"]]
        assert 1 <= sum(right) <= len(right) / 2

    rejects: Rejected = set()
    chosen: dict[str, int] = {}
    for of, instance in instances.items():
        lost, rng = planned.draws(ENGINE, "label_data", COMPARED, of, 0)
        step = planned.generator(COMPARED)
        one = step.plan_of(instance["problem"], answers_of(instance), rng)
        if reason := outcome(one.fault, lost):
            rejects.add(("label_data", of, 0, reason))
        elif not instance["solutions"][one.choice]["is_correct"]:
            rejects.add(("extract_judgment", of, 0, "wrong_choice"))
        else:
            chosen[of] = one.choice
    wanted: dict[str, int] = {}
    for of in chosen:
        reasons: dict[int, int] = {}
        for sample in range(3):
            lost, rng = planned.draws(ENGINE, "generate_new_summaries", TOLD, of, sample)
            told = planned.generator(TOLD).plan_of(rng)
            if reason := outcome(told.fault, lost):
                rejects.add(("generate_new_summaries", of, sample, reason))
            else:
                reasons[sample] = told.reasons
        if reasons:
            wanted[of] = max(reasons.values())
        else:
            rejects.add(("merge_new_summaries", of, 0, "no_valid_summary"))

    asked = ("label_data", "generate_new_summaries", "extract_judgment", "merge_new_summaries")
    assert planned.rejected(output, *asked) == rejects
    kept = planned.dataset_rows(output)
    assert kept.keys() == wanted.keys()
    for of, row in kept.items():
        assert row["output"] == row["generation"] == row["messages"][-1]["content"]
        assert row["generation"].count("Reason ") == wanted[of]
        assert row["generation"].endswith(f"\n\nJudgment: {chosen[of]}")
        extra, instance = json.loads(row["extra"]), instances[of]
        assert [extra[f"solution_id_{n}"] for n in range(extra["num_solutions"])] == [
            one["id"] for one in instance["solutions"]
        ]
        assert extra["solutions"] in row["input"] == row["messages"][0]["content"]
        assert row["is_correct"] and row["predicted_answer"] == answers_of(instance)[chosen[of]]
        assert row["problem"] in row["input"] and row["provenance"]["problem"]["source"]
    # Nothing above is true for want of a case.
    assert {reason for *_, reason in found} == {
        *FAULTS, "no_boxed_answer", "duplicate_solution", "contradictory_labels", "all_correct",
        "all_incorrect", "too_few_solutions",
    }  # fmt: skip
    assert {reason for *_, reason in rejects} == {
        *REASONS.values(), "truncated_answer", "request_refused", "wrong_choice",
        "no_valid_summary",
    }  # fmt: skip
    assert len(kept) > 50


def stage_files(output: Path) -> dict[str, bytes]:
    """The bytes of the instances, and of what was lost on the way to them."""
    paths = sorted(output.glob(f".work/stages/{PREPARED}*/*/r*.parquet"))
    assert len(paths) >= 8
    return {f"{path.parents[1].name}/{path.name}": path.read_bytes() for path in paths}


def test_equal_seeds_give_equal_instances_on_several_workers(
    data, tmp_path, beam_sdg_command, job_service
):
    """In any order of rows, in this process, in two and on a portable runner: the same bytes."""
    rows = judged_rows(data, 60)
    orders = [rows, rows[::-1], random.Random(3).sample(rows, len(rows))]
    runners = [
        (),
        ("--direct_running_mode=multi_processing", "--direct_num_workers=2"),
        ("--runner=PortableRunner", f"--job_endpoint={job_service}",
         "--environment_type=LOOPBACK"),
    ]  # fmt: skip
    found = []
    for number, (order, runner) in enumerate(zip(orders, runners, strict=True)):
        output = tmp_path / f"out{number}"
        path = written(tmp_path / f"in{number}" / "rows.jsonl", order)
        done = beam_sdg_command(
            "genselect", f"--output={output}", f"--problems={path}", "--num_records=20",
            "--num_shards=2", f"--stages=rows,{PREPARED}", *runner,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.append(stage_files(output))
    assert found[0] == found[1] == found[2]
    assert len(planned.stage_rows(tmp_path / "out0", PREPARED)) > 100


def assert_bounded(output: Path) -> None:
    """A plan from a trial with one instance of each problem says no fewer rows than there are."""
    manifest = read_manifest(str(output))
    assert manifest is not None
    counts = {made.stage: made.rows_in * made.samples for made in manifest.stages}
    config = GenSelectConfig(new_summaries=0)
    trial = {PREPARED: 1.0, f"{PREPARED}.problems": 0.1}
    plan = rows_to_come(
        stages(config, Context()), trial, config.num_records, {"rows": counts["rows"]}
    )
    most, is_known = plan["label_data"]
    assert is_known and most == 80 and 10 < counts["label_data"] <= most


def test_the_rows_of_our_own_solutions_can_be_chosen_among(tmp_path):
    """A run of openmathreasoning-solutions that keeps wrong solutions is all that is needed."""
    solved, output = tmp_path / "solved", tmp_path / "out"
    flags = ["--samples=8", "--add_incorrect", "--num_records=8"]
    assert main(["openmathreasoning-solutions", f"--output={solved}", *flags]) == 0
    labels = {of: row["is_correct"] for of, row in planned.dataset_rows(solved).items()}
    problems = f"--problems={solved}/data/*.parquet"
    assert main(["genselect", f"--output={output}", problems, "--new_summaries=0"]) == 0
    assert_bounded(output)
    rows = planned.dataset_rows(output)
    assert len(rows) > 5
    for row in rows.values():
        extra = json.loads(row["extra"])
        for number in range(extra["num_solutions"]):
            is_correct = labels[extra[f"solution_id_{number}"]]
            assert extra[f"label_{number}"] == ("Correct" if is_correct else "Incorrect")
        assert row["output"].startswith("<think>\nWho is right?")  # not told again
        assert row["provenance"]["problem"]["source"] == "sample"
        assert row["provenance"]["problem"]["licence"] == "Apache-2.0"
        assert [call["ask"] for call in row["provenance"]["calls"]] == ["label_data"]


def test_a_preview_asks_what_the_full_run_asks():
    """About one instance of each of ten problems; those are the first of more."""
    config = GenSelectConfig(num_records=500)
    few = config.of_rows(10)
    assert (few.num_records, few.max_instances_per_problem) == (10, 1)
    assert few.model_dump(exclude={"num_records", "max_instances_per_problem"}) == (
        config.model_dump(exclude={"num_records", "max_instances_per_problem"})
    )


def sampling(stage: str, **models: Any) -> dict[str, Any]:
    context = Context(models=ModelSettings(**models))
    [found] = [each for each in stages(GenSelectConfig(), context) if each.name == stage]
    assert found.ask is not None
    return {"samples": found.ask.samples, **found.ask.sampling.chosen()}


def test_the_published_sampling_is_for_where_none_is_set():
    """One long comparison, four short summaries; a user's own numbers win."""
    compared = {"samples": 1, "temperature": 0.6, "max_tokens": 16384}
    assert sampling("label_data") == compared
    told = {"samples": 4, "temperature": 0.7, "max_tokens": 2048}
    assert sampling("generate_new_summaries") == told
    assert sampling("label_data", max_tokens=99) == {**compared, "max_tokens": 99}


def test_what_is_of_solutions_is_refused():
    """Comparisons have no calls to Python, and are no problems to train on by reward."""
    for flag in ("rl_manifest", "remove_no_code", "remove_code_errors"):
        with pytest.raises(ValueError, match=flag):
            GenSelectConfig(**{flag: True})
