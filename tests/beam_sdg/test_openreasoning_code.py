"""OpenReasoning's code data, whole: programs come out as planned, executed or not."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from beam_sdg.recipes.openreasoning_code import OPENREASONING_CODE
from beam_sdg.recipes.recipe import Context
from tests import planned
from tests.planned import Rejected
from transforms.engines.rehearsal import Rehearsal
from transforms.errors import SdgError

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
        assert (
            counts["tests"]
            == 4
            == counts["passed"]
            + counts["failed"]
            + counts["timeouts"]
            + counts["errors"]
            + counts["not_run"]
        )
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


def test_cpp_comes_out_as_planned(beam_sdg_command, tmp_path):
    """Filters and the parser find what was planted; macros are no syntax error; nothing is run."""
    output = tmp_path / "out"
    done = beam_sdg_command(
        RECIPE, f"--output={output}", "--language=cpp", f"--samples={SAMPLES}", "--num_records=12",
        "--num_shards=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = fates(output, "code/cpp", Rehearsal())
    assert planned.rejected(output) == rejects_of(found)
    kept = planned.dataset_rows(output, "cpp")
    assert kept.keys() == {of for of, (stage, _, _) in found.items() if not stage}
    assert {row["judgement"] for row in kept.values()} == {None}
    assert {reason for _, reason, _ in found.values()} == {
        "", *planned.generator("code/cpp").UNFIT,
    }  # fmt: skip


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pairs(*numbers: int) -> dict[str, list[str]]:
    return {"inputs": [f"{n}\n" for n in numbers], "outputs": [f"{n}\n" for n in numbers]}


def test_pointers_are_looked_up(beam_sdg_command, tmp_path):
    """In four datasets by split and row, over several files; what does not resolve is a reject."""
    taco = [{"question": f"Taco {n}: the sum.", "input_output": json.dumps(pairs(n)),
             "solutions": "['print']" * 9, "difficulty": "EASY"} for n in range(4)]  # fmt: skip
    shelves = {
        "taco:train": [taco[:2], [*taco[2:3], 7, taco[3]]],
        "apps:test": [[{"question": "Apps 0: the sum.", "problem_id": 4000, "input_output": "",
                        "difficulty": "interview"}]],
        "code_contests:valid": [[{
            "name": "1_A. Sums", "description": "Contests 0: the sum.", "difficulty": 7,
            "public_tests": {"input": ["1\n"], "output": ["1\n"]},
            "private_tests": {"input": [], "output": []}, "generated_tests": None,
        }]],
        "codeforces:train": [[
            {"id": "1/A", "description": "Forces 0: the sum.", "input_format": "Numbers.",
             "output_format": "One.", "examples": [{"input": "1 2", "output": "3"}],
             "note": "One and two is three.", "official_tests": []},
            {"id": "1/B", "description": " ", "examples": []},
            {"id": "1/C", "description": "Broken: the sum.", "input_output": "{"},
        ]],
    }  # fmt: skip
    flags = []
    for name, files in shelves.items():
        folder = tmp_path / name.replace(":", "-")
        folder.mkdir()
        for number, rows in enumerate(files):
            write(folder / f"part-{number}.jsonl", rows)
        flags.append(f"{name}={folder}/*.jsonl")
    pointers = [
        ("a", "taco", "train", "0"), ("b", "taco", "train", 4), ("c", "apps", "test", "0"),
        ("d", "code_contests", "valid", 0), ("e", "open-r1/codeforces", "train", "0"),
        ("f", "taco", "train", 3), ("g", "taco", "test", 0), ("h", "taco", "train", "9"),
        ("i", "open-r1/codeforces", "train", 1), ("j", "taco", "train", "-"),
        ("k", "open-r1/codeforces", "train", 2), ("a", "taco", "train", "0"),
    ]  # fmt: skip
    rows = [
        {"id": str(number), "question_id": name, "question": "-", "r1_generation": "…" * 99,
         "dataset": dataset, "split": split, "index": index, "license": "cc-by-4.0"}
        for number, (name, dataset, split, index) in enumerate(pointers)
    ]  # fmt: skip
    problems = write(tmp_path / "ocr2.jsonl", rows)
    output = tmp_path / "out"
    done = beam_sdg_command(
        RECIPE, f"--output={output}", f"--problems=ocr2={problems}", "--num_records=20",
        f"--library={','.join(flags)}", "--max_question_tokens=20", "--samples=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    by_id = {row["id"]: row["text"] for row in planned.stage_rows(output, "problems").values()}
    lost = planned.rejected(output, "problems", "prepare_questions", "filter_questions")
    assert {(by_id.get(of, "a"), reason) for _, of, _, reason in lost} == {
        ("a", "duplicate"), ("e", "long_question"), ("f", "unresolved_pointer"),
        ("g", "unresolved_pointer"), ("h", "unresolved_pointer"), ("i", "unresolved_pointer"),
        ("j", "bad_pointer"),
    }  # fmt: skip
    prepared = planned.stage_rows(output, "prepare_questions")
    found = {by_id[of]: row for of, row in prepared.items()}
    texts = {name: row["problem"]["text"] for name, row in found.items()}
    assert texts["a"] == "Taco 0: the sum." and texts["b"] == "Taco 3: the sum."
    assert texts["e"].index("Input") < texts["e"].index("Example 1") < texts["e"].index("Note")
    tests = {name: len(row["tests"]) for name, row in found.items()}
    assert tests == {"a": 1, "b": 1, "c": 0, "d": 1, "e": 1, "k": 0}
    assert "bad_tests" in json.loads(found["k"]["problem"]["extra"])
    assert "solutions" not in json.loads(found["a"]["problem"]["extra"])
    made = planned.dataset_rows(output, "python")
    for row in made.values():
        assert row["question_id"] in "abcdk" and row["license"] == "cc-by-4.0"
        assert (row["dataset"], row["source_split"]) in {
            ("taco", "train"), ("apps", "test"), ("code_contests", "valid"),
            ("open-r1/codeforces", "train"),
        }  # fmt: skip
    assert made


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"language": "cpp", "execute": True}, "only Python is executed"),
        ({"only_tested": True}, "only_tested is of programs that are run"),
        ({"library": ["taco=x.jsonl"]}, "names no split; write DATASET:SPLIT=FILE"),
        ({"library": ["tako:train=x.jsonl"]}, "unknown dataset 'tako'"),
        ({"problems": ["ocr2=OCR2"]}, "--library names none"),
        ({"library": ["taco:train=OCR2"]}, "has no column 'question'"),
        ({"library": ["apps:test=TACO"]}, "--library is for rows that point at others"),
        ({"problems": ["ocr2=TACO"]}, "has no column 'question_id'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path, settings, said):
    """Before anything is read or asked, with what is wrong."""
    pointer = {"question_id": "a", "dataset": "taco", "split": "train", "index": 0}
    files = {
        "OCR2": write(tmp_path / "pointers.jsonl", [pointer]),
        "TACO": write(tmp_path / "taco.jsonl", [{"question": "Print the sum."}]),
    }

    def in_place(value: Any) -> Any:
        if isinstance(value, list):
            return [in_place(each) for each in value]
        for name, path in files.items():
            value = value.replace(name, str(path)) if isinstance(value, str) else value
        return value

    given = {name: in_place(value) for name, value in settings.items()}
    with pytest.raises((ValueError, SdgError), match=said):
        OPENREASONING_CODE.stages(OPENREASONING_CODE.config(**given), Context())


def test_what_shares_a_container_is_part_of_the_settings():
    """What was executed among many is not taken for what was executed apart."""
    found = []
    for number in (1, 16):
        config = OPENREASONING_CODE.config(execute=True, sandbox_sessions_per_container=number)
        stages = OPENREASONING_CODE.stages(config, Context())
        found += [stage.settings for stage in stages if stage.name == "execute_solutions"]
    assert [each["sessions_per_container"] for each in found] == [1, 16]


def test_without_an_engine_nothing_is_spent(beam_sdg_command, tmp_path):
    """The run is refused before it reads or asks anything; without --execute it needs none."""
    output = tmp_path / "out"
    engine = f"--sandbox_engine=unix://{tmp_path}/none"
    done = beam_sdg_command(RECIPE, f"--output={output}", engine, "--execute", "--num_records=2")
    assert done.returncode == 4
    assert "no sandbox can run Python" in done.stderr
    assert not list(output.glob(".work/s*/*"))
    dry = beam_sdg_command(RECIPE, f"--output={output}", engine, "--execute", "--dry_run")
    assert dry.returncode == 0, dry.stderr
    assert "execute_solutions" in dry.stdout and "isolates nothing" not in dry.stderr


def test_the_published_settings_are_a_mode():
    """32 samples of 28,768 tokens, at the published temperature; questions of 3,200 tokens."""
    full = set(OPENREASONING_CODE.modes["full"])
    assert {"--samples=32", "--max_tokens=28768", "--top_p=0.95"} <= full
    assert OPENREASONING_CODE.config().max_question_tokens == 3200
