"""Verdicts: equality first, then votes on pairs of answers; and what solutions' votes mend."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.judging import (
    judged_solutions,
    judgement_of,
    pass_rate,
    settled,
    undecided_pairs,
)
from transforms.majority import NO_ANSWER, majority
from transforms.records import (
    AnswerPair,
    AnswerVote,
    Call,
    Judgement,
    Problem,
    Solution,
    sample_id,
)
from transforms.repairing import FillMajorityAnswer


def problem(number: int, expected: str | None) -> Problem:
    return Problem(f"p{number}", f"How many? {number}", "test", str(number), "", "{}", expected)


def solutions(of: Problem, *answers: str | None) -> list[Solution]:
    return [
        Solution(sample_id(of.id, k), of, f"So {answer}.", answer, ())
        for k, answer in enumerate(answers)
    ]


def call(sample: int) -> Call:
    return Call("judge", "math/judge", "", "m", "{}", 0, sample, 1, (), "stop", 1, 1)


def vote(pair: AnswerPair, sample: int, is_same: bool) -> AnswerVote:
    return AnswerVote(sample_id(pair.id, sample), pair, is_same, call(sample))


def compared(some):
    return [judgement_of(solution) for solution in some]


def pairs_of(judgements):
    return list(undecided_pairs("p1", judgements))


def agreed(mode, judgements):
    """The judgements of one problem after their vote."""
    tally = Counter(one.predicted_answer or NO_ANSWER for one in judgements)
    vote = majority(dict(tally))
    return list(FillMajorityAnswer(mode).agreed(judgements[0].problem_id, [*judgements, vote]))


def verdicts(judgements) -> list[str]:
    return [judgement.verdict for judgement in judgements]


def test_equality_says_what_it_can():
    """Equal, none, nothing to compare with, and what only a judge can tell."""
    some = solutions(problem(1, "1/2"), "0.5", None, " ", "half", "3")
    some += solutions(problem(2, None), "0.5", None)
    judgements = compared(some)
    assert verdicts(judgements) == [
        *("correct", "no_answer", "no_answer", "undecided", "undecided"),
        *("no_expected_answer", "no_answer"),
    ]
    assert judgements[0].judged_by == "equality"
    assert {judgement.judged_by for judgement in judgements[1:]} == {""}


def test_a_pair_of_answers_is_asked_about_once():
    """However many solutions have it; settled ones and those without an answer are not."""
    of = problem(1, "7")
    judgements = compared(solutions(of, "8", " 8 ", "9", "7", None, "8"))
    pairs = pairs_of(judgements)
    assert [(pair.expected_answer, pair.predicted_answer) for pair in pairs] == [
        ("7", "8"),
        ("7", "9"),
    ]
    ids = {pair.predicted_answer: pair.id for pair in pairs}
    assert all(row_id.startswith("p1-pair") for row_id in ids.values())
    [more] = pairs_of(compared(solutions(of, "7", "9")))
    assert more.id == ids["9"], "whatever else was predicted"
    assert {pair.problem for pair in pairs} == {of.text}


@pytest.mark.parametrize(
    ("votes", "verdict"),
    [
        ([True], "correct"),
        ([False], "incorrect"),
        ([], "unjudged"),
        ([True, False], "unjudged"),
        ([True, False, True], "correct"),
    ],
)
def test_the_most_votes_decide(votes, verdict):
    """A tie and no readable vote leave it open: never "no"."""
    judgements = compared(solutions(problem(1, "7"), "seven", "7", "seven"))
    [pair] = pairs_of(judgements)
    cast = [vote(pair, number, is_same) for number, is_same in enumerate(votes)]
    after = list(settled("p1", [*cast, *judgements]))
    assert verdicts(after) == [verdict, "correct", verdict]
    assert after[1].judge_calls == ()
    assert len(after[0].judge_calls) == len(after[0].vote_ids) == len(votes)
    assert after[0].judged_by == ("judge" if verdict != "unjudged" else "")


def test_votes_on_another_expected_answer_do_not_count():
    """As before a repair: the pair is of both answers."""
    judgements = compared(solutions(problem(1, "7"), "seven"))
    other = AnswerPair("p1-pair0", "How many?", "8", "seven")
    assert verdicts(settled("p1", [*judgements, vote(other, 0, True)])) == ["unjudged"]


def judged(of: Problem, answers, verdicts) -> list[Judgement]:
    return [
        Judgement(one.id, of.id, of.text, answer, of.expected_answer, verdict)
        for one, answer, verdict in zip(solutions(of, *answers), answers, verdicts, strict=True)
    ]


def test_a_repair_is_compared_anew():
    """No solution agrees: the majority takes its place, and both answers are kept."""
    of = problem(1, "8")
    verdict_of = ("incorrect", "incorrect", "unjudged", "no_answer")
    before = judged(of, ("0.5", "1/2", "3", None), verdict_of)
    after = agreed("repair", before)
    assert [row.expected_answer for row in after] == ["0.5"] * 4
    assert verdicts(after) == ["correct", "correct", "undecided", "no_answer"]
    vote = after[0].agreed
    assert vote is not None
    assert (vote.repair.action, vote.repair.original_answer) == ("repaired", "8")
    assert (vote.majority.votes, vote.majority.ballots) == (2, 4)
    assert [ballot.answer for ballot in vote.ballots] == ["0.5", "1/2", "3", None]


def test_one_that_agrees_keeps_the_answer():
    """And the verdicts, which are about the same answer still."""
    before = judged(problem(1, "8"), ("9", "9", "8"), ("incorrect", "unjudged", "correct"))
    after = agreed("repair", before)
    assert [row.expected_answer for row in after] == ["8"] * 3
    assert verdicts(after) == verdicts(before)


def test_fill_leaves_answers_alone():
    """Even one that all solutions are against; a missing one is filled, if there is a winner."""
    before = judged(problem(1, "8"), ("9", "9"), ("incorrect", "incorrect"))
    missing = judged(problem(2, None), ("9", "9.0"), ("no_expected_answer",) * 2)
    tied = judged(problem(3, None), ("9", "8"), ("no_expected_answer",) * 2)
    after = [one for each in (before, missing, tied) for one in agreed("fill", each)]
    assert [row.expected_answer for row in after] == ["8", "8", "9", "9", None, None]
    assert verdicts(after[2:]) == ["correct", "correct", *["no_expected_answer"] * 2]
    assert after[4].agreed is not None
    assert after[4].agreed.majority.why == "tie"


def test_solutions_get_their_verdicts_and_the_pass_rate():
    """Of all the problem's judgements, also of solutions that a filter has taken out."""
    of = problem(1, "8")
    judgements = judged(of, ("8", "9", None, "x", "8"), (
        "correct", "incorrect", "no_answer", "unjudged", "correct",
    ))  # fmt: skip
    some = solutions(of, "8", "9", None, "x", "8")
    joined = list(judged_solutions("p1", [*judgements, *some[:2], some[3]]))
    assert [(row.id, row.verdict, row.pass_rate) for row in joined] == [
        ("p1-0", "correct", 0.5),
        ("p1-1", "incorrect", 0.5),
        ("p1-3", "unjudged", 0.5),
    ]
    assert [row.solution for row in joined] == [some[0], some[1], some[3]]
    assert pass_rate(["unjudged"]) is None


def test_samples_that_were_lost_have_solved_nothing():
    """Two right ones of sixteen are no easy problem; of the unjudged nobody knows."""
    assert pass_rate(["correct"] * 2, asked=16) == 0.125
    assert pass_rate(["correct"] * 2 + ["unjudged"] * 6, asked=16) == 0.2
    assert pass_rate(["correct", "incorrect"], asked=2) == 0.5
    assert pass_rate([], asked=16) is None


@settings(deadline=None)
@given(
    answers=st.lists(st.sampled_from(["8", "8.0", "9", None, "yes"]), min_size=1, max_size=6),
    expected=st.sampled_from([None, "8", "7"]),
    seed=st.integers(),
)
def test_no_order_changes_a_verdict(answers, expected, seed):
    """Compared, judged by one who always says no, repaired: the same in any order."""
    some = solutions(problem(1, expected), *answers)

    def way(ordered):
        judgements = compared(ordered)
        pairs = pairs_of(judgements)
        votes = [vote(pair, 0, False) for pair in pairs]
        return agreed("repair", list(settled("p1", [*votes, *judgements])))

    mixed = list(some)
    random.Random(seed).shuffle(mixed)
    assert way(some) == way(mixed)
