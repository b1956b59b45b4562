"""Judgements of fragments: each outcome of votes, planted ones in a pipeline, no row lost."""

import functools
import itertools
import json
import random
import re
from collections import Counter
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from prompts import rehearsal
from tests.fenced import FENCED, call, solution
from transforms.ask import Ask
from transforms.codec import arrow_schema, from_row, to_row
from transforms.engines.rehearsal import MALFORMED, Rehearsal
from transforms.records import InsightfulSolution, JudgedFragment, Vote
from transforms.seeding import sampling_seed, stream
from transforms.tir.fragments import ExtractFragments, fragments_of
from transforms.tir.insight import (
    LABELS,
    MODERATE,
    NOVEL,
    NOVELTY,
    SIGNIFICANCE,
    SIGNIFICANT,
    TRIVIAL,
    VERIFICATION,
    InsightSettings,
    KeepInsightful,
    drop_reason,
    judged_fragment,
    prompt_of,
    reader_of,
    variables_of,
    vote_of,
)

SEED = 5


def votes(question: str, *labels: str | None) -> list[Vote]:
    return [Vote(question, sample, label) for sample, label in enumerate(labels) if label]


def judged(novelty: list[str | None], significance: list[str | None], quorum: int = 5):
    cast = votes(NOVELTY, *novelty) + votes(SIGNIFICANCE, *significance)
    return judged_fragment("x-0-0", cast, quorum)


@pytest.mark.parametrize(
    ("labels", "is_novel"),
    [
        ([NOVEL] * 8, True),
        ([NOVEL] * 7 + [VERIFICATION], False),
        ([VERIFICATION] * 8, False),
        ([NOVEL] * 5 + [None] * 3, True),
        ([NOVEL] * 4 + [None] * 4, None),
        ([VERIFICATION] * 4 + [None] * 4, None),
        ([None] * 8, None),
    ],
)
def test_a_fragment_is_novel_if_all_readable_votes_say_so(labels, is_novel):
    """An unreadable vote is no vote, and below the quorum there is no judgement."""
    assert judged(labels, [TRIVIAL] * 8).is_novel is is_novel


@pytest.mark.parametrize(
    ("labels", "significance"),
    [
        ([SIGNIFICANT] * 8, SIGNIFICANT),
        ([SIGNIFICANT] * 7 + [MODERATE], MODERATE),
        ([SIGNIFICANT] * 6 + [MODERATE, TRIVIAL], TRIVIAL),
        ([TRIVIAL] * 8, TRIVIAL),
        ([SIGNIFICANT] * 5 + [None] * 3, SIGNIFICANT),
        ([MODERATE, SIGNIFICANT, SIGNIFICANT, SIGNIFICANT] + [None] * 4, None),
    ],
)
def test_a_fragment_is_as_significant_as_its_least_vote(labels, significance):
    """Any trivial is trivial, else any moderate is moderate; an unreadable one is not trivial."""
    assert judged([NOVEL] * 8, labels).significance == significance


def fragment(is_novel: bool | None, significance: str | None) -> JudgedFragment:
    return JudgedFragment("x-0-0", is_novel, significance, ())


BEST, HALF = fragment(True, SIGNIFICANT), fragment(True, MODERATE)
KNOWN, SMALL = fragment(False, SIGNIFICANT), fragment(True, TRIVIAL)


@pytest.mark.parametrize(
    ("fragments", "reason"),
    [
        ([BEST], None),
        ([BEST] + [KNOWN] * 9, None),
        ([HALF], None),
        ([HALF, KNOWN], None),
        ([HALF, SMALL, SMALL], "not_significant"),
        ([SMALL], "not_significant"),
        ([KNOWN], "not_novel"),
        ([KNOWN, fragment(False, MODERATE)], "not_novel"),
        ([fragment(None, SIGNIFICANT)], "too_few_votes"),
        ([fragment(True, None)], "too_few_votes"),
        ([fragment(None, None), KNOWN], "too_few_votes"),
        ([fragment(None, None), BEST], None),
        ([fragment(False, None)], "not_novel"),
        ([fragment(None, TRIVIAL)], "not_significant"),
        ([fragment(None, MODERATE), KNOWN, KNOWN], "not_significant"),
        ([fragment(None, MODERATE), KNOWN], "too_few_votes"),
    ],
)
def test_the_rule_keeps_or_names_a_reason(fragments, reason):
    """One novel and significant, or half novel and moderate; doubt where missing votes decide."""
    dropped = drop_reason(fragments, 0.5)
    assert (dropped and dropped[0]) == reason


JUDGED = st.builds(
    fragment, st.sampled_from([True, False, None]), st.sampled_from([*LABELS[SIGNIFICANCE], None])
)


@given(st.lists(JUDGED, min_size=1, max_size=4), st.floats(0.05, 1))
@settings(deadline=None)
def test_too_few_votes_means_that_they_could_decide(fragments, share):
    """The verdict is the same however the missing judgements come out, or it is that reason."""
    filled = itertools.product(
        *(
            [
                fragment(is_novel, significance)
                for is_novel in ([True, False] if each.is_novel is None else [each.is_novel])
                for significance in ([each.significance] if each.significance else
                                     LABELS[SIGNIFICANCE])
            ]
            for each in fragments
        )
    )  # fmt: skip
    kept = {drop_reason(one, share) is None for one in filled}
    dropped = drop_reason(fragments, share)
    if dropped and dropped[0] == "too_few_votes":
        assert kept == {True, False}
    else:
        assert kept == {dropped is None}


VOTES = st.builds(Vote, st.just(NOVELTY), st.integers(0, 7), st.sampled_from(LABELS[NOVELTY]))


@given(st.lists(VOTES, unique=True), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_votes_count_in_any_order(cast, rng):
    """What becomes of the votes on a fragment is the same however they come."""
    shuffled = rng.sample(cast, len(cast))
    made = judged_fragment("x-0-0", shuffled, 1)
    assert made == judged_fragment("x-0-0", cast, 1)
    assert list(made.votes) == sorted(cast, key=lambda vote: (vote.sample, vote.label))


def test_a_quorum_that_cannot_be_met_is_refused():
    """The message names both numbers."""
    with pytest.raises(ValidationError, match="a quorum of 5 is more than 4 votes"):
        InsightSettings(votes=4)


# Texts that the rehearsed judges agree on: significant, moderate and trivial, novel and not.
SEARCH = call("def f(n):\n    return n\nfor n in range(9):\n    f(n)", "7")
LOOP, SUM = call("for n in range(9):\n    n", "7"), call("print(3 + 4)", "7")
FAILED = call("1 / 0", "Traceback (most recent call last):\nZeroDivisionError: by 0")
FAR = "\n" + "." * 2000 + "\n"
PLANTED = {
    f"We search.\n{SEARCH}\\boxed{{7}}": None,
    f"We go through them.\n{LOOP}{FAR}We check that.\n{SEARCH}\\boxed{{7}}": None,
    f"We add.\n{SUM}\\boxed{{7}}": "not_significant",
    f"We loop.\n{LOOP}{FAR}We add.\n{SUM}{FAR}And again.\n{SUM}\\boxed{{7}}": "not_significant",
    f"It is 7. Let me verify.\n{SEARCH}": "not_novel",
    f"We search.\n{FAILED}\\boxed{{7}}": "no_fragment",
    "It is \\boxed{7}.": "no_fragment",
}


def asked(question: str, engine: Rehearsal, store: Path, votes: int) -> Ask:
    """A judge of one question."""
    return Ask(
        name=f"judge_{question}",
        prompt=prompt_of(question),
        variables=variables_of,
        reader=reader_of(question),
        engine=engine,
        store=str(store),
        seed=SEED,
        keep=functools.partial(vote_of, question=question),
        samples=votes,
    )


def keep_insightful(rows_in, tmp_path: Path, engine: Rehearsal, **settings) -> dict[str, list]:
    """What fragments, judges and rule make of solutions: rows of JSON by the name of the output."""
    rule = InsightSettings(**settings)
    files = {}
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        solutions = pipeline | beam.Create(rows_in)
        fragments = solutions | ExtractFragments("fragments", FENCED, rule.window)
        votes = [
            fragments.rows | question >> asked(question, engine, tmp_path / "store", rule.votes)
            for question in LABELS
        ]
        joined = (solutions, fragments.rows, *(each.rows for each in votes))
        made = joined | KeepInsightful("filter_fragments", rule)
        for name, items in {
            "rows": made.rows,
            "rejects": (fragments.rejects, made.rejects) | "Rejects" >> beam.Flatten(),
            "vote_rejects": [each.rejects for each in votes] | "Unread" >> beam.Flatten(),
        }.items():
            files[name] = tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}"
            lines = items | f"Json_{name}" >> beam.Map(lambda item: json.dumps(to_row(item)))
            _ = lines | f"Write_{name}" >> beam.io.WriteToText(str(files[name]))
    return {
        name: sorted(
            (
                json.loads(line)
                for file in path.parent.glob(f"{path.name}-*-of-*")
                for line in file.read_text().splitlines()
            ),
            key=lambda row: (row["id"], row.get("sample", 0), row.get("stage", ""), str(row)),
        )
        for name, path in files.items()
    }


def test_planted_solutions_are_kept_and_rejected_as_planned(tmp_path):
    """With judges who agree; the last of them too, and votes and calls are in the row."""
    rows_in = [solution(text, number=number) for number, text in enumerate(PLANTED)]
    made = keep_insightful(rows_in, tmp_path, Rehearsal())
    reason_of = dict(zip([each.id for each in rows_in], PLANTED.values(), strict=True))
    assert [row["id"] for row in made["rows"]] == sorted(
        id for id, reason in reason_of.items() if reason is None
    )
    rejected = {row["id"]: row["reason"] for row in made["rejects"]}
    assert rejected == {id: reason for id, reason in reason_of.items() if reason}
    assert made["vote_rejects"] == []
    (two,) = [row for row in made["rows"] if row["id"] == rows_in[1].id]
    assert [(each["is_novel"], each["significance"]) for each in two["fragments"]] == [
        (True, MODERATE), (False, SIGNIFICANT)
    ]  # fmt: skip
    for each in two["fragments"]:
        cast = [(vote["question"], vote["sample"]) for vote in each["votes"]]
        assert cast == list(itertools.product(LABELS, range(8)))
    calls = two["solution"]["calls"]
    every = [(f"judge_{question}", sample) for question in LABELS for sample in range(8)]
    assert [(one["ask"], one["sample"]) for one in calls] == every * 2
    assert two["solution"]["text"] == rows_in[1].text
    (verified,) = [row for row in made["rejects"] if row["reason"] == "not_novel"]
    assert verified["detail"] == (
        "no fragment is novel; fragment 0: 8 verification / 8 significant"
    )
    assert json.loads(verified["row"])["text"] == rows_in[4].text


def planned(rows_in, engine: Rehearsal, settings: InsightSettings) -> dict[str, str | None]:
    """What must become of each solution, computed from the judges' rehearsals alone."""
    plan: dict[str, str | None] = {}
    for each in rows_in:
        fragments = fragments_of(each, FENCED, settings.window)
        made = []
        for one in fragments:
            cast = []
            for question, labels in LABELS.items():
                for sample in range(settings.votes):
                    seed = sampling_seed(SEED, f"judge_{question}", one.id, sample)
                    label = planned_label(engine, question, one.text, seed)
                    assert label is None or label in labels
                    if label is not None:
                        cast.append(Vote(question, sample, label))
            made.append(judged_fragment(one.id, cast, settings.quorum))
        dropped = drop_reason(made, settings.moderate_share) if made else ("no_fragment", "")
        plan[each.id] = dropped and dropped[0]
    return plan


def planned_label(engine: Rehearsal, question: str, text: str, seed: int) -> str | None:
    prompt = f"tir/{question}"
    if engine.fate(prompt, seed) == MALFORMED:
        return None
    shown = [{"role": "user", "content": f"<fragment>\n{text}\n</fragment>"}]
    answer = rehearsal(prompt)(shown, stream("rehearsal", engine.seed, prompt, seed))
    return answer.rpartition(": ")[2]


def test_judges_who_differ_and_votes_that_fail_lose_no_solution(tmp_path):
    """Forty solutions, a third of all votes unreadable: rows and rejects are those of the plan."""
    prose = ["We search.", "We are not sure.", "We check.", "We loop."]
    rng = random.Random(1)
    rows_in = [
        solution(
            FAR.join(f"{rng.choice(prose)}\n{rng.choice([SEARCH, LOOP, SUM])}" for _ in range(2)),
            number=number,
        )
        for number in range(40)
    ]
    engine = Rehearsal(malformed=0.35)
    made = keep_insightful(rows_in, tmp_path, engine)
    plan = planned(rows_in, engine, InsightSettings())
    assert {row["id"]: None for row in made["rows"]} | {
        row["id"]: row["reason"] for row in made["rejects"]
    } == plan
    assert len(made["rows"]) + len(made["rejects"]) == len(rows_in)
    assert set(plan.values()) == {None, "not_novel", "not_significant", "too_few_votes"}
    told = Counter(row["id"] for row in made["vote_rejects"])
    read = {each["id"]: len(each["votes"]) for row in made["rows"] for each in row["fragments"]}
    assert told and all(number + told[id] == 16 for id, number in read.items())
    one = next(row for row in made["rejects"] if row["reason"] == "too_few_votes")
    counts = re.findall(r"(\d) unreadable", one["detail"])
    assert sum(map(int, counts)) == sum(told[f"{one['id']}-{number}"] for number in (0, 1))
    assert {row["reason"] for row in made["vote_rejects"]} == {"truncated_answer"}
    assert {row["stage"] for row in made["vote_rejects"]} == {
        "judge_novelty", "judge_significance"
    }  # fmt: skip


def test_equal_ids_do_not_collide(tmp_path):
    """Nobody can say whose fragments are whose: both are rejects, in each run."""
    good, small = list(PLANTED)[0], list(PLANTED)[2]
    rows_in = [solution(small, number=0), solution(good, number=0), solution(good, number=1)]
    made = keep_insightful(rows_in, tmp_path, Rehearsal())
    assert [row["id"] for row in made["rows"]] == [rows_in[2].id]
    rejected = [(row["reason"], json.loads(row["row"])["text"]) for row in made["rejects"]]
    assert sorted(rejected) == sorted([("duplicate_id", small), ("duplicate_id", good)])
    assert keep_insightful(rows_in[::-1], tmp_path, Rehearsal())["rejects"] == made["rejects"]


def test_other_numbers_of_votes_can_be_asked_for(tmp_path):
    """One vote of each question is enough where the quorum says so."""
    rows_in = [solution(text, number=number) for number, text in enumerate(PLANTED)]
    made = keep_insightful(rows_in, tmp_path, Rehearsal(), votes=1, quorum=1)
    assert len(made["rows"]) == 2
    assert all(len(each["votes"]) == 2 for row in made["rows"] for each in row["fragments"])


def test_a_kept_row_can_be_stored():
    """It has an Arrow schema, and comes back from a row as it was."""
    vote = Vote(NOVELTY, 0, NOVEL)
    row = InsightfulSolution(
        "x-0", solution("text"), (JudgedFragment("x-0-0", None, None, (vote,)),)
    )
    assert arrow_schema(InsightfulSolution).names == ["id", "solution", "fragments"]
    assert from_row(InsightfulSolution, to_row(row)) == row
