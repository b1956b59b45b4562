"""The pairs of texts that a model is asked about: do both pose the same problem?

similar ─ suspects ─ pairs ─ the model ─ votes
"""

import dataclasses
import functools
from collections.abc import Iterator

import apache_beam as beam

from transforms.decontamination.records import PairVote, Similar, SimilarPair
from transforms.outcome import Outcome, without_rejects
from transforms.reading import Labelled
from transforms.records import Answered, sample_id

PROMPT = "decontamination/check"
YES, NO = "yes", "no"
READER = Labelled((YES, NO), reasons=True, label="same")


@dataclasses.dataclass(eq=False)
class SelectSuspects(beam.PTransform):
    """Take the records of which only a model can say whether they are contaminated.

    In:   `Similar` records.
    Out:  `rows`, those with matches of which none is certain; the others are left out; no rejects.
    Cost: no shuffle.
    Once: a pure function of each record.
    """

    shard_by_shard = True

    def expand(self, similar: beam.PCollection) -> Outcome:
        return without_rejects(similar | "Suspects" >> beam.Filter(is_suspect))


@dataclasses.dataclass(eq=False)
class PairSuspects(beam.PTransform):
    """Put each suspect beside every benchmark text that it is like.

    In:   `Similar` records with matches.
    Out:  `rows`, a `SimilarPair` of each distinct text among a record's matches, the best first,
          with the ids `ID-0`, `ID-1`, …; `rejects`, empty.
    Cost: no shuffle.
    Once: a pure function of each record.

    Args:
        both_ways: follow each pair with the same one swapped.
    """

    shard_by_shard = True

    both_ways: bool = False

    def expand(self, suspects: beam.PCollection) -> Outcome:
        pairs = functools.partial(pairs_of, both_ways=self.both_ways)
        return without_rejects(suspects | "Pairs" >> beam.FlatMap(pairs))


def is_suspect(similar: Similar) -> bool:
    """Whether a record has matches, and none that is certain."""
    return bool(similar.matches) and not any(match.is_certain for match in similar.matches)


def pairs_of(similar: Similar, both_ways: bool = False) -> Iterator[SimilarPair]:
    """A suspect's pairs; a text that is in several benchmarks is in one."""
    texts = dict.fromkeys(match.text for match in similar.matches)
    directions = (False, True) if both_ways else (False,)
    asked = ((text, is_swapped) for text in texts for is_swapped in directions)
    for number, (text, is_swapped) in enumerate(asked):
        pair_id = sample_id(similar.id, number)
        yield SimilarPair(pair_id, similar.id, similar.text, text, is_swapped)


def variables_of(pair: SimilarPair) -> dict[str, object]:
    """What the model is shown: two problems, and not which is the benchmark's."""
    shown = (pair.candidate, pair.reference)
    first, second = reversed(shown) if pair.is_swapped else shown
    return {"first_problem": first, "second_problem": second}


def vote_of(answered: Answered[SimilarPair, str]) -> PairVote:
    """The vote in an answer that could be read; one that could not is no vote."""
    return PairVote(answered.id, answered.record, answered.value == YES, answered.call)
