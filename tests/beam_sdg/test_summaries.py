"""New summaries in a run: what a rehearsal plans is asked, refused, chosen and put in."""

import dataclasses
import importlib.util
import json
from collections import Counter
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_sdg.models import ModelSettings
from beam_sdg.options import parse_flags
from beam_sdg.recipes.recipe import Context, Recipe, RecipeConfig
from beam_sdg.recipes.summaries import MERGED, new_summaries
from beam_sdg.runs import Run
from beam_sdg.shards import read_shard
from beam_sdg.stages import Stage
from tests.fenced import call, used
from transforms.engines.rehearsal import FAILING, MALFORMED, Rehearsal
from transforms.engines.store import AnswerStore
from transforms.outcome import SourceOutcome
from transforms.records import JudgedSolution, Problem, Reject, Solution, Summary
from transforms.seeding import digest, sampling_seed, stream
from transforms.summaries import SummarySettings, is_summarised

ROOT = Path(__file__).parents[2]
PROMPT, ASK = "math/summary", "generate_new_summaries"
REHEARSAL = {"malformed": "0.15", "failing": "0.1"}
ENGINE = Rehearsal(malformed=0.15, failing=0.1)
RUN = call("print(3 + 4)", "7")
REASONS = {
    "other_answer": "summary_differs",
    "no_box": "no_boxed_answer",
    "tag": "tag_in_summary",
}


def judged(number: int) -> JudgedSolution:
    """A solution in one of five shapes, of which a third are not correct."""
    problem = Problem(
        digest("s", number // 2), f"How many {number}?", "test", str(number), "", "{}"
    )
    end = rf"The answer is \boxed{{{number}}}."
    text, reasoning, use = {
        0: (end, "We add.", None),
        1: (f"<think>We add.</think>{end}", "", None),
        2: (f"<think>We add.</think>\n{RUN}{end}", "", used(1, 8)),
        3: (f"We add.</think>{end}", "", None),
        4: (end, "", None),
    }[number % 5]
    verdict = {0: "incorrect", 1: "correct", 2: "correct"}[number % 3]
    solution_id = f"{problem.id}-{number % 2}"
    solution = Solution(solution_id, problem, text, str(number), (), use, reasoning)
    return JudgedSolution(solution_id, solution, str(number), verdict, "equality")


MANY = [judged(number) for number in range(150)]


@dataclasses.dataclass(eq=False)
class Judged(beam.PTransform):
    """A source of judged solutions."""

    rows: tuple[JudgedSolution, ...]

    def expand(self, begin: beam.pvalue.PBegin) -> SourceOutcome:
        none = begin.pipeline | "None" >> beam.Create([]).with_output_types(Reject)
        said = [("read", len(self.rows)), ("usable", len(self.rows))]
        counts = begin.pipeline | "Said" >> beam.Create(said)
        return SourceOutcome(begin | beam.Create(self.rows), none, counts)


def run(folder: Path, settings: SummarySettings, rows: list[JudgedSolution], **models: Any) -> Run:
    models.setdefault("rehearsal", REHEARSAL)
    context = Context(models=ModelSettings(**models), store=str(folder / "store"))
    source = Stage("judge_answers", Judged(tuple(rows)), JudgedSolution, {"n": len(rows)})
    stages = (source, *new_summaries(context, "judge_answers", settings))
    options = PipelineOptions(["--runner=FnApiRunner"])
    return Run(stages, str(folder), seed=0, num_shards=2, options=options)


def read(made: Run, stage: str, kind: str, record_type: type) -> list[Any]:
    paths = made.shards_of(stage, kind)
    return [row for path in paths for row in read_shard(path, record_type)]


def plan_of(solution_id: str, sample: int) -> tuple[str, Any]:
    """The reason for which a summary must be refused or "", and its plan."""
    path = ROOT / "prompts" / "math" / "summary.py"
    spec = importlib.util.spec_from_file_location("planned", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    seed = sampling_seed(0, ASK, solution_id, sample)
    plan = module.plan_of(stream("rehearsal", 0, PROMPT, seed))
    fates = {MALFORMED: "truncated_answer", FAILING: "request_refused"}
    return fates.get(ENGINE.fate(PROMPT, seed), REASONS.get(plan.fault, "")), plan


@pytest.mark.parametrize("strict", [False, True])
def test_the_summaries_chosen_and_refused_are_those_of_the_plan(tmp_path, strict):
    """Of correct solutions alone; none is lost, and the longest valid one is put in."""
    settings = SummarySettings(new_summaries=3, strict_end_tag=strict)
    made = run(tmp_path, settings, MANY)
    source, select, ask, merge = made.execute()
    asked = [each for each in MANY if is_summarised(each, settings)]
    assert len(asked) == (80 if strict else 100)
    assert (select.rows_in, select.rows, select.rejects) == (150, len(asked), {})
    assert select.not_sampled == 150 - len(asked)
    assert (ask.rows_in, ask.samples) == (len(asked), 3)
    assert (merge.rows_in, merge.not_sampled) == (source.rows, 0)
    store = AnswerStore(str(tmp_path / "store"), ASK)
    assert {line["record"] for line in store.attempts()} == {each.id for each in asked}

    plans = {(each.id, k): plan_of(each.id, k) for each in asked for k in range(3)}
    refused = {key: reason for key, (reason, _) in plans.items() if reason}
    rejects = read(made, ASK, "rejects", Reject)
    assert {(row.id, row.sample): row.reason for row in rejects} == refused
    assert len(rejects) == len(refused)
    assert set(refused.values()) == {
        "truncated_answer", "request_refused", *REASONS.values()
    }  # fmt: skip
    summaries = read(made, ASK, "rows", Summary)
    assert {row.id for row in summaries} == {
        f"{solution_id}-{k}" for (solution_id, k), (reason, _) in plans.items() if not reason
    }
    corrected = {row.id for row in summaries if row.call.turns == 2}
    assert corrected == {
        f"{solution_id}-{k}"
        for (solution_id, k), (reason, plan) in plans.items()
        if plan.fault.endswith("_at_first") and not reason
    }
    assert corrected

    rows = {row.id: row for row in read(made, MERGED, "rows", JudgedSolution)}
    why = {row.id: row.reason for row in read(made, MERGED, "rejects", Reject)}
    assert rows.keys() | why.keys() == {each.id for each in MANY}
    assert len(rows) + len(why) == merge.rows + sum(merge.rejects.values()) == 150
    outcomes = Counter()
    for before in MANY:
        if before.verdict != "correct":
            assert rows[before.id] == before
            continue
        if before not in asked:
            assert why[before.id] == "no_reasoning_end"
            continue
        valid = [k for k in range(3) if not plans[before.id, k][0]]
        outcomes[len(valid)] += 1
        if not valid:
            assert why[before.id] == "no_valid_summary"
            continue
        best = min(valid, key=lambda k: (*_by_length(plans[before.id, k][1]), k))
        check_merged(before, rows[before.id], best, plans[before.id, best][1])
    assert set(outcomes) == {0, 1, 2, 3}


def _by_length(plan: Any) -> tuple[int, bool]:
    return -plan.steps, not plan.is_respelt


def check_merged(before: JudgedSolution, row: JudgedSolution, sample: int, plan: Any) -> None:
    """The row has the summary with this number and plan, and all that has to stay."""
    made, old = row.solution, before.solution
    answer = f"{old.predicted_answer}.0" if plan.is_respelt else old.predicted_answer
    [wrote] = made.calls
    assert (wrote.ask, wrote.sample, wrote.finish_reason) == (ASK, sample, "stop")
    assert (made.predicted_answer, row.verdict) == (answer, "correct")
    head, _, summary = made.text.rpartition("Step 1: ")
    assert summary.count("Step ") == plan.steps - 1
    assert summary.endswith(rf"The answer is \boxed{{{answer}}}.")
    assert made.reasoning == old.reasoning
    end = rf"The answer is \boxed{{{old.predicted_answer}}}."
    assert (
        head
        == {
            0: "",
            1: "<think>We add.</think>\n\n",
            2: f"<think>We add.</think>\n{RUN}\n\n",
            3: "<think>\nWe add.</think>\n\n",
            4: f"<think>\n{end}\n</think>\n\n",
        }[int(before.expected_answer or 0) % 5]
    )


def test_the_order_of_the_rows_changes_nothing(tmp_path):
    """Every file of the merged rows has the same bytes."""
    runs = [
        run(tmp_path / name, SummarySettings(new_summaries=2), rows)
        for name, rows in (("one", MANY), ("two", MANY[::-1]))
    ]
    for each in runs:
        each.execute()
    for kind in ("rows", "rejects"):
        paths = zip(*(each.shards_of(MERGED, kind) for each in runs), strict=True)
        assert all(Path(a).read_bytes() == Path(b).read_bytes() for a, b in paths)


def test_one_summary_is_enough(tmp_path):
    """It then has the id of its solution."""
    made = run(tmp_path, SummarySettings(new_summaries=1), MANY[:40], rehearsal={})
    made.execute()
    summaries = read(made, ASK, "rows", Summary)
    assert summaries
    assert all(row.id == row.solution_id for row in summaries)
    kept = [row.id for row in read(made, MERGED, "rows", JudgedSolution) if row.solution.calls]
    assert sorted(kept) == sorted(row.id for row in summaries)


def test_how_a_summary_is_put_in_asks_nothing_anew(tmp_path):
    """Another separator merges again; the stages before it stay as they are."""
    first = run(tmp_path, SummarySettings(new_summaries=2), MANY[:20])
    again = run(tmp_path, SummarySettings(new_summaries=2, summary_separator=""), MANY[:20])
    same = [
        name for name in first.fingerprints if first.fingerprints[name] == again.fingerprints[name]
    ]
    assert same == ["judge_answers", "select_correct", ASK]
    other = run(tmp_path, SummarySettings(new_summaries=2, end_tag="</t>"), MANY[:20])
    assert other.fingerprints[ASK] != first.fingerprints[ASK]


def sampling_of(settings: SummarySettings, **context: Any) -> dict[str, Any]:
    stages = new_summaries(Context(**context), "judge_answers", settings)
    [ask] = [stage.ask for stage in stages if stage.ask]
    return ask.sampling.chosen()


def test_the_published_sampling_is_for_where_none_is_set():
    """Temperature and length are those of the user, or of the stage, if there are any."""
    four = SummarySettings(new_summaries=4)
    assert sampling_of(four) == {"temperature": 0.7, "max_tokens": 2048}
    models = ModelSettings(temperature=0.2, max_tokens=9000)
    assert sampling_of(four, models=models) == {"temperature": 0.2, "max_tokens": 9000}
    own = {"stage_settings": {ASK: {"max_tokens": "4096"}}}
    assert sampling_of(four, models=models, **own) == {"temperature": 0.2, "max_tokens": 4096}


def test_nothing_is_asked_unless_somebody_wants_it():
    """By default there are no stages."""
    assert list(new_summaries(Context(), "judge_answers", SummarySettings())) == []


class Config(SummarySettings, RecipeConfig):
    """Settings of a recipe that has new summaries."""


def test_the_settings_are_flags_of_a_recipe():
    """False means false, and line breaks are written as on a shell."""
    recipe = Recipe("mine", "mine", Config, lambda config, context: [])
    flags = ["--new_summaries=4", "--strict_end_tag=False", r"--summary_separator=\n"]
    config = parse_flags(recipe, flags, "mine").config
    assert isinstance(config, SummarySettings)
    assert (config.new_summaries, config.strict_end_tag) == (4, False)
    assert config.summary_separator == "\n"
    assert parse_flags(recipe, ["--strict_end_tag"], "mine").config.strict_end_tag is True
    assert json.loads(config.model_dump_json())["end_tag"] == "</think>"
