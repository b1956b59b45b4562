"""Which solutions with Python are worth training on, each that is not with a reason.

The filters are a table, in the order in which they are applied: the first that finds a fault names
the reject. Each is a pure function of one solution's text and its calls.
"""

import dataclasses
import functools
import re
from collections.abc import Callable

import apache_beam as beam
import pydantic

from transforms.answers import boxed_spans
from transforms.codec import to_json
from transforms.outcome import Outcome, SplitRejects
from transforms.records import Reject, Solution
from transforms.tir.code_format import Block, CodeFormat
from transforms.tir.formats import rewritten

# An answer of fewer characters is too common to mean anything where it is not called the answer.
TELLING = 3
_HEADING = re.compile(r"\*\*\s*Final Answer\b[^*\n]{0,20}\*\*", re.IGNORECASE)
_IS = r"(?:is|are|be|was|equals)\b"
# Emphasis, and the beginning of a formula, for which alone a line may end: a list is no answer.
_UP_TO = r"(?:[ \t*_:=$]|\\[(\[]|\n(?:(?<=[$\[]\n)|(?=[ \t]*(?:\$|\\\[))))*+"
_CALLED_ANSWER = rf"\b(?:answer|result|solution)\b[ \t*_]*(?:{_IS}|[:=]){_UP_TO}(?:{_IS}{_UP_TO})?"
# What closes the formula that a box stands in.
_CLOSES_FORMULA = re.compile(r"\$\$?|\s*(?:\$\$|\\\]|\\\))")


class TirFilters(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Which filters are applied; each has the name of its reason, and None or false is off."""

    no_code: bool = pydantic.Field(True, description="reject solutions without a call")
    too_many_executions: bool = pydantic.Field(
        True, description="reject those that ended with a call beyond those allowed"
    )
    incomplete_execution: bool = pydantic.Field(
        True, description="reject those with a call that has no result"
    )
    boxed_before_code: bool = pydantic.Field(
        True, description="reject those with a boxed answer before the first call"
    )
    answer_before_code: bool = pydantic.Field(
        True, description="reject those that claim their answer before the first call"
    )
    no_final_answer: bool = pydantic.Field(True, description="reject those without a final answer")
    too_many_code_blocks: int | None = pydantic.Field(
        None,
        ge=1,
        description="reject those with more calls (published: 2, in the first round of training)",
    )
    final_answer_heading: bool = pydantic.Field(
        False, description='count only a box behind a bold "Final Answer", as published'
    )
    cut_after_final_box: bool = pydantic.Field(
        True, description="end a solution where its final answer ends"
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Parsed:
    """A solution and the calls in its text."""

    solution: Solution
    blocks: tuple[Block, ...]

    @property
    def prelude(self) -> str:
        """What the model wrote before its first call; nothing where it made none."""
        return self.solution.text[: self.blocks[0].start] if self.blocks else ""

    @property
    def conclusion(self) -> int:
        """Where the text after the last result begins."""
        return self.blocks[-1].result_end if self.blocks else 0


@dataclasses.dataclass(frozen=True, slots=True)
class Filter:
    """A reason for which solutions are lost, and what tells the detail of one that is."""

    reason: str
    fault: Callable[[Parsed, TirFilters], str | None]


@dataclasses.dataclass(eq=False)
class FilterTir(beam.PTransform):
    """Keep solutions that use Python, and use it before they know the answer.

    In:   `Solution` records, their calls written in `code_format`.
    Out:  `rows`, solutions under their ids, their texts cut after the final answer and rewritten
          into another format as asked for; `rejects`, the others as they came, each with the first
          reason of `FILTERS` that fits, or with `not_rewritable`.
    Cost: no shuffle; a parse of each text.
    Once: a pure function of each solution.
    From: OpenMathReasoning, "postprocess_tir_generations", and the paper's further filters.

    Args:
        stage: the name in the rejects.
        code_format: how calls are written.
        settings: which filters are applied.
        into: the format that kept solutions are rewritten into; None leaves them as they are. One
            that would not read the same there is a reject, `not_rewritable`.
    """

    shard_by_shard = True

    stage: str
    code_format: CodeFormat
    settings: TirFilters = TirFilters()
    into: CodeFormat | None = None

    def expand(self, solutions: beam.PCollection) -> Outcome:
        # Bound, not passed to Map: Beam would check a format against a protocol, and cannot.
        row = functools.partial(
            _row,
            stage=self.stage,
            code_format=self.code_format,
            settings=self.settings,
            into=self.into,
        )
        return solutions | "Filter" >> beam.Map(row) | "Split" >> SplitRejects()


def filtered(
    solution: Solution, stage: str, code_format: CodeFormat, settings: TirFilters
) -> Solution | Reject:
    """The solution, cut after its final box if so set; or the reject of the first fault."""
    parsed = Parsed(solution, tuple(code_format.blocks(solution.text)))
    for each in FILTERS:
        is_on = getattr(settings, each.reason)
        if is_on and (detail := each.fault(parsed, settings)) is not None:
            return Reject(stage, each.reason, detail, solution.id, row=to_json(solution), reply="")
    end = final_answer_end(parsed, settings) if settings.cut_after_final_box else None
    return solution if end is None else dataclasses.replace(solution, text=solution.text[:end])


def lacks_code(parsed: Parsed, settings: TirFilters) -> str | None:
    """There is no call in it."""
    return None if parsed.blocks else "the text has no call to Python"


def lacks_results(parsed: Parsed, settings: TirFilters) -> str | None:
    """A call is not closed or has no result."""
    total = len(parsed.blocks)
    use = parsed.solution.tool_use
    ended = f"; the sample ended for: {use.ended}" if use and use.ended != "answer" else ""
    for number, block in enumerate(parsed.blocks, start=1):
        if not block.is_complete:
            return f"call {number} of {total} is not closed{ended}"
        if block.output is None:
            return f"call {number} of {total} has no result{ended}"
    if use is not None and total != (given := use.executions + use.refused):
        return f"{total} results in the text, of which {given} were given"
    return None


def boxes_before_code(parsed: Parsed, settings: TirFilters) -> str | None:
    """There is a box before the first call."""
    spans = boxed_spans(parsed.prelude)
    return f"before the first call it says {_shown(parsed.prelude, *spans[0])}" if spans else None


def answers_before_code(parsed: Parsed, settings: TirFilters) -> str | None:
    """The answer was there before the first call: the code does no more than confirm it.

    The answer is a whole number, word or formula of the text: 12 is not in 312, 1.12, -12 or 12^2.
    It was there if the text calls it the answer ("the answer is 2", "Result: 2"), whatever it is;
    or if it stands anywhere in the text, is of three or more characters, and does not stand in
    the problem, which models like to repeat. So a 2 in "2 cases" is no answer.
    """
    answer = parsed.solution.predicted_answer
    if not answer or not answer.strip():
        return None
    whole = _whole(answer)
    claimed = re.search(_CALLED_ANSWER + whole, parsed.prelude, re.IGNORECASE)
    if claimed is None and len("".join(answer.split())) >= TELLING:
        mentioned = re.search(whole, parsed.prelude)
        claimed = None if re.search(whole, parsed.solution.problem.text) else mentioned
    if claimed is None:
        return None
    return f"before the first call it says {_shown(parsed.prelude, *claimed.span())}"


def lacks_final_answer(parsed: Parsed, settings: TirFilters) -> str | None:
    """No box follows the last result."""
    if final_answer_end(parsed, settings) is not None:
        return None
    heading = " and a Final Answer heading" if settings.final_answer_heading else ""
    return f"there is no complete box after the last call{heading}"


def calls_too_often(parsed: Parsed, settings: TirFilters) -> str | None:
    """There are more calls than are kept."""
    found, most = len(parsed.blocks), settings.too_many_code_blocks
    return f"{found} calls, at most {most} are kept" if most and found > most else None


def exceeds_executions(parsed: Parsed, settings: TirFilters) -> str | None:
    """The model called once more when none was left, and that ended the solution."""
    use = parsed.solution.tool_use
    if use is None or use.ended != "executions":
        return None
    return f"a call beyond the {use.max_executions} that it was allowed"


FILTERS = (
    Filter("no_code", lacks_code),
    Filter("too_many_executions", exceeds_executions),
    Filter("incomplete_execution", lacks_results),
    Filter("boxed_before_code", boxes_before_code),
    Filter("answer_before_code", answers_before_code),
    Filter("no_final_answer", lacks_final_answer),
    Filter("too_many_code_blocks", calls_too_often),
)


def final_answer_end(parsed: Parsed, settings: TirFilters) -> int | None:
    r"""Where the last box after the last result ends; None if there is none.

    A sign that closes the formula right behind the box (`$`, `\]`) is still of it.
    """
    text, start = parsed.solution.text, parsed.conclusion
    if settings.final_answer_heading:
        heading = _HEADING.search(text, start)
        if heading is None:
            return None
        start = heading.end()
    spans = boxed_spans(text[start:])
    if not spans:
        return None
    end = start + max(end for _, end in spans)
    closing = _CLOSES_FORMULA.match(text, end)
    return closing.end() if closing else end


def _row(
    solution: Solution,
    stage: str,
    code_format: CodeFormat,
    settings: TirFilters,
    into: CodeFormat | None,
) -> Solution | Reject:
    kept = filtered(solution, stage, code_format, settings)
    if isinstance(kept, Reject) or into is None:
        return kept
    try:
        text = rewritten(kept.text, code_format, into)
    except ValueError as error:
        row = to_json(solution)
        return Reject(stage, "not_rewritable", str(error), solution.id, row, reply="")
    use = kept.tool_use and dataclasses.replace(kept.tool_use, code_format=into.name)
    return dataclasses.replace(kept, text=text, tool_use=use)


def _whole(answer: str) -> str:
    """A pattern of the answer where it is no part of another number, word or formula."""
    parts = r"\s*".join(re.escape(part) for part in answer.split())
    return rf"(?<![\w.\-])(?<!\d,){parts}(?!\w|[.,]\d|\s*\^)"


def _shown(text: str, start: int, end: int) -> str:
    return repr(" ".join(text[start:end].split())[:80])
