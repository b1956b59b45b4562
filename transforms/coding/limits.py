"""Questions that are not too long to be asked."""

import dataclasses
import functools

import apache_beam as beam

from transforms.codec import to_json
from transforms.coding.records import CodeProblem
from transforms.engines.engine import estimated_tokens
from transforms.outcome import Outcome, SplitRejects, without_rejects
from transforms.records import Problem, Reject
from transforms.sft.lengths import CHARACTERS, Lengths

PUBLISHED_TOKENS = 3200


@dataclasses.dataclass(eq=False)
class FilterQuestions(beam.PTransform):
    """Leave out questions of too many tokens.

    In:   `CodeProblem` records.
    Out:  `rows`, those of `max_tokens` or fewer; `rejects`, the others (`long_question`).
    Cost: no shuffle; each question is tokenised.
    Once: a pure function of each question.
    From: OpenCodeReasoning, "filter_questions".

    Args:
        stage: the name in the rejects.
        max_tokens: the most.
        lengths: the tokenizer; without one, tokens are estimated.
    """

    shard_by_shard = True

    stage: str
    max_tokens: int = PUBLISHED_TOKENS
    lengths: Lengths = CHARACTERS

    def expand(self, problems: beam.PCollection) -> Outcome:
        kept = functools.partial(
            short_enough, stage=self.stage, max_tokens=self.max_tokens, lengths=self.lengths
        )
        return problems | "Measure" >> beam.Map(kept) | "Split" >> SplitRejects()


@dataclasses.dataclass(eq=False)
class TakeQuestions(beam.PTransform):
    """Take what models are asked: the questions without their tests, which may be megabytes.

    In:   `CodeProblem` records.
    Out:  `rows`, their `Problem` records; `rejects`, empty.
    Cost: no shuffle.
    Once: a pure function of each question.
    """

    shard_by_shard = True

    def expand(self, problems: beam.PCollection) -> Outcome:
        return without_rejects(problems | "Take" >> beam.Map(_question))


def short_enough(
    problem: CodeProblem, stage: str, max_tokens: int, lengths: Lengths
) -> CodeProblem | Reject:
    """The problem, or its reject."""
    text = problem.problem.text
    tokens = lengths.of(text) if lengths.tokenizer else estimated_tokens(text)
    if tokens <= max_tokens:
        return problem
    about = "" if lengths.tokenizer else "about "
    detail = f"{about}{tokens:,} tokens, and {max_tokens:,} are allowed"
    row = to_json(problem.problem)
    return Reject(stage, "long_question", detail, problem.id, row, reply="")


def _question(problem: CodeProblem) -> Problem:
    return problem.problem
