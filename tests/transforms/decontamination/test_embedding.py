"""Vectors of a real model: a text's own, whatever is beside it; and the nearest of them."""

import numpy as np
import pytest

from transforms.decontamination import embedding
from transforms.decontamination.embedding import EmbeddingModel, NeighbourIndex
from transforms.errors import InputError

TEXTS = [
    "A farmer has 12 hens, and each of them lays 5 eggs a week. How many eggs are that?",
    "A hen lays five eggs in a week; how many do the twelve hens of a farmer lay?",
    "Which prime number is even?",
    "Find the sum of all angles of a pentagon. " * 12,
    "",
]


@pytest.fixture
def model(embedding_model) -> EmbeddingModel:
    return EmbeddingModel(embedding_model)


def test_a_vector_depends_on_its_text_alone(model):
    """Bit by bit: in another order, among fewer, and a text much longer than the model takes."""
    whole = model.vectors(TEXTS)
    assert np.array_equal(model.vectors(TEXTS[::-1]), whole[::-1])
    assert np.array_equal(model.vectors(TEXTS[3:4]), whole[3:4])
    assert np.allclose(np.linalg.norm(whole, axis=1), 1)
    assert np.array_equal(*model.vectors(["x " * 5000, "x " * 9000]))


def test_the_nearest_are_found_by_every_search(model, monkeypatch):
    """By all pairs and by the graph; no more than there are, the nearest first."""
    index = NeighbourIndex(model, TEXTS)
    [found] = index.nearest(TEXTS[:1], 9)
    assert sorted(one.number for one in found) == list(range(len(TEXTS)))
    assert [one.number for one in found[:2]] == [0, 1]
    assert found[0].score == 1.0 > found[1].score > 0.7 > found[2].score
    monkeypatch.setattr(embedding, "EXACT_UP_TO", 0)
    assert NeighbourIndex(model, TEXTS).nearest(TEXTS[:1], 2) == [found[:2]]


def test_a_folder_without_a_model_is_an_error(embedding_model, tmp_path):
    """In one line that names it; nothing is looked for on the hub."""
    with pytest.raises(InputError, match="the embedding model .* cannot be loaded: .*; name a"):
        EmbeddingModel(str(tmp_path)).vectors(["How many?"])
