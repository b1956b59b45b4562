"""Which answers are solutions at all: the published format filters, their faults mended.

The filters are a table; the first that finds a fault names the reject.
"""

import dataclasses
import functools
import json
import re
from collections.abc import Callable

import apache_beam as beam

from transforms.codec import to_json
from transforms.coding.blocks import PYTHON, fault_of, is_placeholder, program_of
from transforms.coding.records import CodeSolution
from transforms.outcome import Outcome, SplitRejects
from transforms.records import Reject, Solution
from transforms.sft.parsed import THINK, THOUGHT, answer_start, reasoning_ends

_PLACEHOLDERS = re.compile(r"your code here|your code goes here|#instruction#", re.IGNORECASE)
_LEAST_WORDS = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Filter:
    """A reason for which answers are lost, and what tells the detail of one that is."""

    reason: str
    fault: Callable[["Parsed"], str | None]


@dataclasses.dataclass(eq=False)
class FilterSolutions(beam.PTransform):
    """Keep answers that are a program with reasoning before it, and take the program out of them.

    In:   `Solution` records.
    Out:  `rows`, a `CodeSolution` under the same id; `rejects`, the others, each with the first
          reason of `FILTERS` that fits.
    Cost: no shuffle; a parse of each fenced block.
    Once: a pure function of each answer.
    From: OpenCodeReasoning, "filter_solutions"; `docs/code.md` says what is done otherwise.

    Args:
        stage: the name in the rejects.
        language: one of `LANGUAGES`.
        require_reasoning: whether an answer without reasoning is lost.
    """

    shard_by_shard = True

    stage: str
    language: str = PYTHON
    require_reasoning: bool = True

    def expand(self, solutions: beam.PCollection) -> Outcome:
        kept = functools.partial(
            filtered,
            stage=self.stage,
            language=self.language,
            require_reasoning=self.require_reasoning,
        )
        return solutions | "Filter" >> beam.Map(kept) | "Split" >> SplitRejects()


@dataclasses.dataclass(frozen=True)
class Parsed:
    """An answer taken apart: what follows its reasoning, and the program in that."""

    solution: Solution
    language: str
    require_reasoning: bool

    @functools.cached_property
    def has_reasoning(self) -> bool:
        """Whether there is reasoning, and it has come to its end."""
        return bool(self.solution.reasoning) or reasoning_ends(self.solution.text)

    @functools.cached_property
    def answer(self) -> str:
        """What follows the reasoning."""
        return self.solution.text[answer_start(self.solution.text) :].strip()

    @functools.cached_property
    def code(self) -> str | None:
        """The program, if there is one."""
        columns = json.loads(self.solution.problem.extra)
        return program_of(self.answer, self.language, str(columns.get("entry_point") or ""))

    @property
    def output(self) -> str:
        """The whole answer, its reasoning between think tags."""
        text, reasoning = self.solution.text, self.solution.reasoning
        if reasoning:
            return f"{THINK}\n{reasoning.strip()}\n{THOUGHT}\n\n{text.strip()}"
        is_open = THOUGHT in text and THINK not in text[: text.index(THOUGHT)]
        return f"{THINK}\n{text.lstrip()}" if is_open else text


def filtered(
    solution: Solution, stage: str, language: str, require_reasoning: bool
) -> CodeSolution | Reject:
    """The solution with its program, or its reject."""
    parsed = Parsed(solution, language, require_reasoning)
    for filter_ in FILTERS:
        detail = filter_.fault(parsed)
        if detail is not None:
            row = to_json(solution)
            return Reject(stage, filter_.reason, detail, solution.id, row, reply="")
    assert parsed.code is not None
    return CodeSolution(solution.id, solution, language, parsed.code, parsed.output)


def _no_reasoning(parsed: Parsed) -> str | None:
    is_wanted = parsed.require_reasoning and not parsed.has_reasoning
    return f"it has no reasoning that ends with {THOUGHT}" if is_wanted else None


def _short(parsed: Parsed) -> str | None:
    words = len(parsed.answer.split())
    return f"{words} words follow its reasoning" if words < _LEAST_WORDS else None


def _not_ascii(parsed: Parsed) -> str | None:
    first = parsed.answer[:1]
    return None if first.isascii() else f"the answer begins with {first!r}"


def _placeholder_text(parsed: Parsed) -> str | None:
    found = _PLACEHOLDERS.search(parsed.answer)
    return f"it says {found.group()!r}" if found else None


def _no_program(parsed: Parsed) -> str | None:
    if parsed.code is not None:
        return None
    return f"no complete block is labelled {parsed.language}, or has no label"


def _syntax(parsed: Parsed) -> str | None:
    return fault_of(parsed.code or "", parsed.language)


def _placeholder_code(parsed: Parsed) -> str | None:
    is_one = is_placeholder(parsed.code or "", parsed.language)
    return "no function of the program has a body" if is_one else None


FILTERS = (
    Filter(reason="no_reasoning", fault=_no_reasoning),
    Filter(reason="short_answer", fault=_short),
    Filter(reason="not_ascii", fault=_not_ascii),
    Filter(reason="placeholder_text", fault=_placeholder_text),
    Filter(reason="no_program", fault=_no_program),
    Filter(reason="syntax_error", fault=_syntax),
    Filter(reason="placeholder_code", fault=_placeholder_code),
)
