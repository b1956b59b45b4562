"""InfiniByte from its command to its files: columns, plan, bytes, kills and resuming."""

import collections
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.engines.rehearsal import FAILING, GOOD, MALFORMED, Rehearsal
from transforms.seeding import sampling_seed

ROOT = Path(__file__).parents[2]
PUBLISHED = [
    *("id_a", "problem_a", "id_b", "problem_b", "combination_type", "problem_candidates"),
    *("best_problem_json", "new_problem", "evals", "solution"),
]
ASKED = ("problem_candidates", "best_problem", "evals", "solution")
Command = Callable[..., subprocess.CompletedProcess[str]]


def files_of(output: Path) -> dict[str, bytes]:
    """The data files of a run: their bytes by their path."""
    paths = sorted([*output.glob("data/*"), *output.glob("rejects/*")])
    return {str(path.relative_to(output)): path.read_bytes() for path in paths}


def rows_of(output: Path, folder: str = "data") -> list[dict[str, Any]]:
    return pa.concat_tables(map(pq.read_table, sorted(output.glob(f"{folder}/*")))).to_pylist()


def seeded_ids(output: Path) -> list[str]:
    """The ids of the pairs that the run began with."""
    paths = sorted(output.glob(".work/stages/seed/*/rows-*"))
    return [row["id"] for path in paths for row in pq.read_table(path).to_pylist()]


def plan(ids: list[str], rehearsal: Rehearsal, seed: int = 0) -> dict[tuple[str, str], set[str]]:
    """What must become of every pair: {(stage, reason): ids}; accepted ones under ("", "")."""
    planned = collections.defaultdict(set)
    for record_id in ids:
        fate = GOOD
        for stage in ASKED:
            request = sampling_seed(seed, stage, record_id, 0)
            fate = rehearsal.fate(f"infinibyte/{stage}", request)
            if fate in (MALFORMED, FAILING):
                break
        structured = stage != "solution"
        malformed = "malformed_answer" if structured else "truncated_answer"
        reason = {MALFORMED: malformed, FAILING: "request_refused"}.get(fate, "")
        planned[stage if reason else "", reason].add(record_id)
    return planned


def outcome_of(output: Path) -> dict[tuple[str, str], set[str]]:
    """What became of every pair, in the shape of `plan`."""
    found = collections.defaultdict(set)
    for row in rows_of(output):
        found["", ""].add(row["id"])
    for reject in rows_of(output, "rejects"):
        if reject["stage"] in ASKED:
            found[reject["stage"], reject["reason"]].add(reject["id"])
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of the command on its defaults."""
    output = tmp_path_factory.mktemp("defaults") / "out"
    done = subprocess.run(
        [sys.executable, "-m", "beam_sdg", "infinibyte", f"--output={output}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "5 rows in" in done.stdout
    return output


def test_the_defaults_make_a_dataset_with_the_published_columns(finished):
    """Five rows, the ten published columns first and in order, of the published types."""
    table = pq.read_table(next(finished.glob("data/*")))
    assert table.column_names[:10] == PUBLISHED
    assert table.column_names[10:] == ["id", "provenance"]
    assert table.num_rows == 5
    new_problem = pa.struct([("added_concepts", pa.string()), ("problem", pa.string())])
    assert table.schema.field("problem_candidates").type == pa.struct(
        [("problems", pa.list_(new_problem))]
    )
    assert table.schema.field("evals").type == pa.struct(
        [(name, pa.int64()) for name in ("difficulty", "clarity", "adherence")]
    )
    for row in table.to_pylist():
        assert row["new_problem"] == row["best_problem_json"]["problem"]
        assert row["best_problem_json"].keys() == {"added_concepts", "problem", "reasoning"}
        assert len(row["problem_candidates"]["problems"]) == 2
        assert row["combination_type"] in ("obfuscation", "complication")


def test_every_row_says_what_made_it(finished):
    """Sources with licence, and one call per asked stage with prompt hash, model and seed."""
    for row in rows_of(finished):
        provenance = row["provenance"]
        assert provenance["a"]["source"] == "sample"
        assert provenance["a"]["licence"] == "Apache-2.0"
        assert provenance["a"]["source_id"] == row["id_a"]
        assert [call["ask"] for call in provenance["calls"]] == list(ASKED)
        assert {call["model"] for call in provenance["calls"]} == {"rehearsal"}
        assert all(len(call["prompt_hash"]) == 16 for call in provenance["calls"])


def test_the_manifest_accounts_for_every_file(finished):
    """Files with their hashes and rows, stages with theirs, and a report beside it."""
    manifest = json.loads((finished / "manifest.json").read_text())
    assert [stage["stage"] for stage in manifest["stages"]] == [
        "problems_a", "problems_b", "seed", *ASKED, "export",
    ]  # fmt: skip
    assert {file["path"] for file in manifest["files"]} == set(files_of(finished))
    assert manifest["stages"][-1]["rows"] == manifest["files"][0]["rows"] == 5
    assert "problem_candidates" in (finished / "report.txt").read_text()


def test_three_runs_write_the_same_bytes(finished, tmp_path, beam_sdg_command):
    """New folders, no common store, another PYTHONHASHSEED each: equal data files."""
    for hash_seed in ("1", "77"):
        output = tmp_path / hash_seed
        done = beam_sdg_command("infinibyte", "--output", output, PYTHONHASHSEED=hash_seed)
        assert done.returncode == 0, done.stderr
        assert files_of(output) == files_of(finished)


def test_another_seed_makes_other_rows(finished, tmp_path, beam_sdg_command):
    """The run's seed decides the pairs."""
    done = beam_sdg_command("infinibyte", "--output", tmp_path / "out", "--seed", 5)
    assert done.returncode == 0, done.stderr
    assert files_of(tmp_path / "out") != files_of(finished)


def test_shards_hold_the_same_rows_as_one_file(finished, tmp_path, beam_sdg_command):
    """Three shards, run slice by slice: the rows of the single file, each in one shard."""
    done = beam_sdg_command("infinibyte", "--output", tmp_path / "out", "--num_shards", 3)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").glob("data/*"))) == 3
    by_id = {row["id"]: row for row in rows_of(finished)}
    assert {row["id"]: row for row in rows_of(tmp_path / "out")} == by_id


def real_inputs(data: Path) -> list[str]:
    side_b = f"theoremqa={data}/theoremqa/theoremqa_test.json,scibench={data}/scibench/*.json"
    return [
        f"--problems_a=humaneval={data}/humaneval/HumanEval.jsonl.gz",
        f"--problems_b={side_b}",
        "--max_records_b=2000",
    ]


FAULTS = {"malformed": 0.02, "failing": 0.01, "correctable": 0.02}


def test_real_inputs_by_rehearsal_equal_the_plan(data, tmp_path, beam_sdg_command):
    """2,000 pairs of HumanEval × TheoremQA and SciBench, faults planted: ids equal the plan."""
    flags = ",".join(f"{name}={share}" for name, share in FAULTS.items())
    done = beam_sdg_command(
        "infinibyte", *real_inputs(data), "--num_records=2000", f"--rehearsal={flags}",
        f"--output={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert_planned(tmp_path, Rehearsal(**FAULTS))


def test_real_inputs_by_endpoint_equal_the_plan(data, tmp_path, beam_sdg_command, stub):
    """The same through an OpenAI-compatible server, with a few milliseconds of latency."""
    url = stub({**FAULTS, "latency_s": 0.005})
    done = beam_sdg_command(
        "infinibyte", *real_inputs(data), "--num_records=2000", f"--endpoint={url}", "--model=m",
        f"--output={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert_planned(tmp_path, Rehearsal(**FAULTS))


def assert_planned(output: Path, rehearsal: Rehearsal) -> None:
    ids = seeded_ids(output)
    assert len(set(ids)) == 2000
    planned = plan(ids, rehearsal)
    assert outcome_of(output) == planned
    assert len(planned) == 9  # accepted, and two reasons at each of the four stages
    reasons = collections.Counter(
        reject["reason"] for reject in rows_of(output, "rejects") if reject["stage"] == "problems_b"
    )
    assert reasons == {"needs_picture": 53}


def test_a_killed_run_asks_nothing_twice_and_ends_with_the_same_bytes(
    tmp_path, beam_sdg_command, stub
):
    """SIGKILL half-way, then the same command: the server's log shows no answered key again."""
    flags = ["--num_records=60", "--in_flight=8", "--model=m"]
    undisturbed = tmp_path / "undisturbed"
    url = stub({})
    done = beam_sdg_command("infinibyte", *flags, f"--endpoint={url}", f"--output={undisturbed}")
    assert done.returncode == 0, done.stderr

    output, first_log, second_log = tmp_path / "out", tmp_path / "first", tmp_path / "second"
    holding = stub({}, "--hold_after", "130", "--log", str(first_log))
    command = [sys.executable, "-m", "beam_sdg", "infinibyte", *flags, f"--output={output}"]
    killed = subprocess.Popen([*command, f"--endpoint={holding}"], cwd=ROOT)
    try:
        wait_for(lambda: stored_answers(output) == 130)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    answered = keys(first_log, "answered")
    assert len(answered) == 130

    url = stub({}, "--log", str(second_log))
    done = beam_sdg_command("infinibyte", *flags, f"--endpoint={url}", f"--output={output}")
    assert done.returncode == 0, done.stderr
    asked = keys(second_log, "asked")
    assert asked
    assert asked.isdisjoint(answered)
    assert len(asked) + len(answered) == 240
    assert files_of(output) == files_of(undisturbed)


def keys(log: Path, event: str) -> set[str]:
    lines = [line.split() for line in log.read_text().splitlines()]
    found = [key for name, key in lines if name == event]
    assert len(found) == len(set(found))
    return set(found)


def stored_answers(output: Path) -> int:
    segments = output.glob(".work/store/*/*/*.jsonl")
    return sum(segment.read_bytes().count(b"\n") for segment in segments)


def wait_for(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "the run did not get half-way"
        time.sleep(0.05)


def test_a_changed_prompt_asks_again_from_its_stage_on(tmp_path, beam_sdg_command):
    """Editing the third prompt re-uses the first two stages and re-spends from the third on."""
    output = tmp_path / "out"
    assert beam_sdg_command("infinibyte", "--output", output).returncode == 0
    before = lines_by_ask(output)
    edited = (ROOT / "prompts/infinibyte/evals.jinja").read_text().replace("with care", "well")
    (tmp_path / "prompts" / "infinibyte").mkdir(parents=True)
    (tmp_path / "prompts" / "infinibyte" / "evals.jinja").write_text(edited)
    done = beam_sdg_command(
        "infinibyte", "--output", output, "--prompts", tmp_path / "prompts", "--replace"
    )
    assert done.returncode == 0, done.stderr
    after = lines_by_ask(output)
    assert after["problem_candidates"] == before["problem_candidates"]
    assert after["best_problem"] == before["best_problem"]
    assert after["evals"] == before["evals"] + 5


def lines_by_ask(output: Path) -> Mapping[str, int]:
    counts: collections.Counter[str] = collections.Counter()
    for segment in output.glob(".work/store/*/*/*.jsonl"):
        counts[segment.parts[-3]] += segment.read_bytes().count(b"\n")
    return counts


@pytest.fixture(autouse=True)
def _no_key() -> Iterator[None]:
    """No test sends a key that happens to be set."""
    kept = os.environ.pop("OPENAI_API_KEY", None)
    yield
    if kept is not None:
        os.environ["OPENAI_API_KEY"] = kept
