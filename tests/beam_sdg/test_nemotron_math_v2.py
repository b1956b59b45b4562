"""Nemotron-Math-v2, whole: six sets, votes by effort, and problems that are too easy."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from beam_sdg.cli import main
from beam_sdg.options import parse_flags
from beam_sdg.recipes.nemotron_math_v2 import NEMOTRON_MATH_V2
from beam_sdg.recipes.recipe import Context, stages_of
from tests import planned
from tests.planned import Judge, Rejected, Solved

ROOT = Path(__file__).parents[2]
DENSE = ("--sandbox_sessions_per_container=16", "--sandbox_max_sessions=32")
PLAIN, PYTHON = 3, 2
EFFORTS = ("high", "medium", "low")
TOO_EASY = 0.5


def truth(text: str, number: int) -> str:
    return planned.spelt(planned.generator("math/solution").truth(text), number)


def solved(problem: dict[str, Any], effort: str) -> Solved:
    """What all solutions of one effort come to."""
    first = EFFORTS.index(effort) * (PLAIN + PYTHON)
    plain = planned.solutions(
        problem, range(first, first + PLAIN), set(), f"generate_solutions_{effort}"
    )
    numbers = range(first + PLAIN, first + PLAIN + PYTHON)
    python = planned.solutions_with_python(problem, numbers, f"generate_solutions_python_{effort}")
    if first == 0:
        assert plain[0].id == f"{problem['id']}-0"
    samples = [*plain, *(one.sample for one in python)]
    return Solved(problem["id"], problem["text"], problem["expected_answer"], samples)


def test_gsm8k_comes_out_as_planned(docker, data, beam_sdg_command, tmp_path):
    """What each solution of each effort becomes, which of the six sets it is in, and which none."""
    output = tmp_path / "out"
    flags = planned.write_problems(data, tmp_path / "in.jsonl", planned.problems(60), truth)
    done = beam_sdg_command(
        "nemotron-math-v2", f"--output={output}", *flags, *DENSE, f"--samples={PLAIN}",
        f"--python_samples={PYTHON}", f"--max_pass_rate={TOO_EASY}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    read = planned.stage_rows(output, "problems")
    assert len(read) == planned.problems(60)

    rejects: Rejected = set()
    rows: dict[str, dict[str, Any]] = {effort: {} for effort in EFFORTS}
    sets: dict[str, set[str]] = {}
    too_easy = set()
    for effort in ("low", "medium", "high"):
        judges = [Judge(f"{stage}_{effort}") for stage in ("judge_answers", "judge_again")]
        kept: dict[str, set[str]] = {effort: set(), f"{effort}_python": set()}
        for problem in read.values():
            if problem["id"] in too_easy:
                continue
            one = solved(problem, effort)
            one.judge(judges[0])
            one.fill(repair=True)
            one.judge(judges[1])
            one.count(PLAIN + PYTHON)
            rows[effort] |= one.rows()
            rate = one.samples[0].pass_rate
            is_easy = effort == "low" and rate is not None and rate >= TOO_EASY
            if is_easy:
                too_easy.add(one.id)
                rejects.add(("filter_problems", one.id, 0, "too_easy"))
            for name, samples in (
                (effort, one.samples[:PLAIN]),
                (f"{effort}_python", one.samples[PLAIN:]),
            ):
                if is_easy:
                    stage = f"filter_solutions_{name}"
                    rejects |= {(stage, sample.id, 0, "too_easy") for sample in samples}
                    continue
                stage = f"prepare_for_sft_{name}"
                for sample in samples:
                    if reason := planned.unfit(sample.verdict):
                        rejects.add((stage, sample.id, 0, reason))
                correct = [each for each in samples if each.verdict == "correct"]
                stay, same = planned.unlike((each.id, each.text) for each in correct)
                kept[name] |= stay
                rejects |= {(stage, of, 0, "duplicate_solution") for of in same}
        sets |= kept
        rejects |= judges[0].rejects | judges[1].rejects

    for effort in EFFORTS:
        judged = {}
        for name in (effort, f"{effort}_python"):
            judged |= planned.stage_rows(output, f"judge_again_{effort}.{name}")
        assert {of: planned.told(row) for of, row in judged.items()} == rows[effort]
    assert planned.rejected(output) == rejects
    manifest = json.loads((output / "manifest.json").read_text())
    splits = {Path(file["path"]).name.split("-")[0] for file in manifest["files"]}
    assert splits - {"rejects"} == sets.keys()
    for name, ids in sets.items():
        found = planned.dataset_rows(output, name)
        assert found.keys() == ids
        for row in found.values():
            call = row["provenance"]["calls"][0]
            effort = name.removesuffix("_python")
            assert json.loads(call["sampling"])["reasoning_effort"] == effort
            assert (row["provenance"]["tool_use"] is not None) == (name != effort)
    # Nothing above is true for want of a case.
    assert len(sets) == 6 and all(sets.values())
    assert len(too_easy) >= 5
    found = Counter((stage.split("_")[0], reason) for stage, _, _, reason in rejects)
    assert found.keys() == {
        ("judge", "malformed_answer"), ("filter", "too_easy"), ("prepare", "incorrect"),
        ("prepare", "unlabeled"), ("prepare", "duplicate_solution"),
    }  # fmt: skip


def test_stages_one_at_a_time_write_the_same_bytes(tmp_path):
    """Of one effort, which says what of its own solutions goes on."""
    path = ROOT / "beam_sdg" / "samples" / "math.jsonl"
    flags = [
        "nemotron-math-v2", f"--problems={path}", "--efforts=low", "--samples=3",
        "--python_samples=0", "--num_records=8", "--max_pass_rate=0.7",
    ]  # fmt: skip
    whole, apart = tmp_path / "whole", tmp_path / "apart"
    assert main([*flags, f"--output={whole}"]) == 0
    stages = json.loads((whole / "manifest.json").read_text())["stages"]
    for name in [stage["stage"] for stage in stages if "." not in stage["stage"]]:
        assert not (apart / "manifest.json").exists()
        assert main([*flags, f"--output={apart}", f"--stages={name}"]) == 0
    assert planned.files_of(apart) == planned.files_of(whole)
    [filtered] = [stage for stage in stages if stage["stage"] == "filter_solutions_low"]
    assert filtered["rejects"] == {"too_easy": 24 - filtered["rows"]}
    assert 0 < filtered["rows"] < 24


def stages_of_flags(*flags: str) -> dict[str, tuple[str, ...]]:
    """The stages that a command line asks for, with their inputs."""
    invocation = parse_flags(NEMOTRON_MATH_V2, flags, "nemotron-math-v2")
    found = stages_of(NEMOTRON_MATH_V2, invocation.config, Context(models=invocation.models))
    assert len({stage.name for stage in found}) == len(found)
    return {stage.name: stage.inputs for stage in found}


def test_no_problem_is_too_easy_if_none_is_to_be():
    """Then all efforts are asked about all problems."""
    made = stages_of_flags("--max_pass_rate=none", "--sandbox=local")
    assert not [name for name in made if name.startswith("filter")]
    asked = {name: inputs for name, inputs in made.items() if name.startswith("generate")}
    assert len(asked) == 6
    assert set(asked.values()) == {("problems",)}


@pytest.mark.parametrize(
    ("scope", "voters"),
    [
        ("effort", {"high": 2, "medium": 2, "low": 2}),
        ("all", {"all": 6}),
        ("set", dict.fromkeys(
            ("high", "high_python", "medium", "medium_python", "low", "low_python"), 1
        )),
    ],
)  # fmt: skip
def test_who_votes_together_is_an_option(scope, voters):
    """The solutions that are compared together are those that vote together."""
    made = stages_of_flags(f"--vote_scope={scope}", "--sandbox=local")
    compared = {
        name.removeprefix("compare_answers_"): len(inputs)
        for name, inputs in made.items()
        if name.startswith("compare_answers_")
    }
    assert compared == voters
    assert {"filter_problems", "filter_solutions_low"} - made.keys() == (
        {"filter_problems"} if scope == "all" else set()
    )
