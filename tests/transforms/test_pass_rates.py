"""Problems that are solved too often or too seldom."""

import pytest

from transforms.pass_rates import FilterByPassRate
from transforms.records import Judgement, Problem, Reject

PROBLEM = Problem("p1", "How many?", "test", "1", "", "{}")


def judgements(*verdicts: str) -> list[Judgement]:
    return [
        Judgement(f"p1-{number}", "p1", "How many?", "7", "7", verdict)
        for number, verdict in enumerate(verdicts)
    ]


def outcome(filter: FilterByPassRate, *verdicts: str) -> str:
    [made] = filter.decided("p1", [*judgements(*verdicts), PROBLEM])
    return made.reason if isinstance(made, Reject) else made.id


@pytest.mark.parametrize(
    ("right", "wrong", "what"),
    [(4, 1, "too_easy"), (5, 0, "too_easy"), (3, 1, "p1"), (1, 3, "p1"), (1, 4, "too_hard")],
)
def test_the_range_has_its_least_and_not_its_most(right, wrong, what):
    """0.8 is too easy where that is the maximum; 0.25 is enough where that is the minimum."""
    verdicts = ["correct"] * right + ["incorrect"] * wrong
    assert outcome(FilterByPassRate("f", 0.25, 0.8), *verdicts) == what


def test_what_nobody_knows_is_kept():
    """Verdicts that say nothing are no failures; a missing answer is one."""
    easy = FilterByPassRate("f", 0.5, 0.9)
    assert outcome(easy, "unjudged", "no_expected_answer") == "p1"
    assert outcome(easy) == "p1"
    assert outcome(easy, "correct", "no_answer", "no_answer") == "too_hard"


def test_only_some_samples_count():
    """Those of one effort, say."""
    only = FilterByPassRate("f", maximum=0.8, samples=range(2, 4))
    assert outcome(only, "correct", "correct", "correct", "incorrect") == "p1"
    assert outcome(only, "incorrect", "incorrect", "correct", "correct") == "too_easy"


def test_the_whole_range_and_none():
    """Without bounds all is kept; a range that holds nothing is refused."""
    assert outcome(FilterByPassRate("f"), "correct") == "p1"
    with pytest.raises(ValueError, match="no pass rate"):
        FilterByPassRate("f", 0.8, 0.8)
