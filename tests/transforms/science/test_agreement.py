"""Solutions kept by agreement and pass rate: which bounds count, and what is a majority."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.majority import NO_ANSWER, fill, majority
from transforms.records import AgreedAnswer, JudgedSolution, Problem, Reject, Solution
from transforms.science.agreement import ALL, FilterByAgreement

PROBLEM = Problem("q", "Which?", "test", "1", "", "{}")


def judged(answers: list[str | None], rate: float | None = 1.0) -> JudgedSolution:
    """The first solution of a question whose solutions say so."""
    tally: dict[str, int] = {}
    for answer in answers:
        tally[answer or NO_ANSWER] = tally.get(answer or NO_ANSWER, 0) + 1
    vote = majority(tally)
    solution = Solution("q-0", PROBLEM, "text", answers[0], ())
    agreed = AgreedAnswer(fill(None, vote), vote, ())
    return JudgedSolution("q-0", solution, vote.answer, "correct", agreed=agreed, pass_rate=rate)


def outcome(verb: FilterByAgreement, of: JudgedSolution) -> str:
    [made] = verb.filtered(of)
    return made.reason if isinstance(made, Reject) else ""


@pytest.mark.parametrize(
    ("votes", "reason"), [(1, "low_agreement"), (2, ""), (3, ""), (4, "high_agreement")]
)
def test_both_bounds_of_the_agreement_are_in_the_range(votes, reason):
    """From a half to three quarters of four."""
    of = judged(["A"] * votes + [None] * (4 - votes))
    assert outcome(FilterByAgreement("f", 4, agreement=(0.5, 0.75)), of) == reason


@pytest.mark.parametrize(
    ("rate", "reason"), [(0.24, "too_hard"), (0.25, ""), (0.5, ""), (0.51, "too_easy"), (None, "")]
)
def test_both_bounds_of_the_pass_rate_are_in_the_range(rate, reason):
    """Of a question without a rate nobody knows, and it is kept."""
    of = judged(["A", "A"], rate)
    assert outcome(FilterByAgreement("f", 2, pass_rate=(0.25, 0.5)), of) == reason


def test_what_was_asked_for_is_what_rates_are_of():
    """A solution that was cut off is no ballot, and agrees with nobody."""
    half = FilterByAgreement("f", 8, agreement=(0.5, 1))
    assert outcome(half, judged(["A"] * 4)) == ""
    assert outcome(half, judged(["A"] * 3)) == "low_agreement"


@pytest.mark.parametrize("answers", [[None, None], ["A", "B"], ["A", "A", "B", "B", None]])
def test_without_a_majority_nothing_is_kept(answers):
    """Whatever the ranges: no answer, or as many for one as for another."""
    assert outcome(FilterByAgreement("f", len(answers)), judged(answers)) == "no_majority"


@given(
    st.lists(st.sampled_from(["A", "B", "C", None]), min_size=1, max_size=9),
    st.tuples(st.integers(0, 9), st.integers(0, 9)).map(sorted),
)
def test_a_solution_is_kept_if_and_only_if_its_rate_is_in_the_range(answers, bounds):
    """Counted anew; the two bounds are rates that questions can have."""
    asked, of = 9, judged(answers)
    low, high = (bound / asked for bound in bounds)
    counts = sorted((answers.count(letter) for letter in "ABC"), reverse=True)
    is_kept = counts[0] > counts[1] and bounds[0] <= counts[0] <= bounds[1]
    assert (outcome(FilterByAgreement("f", asked, (low, high)), of) == "") == is_kept
    assert (outcome(FilterByAgreement("f", asked), of) == "") == (counts[0] > counts[1])


@pytest.mark.parametrize("bounds", [(0.5, 0.4), (-0.1, 1.0), (0.0, 1.1)])
def test_a_range_without_a_rate_is_refused(bounds):
    """Whichever it is; a range of one rate is one."""
    with pytest.raises(ValueError, match="no rate is from"):
        FilterByAgreement("f", 4, agreement=bounds)
    with pytest.raises(ValueError, match="no rate is from"):
        FilterByAgreement("f", 4, ALL, bounds)
    assert outcome(FilterByAgreement("f", 2, (1.0, 1.0), (1.0, 1.0)), judged(["A", "A"])) == ""
