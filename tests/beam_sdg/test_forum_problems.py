"""From threads to problems, and from a raw dump to training data in one command."""

import json
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest

from beam_sdg.cli import main
from beam_sdg.options import parse_flags
from beam_sdg.recipes import RECIPES
from beam_sdg.recipes.forum_problems import problem_stages
from beam_sdg.recipes.openmathreasoning_problems import OPENMATHREASONING_PROBLEMS
from beam_sdg.recipes.openmathreasoning_solutions import OPENMATHREASONING_SOLUTIONS
from beam_sdg.recipes.problems import SAMPLES
from beam_sdg.recipes.recipe import Context
from beam_sdg.sources.thread_rows import ThreadSource
from tests import planned, planned_forums
from tests.planned_forums import Plan
from transforms.engines.rehearsal import Rehearsal
from transforms.forum_problems.merging import rank_of
from transforms.near_duplicates import RejectNearDuplicates

FAULTS = "malformed=0.04,correctable=0.04,failing=0.03"
PAGE = Path(__file__).parents[2] / "docs" / "forum-problems.md"
MODEL = ("--model=m", "--endpoint=http://x.test/v1")
UP_TO_PROBLEMS = (
    "threads", "extract_problems", "classify_problems", "extract_answers", "merge_data",
    "decontaminate", "problems",
)  # fmt: skip
ENGINE = Rehearsal(malformed=0.04, correctable=0.04, failing=0.03)


def stages_that_say(output: Path, said: str) -> set[str]:
    """The stages in whose rows a text is."""
    folder = output / ".work" / "stages"
    names = [path.name for path in folder.iterdir()]
    return {
        name
        for name in names
        if any(said in repr(row) for row in planned.stage_rows(output, name).values())
    }


def test_threads_come_out_as_planned(data, beam_sdg_command, tmp_path):
    """Ten of AoPS and a dump of all kinds: every problem kept and every reject is planned.

    BEAM_SDG_PROBLEMS=50000 is a dump of about 100,000 posts.
    """
    count = planned.problems(110)
    dump = planned_forums.dump_of(planned_forums.written_threads(count))
    (tmp_path / "boats.stackexchange.com").mkdir()
    (tmp_path / "boats.stackexchange.com" / "Posts.xml").write_text(dump)
    threads = f"{data / 'aops' / 'example.jsonl'},stackexchange={tmp_path}/*/Posts.xml"
    known = [planned_forums.plain(a, b) for a in range(2, 5) for b in range(2, 10)]
    (tmp_path / "known.jsonl").write_text(planned_forums.lines({"problem": one} for one in known))
    output = tmp_path / "out"
    done = beam_sdg_command(
        "openmathreasoning-problems", f"--output={output}", f"--threads={threads}",
        f"--num_records={count + 10}", "--class_votes=3", f"--rehearsal={FAULTS}",
        f"--benchmarks=known={tmp_path / 'known.jsonl'}", "--contamination_methods=exact",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

    read = planned.stage_rows(output, "threads")
    assert len(read) == count + 10
    plan = Plan(ENGINE, votes=3, converts=True)
    plan.take(read.values())
    made = planned.dataset_rows(output)
    assert planned.rejected(output) - planned.rejected(output, "threads") == plan.rejects
    assert made.keys() == plan.kept.keys()
    for of, row in made.items():
        problem = plan.kept[of]
        assert row["problem"] == problem.text
        assert (row["expected_answer"], row["problem_type"]) == (problem.answer, problem.kind)
        assert row["original_problem"] == problem.original
        assert row["contaminated"] == (problem.text in known)
        assert row["contamination"] == [
            {"benchmark": "known", "row": str(number), "method": "exact", "score": 1, "votes": []}
            for number, text in enumerate(known, start=1)
            if text == problem.text
        ]
        extracted = row["provenance"]["extracted"]
        assert extracted["id"] == problem.id
        assert extracted["thread"]["source_id"] == problem.thread["source_id"]
        assert len(row["provenance"]["calls"]) >= 3

    # A thread's text goes no further than the stage that looks for answers in it.
    assert stages_that_say(output, planned_forums.TALK) == {"threads", "extract_answers.threads"}
    # Nothing above is true for want of a case.
    assert {row["problem_type"] for row in made.values()} == set(planned_forums.TYPES)
    assert {row["contaminated"] for row in made.values()} == {True, False}
    assert any(row["provenance"]["extracted"]["id"].endswith("-1") for row in made.values())
    found = Counter((stage.split("_")[0], reason) for stage, _, _, reason in plan.rejects)
    assert found.keys() >= {
        ("extract", "no_problem"), ("extract", "malformed_answer"), ("extract", "prose_answer"),
        ("classify", "proof"), ("classify", "mcq"), ("classify", "binary"),
        ("classify", "invalid"), ("classify", "unclassified"), ("classify", "request_refused"),
        ("convert", "unchanged"), ("merge", "duplicate"),
    }  # fmt: skip


def test_a_dump_becomes_training_data_in_one_command(data, tmp_path, capsys):
    """A real one, up to the rows for a trainer, which name all who wrote what they are made of."""
    dump = data / "stackexchange" / "coffee.Posts.xml"
    flags = [
        "nemotron-math-v2", f"--output={tmp_path}", f"--threads=stackexchange={dump}",
        "--num_records=400", "--num_shards=1", "--efforts=low", "--samples=3",
        "--python_samples=0", "--max_pass_rate=none",
    ]  # fmt: skip
    assert main([*flags, "--stages=threads,extract_problems"]) == 0
    assert "classify" not in capsys.readouterr().err
    assert main(flags) == 0
    assert "running extract_problems" not in capsys.readouterr().err

    plan = Plan()
    threads = planned.stage_rows(tmp_path, "threads")
    plan.take(threads.values())
    problems = planned.stage_rows(tmp_path, "problems")
    assert {of: row["expected_answer"] for of, row in problems.items()} == {
        of: problem.answer for of, problem in plan.kept.items()
    }
    stages = {stage for stage, _, _, _ in plan.rejects}
    assert planned.rejected(tmp_path, *stages) == plan.rejects
    assert "proof" in {reason for _, _, _, reason in plan.rejects}

    rows = planned.dataset_rows(tmp_path, "low")
    assert len(rows) > 20
    for row in rows.values():
        problem = plan.kept[row["problem_id"]]
        origin = row["provenance"]["problem"]
        assert origin["source"] == "coffee.stackexchange.com"
        assert origin["licence"].startswith("CC-BY-SA")
        for told in (json.loads(origin["extra"]), json.loads(row["extra"])):
            assert told["attributions"] == threads[problem.thread["id"]]["attributions"]
            assert all(one["url"] and one["licence"] for one in told["attributions"])
            assert told["problem_type"] == problem.kind
            assert (told["thread_id"], told["extracted_id"]) == (problem.thread["id"], problem.id)


def test_a_mode_has_the_published_settings():
    """Qwen extracts and is asked greedily; in the recipe of solutions, beside their own model."""
    qwen = "Qwen/Qwen2.5-32B-Instruct"
    flags = parse_flags(OPENMATHREASONING_PROBLEMS, ["--mode=qwen-instruct"], "beam-sdg")
    assert (flags.config.threads, flags.models.model) == (("aops",), qwen)
    assert flags.config.benchmarks == ("published",)
    aops = [
        "--mode=full-qwq",
        "--problems=",
        "--benchmarks=none",
        f"--threads=forum={SAMPLES / 'forum.jsonl'}",
    ]
    flags = parse_flags(OPENMATHREASONING_SOLUTIONS, aops, "beam-sdg")
    context = Context(models=flags.models, stage_settings=flags.stage_settings)
    asks = {
        stage.name: stage.ask
        for stage in OPENMATHREASONING_SOLUTIONS.stages(flags.config, context)
        if stage.ask
    }
    models = {name: context.models_of(name).model for name in asks}
    assert models.pop("generate_solutions") == "Qwen/QwQ-32B"
    assert {*models.values()} == {qwen}
    assert {"extract_problems", "classify_converted_mcq", "convert_proofs"} < models.keys()
    greedy = [name for name in asks if name.split("_")[0] in ("extract", "classify", "convert")]
    assert {asks[name].sampling.temperature for name in greedy} == {0}


@pytest.mark.parametrize("share", ["0.8", "0.99", "1"])
def test_of_near_duplicates_that_stays_whose_answer_is_known(share):
    """As of equal texts; whatever share is asked for."""
    arguments = [f"--near_duplicates={share}", f"--threads=forum={SAMPLES / 'forum.jsonl'}"]
    flags = parse_flags(OPENMATHREASONING_PROBLEMS, arguments, "beam-sdg")
    stages = OPENMATHREASONING_PROBLEMS.stages(flags.config, Context(models=flags.models))
    [stage] = [stage for stage in stages if stage.name == "near_duplicates"]
    assert isinstance(stage.transform, RejectNearDuplicates)
    assert stage.transform.rank is rank_of
    assert stage.settings["rank"] == "rank_of"


def test_contaminated_problems_are_not_solved(tmp_path):
    """Of threads they are rejects unless it is said otherwise; rows have the calls of the check."""
    asked = "Find how many of the 3 boats in the wide harbour have fewer than 5 sails this year."
    near = [asked.replace("this year", when) for when in ("today", "in May", "again", "at all")]
    posts = [asked, *near, "Find the greatest divisor of 12 that is odd.", "Compute $7^2 - 3$."]
    rows = ({"forum_post": post, "forum_discussions": "Post 1:\n8\n\n"} for post in posts)
    (tmp_path / "forum.jsonl").write_text(planned_forums.lines(rows))
    (tmp_path / "known.jsonl").write_text(planned_forums.lines([{"problem": asked}]))
    flags = [
        "nemotron-math-v2", f"--threads={tmp_path / 'forum.jsonl'}", "--num_records=9",
        f"--benchmarks=known={tmp_path / 'known.jsonl'}", "--efforts=low", "--samples=1",
        "--python_samples=0", "--max_pass_rate=none", "--ngram_share=1", "--num_shards=1",
    ]  # fmt: skip
    assert main([*flags, f"--output={tmp_path / 'without'}"]) == 0
    rejected = planned.rejected(tmp_path / "without", "decontaminate.clean")
    lost = {of: reason for _, of, _, reason in rejected}
    merged = planned.stage_rows(tmp_path / "without", "merge_data")
    taken = planned.stage_rows(tmp_path / "without", "problems")
    assert merged.keys() == lost.keys() | taken.keys() and not lost.keys() & taken.keys()
    assert lost[next(of for of, row in merged.items() if row["text"] == asked)] == "contaminated"
    assert taken

    flags += ["--remove_contaminated=false", f"--stages={','.join(UP_TO_PROBLEMS)}"]
    assert main([*flags, f"--output={tmp_path / 'with'}"]) == 0
    taken = planned.stage_rows(tmp_path / "with", "problems")
    assert taken.keys() == merged.keys()
    extra = {row["text"]: json.loads(row["extra"]) for row in taken.values()}
    assert extra[asked]["contamination"] == [
        {"benchmark": "known", "row": "1", "method": "exact", "score": 1.0, "votes": []}
    ]
    checked = [extra[text]["extraction_calls"] for text in near if text in extra]
    assert checked
    for calls in checked:
        asks = [call["ask"] for call in calls]
        assert asks.count("decontaminate") == 1 and asks[0] == "extract_problems"


@pytest.mark.parametrize(
    "recipe", ["nemotron-math-v2", "openmathreasoning-solutions", "openmathreasoning-problems"]
)
def test_what_a_forum_discusses_is_compared_with_benchmarks(recipe, tmp_path, capsys):
    """Or it is said that it is not; of a rehearsal nothing is demanded."""
    threads = f"--threads=forum={SAMPLES / 'forum.jsonl'}"
    out = tmp_path / "out"
    assert main([recipe, threads, f"--output={out}", *MODEL]) == 2
    assert "write --benchmarks published, or NAME=FILE, or" in capsys.readouterr().err
    assert not out.exists()
    for more in ([*MODEL, "--benchmarks=none"], []):
        flags = parse_flags(RECIPES[recipe], [threads, *more], "beam-sdg")
        found = [*problem_stages(flags.config, Context(models=flags.models))]
        assert found[-1].name == "merge_data"


def test_a_mode_of_dumps_asks_for_one(tmp_path, capsys):
    """No model is asked about the bundled threads in a dump's place; and all threads are read."""
    flags = [f"--output={tmp_path / 'out'}", "--mode=stackexchange", "--endpoint=http://x.test/v1"]
    assert main(["openmathreasoning-problems", *flags]) == 2
    assert "write --threads stackexchange=FILE" in capsys.readouterr().err
    for mode in ("qwen-instruct", "stackexchange"):
        flags = [f"--mode={mode}"]
        config = parse_flags(OPENMATHREASONING_PROBLEMS, flags, "beam-sdg").config
        assert config.threads_read() == 1_000_000


def test_the_commands_of_the_page_can_be_called(tmp_path, monkeypatch):
    """Their flags fit, and the files that they name are understood."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "math.stackexchange.com").mkdir()
    (tmp_path / "math.stackexchange.com" / "Posts.xml").write_text("<posts></posts>")
    row = {"original_question": "How many?", "original_answers": ["7"]}
    (tmp_path / "raw.jsonl").write_text(json.dumps(row) + "\n")
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    commands = [shlex.split(line, comments=True) for line in lines if "beam-sdg" in line]
    assert {recipe for _, recipe, *_ in commands} == {
        "openmathreasoning-problems", "openmathreasoning-solutions", "nemotron-math-v2",
    }  # fmt: skip
    for _, recipe, *words in commands:
        flags = [word for word in words if word != "…"]
        config = parse_flags(RECIPES[recipe], flags, recipe).config
        assert config.benchmarks or not config.threads
        if config.threads != ("aops",):
            sources = config.thread_sources(f"forum={SAMPLES / 'forum.jsonl'}")
            assert all(isinstance(one, ThreadSource) or one.posts() for one in sources)


@pytest.mark.parametrize("recipe", ["nemotron-math-v2", "openmathreasoning-solutions"])
def test_threads_and_problems_are_not_both_read(recipe, tmp_path, capsys):
    """It is refused before anything is read."""
    flags = [f"--output={tmp_path}", "--threads=forum=a.jsonl", "--problems=b.jsonl"]
    assert main([recipe, *flags]) == 2
    assert "drop one, a mode's own by an empty --problems=" in capsys.readouterr().err
