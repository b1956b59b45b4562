"""Problems compared with benchmarks, whole: labelled and removed as planned, row by row.

The problems are train questions of GSM8K, and test questions planted among them as they are, with
other numbers, and in part; the plan is worked out from the texts, by looking at every pair.
"""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from beam_sdg.cli import main
from beam_sdg.publish import read_manifest
from beam_sdg.sources.benchmarks import PUBLISHED, BenchmarkSources
from benchmarks.decontamination import questions
from tests import planned
from transforms.engines.rehearsal import Rehearsal
from transforms.errors import InputError, UsageError
from transforms.sft.contamination import Labels

TOP_K, SIZE, SHARE = 2, 6, 0.5
PROMPT = "decontamination/check"
ENGINE = Rehearsal(malformed=0.1, failing=0.1)
RUN = (
    "--rehearsal=malformed=0.1,failing=0.1",
    f"--ngram_size={SIZE}",
    f"--similar_top_k={TOP_K}",
    "--check_both_ways",
)


def words(text: str) -> list[str]:
    """The tokens of GSM8K's plain questions."""
    found = re.findall(r"\d+(?:[.,]\d+)*|[^\W\d_]+|[-+/^=<>%]", text.casefold())
    return [
        one.replace(",", "") if re.fullmatch(r"\d+(,\d{3})+(\.\d+)?", one) else one for one in found
    ]


def runs(text: str) -> set[tuple[str, ...]]:
    said = words(text)
    return {tuple(said[start : start + SIZE]) for start in range(len(said) - SIZE + 1)}


def written(path: Path, texts: list[str]) -> str:
    path.write_text("".join(json.dumps({"problem": text}) + "\n" for text in texts))
    return str(path)


def inputs(data: Path, folder: Path) -> tuple[list[str], dict[str, list[str]], list[str]]:
    """Problems, the texts of two benchmarks, and the flags that name them."""
    train, test = questions(data / "gsm8k")
    benchmarks = {"gsm8k": test[:300], "again": test[290:310]}
    problems = train[:150] + [text.upper() + "…" for text in test[285:295]]
    problems += [re.sub(r"\d+", lambda n: str(int(n.group()) + 1), text) for text in test[:60]]
    problems += [" ".join(text.split()[-12:]) for text in test[60:90]]
    problems += [
        f"Take some number of things. {' '.join(text.split()[-9:])}" for text in test[90:110]
    ]
    named = ",".join(
        f"{name}={written(folder / f'{name}.jsonl', benchmarks[name])}" for name in benchmarks
    )
    return problems, benchmarks, [
        f"--problems={written(folder / 'in.jsonl', problems)}", f"--benchmarks={named}",
    ]  # fmt: skip


def plan_of(
    record_id: str, text: str, texts: list[str], rejects: planned.Rejected
) -> dict[str, Any]:
    """What must be said of a problem: its verdict, and each benchmark text with its votes."""
    if equal := [one for one in texts if words(one) == words(text)]:
        return {"verdict": "contaminated", "found": {equal[0]: ("exact", ())}}
    own = runs(text)
    shares = {one: len(own & runs(one)) / len(runs(one)) for one in texts if own & runs(one)}
    if certain := [one for one in shares if shares[one] >= SHARE]:
        return {"verdict": "contaminated", "found": {one: ("ngrams", ()) for one in certain}}
    best = sorted(shares, key=lambda one: (-shares[one], " ".join(words(one))))[:TOP_K]
    overlap = planned.generator(PROMPT).overlap
    votes: dict[str, list[str]] = {}
    order = sorted(best, key=lambda one: -round(shares[one], 4))
    for number, (one, _) in enumerate((one, way) for one in order for way in range(2)):
        pair_id = f"{record_id}-{number}"
        lost, _ = planned.draws(ENGINE, "decontaminate", PROMPT, pair_id, 0)
        lost = lost or ("malformed_answer" if "some number of" in text + one else "")
        if lost:
            rejects.add(("decontaminate", pair_id, 0, lost))
        is_same = overlap(text, one) >= 0.5
        votes.setdefault(one, []).append("unreadable" if lost else "yes" if is_same else "no")
    said = {vote for cast in votes.values() for vote in cast}
    verdict, counts = "clean", ""
    if "yes" in said:
        verdict, counts = "contaminated", "yes"
    elif "unreadable" in said:
        verdict, counts = "unchecked", "unreadable"
    found = {one: ("ngrams", tuple(cast)) for one, cast in votes.items() if counts in cast}
    return {"verdict": verdict, "found": found}


def test_gsm8k_comes_out_as_planned(data, tmp_path):
    """Labelled, then without: every verdict, vote and reject, and what is told of benchmarks."""
    problems, benchmarks, flags = inputs(data, tmp_path)
    output = tmp_path / "out"
    assert main(["decontaminate", f"--output={output}", *flags, *RUN]) == 0
    rows = planned.dataset_rows(output)
    assert sorted(row["problem"] for row in rows.values()) == sorted(problems)
    texts = sorted({text for some in benchmarks.values() for text in some})
    rejects: planned.Rejected = set()
    plans = {of: plan_of(of, row["problem"], texts, rejects) for of, row in rows.items()}
    for of, row in rows.items():
        assert row["verdict"] == plans[of]["verdict"], row
        assert row["contaminated"] == (row["verdict"] != "clean")
        assert {
            one["text"]: (one["method"], tuple(one["votes"])) for one in row["found_in"]
        } == plans[of]["found"]  # fmt: skip
    assert planned.rejected(output) == rejects
    # Nothing above is true for want of a case.
    cases = Counter(
        (plan["verdict"], method, votes)
        for plan in plans.values()
        for method, votes in plan["found"].values()
    )
    assert {case[:2] for case in cases} == {
        ("contaminated", "exact"), ("contaminated", "ngrams"), ("unchecked", "ngrams"),
    }  # fmt: skip
    assert {vote for _, _, votes in cases for vote in votes} == {"yes", "no", "unreadable"}
    assert any(plan["verdict"] == "clean" for plan in plans.values())
    assert {reason for *_, reason in rejects} == {
        "truncated_answer", "request_refused", "malformed_answer",
    }  # fmt: skip

    told = told_of(output)
    assert {name: one["rows"] for name, one in told.items()} == {"gsm8k": 300, "again": 20}
    for name, some in benchmarks.items():
        contaminated = [one for one in plans.values() if one["verdict"] == "contaminated"]
        hit = {text for plan in contaminated for text in plan["found"]} & set(some)
        assert told[name]["found"] == len(hit)
        exact = [one for one in contaminated for text, (by, _) in one["found"].items()
                 if by == "exact" and text in some]  # fmt: skip
        assert told[name]["exact"] == len(exact)
    assert "decontaminate.labels" in (output / "report.txt").read_text()
    pairs = {name: pairs_in(output, name) for name in benchmarks}
    for of, row in rows.items():
        for one in row["found_in"]:
            told_pair = pairs[one["benchmark"]][of, one["row"]]
            assert (told_pair["problem"], told_pair["text"]) == (row["problem"], one["text"])
            assert told_pair["verdict"] == row["verdict"]
    differ = [one for some in pairs.values() for one in some.values() if one["verdict"] == "clean"]
    assert differ
    assert all(set(one["votes"]) == {"no"} for one in differ)

    labels = Labels(str(next(output.glob("data/*.parquet"))))  # what prepare-sft filters by
    assert all(labels.of(row["problem"]) == row["contaminated"] for row in rows.values())

    assert main(["decontaminate", f"--output={output}", "--replace", *flags, *RUN,
                 "--remove_contaminated"]) == 0  # fmt: skip
    kept = planned.dataset_rows(output)
    assert kept.keys() == {of for of, plan in plans.items() if plan["verdict"] == "clean"}
    lost = {("decontaminate.clean", of, 0, plan["verdict"]) for of, plan in plans.items()
            if plan["verdict"] != "clean"}  # fmt: skip
    assert planned.rejected(output) == rejects | lost


def pairs_in(output: Path, benchmark: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The reported pairs of a benchmark, by the ids of problems and its rows."""
    path = output / "reports" / "contamination" / f"{benchmark}.jsonl"
    lines = map(json.loads, path.read_text().splitlines())
    return {(line["id"], line["row"]): line for line in lines}


def told_of(output: Path) -> dict[str, dict[str, int]]:
    manifest = read_manifest(str(output))
    assert manifest is not None
    return next(stage.told for stage in manifest.stages if stage.told)


def test_neighbours_are_found_by_meaning(embedding_model, tmp_path):
    """A problem in other words is found by its vector; of two that are nearly one, one stays."""
    problem = "A farmer has 12 hens, and each of them lays 5 eggs a week. How many eggs are that?"
    other = "A hen lays five eggs in a week; how many do the twelve hens of a farmer lay?"
    clean = "Which prime number is even, and which of the others is the smallest that ends in 9?"
    folder = tmp_path / "out"
    flags = [
        f"--problems={written(tmp_path / 'in.jsonl', [problem, clean, f'{clean} Tell!'])}",
        f"--benchmarks=own={written(tmp_path / 'own.jsonl', [other, 'What is 7 times 8?'])}",
        f"--embedding_model={embedding_model}", "--contamination_methods=exact,ngrams,neighbours",
        "--check_contamination=false", "--near_duplicates=0.8",
    ]  # fmt: skip
    assert main(["decontaminate", f"--output={folder}", *flags]) == 0
    by_text = {row["problem"]: row for row in planned.dataset_rows(folder).values()}
    [found] = by_text[problem]["found_in"]
    assert (found["method"], found["text"], found["votes"]) == ("neighbours", other, [])
    assert 0.7 <= found["score"] < 1
    assert [row["verdict"] for row in by_text.values() if row["problem"] != problem] == ["clean"]
    assert told_of(folder)["own"]["neighbours"] == 1
    [(stage, _, _, reason)] = planned.rejected(folder)
    assert (stage, reason) == ("near_duplicates", "near_duplicate")


def test_the_bundled_problems_need_nothing(tmp_path):
    """No flag: one is in the bundled benchmark, one renumbered, and of one nobody can tell."""
    output = tmp_path / "out"
    assert main(["decontaminate", f"--output={output}"]) == 0
    rows = planned.dataset_rows(output)
    found = {
        row["provenance"]["problem"]["source_id"]: [one["row"] for one in row["found_in"]]
        for row in rows.values()
        if row["contaminated"]
    }
    assert found == {"ferry": ["boat"], "hike": ["walk"], "shelf": ["cellar"]}
    assert Counter(row["verdict"] for row in rows.values()) == {
        "clean": 9, "contaminated": 2, "unchecked": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("written", "error", "says"),
    [
        ("missing.jsonl", InputError, "no file matches"),
        ("own=missing.jsonl", InputError, "no file matches"),
        ("math", UsageError, "--benchmarks math: no such benchmark"),
        ("own={folder}/rows.jsonl", InputError, "benchmark own, rows.jsonl, line 2, .*missing"),
    ],
)
def test_a_benchmark_that_cannot_be_read_is_an_error(written, error, says, tmp_path):
    """Before anything else is done; a row of it without a text is one, too."""
    (tmp_path / "rows.jsonl").write_text('{"problem": "How many?"}\n{"problem": null}\n')
    with pytest.raises(error, match=says):
        BenchmarkSources.parse([written.format(folder=tmp_path)]).rows()


def test_problems_without_benchmarks_are_not_called_clean(tmp_path, capsys):
    """Who brings problems says what they are compared with; a broken benchmark costs nothing."""
    problems = written(tmp_path / "in.jsonl", ["How many?"])
    arguments = ["decontaminate", f"--output={tmp_path / 'out'}", f"--problems={problems}"]
    assert main(arguments) == 2
    assert "benchmarks are missing" in capsys.readouterr().err
    assert main([*arguments, "--benchmarks=gsm8k=nowhere.jsonl"]) == 3
    assert "no file matches nowhere.jsonl" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_published_list_is_whole():
    """The names of OpenMathReasoning's list, none of them twice."""
    assert sorted(PUBLISHED) == [
        "aime24", "aime25", "amc23", "college_math", "gaokao2023en", "gsm8k", "hendrycks_math",
        "minerva_math", "olympiadbench", "omni-math",
    ]  # fmt: skip
    places = [place for some in PUBLISHED.values() for place in some]
    assert len(set(places)) == len(places) == 16
