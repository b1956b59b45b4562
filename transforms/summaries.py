"""New summaries: what a solution says after its reasoning, told again for a reader.

judged solutions ─┬─ correct ones ─ summary × 4 ─┬─ the longest valid one replaces the text
                  └──────────────────────────────┘

A summary is valid if its own final answer is the solution's.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeVar

import apache_beam as beam
import pydantic

from transforms.answers import boxed_spans, has_answer, last_boxed
from transforms.codec import to_json
from transforms.equality import same_answer
from transforms.grouping import Group
from transforms.judging import CORRECT
from transforms.outcome import Outcome, SplitRejects
from transforms.reading import Fault
from transforms.records import Answered, JudgedSolution, Reject, Solution, Summary
from transforms.tir.formats import CODE_FORMATS

S = TypeVar("S", bound="_Text")
PROMPT = "math/summary"
PUBLISHED_SAMPLES = 4
PUBLISHED_TEMPERATURE = 0.7
PUBLISHED_MAX_TOKENS = 2048
_NEXT_PARAGRAPH = re.compile(r"\n[ \t]*\n")


class _Text(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def text(self) -> str: ...


class SummarySettings(pydantic.BaseModel, frozen=True, extra="forbid"):
    """How many new summaries are asked for, and how the one that is kept is put in."""

    new_summaries: int = pydantic.Field(
        0, ge=0, description="new summaries of each correct solution, the longest of which is kept"
    )
    summary_separator: str = pydantic.Field(
        r"\n\n",
        validate_default=True,
        description=r"what stands between the end tag and a new summary; \n is a line break",
    )
    trim_reasoning: bool = pydantic.Field(
        False, description="end the reasoning before a new summary where it has its final answer"
    )
    strict_end_tag: bool = pydantic.Field(
        False, description="reject solutions whose reasoning is not closed, rather than close it"
    )
    start_tag: str = pydantic.Field(
        "<think>", description="what reasoning within a text begins with; '' is nothing"
    )
    end_tag: str = pydantic.Field(
        "</think>", min_length=1, description="what reasoning within a text ends with"
    )

    @pydantic.field_validator("summary_separator")
    @classmethod
    def _with_line_breaks(cls, separator: str) -> str:
        return separator.replace(r"\n", "\n")


@dataclasses.dataclass(eq=False)
class SelectCorrect(beam.PTransform):
    """Select the solutions that are worth a new summary.

    In:   `JudgedSolution` records.
    Out:  `rows`, those that are correct, have an answer that a summary can be held to, and whose
          reasoning ends as the settings demand. The others are left out; no rejects.
    Cost: no shuffle.
    Once: a pure function of each solution.
    From: OpenMathReasoning, "generate_new_summaries", where wrong solutions have summaries too.

    Args:
        settings: the tags.
    """

    shard_by_shard = True

    settings: SummarySettings = SummarySettings()

    def expand(self, judged: beam.PCollection) -> Outcome:
        selected = judged | "Correct" >> beam.Filter(is_summarised, self.settings)
        return selected | "Split" >> SplitRejects()


@dataclasses.dataclass(eq=False)
class MergeSummaries(beam.PTransform):
    """Put the longest new summary of each correct solution in place of its text after reasoning.

    In:   a tuple of collections: `JudgedSolution` records with unique ids; and `Summary` records of
          theirs that `fault_of` has nothing against.
    Out:  `rows`, `JudgedSolution` records under their ids, those that are not correct as they came;
          `rejects`, the correct ones without a summary (`no_valid_summary`) or, if the settings are
          strict, whose reasoning has no end (`no_reasoning_end`); and `duplicate_id`, all of one
          id. Solutions = rows + rejects.
    Cost: one shuffle of both; what belongs to one solution in memory. Trimming compares two answers
          of each solution.
    Once: independent of input order: of summaries of one length that with the smallest id is kept.
    From: OpenMathReasoning, "merge_new_summaries".

    Args:
        stage: the name in the rejects.
        settings: the tags, and how a summary is put in.
    """

    shard_by_shard = True

    stage: str
    settings: SummarySettings = SummarySettings()

    def expand(self, joined: tuple[beam.PCollection, ...]) -> Outcome:
        judged, summaries = joined
        keyed = (
            judged | "KeySolutions" >> beam.Map(_keyed_solution),
            summaries | "KeySummaries" >> beam.Map(_keyed_summary),
        )
        return (
            keyed
            | "Join" >> Group()
            | "Merge" >> beam.FlatMap(_merged, self.stage, self.settings)
            | "Split" >> SplitRejects()
        )


def is_summarised(judged: JudgedSolution, settings: SummarySettings) -> bool:
    """Whether a new summary of a solution could be used at all."""
    return (
        judged.verdict == CORRECT
        and has_answer(judged.solution.predicted_answer)
        and head_of(judged.solution, settings) is not None
    )


def variables_of(judged: JudgedSolution) -> dict[str, object]:
    """What a model that writes summaries is shown."""
    solution = judged.solution
    return {
        "problem": solution.problem.text,
        "reasoning": solution.reasoning,
        "solution": solution.text,
    }


def fault_of(judged: JudgedSolution, text: str, settings: SummarySettings) -> Fault | None:
    """What is wrong with a summary: its own answer is not there, or is not the solution's.

    It takes microseconds, or where math-verify has to be asked, as long as that.
    """
    for tag in filter(None, (settings.start_tag, settings.end_tag)):
        if tag in text:
            return Fault("tag_in_summary", f"it has {tag} in it, which marks reasoning")
    own, expected = last_boxed(text), judged.solution.predicted_answer
    if own is None:
        return Fault("no_boxed_answer", r"it has no final answer in \boxed{}")
    if not same_answer(own, expected):
        detail = f"its final answer is {own!r}, and that of the solution {expected!r}"
        return Fault("summary_differs", detail)
    return None


def summary_of(answered: Answered[JudgedSolution, str]) -> Summary:
    """The summary in an answer that `fault_of` has nothing against."""
    own = last_boxed(answered.value)
    assert own is not None
    return Summary(answered.id, answered.record.id, answered.value, own, answered.call)


def longest(summaries: Iterable[S]) -> S | None:
    """The one with most characters, of several that with the smallest id; None of none."""
    return min(summaries, key=lambda each: (-len(each.text), each.id), default=None)


def summarised(solution: Solution, summary: Summary, settings: SummarySettings) -> Solution | None:
    """The solution with another text after its reasoning, whose answer is now its own.

    Reasoning within the text stays there, between its tags; so do calls of Python and their
    results. None where its end is missing and the settings are strict.
    """
    head, reasoning = head_of(solution, settings), solution.reasoning
    if head is None:
        return None
    if settings.trim_reasoning and solution.tool_use is None:
        answer = solution.predicted_answer
        reasoning = trimmed(reasoning, answer)
        inside = head.removesuffix(settings.end_tag)
        if (kept := trimmed(inside, answer)) != inside:
            head = f"{kept}\n{settings.end_tag}"
    return dataclasses.replace(
        solution,
        text=f"{head}{settings.summary_separator}{summary.text}" if head else summary.text,
        reasoning=reasoning,
        predicted_answer=summary.predicted_answer,
        calls=(*solution.calls, summary.call),
    )


def head_of(solution: Solution, settings: SummarySettings) -> str | None:
    """What of a solution's text stays before a new summary; "" if its reasoning is kept apart.

    That is all up to the last end tag, or the last result of Python if that comes later. A start
    tag that is missing is added. Where the last reasoning has no end tag, it is all of the text,
    and one is added; or None, if the settings are strict.
    """
    text, start, end = solution.text, settings.start_tag, settings.end_tag
    opens, closes = text.rfind(start) if start else -1, text.rfind(end)
    if closes < 0 and solution.reasoning:
        return text[: _last_result_end(solution)]
    if closes > opens:
        head = text[: max(closes + len(end), _last_result_end(solution))]
    elif settings.strict_end_tag:
        return None
    else:
        head = text.rstrip() + f"\n{end}"
    return head if start in head[: head.index(end)] else f"{start}\n{head.lstrip()}"


def trimmed(reasoning: str, answer: str | None) -> str:
    """Reasoning up to the end of the paragraph with its last box, if that holds the answer.

    Where it holds another one, what comes after is how the answer was found.
    """
    if not same_answer(last_boxed(reasoning), answer):
        return reasoning
    next_paragraph = _NEXT_PARAGRAPH.search(
        reasoning, max(end for _, end in boxed_spans(reasoning))
    )
    return reasoning[: next_paragraph.start()] if next_paragraph else reasoning


def _last_result_end(solution: Solution) -> int:
    """Where the last result of Python ends; 0 of a solution without."""
    if solution.tool_use is None:
        return 0
    # Calls of a tool are written as fences.
    code_format = CODE_FORMATS.get(solution.tool_use.code_format, CODE_FORMATS["fenced"])
    return max((block.result_end for block in code_format.blocks(solution.text)), default=0)


def _keyed_solution(judged: JudgedSolution) -> tuple[str, JudgedSolution]:
    return judged.id, judged


def _keyed_summary(summary: Summary) -> tuple[str, Summary]:
    return summary.solution_id, summary


def _merged(
    joined: tuple[str, Iterable[Any]], stage: str, settings: SummarySettings
) -> Iterator[JudgedSolution | Reject]:
    """A solution with its new summary, or its reject."""
    solution_id, parts = joined
    solutions: list[JudgedSolution] = []
    summaries: list[Summary] = []
    for part in parts:
        if isinstance(part, Summary):
            summaries.append(part)
        else:
            solutions.append(part)
    for judged in sorted(solutions, key=to_json):
        if len(solutions) > 1:
            detail = f"one of {len(solutions)} solutions with this id"
            yield Reject(stage, "duplicate_id", detail, solution_id, to_json(judged), reply="")
        else:
            yield merged(judged, summaries, stage, settings)


def merged(
    judged: JudgedSolution, summaries: Iterable[Summary], stage: str, settings: SummarySettings
) -> JudgedSolution | Reject:
    """The solution with the longest of its summaries; as it came if it is not correct."""
    if judged.verdict != CORRECT:
        return judged
    summary = longest(summaries)
    solution = summarised(judged.solution, summary, settings) if summary else None
    if solution is not None:
        return dataclasses.replace(judged, solution=solution)
    reason, detail = _why_not(judged.solution, settings)
    return Reject(stage, reason, detail, judged.id, to_json(judged), reply="")


def _why_not(solution: Solution, settings: SummarySettings) -> tuple[str, str]:
    """Why a correct solution has no new summary."""
    if head_of(solution, settings) is None:
        return "no_reasoning_end", f"no {settings.end_tag} follows its reasoning"
    if not has_answer(solution.predicted_answer):
        return "no_valid_summary", "it has no answer that a summary could be held to"
    return "no_valid_summary", f"0 of {settings.new_summaries} summaries can be used"
