"""Problems and their answers, for reinforcement learning: one row a problem."""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam

from transforms.answers import has_answer
from transforms.codec import to_json
from transforms.grouping import Group
from transforms.outcome import Outcome, SplitRejects
from transforms.reading import Fault
from transforms.records import Reject, RlExample, Trace
from transforms.sft.filters import FilterTraces
from transforms.sft.lengths import CHARACTERS, Lengths
from transforms.sft.options import SftFilters
from transforms.sft.render import SftFormat

ANY = SftFilters(add_incorrect=True, add_unlabeled=True, add_truncated=True)


@dataclasses.dataclass(eq=False)
class PrepareForRl(beam.PTransform):
    """Make one row of each problem that has an answer.

    In:   records of traces, of a problem any number.
    Out:  `rows`, an `RlExample` under the id of its problem, made of the problem's trace with the
          smallest id among those with an answer; `rejects`, the problems of which none has one
          (`no_expected_answer`), or of which the template makes no prompt (`template_refuses`).
          And traces that the filters reject; further traces of a problem are left out.
    Cost: one shuffle, without solutions; a problem's traces, without these, in memory.
    Once: a pure function of the traces, so retries, order and sharding change nothing.
    From: NeMo-Skills, "math_rl".

    Args:
        stage: the name in the rejects.
        of: from a record to its trace, with the same id.
        filters, lengths: as `FilterTraces`; those that `of_problems` leaves make sense here.
        sft_format: how a problem becomes the input; what it says of answers is not looked at.
    """

    shard_by_shard = True

    stage: str
    of: Callable[[Any], Trace]
    filters: SftFilters = ANY
    lengths: Lengths = CHARACTERS
    sft_format: SftFormat = SftFormat()

    def expand(self, records: beam.PCollection) -> Outcome:
        one = functools.partial(_one_of, stage=self.stage, sft_format=self.sft_format)
        traces = records | "Traces" >> beam.Map(self.of).with_output_types(Trace)
        kept = traces | "Filters" >> FilterTraces(self.stage, self.filters, self.lengths)
        made = (
            kept.rows
            | "KeyByProblem" >> beam.Map(_keyed)
            | "Group" >> Group()
            | "TakeOne" >> beam.Map(one)
            | "Split" >> SplitRejects()
        )
        return Outcome(made.rows, (kept.rejects, made.rejects) | "Rejects" >> beam.Flatten())


def of_problems(filters: SftFilters) -> SftFilters:
    """The filters that look at problems and their answers, and not at solutions."""
    names = ("min_majority_votes", "min_majority_percentage", "contamination_file")
    lengths = ("min_problem_length", "max_problem_length")
    kept = {name: getattr(filters, name) for name in (*names, *lengths)}
    return ANY.model_copy(update=kept)


def _keyed(trace: Trace) -> tuple[str, Trace]:
    bare = dataclasses.replace(trace, generation="", reasoning_content="", predicted_answer=None)
    return trace.problem_id, bare


def _one_of(
    grouped: tuple[str, Iterable[Trace]], stage: str, sft_format: SftFormat
) -> RlExample | Reject:
    problem_id, traces = grouped
    trace = min(traces, key=lambda t: (not has_answer(t.expected_answer), t.id, to_json(t)))
    answer = trace.expected_answer
    if answer is None or not has_answer(answer):
        why = "no trace of it has one"
        return Reject(stage, "no_expected_answer", why, problem_id, row=to_json(trace), reply="")
    text = sft_format.input_of(trace, sft_format.messages(trace))
    if isinstance(text, Fault):
        return Reject(stage, text.reason, text.detail, problem_id, row=to_json(trace), reply="")
    return RlExample(trace.problem, answer, text, problem_id, sft_format.split)
