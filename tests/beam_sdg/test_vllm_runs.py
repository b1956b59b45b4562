"""Whole runs on vLLM itself: what parses, and what the manifest says of the engine."""

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

PAIRS = "--combination_weights=complication=1"  # those that may be any text
UNREADABLE = {"malformed_answer", "empty_answer", "truncated_answer"}


def rejects(output: Path) -> Counter[tuple[str, str]]:
    rows = [row for path in output.glob("rejects/*") for row in pq.read_table(path).to_pylist()]
    return Counter((row["stage"], row["reason"]) for row in rows)


def answers(output: Path, stage: str) -> int:
    lines = [
        line
        for path in (output / ".work" / "store" / stage).glob("[0-9]*/*.jsonl")
        for line in path.read_text().splitlines()
    ]
    return sum("reply" in json.loads(line) for line in lines)


@pytest.mark.parametrize(
    "asked", [("problem_candidates", "evals"), ("best_problem",)], ids="+".join
)
def test_every_structured_stage_parses(beam_sdg_command, served_model, tmp_path, asked):
    """A model that knows nothing is held to the schemas; the other stages are rehearsed."""
    output = tmp_path / "out"
    flags = [flag for stage in asked for flag in served_model.flags(f"--set={stage}.")]
    flags += [f"--set={stage}.max_tokens=1500" for stage in asked]
    done = beam_sdg_command(
        "infinibyte", f"--output={output}", "--num_records=8", PAIRS, *flags,
        **served_model.environment,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert all(answers(output, stage) >= 8 for stage in asked)
    found = rejects(output)
    assert not [(stage, reason) for stage, reason in found if reason in UNREADABLE]
    if "evals" in asked:
        assert done.returncode == 0, done.stderr
        manifest = json.loads((output / "manifest.json").read_text())
        [engine] = manifest["asks"]["evals"]["served"]
        assert engine["args"] == served_model.args
        assert engine["version"]
        assert 0 < engine["utilisation"] <= 1
        assert engine["prefix_cache_hit_rate"] >= 0
