"""What each method finds of real test questions that are planted among train questions."""

import pytest

from benchmarks.decontamination import (
    CHANGED,
    REWORDED,
    TRAIN,
    VERBATIM,
    Candidate,
    candidates,
    found,
    questions,
    rows_of,
)
from transforms.decontamination.embedding import EmbeddingModel
from transforms.decontamination.reference import EXACT, NEIGHBOURS, NGRAMS, MatchSettings, Reference

PLANTED = 50


@pytest.fixture
def gsm8k(data):
    train, test = questions(data / "gsm8k")
    return train, test


def counts(looked_at, test, settings, wanted, model=None):
    reference = Reference(rows_of(test), settings, model or EmbeddingModel())
    return found(looked_at, reference.matches([one.text for one in looked_at]), wanted)


def test_words_find_what_is_planted_in_all_of_gsm8k(gsm8k):
    """All that is verbatim, most that is changed; of 7,473 train questions next to none."""
    train, test = gsm8k
    looked_at = candidates(train, test)
    settings = MatchSettings(contamination_methods=(EXACT,))
    exact = counts(looked_at, test, settings, lambda match: True)
    assert (exact[VERBATIM], exact[TRAIN]) == (PLANTED, 0)
    settings = MatchSettings(contamination_methods=(NGRAMS,))
    certain = counts(looked_at, test, settings, lambda match: match.is_certain)
    assert certain[VERBATIM] == PLANTED
    assert certain[TRAIN] == 2  # which are a test question with other numbers
    suspected = counts(looked_at, test, settings, lambda match: True)
    assert suspected[CHANGED] >= 0.8 * PLANTED
    assert suspected[REWORDED] >= 0.6 * PLANTED
    assert suspected[TRAIN] <= 0.02 * len(train)


def test_neighbours_find_what_words_do_not(gsm8k, embedding_model):
    """Of fewer questions, to be quick: 50 of each kind among 50 of train, in 160 of test."""
    train, test = gsm8k
    looked_at: list[Candidate] = candidates(train[:50], test[:160])
    settings = MatchSettings(contamination_methods=(NEIGHBOURS,))
    near = counts(
        looked_at, test[:160], settings, lambda match: True, EmbeddingModel(embedding_model)
    )
    assert near[VERBATIM] == PLANTED
    assert near[CHANGED] >= 0.9 * PLANTED
    assert near[REWORDED] >= 0.9 * PLANTED
    assert near[TRAIN] <= 0.2 * 50
