"""Summaries: what a comparison comes to, told again for a reader; the longest replaces it.

right choices ─┬─ summary × 4 ─┬─ the longest valid one replaces the text
               └───────────────┘

A summary is valid if it chooses the same solution.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from transforms.codec import to_json
from transforms.genselect.comparison import Judged
from transforms.genselect.records import Comparison, ComparisonSummary
from transforms.grouping import Group
from transforms.outcome import Outcome, SplitRejects
from transforms.reading import Fault
from transforms.records import Answered, Reject
from transforms.sft.parsed import THINK, THOUGHT
from transforms.summaries import longest

PROMPT = "genselect/summary"
PUBLISHED_SAMPLES = 4


@dataclasses.dataclass(eq=False)
class MergeComparisonSummaries(beam.PTransform):
    """Put the longest summary of each comparison in its place.

    In:   a tuple of collections: `Comparison` records with unique ids; and `ComparisonSummary`
          records of theirs that `fault_of` has nothing against.
    Out:  `rows`, `Comparison` records under their ids, whose reasoning is gone; `rejects`, those
          without a summary (`no_valid_summary`). Comparisons = rows + rejects.
    Cost: one shuffle of both; what belongs to one comparison in memory.
    Once: independent of input order: of summaries of one length that with the smallest id is kept.
    From: OpenMathReasoning, "merge_new_summaries" of GenSelect.

    Args:
        stage: the name in the rejects.
    """

    shard_by_shard = True

    stage: str

    def expand(self, joined: tuple[beam.PCollection, ...]) -> Outcome:
        comparisons, summaries = joined
        keyed = (
            comparisons | "KeyComparisons" >> beam.Map(_keyed_comparison),
            summaries | "KeySummaries" >> beam.Map(_keyed_summary),
        )
        return (
            keyed
            | "Join" >> Group()
            | "Merge" >> beam.FlatMap(_merged, self.stage)
            | "Split" >> SplitRejects()
        )


def variables_of(comparison: Comparison) -> dict[str, object]:
    """What a model that writes summaries is shown."""
    return {
        "problem": comparison.instance.problem,
        "reasoning": comparison.reasoning,
        "comparison": comparison.text,
        "max_idx": comparison.instance.max_idx,
    }


def fault_of(comparison: Comparison, value: Judged) -> Fault | None:
    """What is wrong with a summary: it chooses another solution, or marks reasoning."""
    for tag in (THINK, THOUGHT):
        if tag in value.text:
            return Fault("tag_in_summary", f"it has {tag} in it, which marks reasoning")
    if value.judgment != comparison.judgment:
        detail = f"it chooses {value.judgment}, and the comparison {comparison.judgment}"
        return Fault("judgment_differs", detail)
    return None


def summary_of(answered: Answered[Comparison, Judged]) -> ComparisonSummary:
    """The summary in an answer that `fault_of` has nothing against."""
    return ComparisonSummary(answered.id, answered.record.id, answered.value.text, answered.call)


def summarised(
    comparison: Comparison, summaries: Iterable[ComparisonSummary], stage: str
) -> Comparison | Reject:
    """The comparison with its longest summary for a text, or its reject."""
    summary = longest(summaries)
    if summary is None:
        row = to_json(comparison)
        detail = "no summary of it can be used"
        return Reject(stage, "no_valid_summary", detail, comparison.id, row, reply="")
    calls = (*comparison.calls, summary.call)
    return dataclasses.replace(comparison, text=summary.text, reasoning="", calls=calls)


def _keyed_comparison(comparison: Comparison) -> tuple[str, Comparison]:
    return comparison.id, comparison


def _keyed_summary(summary: ComparisonSummary) -> tuple[str, ComparisonSummary]:
    return summary.comparison_id, summary


def _merged(joined: tuple[str, Iterable[Any]], stage: str) -> Iterator[Comparison | Reject]:
    comparisons: list[Comparison] = []
    summaries: list[ComparisonSummary] = []
    for part in joined[1]:
        if isinstance(part, ComparisonSummary):
            summaries.append(part)
        else:
            comparisons.append(part)
    for comparison in comparisons:
        yield summarised(comparison, summaries, stage)
