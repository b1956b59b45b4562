"""The stages that recipes share: judging final answers, and voting for those that are missing.

generate_solutions ─ .compare ─┬─ judge_answers.pairs ─ judge_answers ─┬─ .verdicts
                               └───────────────────────────────────────┘
"""

from collections.abc import Iterator, Sequence

import pydantic

from beam_sdg.recipes.problems import AnsweredProblemsConfig
from beam_sdg.recipes.recipe import Context
from beam_sdg.recipes.sft import SftConfig
from beam_sdg.stages import Every, Needed, Stage
from transforms import judging
from transforms.pass_rates import FilterByPassRate
from transforms.records import AnswerPair, AnswerVote, JudgedSolution, Judgement
from transforms.repairing import FillMajorityAnswer, Mode

PUBLISHED_TEMPERATURE = 0.7
# The flags of the mode `demo`: ten problems, solved and judged by hosted models.
DEMO = (
    "--endpoint=nvidia",
    "--model=deepseek-ai/deepseek-r1-distill-qwen-32b",
    "--set=judge.model=meta/llama-3.3-70b-instruct",
    "--set=judge.endpoint=nvidia",
    "--samples=4",
    "--max_tokens=8192",
    "--num_records=10",
)


class VotesConfig(SftConfig):
    """Base of the configurations of recipes that judge, let solutions vote, and export."""

    judge_votes: int = pydantic.Field(1, ge=1, description="votes of the judge on two answers")
    vote_quorum: int = pydantic.Field(
        1, ge=1, description="votes with which an answer wins that of a problem's solutions"
    )
    vote_min_answers: int = pydantic.Field(
        1, ge=1, description="solutions with an answer that such a vote takes"
    )


class AnswersConfig(AnsweredProblemsConfig, VotesConfig):
    """Base of those that solve problems, whatever is known of their answers."""


class RepairConfig(AnswersConfig):
    """Base of those in which solutions may overturn an answer."""

    min_verdicts: int = pydantic.Field(
        1, ge=1, description="readable verdicts that can overturn an expected answer"
    )


def compare(name: str, solutions: Sequence[str]) -> Stage:
    """What equality says of the solutions of these stages."""
    return Stage(
        name=name,
        transform=judging.CompareAnswers(),
        row_type=Judgement,
        settings={},
        inputs=tuple(solutions),
        takes=Every(*solutions),
    )


def judge(
    context: Context,
    name: str,
    after: str,
    config: VotesConfig,
    prompt: str = judging.PROMPT,
) -> Iterator[Stage]:
    """A model judges what is undecided in the judgements of the stage `after`."""
    yield Stage(
        name=f"{name}.pairs",
        transform=judging.SelectUndecided(),
        row_type=AnswerPair,
        settings={},
        inputs=(after,),
        takes=Needed(),
    )
    yield context.ask(
        name,
        after=f"{name}.pairs",
        prompt=prompt,
        variables=judging.variables_of,
        reader=judging.READER,
        keep=judging.vote_of,
        row_type=AnswerVote,
        samples=config.judge_votes,
        temperature=PUBLISHED_TEMPERATURE,
        greedy=config.judge_votes == 1,
    )
    yield Stage(
        name=f"{name}.verdicts",
        transform=judging.ApplyVerdicts(),
        row_type=Judgement,
        settings={},
        inputs=(after, name),
        takes=Every(after),
    )


def agree(name: str, after: str, mode: Mode, config: VotesConfig) -> Stage:
    """The vote of a problem's solutions, and what it does to the expected answer."""
    min_verdicts = config.min_verdicts if isinstance(config, RepairConfig) else 1
    rules = (config.vote_quorum, config.vote_min_answers, min_verdicts)
    return Stage(
        name=name,
        transform=FillMajorityAnswer(mode, *rules),
        row_type=Judgement,
        settings={"mode": mode, "rules": rules},
        inputs=(after,),
    )


def join(name: str, judgements: str, solutions: Sequence[str], asked: int) -> Stage:
    """Solutions with their last verdicts; of each problem so many were asked for."""
    return Stage(
        name=name,
        transform=judging.JoinVerdicts(asked),
        row_type=JudgedSolution,
        settings={"asked": asked},
        inputs=(judgements, *solutions),
        takes=Every(*solutions),
    )


def filter_by_pass_rate(
    name: str,
    records: Stage,
    judgements: Sequence[str],
    samples: range,
    minimum: float = 0.0,
    maximum: float | None = None,
) -> Stage:
    """What belongs to problems of the right difficulty, of the rows of a stage.

    `samples` are the numbers of those that count.
    """
    counted = [samples.start, samples.stop]
    return Stage(
        name=name,
        transform=FilterByPassRate(name, minimum, maximum, samples, len(samples)),
        row_type=records.row_type,
        settings={"minimum": minimum, "maximum": maximum, "samples": counted},
        inputs=(records.name, *judgements),
        takes=Every(records.name),
    )
