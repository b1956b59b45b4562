"""Instances keep the published rules, whatever the candidates; of the same seed they are equal."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.solved import judged_rows
from transforms.codec import canonical_json
from transforms.genselect.candidates import candidate_of_row
from transforms.genselect.instances import InstanceRules, instances_of, number_of, shown
from transforms.genselect.problems import gathered_or_rejects
from transforms.genselect.records import Candidate, JudgedCandidate, JudgedProblem
from transforms.records import Origin, Problem, Reject
from transforms.seeding import digest
from transforms.sft.lengths import Lengths

ORIGIN = Origin("p", "mine", "7", "MIT", "{}")
COUNTS = st.tuples(st.integers(1, 30), st.integers(1, 30)).filter(lambda both: sum(both) >= 4)


def problem_of(right: int, wrong: int, length: int = 10) -> JudgedProblem:
    texts = [f"{number} ".ljust(length, "x") for number in range(right + wrong)]
    candidates = tuple(
        Candidate(f"s{number}", text, "1", number < right) for number, text in enumerate(texts)
    )
    return JudgedProblem("p", "How many?", "1", ORIGIN, candidates, len(candidates))


def drawn(problem: JudgedProblem, rules: InstanceRules, seed: int, lengths=None) -> list:
    return [one.solutions for one in instances_of(problem, rules, seed, lengths or Lengths())]


def check_rules(
    found: Sequence[Sequence[Candidate]], of: JudgedProblem, rules: InstanceRules
) -> None:
    """All that is published of instances, and the mends."""
    assert len(found) <= rules.max_instances_per_problem
    assert len({tuple(one.id for one in solutions) for solutions in found}) == len(found)
    for solutions in found:
        assert 2 <= len(solutions) <= rules.max_solutions
        assert set(solutions) <= set(of.candidates)
        assert len(set(solutions)) == len(solutions)
        right = sum(one.is_correct for one in solutions)
        assert 1 <= right <= len(solutions) - right
        assert len(shown(solutions)) < 3 * rules.max_instance_tokens


@given(COUNTS, st.integers(2, 20), st.integers(1, 10), st.integers(0, 2**32), st.integers(3, 200))
@settings(max_examples=300, deadline=None)
def test_every_instance_keeps_the_rules(counts, most, many, seed, length):
    """Of any numbers of right and wrong solutions of any length, and under any limits."""
    problem = problem_of(*counts, length)
    rules = InstanceRules(
        max_instances_per_problem=many, max_solutions=most, max_instance_tokens=400
    )
    found = drawn(problem, rules, seed)
    check_rules(found, problem, rules)
    assert found == drawn(problem, rules, seed)
    if length < 30:
        assert found


@given(COUNTS, st.integers(2, 16), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_more_instances_begin_with_those_of_fewer(counts, most, seed):
    """So a preview's answers serve the full run."""
    problem = problem_of(*counts)
    few, many = (
        drawn(problem, InstanceRules(max_instances_per_problem=n, max_solutions=most), seed)
        for n in (3, 8)
    )
    assert many[: len(few)] == few


def test_every_number_of_solutions_is_drawn():
    """From 2 to 16, the middle most often; the published floor never comes to 16."""
    rng = random.Random(5)
    counts = Counter(number_of(16, rng) for _ in range(20_000))
    assert set(counts) == set(range(2, 17))
    assert counts.most_common(1)[0][0] == 9
    assert {number_of(2, rng) for _ in range(50)} == {2}
    assert {number_of(3, rng) for _ in range(5000)} == {2, 3}


def test_right_and_wrong_solutions_stand_anywhere():
    """No place of an instance says what is in it, and each candidate has its turns."""
    problem, rules = problem_of(8, 8), InstanceRules(max_instances_per_problem=1)
    found = [solutions for seed in range(800) for solutions in drawn(problem, rules, seed)]
    first = sum(solutions[0].is_correct for solutions in found)
    last = sum(solutions[-1].is_correct for solutions in found)
    share = sum(sum(one.is_correct for one in s) / len(s) for s in found)
    assert abs(first - share) < 80 and abs(last - share) < 80
    turns = Counter(one.id for solutions in found for one in solutions)
    assert len(turns) == 16 and min(turns.values()) > 200


@pytest.mark.parametrize(("length", "lost"), [(70, False), (100, False), (170, True)])
def test_tokens_are_counted_between_what_is_surely_short_and_surely_long(tmp_path, length, lost):
    """With a tokenizer; without one, what is not surely short is too long."""
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, "[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.save(str(tmp_path / "tokenizer.json"))
    rules = InstanceRules(max_solutions=2, max_instance_tokens=60)
    problem = problem_of(3, 3, length)
    assert bool(drawn(problem, rules, 0)) == (length == 70)
    assert bool(drawn(problem, rules, 0, Lengths(str(tmp_path)))) != lost


def gathered(rows) -> dict[str, JudgedProblem]:
    """The problems of rows, by their texts."""
    by_problem: dict[str, list[JudgedCandidate]] = defaultdict(list)
    for row in rows:
        columns = canonical_json({name: row[name] for name in row if name != "problem"})
        record = Problem(
            digest(row["id"]), row["problem"], "gsm8k", row["id"], "MIT", columns,
            row["expected_answer"],
        )  # fmt: skip
        candidate = candidate_of_row(record, "stage")
        if isinstance(candidate, JudgedCandidate):
            by_problem[candidate.problem_id].append(candidate)
        else:
            assert candidate.reason == "no_boxed_answer"
            assert row["predicted_answer"] is None
    made = (one for of in by_problem.items() for one in gathered_or_rejects(*of, "stage"))
    return {one.problem: one for one in made if not isinstance(one, Reject)}


def test_instances_of_gsm8ks_real_solutions_keep_the_rules(data):
    """All of 5,276 solutions of four models, by their published labels."""
    rows = judged_rows(data)
    said = {row["id"]: row for row in rows}
    usable: dict[str, dict[str, bool]] = defaultdict(dict)
    for row in rows:
        if row["predicted_answer"] is not None:
            usable[row["problem"]][row["generation"]] = row["symbolic_correct"]
    wanted = {
        problem for problem, labels in usable.items()
        if len(labels) >= 4 and set(labels.values()) == {True, False}
    }  # fmt: skip

    problems, rules = gathered(rows), InstanceRules()
    assert problems.keys() == wanted
    sizes: Counter[int] = Counter()
    for text, problem in problems.items():
        found = instances_of(problem, rules, 10)
        check_rules([one.solutions for one in found], problem, rules)
        assert [one.id for one in found] == [f"{problem.id}-{n}" for n in range(len(found))]
        for one in found:
            sizes[len(one.solutions)] += 1
            for each in one.solutions:
                row = said[each.id]
                assert (row["problem"], row["generation"]) == (text, each.text)
                assert (row["symbolic_correct"], row["predicted_answer"]) == (
                    each.is_correct, each.answer,
                )  # fmt: skip
    # Nothing above is true for want of a case.
    assert len(problems) == 725 and set(sizes) == {2, 3, 4} and min(sizes.values()) > 100
    other = [instances_of(problem, rules, 11) for problem in problems.values()]
    again = [instances_of(problem, rules, 10) for problem in problems.values()]
    assert other != again
