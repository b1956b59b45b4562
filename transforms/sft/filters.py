"""Which traces are worth training on, each that is not with a reason.

The filters are a table, in the published order: the first that finds a fault names the reject.
Between the tables a trace is trimmed, so that lengths and sums are those of what is kept.
"""

import dataclasses
import functools
from collections.abc import Callable

import apache_beam as beam

from transforms.codec import to_json
from transforms.outcome import Outcome, SplitRejects
from transforms.records import Reject, Trace
from transforms.sft import patterns
from transforms.sft.arithmetic import incorrect_arithmetic
from transforms.sft.contamination import Labels
from transforms.sft.lengths import CHARACTERS, Lengths
from transforms.sft.options import SftFilters as SftFilters
from transforms.sft.parsed import THOUGHT, ParsedTrace, reasoning_ends
from transforms.sft.trimming import outer_boxes, with_code_execution_counts, without_prefix
from transforms.sft.trimming import without_what_follows as without_rest


@dataclasses.dataclass(frozen=True, slots=True)
class Filter:
    """A reason for which traces are lost, and what tells the detail of one that is."""

    reason: str
    fault: Callable[[ParsedTrace, SftFilters, Lengths], str | None]


@dataclasses.dataclass(eq=False)
class FilterTraces(beam.PTransform):
    """Keep the traces that are worth training on, trimmed as asked for.

    In:   `Trace` records.
    Out:  `rows`, traces under their ids; `rejects`, the others as they came, each with the first
          reason of `FILTERS`, then of `TRIMMED_FILTERS`, that fits; or `unknown_code_format`.
    Cost: no shuffle; a parse of each text, and where tokens are counted, its tokens.
    Once: a pure function of each trace.
    From: NeMo-Skills, "prepare_data"; `docs/sft.md` says what is done otherwise.

    Args:
        stage: the name in the rejects.
        filters: which of them are applied.
        lengths: what lengths are counted in.
    """

    shard_by_shard = True

    stage: str
    filters: SftFilters = SftFilters()
    lengths: Lengths = CHARACTERS

    def expand(self, traces: beam.PCollection) -> Outcome:
        kept = functools.partial(
            filtered, stage=self.stage, filters=self.filters, lengths=self.lengths
        )
        return traces | "Filter" >> beam.Map(kept) | "Split" >> SplitRejects()


def filtered(
    trace: Trace, stage: str, filters: SftFilters, lengths: Lengths = CHARACTERS
) -> Trace | Reject:
    """The trace, trimmed as asked for; or the reject of the first fault."""
    try:
        parsed = ParsedTrace.of(trace)
    except ValueError as error:
        row = to_json(trace)
        return Reject(stage, "unknown_code_format", str(error), trace.id, row, reply="")
    fault = _first_fault(FILTERS, parsed, filters, lengths)
    if fault is None:
        parsed = _trimmed(parsed, filters)
        fault = _first_fault(TRIMMED_FILTERS, parsed, filters, lengths)
    if fault is not None:
        reason, detail = fault
        return Reject(stage, reason, detail, trace.id, row=to_json(trace), reply="")
    return with_code_execution_counts(parsed) if filters.add_code_execution_counts else parsed.trace


def is_truncated(parsed: ParsedTrace, filters: SftFilters, lengths: Lengths) -> str | None:
    """A limit on tokens cut it off."""
    if filters.add_truncated or parsed.trace.finish_reason != "length":
        return None
    return "its finish_reason is length"


def is_unlabeled(parsed: ParsedTrace, filters: SftFilters, lengths: Lengths) -> str | None:
    """Nobody has judged it."""
    if filters.add_unlabeled or parsed.trace.is_correct is not None:
        return None
    return "nobody has judged it, or the verdict cannot be read"


def is_incorrect(parsed: ParsedTrace, filters: SftFilters, lengths: Lengths) -> str | None:
    """It was judged wrong."""
    if filters.add_incorrect or parsed.trace.is_correct is not False:
        return None
    trace = parsed.trace
    answers = f"its answer is {trace.predicted_answer!r}, the expected {trace.expected_answer!r}"
    return f"it was judged wrong; {answers}"


def is_correct(parsed: ParsedTrace, filters: SftFilters, lengths: Lengths) -> str | None:
    """It was judged right, and such ones are not asked for."""
    if filters.add_correct or parsed.trace.is_correct is not True:
        return None
    return "add_correct is off"


def boxes_often(parsed: ParsedTrace, filters: SftFilters, lengths: Lengths) -> str | None:
    """There are several boxes behind its reasoning."""
    if not filters.drop_multi_boxed:
        return None
    boxes = len(outer_boxes(parsed.answer))
    return f"{boxes} boxes behind the reasoning" if boxes > 1 else None


def is_contaminated(parsed: ParsedTrace, filters: SftFilters, lengths: Lengths) -> str | None:
    """A benchmark has its problem."""
    path = filters.contamination_file
    return f"{path} says so" if path and Labels(path).of(parsed.trace.problem) else None


def lacks_label(parsed: ParsedTrace, filters: SftFilters, lengths: Lengths) -> str | None:
    """Nobody has looked whether a benchmark has its problem."""
    path = filters.contamination_file
    if not path or Labels(path).of(parsed.trace.problem) is not None:
        return None
    return f"{path} does not know its problem"


def has_code_errors(parsed: ParsedTrace, filters: SftFilters, lengths: Lengths) -> str | None:
    """The output of a call says that it failed, or that it was cut."""
    outputs = parsed.blocks if filters.remove_code_errors else ()
    for number, block in enumerate(outputs, start=1):
        if found := patterns.CODE_ERROR.search(block.output or ""):
            return f"output {number} of {len(outputs)} says {patterns.shown(found)}"
    return None


def plots(parsed: ParsedTrace, filters: SftFilters, lengths: Lengths) -> str | None:
    """It imports matplotlib."""
    if not filters.remove_matplotlib:
        return None
    for text in (parsed.prose, *(block.code for block in parsed.blocks)):
        if found := patterns.MATPLOTLIB.search(text):
            return f"it says {patterns.shown(found)}"
    return None


def lacks_code(parsed: ParsedTrace, filters: SftFilters, lengths: Lengths) -> str | None:
    """There is no complete call to Python in it."""
    if not filters.remove_no_code or any(block.is_complete for block in parsed.blocks):
        return None
    written = parsed.trace.code_format
    return f"there is no complete call in the code format {written}" if written else "no code"


def lacks_reasoning(parsed: ParsedTrace, filters: SftFilters, lengths: Lengths) -> str | None:
    """There is no reasoning in it, or it does not end."""
    if not filters.remove_no_think_tags or parsed.trace.reasoning_content.strip():
        return None
    return None if reasoning_ends(parsed.trace.generation) else f"there is no {THOUGHT}"


def verifies_by_code(parsed: ParsedTrace, filters: SftFilters, lengths: Lengths) -> str | None:
    """It announces that Python is to verify or to plot."""
    found = filters.remove_verification_code and patterns.VERIFICATION.search(parsed.prose)
    return f"it says {patterns.shown(found)}" if found else None


def lacks_majority(parsed: ParsedTrace, filters: SftFilters, lengths: Lengths) -> str | None:
    """Its answer has too few votes; where nobody voted, it passes."""
    votes, total = parsed.trace.majority_votes, parsed.trace.total_votes
    if votes is None or total is None:
        return None
    too_few = votes < filters.min_majority_votes or votes < total * filters.min_majority_percentage
    return f"{votes} of {total} votes" if too_few else None


def is_wrong_somewhere(parsed: ParsedTrace, filters: SftFilters, lengths: Lengths) -> str | None:
    """A chain of sums in it is wrong."""
    chain = filters.drop_incorrect_arithmetic and incorrect_arithmetic(parsed.prose)
    return f"it says {chain!r}" if chain else None


def is_odd_problem(parsed: ParsedTrace, filters: SftFilters, lengths: Lengths) -> str | None:
    """Its problem is too short or too long."""
    low, high = filters.min_problem_length, filters.max_problem_length
    if low is None and high is None:
        return None
    return _outside(lengths.of(parsed.trace.problem), low, high, f"{lengths.unit} of the problem")


def is_odd_solution(parsed: ParsedTrace, filters: SftFilters, lengths: Lengths) -> str | None:
    """It is too short or too long; reasoning counts."""
    low, high = filters.min_solution_length, filters.max_solution_length
    texts = parsed.trace.reasoning_content, parsed.trace.generation
    if filters.use_chars_for_min_length:
        if fault := _outside(sum(map(len, texts)), low, None, "characters"):
            return fault
        low = None
    if low is None and high is None:
        return None
    return _outside(lengths.of(*texts), low, high, lengths.unit)


FILTERS = (
    Filter("truncated", is_truncated),
    Filter("unlabeled", is_unlabeled),
    Filter("incorrect", is_incorrect),
    Filter("correct", is_correct),
    Filter("drop_multi_boxed", boxes_often),
    Filter("remove_contaminated", is_contaminated),
    Filter("no_contamination_label", lacks_label),
    Filter("remove_code_errors", has_code_errors),
    Filter("remove_matplotlib", plots),
    Filter("remove_no_code", lacks_code),
    Filter("remove_no_think_tags", lacks_reasoning),
    Filter("remove_verification_code", verifies_by_code),
    Filter("majority_filter", lacks_majority),
)
TRIMMED_FILTERS = (
    Filter("drop_incorrect_arithmetic", is_wrong_somewhere),
    Filter("remove_len_outlier_problems", is_odd_problem),
    Filter("remove_len_outlier_solutions", is_odd_solution),
)


def _first_fault(
    table: tuple[Filter, ...], parsed: ParsedTrace, filters: SftFilters, lengths: Lengths
) -> tuple[str, str] | None:
    for each in table:
        if (detail := each.fault(parsed, filters, lengths)) is not None:
            return each.reason, detail
    return None


def _trimmed(parsed: ParsedTrace, filters: SftFilters) -> ParsedTrace:
    generation = parsed.trace.generation
    if filters.trim_solutions:
        generation = without_rest(generation, parsed.conclusion)
    if filters.trim_prefix:
        generation = without_prefix(generation)
    if generation == parsed.trace.generation:
        return parsed
    return ParsedTrace.of(dataclasses.replace(parsed.trace, generation=generation))


def _outside(length: int, low: int | None, high: int | None, unit: str) -> str | None:
    if low is not None and length < low:
        return f"{length} {unit}, fewer than {low}"
    return f"{length} {unit}, more than {high}" if high is not None and length > high else None
