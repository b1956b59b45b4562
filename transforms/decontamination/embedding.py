"""Vectors of texts by a sentence-transformers model, and the nearest of them by usearch.

A vector depends on its text alone, not on what is embedded beside it: every batch has one of a few
shapes, filled up with nothing, so that the same sums are made in the same order. A search takes the
products of each pair by itself. So the same texts have the same neighbours in any bundle, on
workers of one kind.
"""

import dataclasses
import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.errors import InputError, UsageError

PUBLISHED_MODEL = "sentence-transformers/multi-qa-MiniLM-L6-cos-v1"
EXACT_UP_TO = 100_000  # texts; beyond, a graph answers in a thousandth of the time, or nearly right
_PACKAGES = ("sentence_transformers", "usearch")
_ROWS = 16
_SHORTEST = 32  # tokens; each further length of a batch is twice as long

Vectors = npt.NDArray[np.float32]


class Neighbour(NamedTuple):
    """The number of a text, and the cosine of the angle to it."""

    number: int
    score: float


@dataclasses.dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """A model of sentence-transformers, loaded once in each process that embeds.

    name: a folder, which every worker must see, or a name on the hub.
    revision: of a model on the hub.
    """

    name: str = PUBLISHED_MODEL
    revision: str = ""

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """A vector of length 1 for each text, of one or more; a long one counts as far as it fits.

        Cost: a pass of the model, on a GPU where there is one.

        Raises:
            UsageError: the packages for it are not installed.
            InputError: the model cannot be read.
        """
        model = _loaded(self.name, self.revision)
        encoded = model.tokenizer(list(texts), truncation=True, max_length=model.max_seq_length)
        lengths = [len(ids) for ids in encoded["input_ids"]]
        made: dict[int, Vectors] = {}
        shapes: dict[int, list[int]] = {}
        for number, length in enumerate(lengths):
            shapes.setdefault(_padded(length, model.max_seq_length), []).append(number)
        for shape, numbers in sorted(shapes.items()):
            for start in range(0, len(numbers), _ROWS):
                batch = numbers[start : start + _ROWS]
                vectors = _embedded(model, [texts[number] for number in batch], shape)
                made.update(zip(batch, vectors, strict=True))
        return np.stack([made[number] for number in range(len(texts))])

    def check(self) -> None:
        """Make sure that what it needs is installed.

        Raises:
            UsageError: it is not.
        """
        missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
        if missing:
            raise UsageError(
                f"neighbours by embedding need the package {missing[0].replace('_', '-')}; "
                "pip install 'beam-sdg[decontamination]', or leave neighbours out of "
                "--contamination_methods"
            )


class NeighbourIndex:
    """Finds the nearest of some texts, all of them looked at where there are not too many."""

    def __init__(self, model: EmbeddingModel, texts: Sequence[str]) -> None:
        self._model = model
        self._vectors = model.vectors(texts)
        self._graph = _graph(self._vectors) if len(texts) > EXACT_UP_TO else None

    def nearest(self, texts: Sequence[str], most: int) -> list[list[Neighbour]]:
        """The nearest of each text, at most so many, the nearest first."""
        from usearch.index import MetricKind, search

        queries = self._model.vectors(texts)
        most = min(most, len(self._vectors))
        if self._graph is not None:
            found = self._graph.search(queries, most)
        else:
            found = search(self._vectors, queries, most, MetricKind.IP, exact=True)
        shape = (len(queries), -1)  # of one query usearch gives a list
        pairs = zip(found.keys.reshape(shape), found.distances.reshape(shape), strict=True)
        return [_sorted(*each) for each in pairs]


def _sorted(numbers: npt.NDArray[Any], distances: npt.NDArray[Any]) -> list[Neighbour]:
    found = [
        Neighbour(int(number), round(1.0 - float(distance), 4))
        for number, distance in zip(numbers, distances, strict=True)
    ]
    return sorted(found, key=lambda one: (-one.score, one.number))


def _graph(vectors: Vectors) -> Any:
    """A graph of them for a search; made by one thread, it is always the same."""
    from usearch.index import Index, MetricKind

    graph = Index(ndim=vectors.shape[1], metric=MetricKind.IP, dtype="f32")
    graph.add(np.arange(len(vectors)), vectors, threads=1)
    return graph


def _padded(length: int, longest: int) -> int:
    shape = _SHORTEST
    while shape < length:
        shape *= 2
    return min(shape, longest)


def _embedded(model: Any, texts: list[str], shape: int) -> Vectors:
    import torch

    filled = [*texts, *[""] * (_ROWS - len(texts))]
    features = model.tokenizer(
        filled, padding="max_length", truncation=True, max_length=shape, return_tensors="pt"
    )
    with torch.inference_mode():
        on_device = {name: value.to(model.device) for name, value in features.items()}
        made = model(on_device)["sentence_embedding"].float().cpu().numpy()
    made = made[: len(texts)]
    return made / np.linalg.norm(made, axis=1, keepdims=True)


@functools.lru_cache(maxsize=2)
def _loaded(name: str, revision: str) -> Any:
    EmbeddingModel(name, revision).check()
    import sentence_transformers
    import transformers

    transformers.utils.logging.disable_progress_bar()
    is_folder = Path(name).expanduser().is_dir()
    try:
        return sentence_transformers.SentenceTransformer(
            str(Path(name).expanduser()) if is_folder else name,
            revision=revision or None,
            local_files_only=is_folder,
        ).eval()
    except Exception as error:  # the library's own, the hub's and torch's
        why = " ".join(str(error).split())[:300].rstrip(".")
        raise InputError(
            f"the embedding model {name} cannot be loaded: {why}; name a folder or a model of the "
            "hub with --embedding_model"
        ) from error
