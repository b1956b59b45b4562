"""OpenReasoning's code data, whole: programs come out as planned, executed or not."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from beam_sdg.recipes.openreasoning_code import OPENREASONING_CODE
from tests import planned
from tests.planned import Rejected
from transforms.engines.rehearsal import Rehearsal

RECIPE, ASK = "openreasoning-code", "generate_solutions"
DENSE = ("--sandbox_sessions_per_container=16", "--sandbox_max_sessions=32")
SAMPLES = 8
FAULTS = {"malformed": 0.03, "failing": 0.02}


def fates(output: Path, prompt: str, engine: Rehearsal) -> dict[str, tuple[str, str, Any]]:
    """(stage, reason, plan) of each sample; of what is kept, the stage and the reason are ""."""
    made = planned.generator(prompt)
    found: dict[str, tuple[str, str, Any]] = {}
    for of in planned.stage_rows(output, "filter_questions"):
        for sample in range(SAMPLES):
            lost, rng = planned.draws(engine, ASK, prompt, of, sample)
            plan = made.plan_of(rng) if prompt == "code/python" else made.fault_of(rng)
            fault = plan.fault if prompt == "code/python" else plan
            stage = "filter_solutions" if fault in made.UNFIT else ""
            reason = fault if stage else ""
            if lost:
                stage, reason = ASK, lost
            elif fault and not stage:
                stage, reason = "filter_executed", "fails_tests"
            found[f"{of}-{sample}"] = stage, reason, plan
    return found


def rejects_of(found: dict[str, tuple[str, str, Any]]) -> Rejected:
    """The rejects that these fates are; those of asks are of the problem and the sample."""
    return {
        (stage, row_id.rpartition("-")[0], int(row_id.rpartition("-")[2]), reason)
        if stage == ASK
        else (stage, row_id, 0, reason)
        for row_id, (stage, reason, _) in found.items()
        if stage
    }


def test_programs_are_executed_as_planned(docker, beam_sdg_command, tmp_path):
    """Wrong, looping, flooding, dying and lying programs fail; all others are kept and right."""
    output = tmp_path / "out"
    done = beam_sdg_command(
        RECIPE, f"--output={output}", "--execute", "--test_timeout_s=1", f"--samples={SAMPLES}",
        "--num_records=12", "--num_shards=1",
        "--rehearsal=" + ",".join(f"{name}={share}" for name, share in FAULTS.items()), *DENSE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = fates(output, "code/python", Rehearsal(**FAULTS))
    assert planned.rejected(output) == rejects_of(found)
    kept = planned.dataset_rows(output, "python")
    assert kept.keys() == {of for of, (stage, _, _) in found.items() if not stage}

    executed = planned.stage_rows(output, "execute_solutions")
    by_problem = Counter(of.rpartition("-")[0] for of in kept)
    for of, row in executed.items():
        _, _, plan = found[of]
        counts, correct = row["counts"], by_problem[of.rpartition("-")[0]]
        assert (row["verdict"] == "correct") == (of in kept)
        assert row["solved"] == round(correct / SAMPLES, 6)
        assert row["pass_at"][0] == {"k": 1, "rate": row["solved"]}
        assert row["pass_at"][-1] == {"k": SAMPLES, "rate": float(correct > 0)}
        assert counts["tests"] == 4 == counts["passed"] + counts["failed"] + counts[
            "timeouts"
        ] + counts["errors"] + counts["not_run"]
        if plan.fault == "loops":
            assert (counts["timeouts"], counts["not_run"]) == (3, 1), counts
        if plan.fault in ("off", "forges") and "def solve" in row["code"]:
            assert counts["failed"] == 4, counts
        if plan.fault in ("raises", "kills"):
            assert counts["errors"] + counts["not_run"] == 4, counts
    for row in kept.values():
        assert (row["judgement"], row["pass_rate"]) == ("right", 1.0)
        assert "<think>" in row["output"] and row["solution"] in row["output"]
        assert row["input"] and row["dataset"] == "sample" and row["license"] == "Apache-2.0"
    # Nothing above is true for want of a case.
    shapes = {plan.shape for of, (_, _, plan) in found.items() if of in kept}
    assert shapes == set(planned.generator("code/python").SHAPES)
    assert {plan.fault for _, _, plan in found.values()} == {
        "", *planned.generator("code/python").UNFIT, *planned.generator("code/python").WRONG,
    }  # fmt: skip
    assert {reason for _, reason, _ in found.values()} >= {"request_refused", "truncated_answer"}
