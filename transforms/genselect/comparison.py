"""A model compares the solutions of an instance and chooses one; right choices are kept."""

import dataclasses
import functools
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import apache_beam as beam

from transforms.codec import canonical_json, to_json
from transforms.constraint import Constraint
from transforms.genselect.instances import shown
from transforms.genselect.records import Comparison, Instance
from transforms.outcome import Outcome, SplitRejects
from transforms.reading import Conclusion, Fault, Text
from transforms.records import Answered, Reject, Trace, TraceProvenance

PROMPT = "genselect/comparison"
PUBLISHED_TEMPERATURE = 0.6
PUBLISHED_MAX_TOKENS = 16_384
_LABELS = {True: "Correct", False: "Incorrect"}
# What may stand around a number: emphasis, quotation marks, brackets, a box.
_OPENS = r"[\s*_`'\"“‘(\[{<$#]*"
# And these words before it, on its line.
_WORDS = (
    r"(?:(?:(?:final|my|i|it|the|most|best|better|correct|right|chosen|one|solution|answer|option"
    r"|choice|candidate|index|number|would|be|is|choose|select|pick|prefer)\b|\\(?:boxed|text|textbf)"
    r")[^\S\n]*[*_`'\"“‘(\[{<$#:]*[^\S\n]*){0,12}"
)
_JUDGMENT = re.compile(
    rf"(?<![^\W_])judge?ment[\s*_`]*(?:[:：]|(?<=[\s*_`])[–—-](?=\s)){_OPENS}{_WORDS}"
    r"(-?\d{1,9})(?![^\W_]|[\d.,]*\d)",
    re.IGNORECASE,
)
_IN_BRACKETS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")


class Judged(NamedTuple):
    """A text about several solutions, and the number of the one that it chooses."""

    text: str
    judgment: int


@dataclasses.dataclass(frozen=True)
class JudgedText:
    """A text that says which solution it chooses, as in "Judgment: 3"; the last one counts.

    Args:
        keeps_reasoning: whether marked reasoning stays in the text. No choice is read from it.
    """

    keeps_reasoning: bool = False

    def read(self, text: str) -> Judged | Fault:
        """The text and the number; or `no_judgment`, or `empty_answer`."""
        conclusion = Conclusion().read(text)
        if isinstance(conclusion, Fault):
            return conclusion
        judgment = last_judgment(conclusion)
        if judgment is None:
            return Fault("no_judgment", 'it has no line such as "Judgment: 0"')
        whole = Text().read(text) if self.keeps_reasoning else conclusion
        return whole if isinstance(whole, Fault) else Judged(whole, judgment)

    def constraint(self) -> Constraint | None:
        """Free text has none."""
        return None


@dataclasses.dataclass(eq=False)
class KeepRightChoices(beam.PTransform):
    """Keep the comparisons that choose a correct solution.

    In:   `Comparison` records.
    Out:  `rows`, those; `rejects`, the others (`wrong_choice`).
    Cost: no shuffle.
    Once: a pure function of each comparison.
    From: OpenMathReasoning, "extract_judgment".

    Args:
        stage: the name in the rejects.
    """

    shard_by_shard = True

    stage: str

    def expand(self, comparisons: beam.PCollection) -> Outcome:
        kept = functools.partial(kept_or_reject, stage=self.stage)
        return comparisons | "Keep" >> beam.Map(kept) | "Split" >> SplitRejects()


def last_judgment(text: str) -> int | None:
    """The number behind the last "Judgment:" or "Judgement:" that has one; None without any.

    A choice among several, as in "1 or 2", is none; the same number again, or others in brackets,
    are no harm.
    """
    choices = list(_JUDGMENT.finditer(text))
    if not choices:
        return None
    found = choices[-1]
    rest, *_ = text[found.end() :].split("\n", 1)
    others = re.findall(r"\d+", _IN_BRACKETS.sub("", rest))
    return int(found[1]) if set(others) <= {found[1]} else None


def variables_of(instance: Instance) -> dict[str, object]:
    """What a model that compares is shown."""
    return {
        "problem": instance.problem,
        "solutions": shown(instance.solutions),
        "max_idx": instance.max_idx,
    }


def fault_of(instance: Instance, value: Judged) -> Fault | None:
    """Whether there is no solution of the number that was chosen."""
    if 0 <= value.judgment <= instance.max_idx:
        return None
    detail = f"it chooses {value.judgment}, and the solutions are 0 to {instance.max_idx}"
    return Fault("judgment_out_of_range", detail)


def comparison_of(answered: Answered[Instance, Judged]) -> Comparison:
    """The comparison in an answer that `fault_of` has nothing against."""
    return Comparison(
        id=answered.id,
        instance=answered.record,
        text=answered.value.text,
        reasoning=answered.reasoning,
        judgment=answered.value.judgment,
        calls=(answered.call,),
    )


def kept_or_reject(comparison: Comparison, stage: str) -> Comparison | Reject:
    """The comparison, if it chooses a correct solution."""
    chosen, instance = comparison.chosen, comparison.instance
    if chosen.is_correct:
        return comparison
    right = [number for number, one in enumerate(instance.solutions) if one.is_correct]
    detail = (
        f"it chooses solution {comparison.judgment} with the answer {chosen.answer!r}; "
        f"correct are {', '.join(map(str, right))}"
    )
    row = to_json(comparison)
    return Reject(stage, "wrong_choice", detail, comparison.id, row, reply="")


def trace_of(comparison: Comparison) -> Trace:
    """The trace of a comparison with a right choice; the published columns go into `extra`."""
    instance = comparison.instance
    columns: dict[str, Any] = {
        "solutions": shown(instance.solutions),
        "max_idx": instance.max_idx,
        "num_solutions": len(instance.solutions),
        "judgment": comparison.judgment,
    }
    for number, one in enumerate(instance.solutions):
        columns[f"predicted_answer_{number}"] = one.answer
        columns[f"label_{number}"] = _LABELS[one.is_correct]
        columns[f"solution_id_{number}"] = one.id
    return Trace(
        id=comparison.id,
        problem_id=instance.problem_id,
        problem=instance.problem,
        generation=comparison.text,
        reasoning_content=comparison.reasoning,
        expected_answer=instance.expected_answer,
        predicted_answer=comparison.chosen.answer,
        is_correct=comparison.chosen.is_correct,
        finish_reason=comparison.calls[-1].finish_reason,
        extra=canonical_json(columns),
        provenance=TraceProvenance(instance.origin, comparison.calls),
    )


def variables_of_trace(trace: Trace) -> Mapping[str, object]:
    """The variables that the prompt of a trace had."""
    known = json.loads(trace.extra)
    return {"problem": trace.problem, "solutions": known["solutions"], "max_idx": known["max_idx"]}
