"""The vote as a monoid, its rules, and the table of repairs."""

import random
from collections import Counter

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline as Pipeline
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.codec import arrow_schema, from_row, to_row
from transforms.majority import MajorityVote, fill, majority, repair
from transforms.records import Majority, Repair

SPELLINGS = ["1/2", "0.5", r"\frac12", "2", "2 m", "2 cm", "x=2", "yes", "Yes", "B", "(b)", "x+1"]
BALLOTS = st.lists(st.sampled_from([*SPELLINGS, "1+x", "3", "4", "", " ", None]), max_size=24)


def as_texts(a: str, b: str) -> bool:
    """In math-verify's place."""
    return sorted(a) == sorted(b)


VOTE = MajorityVote(equal=as_texts)


def voted(ballots: list[str | None], vote: MajorityVote = VOTE) -> Majority:
    tally = vote.create_accumulator()
    for ballot in ballots:
        tally = vote.add_input(tally, ballot)
    return vote.extract_output(tally)


@given(BALLOTS, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_vote_is_a_commutative_monoid(ballots, randomly: random.Random):
    """Any order, any sharding, any grouping of the shards, and empty ones: the same outcome."""
    shards: list[list[str | None]] = [[] for _ in range(randomly.randint(1, 6))]
    for ballot in randomly.sample(ballots, len(ballots)):
        randomly.choice(shards).append(ballot)
    tallies = []
    for shard in shards:
        tally = VOTE.create_accumulator()
        for ballot in shard:
            tally = VOTE.add_input(tally, ballot)
        tallies.append(VOTE.compact(tally))
    while len(tallies) > 1:
        taken = [tallies.pop(randomly.randrange(len(tallies))) for _ in range(2)]
        merged = VOTE.merge_accumulators([*taken, VOTE.create_accumulator()])
        tallies.insert(randomly.randint(0, len(tallies)), merged)
    assert VOTE.extract_output(tallies[0]) == voted(ballots)


@given(BALLOTS)
@settings(deadline=None)
def test_the_outcome_accounts_for_every_ballot(ballots):
    """Counts are those of the ballots, and the winner's voters are more than anybody's."""
    outcome = voted(ballots)
    present = [ballot for ballot in ballots if ballot and ballot.strip()]
    assert (outcome.ballots, outcome.answers) == (len(ballots), len(present))
    assert (outcome.answer is None) is bool(outcome.why)
    assert outcome.votes >= max(Counter(present).values(), default=0)
    if outcome.answer is not None:
        assert outcome.answer in present
        assert outcome.votes <= len(present)
        assert voted([*ballots, outcome.answer]).votes == outcome.votes + 1


@pytest.mark.parametrize(
    ("ballots", "outcome"),
    [
        (["1/2", "0.5", "3", None], Majority("0.5", 2, 3, 4)),
        (["1/2", "1/2", "0.5", "3", "3"], Majority("1/2", 3, 5, 5)),
        (["20/10", "4/2", "6/3"], Majority("4/2", 3, 3, 3)),
        (["2 m", "2", "2 cm", "4", "4"], Majority("2", 3, 5, 5)),
        (["2 m", "2 cm", "4", "4"], Majority("4", 2, 4, 4)),
        (["x+1", "1+x", "5"], Majority("1+x", 2, 3, 3)),
        (["1", "2"], Majority(None, 1, 2, 2, "tie")),
        ([None, " ", ""], Majority(None, 0, 0, 3, "no_answers")),
        ([], Majority(None, 0, 0, 0, "no_answers")),
        (["None", None, None], Majority("None", 1, 1, 3)),
    ],
)
def test_who_wins(ballots, outcome):
    """Equal answers count together; the spelling is the most frequent, the shortest, the first."""
    assert voted(ballots) == outcome
    assert voted(ballots[::-1]) == outcome


def test_a_quorum_of_votes_and_of_answers():
    """Both are least numbers, and which one was missed is said."""
    ballots = ["1", "1", "2", None]
    assert voted(ballots, MajorityVote(quorum=2, min_answers=3)).answer == "1"
    assert voted(ballots, MajorityVote(quorum=3)) == Majority(None, 2, 3, 4, "below_quorum")
    assert voted(ballots, MajorityVote(min_answers=4)) == Majority(None, 2, 3, 4, "too_few_answers")


@pytest.mark.parametrize("settings", [{"quorum": 0}, {"min_answers": 0}])
def test_a_quorum_of_nobody_is_refused(settings):
    with pytest.raises(ValueError, match="=0"):
        MajorityVote(**settings)


def test_outcomes_can_be_kept():
    """They are records: rows and back, with an Arrow schema."""
    for record in (Majority(None, 1, 2, 2, "tie"), Repair("1", None, "filled")):
        assert from_row(type(record), to_row(record)) == record
        assert arrow_schema(type(record)).names == list(to_row(record))


@pytest.mark.parametrize("seed", range(3))
def test_a_pipeline_votes_by_key_whatever_the_bundles(seed):
    """Ballots in random order and random shards, formulas among them: each key has its outcome."""
    rng = random.Random(seed)
    wanted, ballots = [], []
    for key in range(40):
        mine = [rng.choice([*SPELLINGS, "1+x", "3", None]) for _ in range(rng.randint(1, 16))]
        wanted.append((key, majority(Counter(ballot or "" for ballot in mine))))
        ballots += [(key, ballot) for ballot in mine]
    rng.shuffle(ballots)
    shards = [ballots[start::7] for start in rng.sample(range(7), 7)]
    with Pipeline() as pipeline:
        outcomes = (
            [
                pipeline | f"Shard{number}" >> beam.Create(shard, reshuffle=bool(number % 2))
                for number, shard in enumerate(shards)
            ]
            | beam.Flatten()
            | beam.CombinePerKey(MajorityVote())
        )
        assert_that(outcomes, equal_to(wanted))


WON, NONE = Majority("7", 3, 4, 4), Majority(None, 2, 4, 4, "tie")


@pytest.mark.parametrize(
    ("answer", "vote", "verdicts", "becomes", "action"),
    [
        (None, WON, [None, None], "7", "filled"),
        ("  ", WON, [True], "7", "filled"),
        (None, NONE, [False], None, "no_consensus"),
        ("6", WON, [False, True, False, None], "6", "kept"),
        ("6", WON, [True], "6", "kept"),
        ("6", WON, [False, False, None], "7", "repaired"),
        ("6", WON, [False, None, None], "6", "too_few_verdicts"),
        ("6", WON, [None, None], "6", "too_few_verdicts"),
        ("6", WON, [], "6", "too_few_verdicts"),
        ("6", NONE, [False, False], "6", "no_consensus"),
        ("x=7", WON, [False, False], "x=7", "kept"),
    ],
)
def test_the_table_of_repairs(answer, vote, verdicts, becomes, action):
    """The original stays beside what becomes of it."""
    done = repair(answer, vote, verdicts, min_verdicts=2)
    assert done == Repair(becomes, answer, action)


@given(
    st.sampled_from([None, "", "6", "7", "x=7"]),
    st.sampled_from([WON, NONE]),
    st.lists(st.sampled_from([True, False, None]), max_size=6),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
@settings(deadline=None)
def test_a_repair_has_no_order_and_no_second_thoughts(answer, vote, verdicts, least, randomly):
    """Verdicts may come in any order, and no answer is lost."""
    done = repair(answer, vote, verdicts, least)
    assert repair(answer, vote, randomly.sample(verdicts, len(verdicts)), least) == done
    assert done.original_answer == answer
    assert (done.answer != answer) is (done.action in ("filled", "repaired"))
    assert done.answer in (answer, vote.answer)
    if any(verdicts) and answer:
        assert done.action == "kept"


def test_filling_leaves_what_is_there():
    """Only a missing answer is replaced."""
    assert fill("6", WON) == Repair("6", "6", "kept")
    assert fill("", WON) == Repair("7", "", "filled")
    assert fill(None, NONE) == Repair(None, None, "no_consensus")


def test_an_answer_that_nobody_judged_cannot_be_overturned():
    with pytest.raises(ValueError, match="min_verdicts=0"):
        repair("6", WON, [], min_verdicts=0)
