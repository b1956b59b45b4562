"""How long a text is, in the tokens of any tokenizer or in characters; and buckets by length."""

import bisect
import dataclasses
import functools
import itertools
from typing import Any

import apache_beam as beam

from transforms.chat_template import model_file
from transforms.errors import InputError, UsageError
from transforms.outcome import Outcome, without_rejects
from transforms.records import SftExample
from transforms.seeding import digest

_FILE = "tokenizer.json"
PUBLISHED_BUCKETS = (16_000, 32_000, 64_000)


@dataclasses.dataclass(frozen=True, slots=True)
class Lengths:
    """What lengths are counted in.

    tokenizer: a model in a folder or on the hub, of which `tokenizer.json` is read, once in each
        process; "" counts characters.
    revision: of a model on the hub.
    """

    tokenizer: str = ""
    revision: str = ""

    @property
    def unit(self) -> str:
        """What is counted, for messages."""
        return "tokens" if self.tokenizer else "characters"

    def content_hash(self) -> str:
        """What decides lengths: a hash of the tokenizer's file, if there is one."""
        if not self.tokenizer:
            return ""
        return digest(model_file(self.tokenizer, self.revision, _FILE, "the tokenizer"))

    def of(self, *texts: str) -> int:
        """The length of some texts together, without special tokens around them.

        Raises:
            UsageError: the package that reads tokenizers is not installed.
            InputError: the model or its tokenizer cannot be read.
        """
        if not self.tokenizer:
            return sum(map(len, texts))
        tokenizer = _loaded(self.tokenizer, self.revision)
        return sum(len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts)


CHARACTERS = Lengths()


@dataclasses.dataclass(eq=False)
class BucketByLength(beam.PTransform):
    """Put each row into the split of its length, so that a trainer can take short ones first.

    In:   `SftExample` records.
    Out:  `rows`, all of them: `_up_to_BOUND` of the smallest bound that the output does not exceed
          is appended to `split`, or `_over_BOUND` of the last one; `rejects`, empty.
    Cost: no shuffle; each output is tokenised.
    Once: a pure function of each row.
    From: NeMo-Skills, science pipeline, "bucket".

    Args:
        buckets: the upper bounds, ascending.
        lengths: what they are counted in.

    Raises:
        ValueError: there is no bound, or they do not ascend from 1 on.
    """

    shard_by_shard = True

    buckets: tuple[int, ...] = PUBLISHED_BUCKETS
    lengths: Lengths = CHARACTERS

    def __post_init__(self) -> None:
        ascends = all(low < high for low, high in itertools.pairwise((0, *self.buckets)))
        if not self.buckets or not ascends:
            raise ValueError(f"buckets {self.buckets} must be one or more, ascending from 1 on")

    def expand(self, examples: beam.PCollection) -> Outcome:
        put = functools.partial(_put, buckets=self.buckets, lengths=self.lengths)
        rows = examples | "Bucket" >> beam.Map(put).with_output_types(SftExample)
        return without_rejects(rows)


def bucket_of(length: int, buckets: tuple[int, ...]) -> str:
    """The name of the bucket of a length: `up_to_16000`, or beyond all bounds `over_64000`."""
    place = bisect.bisect_left(buckets, length)
    return f"up_to_{buckets[place]}" if place < len(buckets) else f"over_{buckets[-1]}"


def _put(example: SftExample, buckets: tuple[int, ...], lengths: Lengths) -> SftExample:
    bucket = bucket_of(lengths.of(example.output), buckets)
    return dataclasses.replace(example, split=f"{example.split}_{bucket}")


@functools.lru_cache(maxsize=4)
def _loaded(model: str, revision: str) -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise UsageError(
            "lengths in tokens need the package tokenizers; pip install 'beam-sdg[tokenizers]', "
            "or count characters"
        ) from error
    text = model_file(model, revision, _FILE, "the tokenizer")
    if text is None:
        raise InputError(
            f"{model} has no tokenizer.json; name a model that has, or save it with save_pretrained"
        )
    try:
        return tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # of no narrower type: it is raised from Rust
        raise InputError(
            f"{_FILE} of {model} cannot be read: {error}; copy or download it again"
        ) from error
