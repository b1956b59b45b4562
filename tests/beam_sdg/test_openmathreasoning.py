"""OpenMathReasoning's solutions, whole: missing answers filled, plain and with Python."""

from collections import Counter
from typing import Any

from tests import planned
from tests.planned import Judge, Rejected, Solved
from transforms import seeding

DENSE = ("--sandbox_sessions_per_container=16", "--sandbox_max_sessions=32")
RECIPE = "openmathreasoning-solutions"
SAMPLES = 4
VOTES = ("judge_novelty", "judge_significance")
WORTHLESS = {"trivial": "not_significant", "verification": "not_novel"}


def truth(text: str, number: int) -> str:
    return planned.spelt(planned.generator("math/solution").truth(text), number)


def test_gsm8k_comes_out_as_planned(data, beam_sdg_command, tmp_path):
    """200 problems: missing answers filled by three votes or more, and no other answer touched."""
    output = tmp_path / "out"
    flags = planned.write_problems(data, tmp_path / "in.jsonl", planned.problems(200), truth)
    done = beam_sdg_command(
        RECIPE, f"--output={output}", *flags, f"--samples={SAMPLES}", "--vote_quorum=3",
        "--add_incorrect", "--min_majority_votes=4",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    rejects: Rejected = set()
    judge, rows, kept = Judge("judge_answers"), {}, {}
    for problem in planned.stage_rows(output, "problems").values():
        samples = planned.solutions(problem, range(SAMPLES), rejects)
        solved = Solved(problem["id"], problem["text"], problem["expected_answer"], samples)
        solved.fill(quorum=3)
        solved.judge(judge)
        solved.count(SAMPLES)
        rows |= solved.rows()
        left = []
        for one in samples:
            if planned.unfit(one.verdict) == "unlabeled":
                rejects.add(("prepare_for_sft", one.id, 0, "unlabeled"))
            elif solved.action == "filled" and solved.majority["votes"] < 4:
                rejects.add(("prepare_for_sft", one.id, 0, "majority_filter"))
            else:
                left.append(one)
        stay, same = planned.unlike((one.id, one.text) for one in left)
        rejects |= {("prepare_for_sft", of, 0, "duplicate_solution") for of in same}
        kept |= {one.id: (solved, one) for one in left if one.id in stay}

    judged = planned.stage_rows(output, "judge_answers.judged")
    assert {of: planned.told(row) for of, row in judged.items()} == rows
    assert planned.rejected(output) == rejects | judge.rejects
    made = planned.dataset_rows(output)
    assert made.keys() == kept.keys()
    for of, row in made.items():
        solved, one = kept[of]
        assert (row["expected_answer"], row["predicted_answer"]) == (solved.expected, one.answer)
        assert row["is_correct"] == (one.verdict == "correct")
        if solved.original is not None:
            assert row["majority_votes"] is None and row["expected_answer"] == solved.original
    # Nothing above is true for want of a case.
    assert Counter(row["action"] for row in rows.values()).keys() == {
        "kept", "filled", "no_consensus",
    }  # fmt: skip
    assert {row["majority"]["why"] for row in rows.values()} == {"", "tie", "below_quorum"}
    assert {reason for _, _, _, reason in rejects} >= {
        "unlabeled", "majority_filter", "duplicate_solution",
    }  # fmt: skip
    assert {row["is_correct"] for row in made.values()} == {True, False}


def printed(text: str, number: int) -> str:
    """What the code of a solution of this problem prints, if it shows numbers."""
    rng = seeding.stream("no draw is needed")
    return planned.spelt(planned.python_answer(planned.python_numbers(text, rng)), number)


def test_gsm8k_with_python_comes_out_as_planned(docker, data, beam_sdg_command, tmp_path):
    """60 problems: only correct solutions are looked at, and only those whose code matters kept."""
    output = tmp_path / "out"
    flags = planned.write_problems(data, tmp_path / "in.jsonl", planned.problems(60), printed)
    done = beam_sdg_command(
        RECIPE, f"--output={output}", *flags, f"--samples={SAMPLES}", "--tir", "--judge_fragments",
        "--too_many_code_blocks=2", *DENSE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    rejects: Rejected = set()
    judge, rows, kept = Judge("judge_answers"), {}, set()
    for problem in planned.stage_rows(output, "problems").values():
        solutions = planned.solutions_with_python(problem, range(SAMPLES))
        samples = [one.sample for one in solutions]
        solved = Solved(problem["id"], problem["text"], problem["expected_answer"], samples)
        solved.fill()
        solved.judge(judge)
        solved.count(SAMPLES)
        rows |= solved.rows()
        worth: list[tuple[str, Any]] = []
        for one in solutions:
            stage, reason = fate(one)
            if reason:
                rejects.add((stage, one.sample.id, 0, reason))
            else:
                worth.append((one.sample.id, one.sample.text))
        stay, same = planned.unlike(worth)
        kept |= stay
        rejects |= {("prepare_for_sft", of, 0, "duplicate_solution") for of in same}

    found = {of for of in planned.rejected(output) if of[0] not in VOTES}
    assert found == rejects | judge.rejects
    judged = planned.stage_rows(output, "filter_fragments.judged")
    left = {of: row for of, row in rows.items() if of in judged}
    assert {of: planned.told(row) for of, row in judged.items()} == left
    made = planned.dataset_rows(output)
    assert made.keys() == kept
    for row in made.values():
        assert row["provenance"]["fragments"] and row["provenance"]["tool_use"]
        assert f"{planned.value(row['predicted_answer'])}" in row["messages"][-2]["content"]
    # Nothing above is true for want of a case.
    assert len(kept) > 20
    assert {reason for _, _, _, reason in rejects} == {
        "incorrect", "unlabeled", "boxed_before_code", "answer_before_code", "duplicate_solution",
        "too_many_code_blocks", "too_few_votes", "not_novel", "not_significant",
    }  # fmt: skip


def fate(one: planned.WithPython) -> tuple[str, str]:
    """The stage at which a solution with Python is lost, and why; or ""."""
    if reason := planned.unfit(one.sample.verdict):
        return "postprocess_tir_generations.correct", reason
    if one.fault == "no_fragment":
        return "extract_python_fragments", one.fault
    if one.fault == "too_few_votes":
        return "filter_fragments", one.fault
    if one.fault:
        return "postprocess_tir_generations", one.fault
    return "filter_fragments", WORTHLESS.get(one.worth, "")
