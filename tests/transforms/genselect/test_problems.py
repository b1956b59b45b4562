"""The candidates of a problem: which stand beside one another, and what leaves no choice."""

import random
from collections import Counter
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.testing.test_pipeline import TestPipeline as Pipeline
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.genselect.problems import GatherCandidates, gathered_or_rejects
from transforms.genselect.records import Candidate, JudgedCandidate, JudgedProblem
from transforms.records import Origin, Reject

ORIGIN = Origin("p", "mine", "7", "MIT", "{}")
# (text, is it correct, expected answer)
CANDIDATES = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.booleans(), st.sampled_from(("1", "1.0", "2", None))),
    min_size=1,
    max_size=14,
)


def judged(specs: Sequence[tuple[str, bool, str | None]], problem: str = "p") -> list:
    return [
        JudgedCandidate(
            f"{problem}-{number:02}",
            problem,
            "How many?",
            expected,
            ORIGIN,
            Candidate(f"s{number}", text, "1", is_correct),
        )  # fmt: skip
        for number, (text, is_correct, expected) in enumerate(specs)
    ]


def parts(candidates: Sequence[JudgedCandidate]) -> tuple[list[JudgedProblem], dict[str, str]]:
    made = list(gathered_or_rejects("p", candidates, "stage"))
    rejects = [one for one in made if isinstance(one, Reject)]
    assert len({one.id for one in rejects}) == len(rejects)
    return (
        [one for one in made if isinstance(one, JudgedProblem)],
        {one.id: one.reason for one in rejects},
    )


def fates(specs: Sequence[tuple[str, bool, str | None]]) -> tuple[dict[int, str], list[str]]:
    """The reason for which each candidate is lost or "", and the texts of those that stay."""
    counts = Counter(expected for _, _, expected in specs if expected)
    wanted = sorted(counts, key=lambda answer: (-counts[answer], answer))[:1]
    one = {"1": ("1", "1.0"), "1.0": ("1", "1.0"), "2": ("2",)}
    found, texts = {}, {}
    held = [not e or e in one[wanted[0]] for _, _, e in specs]
    for number, (text, _, _) in enumerate(specs):
        labels = {specs[n][1] for n in range(len(specs)) if specs[n][0] == text and held[n]}
        if not held[number]:
            found[number] = "other_expected_answer"
        elif len(labels) > 1:
            found[number] = "contradictory_labels"
        else:
            found[number] = "duplicate_solution" if text in texts else ""
            texts.setdefault(text, number)
    stay = [number for number in found if not found[number]]
    right = sum(specs[number][1] for number in stay)
    reason = ""
    if right == len(stay):
        reason = "all_correct"
    elif not right:
        reason = "all_incorrect"
    elif len(stay) < 4:
        reason = "too_few_solutions"
    return {**found, **dict.fromkeys(stay, reason)}, sorted(specs[n][0] for n in stay)


@given(CANDIDATES, st.randoms())
@settings(max_examples=300)
def test_every_candidate_is_in_the_problem_or_a_reject(specs, order: random.Random):
    """By reasons worked out apart, in whatever order they come."""
    candidates = judged(specs)
    problems, reasons = parts(candidates)
    wanted, texts = fates(specs)
    assert reasons == {f"p-{number:02}": reason for number, reason in wanted.items() if reason}
    assert sum(one.num_solutions for one in problems) + len(reasons) == len(specs)
    for one in problems:
        assert [each.text for each in one.candidates] == texts
        assert one.num_solutions == len(texts) >= 4
        assert {each.is_correct for each in one.candidates} == {True, False}
    order.shuffle(candidates)
    assert parts(candidates) == (problems, reasons)


def test_problems_are_gathered_apart():
    """Through a pipeline: two problems, of which one leaves no choice."""
    good = judged([("a", True, "1"), ("b", False, "1"), ("c", False, "1"), ("d", True, "1")])
    bad = judged([("a", True, "1"), ("b", True, "1")], problem="q")
    with Pipeline() as pipeline:
        made = pipeline | beam.Create([*good, *bad]) | GatherCandidates("stage")
        rows = made.rows | "Rows" >> beam.Map(lambda row: (row.id, row.num_solutions))
        rejects = made.rejects | "Rejects" >> beam.Map(lambda row: (row.id, row.reason))
        assert_that(rows, equal_to([("p", 4)]), "rows")
        wanted = [("q-00", "all_correct"), ("q-01", "all_correct")]
        assert_that(rejects, equal_to(wanted), "rejects")
