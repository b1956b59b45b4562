"""Nemotron-Math-v2: three reasoning efforts, with Python and without, and six sets of traces.

    problems ─┬─ low effort: solve twice 8 times, judge, vote, judge again ─ filter_problems ─┐
              └─ medium and high effort, for what is not too easy: likewise ──────────────────┤
                                                                               prepare_for_sft

With `--threads`, the stages of `forum_problems` come first. The method and the names are those of
NVIDIA's Nemotron-Math-v2.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pydantic

from beam_sdg.python_flags import PythonConfig
from beam_sdg.recipes import answers
from beam_sdg.recipes.answers import RepairConfig
from beam_sdg.recipes.forum_problems import FromThreadsConfig, problems
from beam_sdg.recipes.recipe import Context, Recipe
from beam_sdg.recipes.sft import TracesTo, training_data
from beam_sdg.recipes.solving import solutions, traces_to
from beam_sdg.stages import Stage
from transforms.repairing import REPAIR
from transforms.tir.formats import GPT_OSS

EFFORTS = ("high", "medium", "low")
EASY = "low"  # the effort by whose pass rate a problem is too easy
TEMPERATURE = 1.0  # published
MODES = {
    "published": (
        "--model=openai/gpt-oss-120b",
        "--vllm_args=--async-scheduling",
        "--max_tokens=120000",
        "--top_p=1.0",
        "--code_format=gpt-oss",
        "--set=generate_solutions_python.api=text",
        "--max_executions=100",
        "--sft_tokenizer=openai/gpt-oss-120b",
    ),
}


class NemotronMathV2Config(  # type: ignore[misc]  # pydantic's plugin compares what it has added
    FromThreadsConfig, RepairConfig, PythonConfig
):
    """The settings of Nemotron-Math-v2; the defaults are the published ones."""

    efforts: tuple[str, ...] = pydantic.Field(
        EFFORTS, min_length=1, description="reasoning efforts, of high, medium and low"
    )
    samples: int = pydantic.Field(8, ge=0, description="solutions without Python, of each effort")
    python_samples: int = pydantic.Field(
        8, ge=0, description="solutions with Python, of each effort"
    )
    vote_scope: Literal["effort", "all", "set"] = pydantic.Field(
        "effort",
        description="which of a problem's solutions vote together: those of an effort, all, or "
        "those of an effort with Python, and without it, apart",
    )
    max_pass_rate: float | None = pydantic.Field(
        0.8,
        gt=0,
        le=1,
        description="drop problems that low effort solves as often or more often; none: keep all",
    )

    @pydantic.field_validator("efforts")
    @classmethod
    def _are_known(cls, efforts: tuple[str, ...]) -> tuple[str, ...]:
        for effort in efforts:
            if effort not in EFFORTS or efforts.count(effort) > 1:
                raise ValueError(f"{effort!r} is not one of {', '.join(EFFORTS)}, each once")
        return efforts

    @pydantic.field_validator("max_pass_rate", mode="before")
    @classmethod
    def _or_none(cls, rate: Any) -> Any:
        return None if rate == "none" else rate

    @pydantic.model_validator(mode="after")
    def _solves_something(self) -> "NemotronMathV2Config":
        if not self.samples and not self.python_samples:
            raise ValueError("samples and python_samples are both 0; raise one")
        is_asked_for = "max_pass_rate" in self.model_fields_set and self.max_pass_rate is not None
        if is_asked_for and EASY not in self.efforts:
            raise ValueError(f"max_pass_rate is that of {EASY} effort; add it to --efforts")
        if self.rl_manifest:
            raise ValueError(
                "rl_manifest has one row of a problem, and six sets may not agree on its answer; "
                "make it of one set by prepare-sft"
            )
        return self

    def expected_rows(self) -> int:
        return self.num_records * len(self.efforts) * (self.samples + self.python_samples)


@dataclasses.dataclass(frozen=True)
class SftSet:
    """The solutions of one effort, with Python or without: one of the sets of the dataset.

    `numbers` are those of the samples: all of a problem's solutions have one of their own, so that
    any of them can vote together.
    """

    effort: str
    uses_python: bool
    numbers: range

    @property
    def name(self) -> str:
        """As in the names of its stages and of its files: `high`, `high_python`."""
        return f"{self.effort}_python" if self.uses_python else self.effort

    @property
    def solved(self) -> str:
        """The stage of its solutions."""
        python = "python_" if self.uses_python else ""
        return f"generate_solutions_{python}{self.effort}"

    def scope(self, config: NemotronMathV2Config) -> str:
        """The name of what its solutions vote with."""
        return {"effort": self.effort, "all": "all", "set": self.name}[config.vote_scope]


def sets_of(config: NemotronMathV2Config) -> list[SftSet]:
    """The sets, each with the numbers of its samples, which do not hang on the other settings."""
    found = []
    for effort in config.efforts:
        first = EFFORTS.index(effort) * (config.samples + config.python_samples)
        for uses_python, samples in ((False, config.samples), (True, config.python_samples)):
            if samples:
                found.append(SftSet(effort, uses_python, range(first, first + samples)))
            first += samples
    return found


def stages(config: NemotronMathV2Config, context: Context) -> list[Stage]:
    """The stages: low effort first, where it can say which problems are too easy for the others."""
    sets = sets_of(config)
    easy = [one for one in sets if one.effort == EASY and config.max_pass_rate is not None]
    first = easy if easy and config.vote_scope != "all" else sets
    rest = [one for one in sets if one not in first]
    found = problems(config, context)
    read = found[-1]
    found += _judged(config, context, first, read.name)
    if easy and rest:
        found.append(_filtered(config, "filter_problems", read, easy))
        found += _judged(config, context, rest, "filter_problems")
    last = {one: f"judge_again_{one.scope(config)}.{one.name}" for one in sets}
    for one in first if easy else ():
        judged = next(stage for stage in found if stage.name == last[one])
        last[one] = f"filter_solutions_{one.name}"
        found.append(_filtered(config, last[one], judged, easy))
    to = {last[one]: _traces_to(config, one) for one in sets}
    return [*found, *training_data(config, context, to, [f"_{one.name}" for one in sets])]


def _judged(
    config: NemotronMathV2Config, context: Context, sets: Sequence[SftSet], problems: str
) -> Iterator[Stage]:
    """The stages from problems to the judged solutions of these sets."""
    for one in sets:
        tool = config.python(context.models_of(one.solved)) if one.uses_python else None
        yield solutions(
            context,
            one.solved,
            problems,
            len(one.numbers),
            first_sample=one.numbers.start,
            temperature=TEMPERATURE,
            reasoning_effort=one.effort,
            python=tool,
        )
    for scope in dict.fromkeys(one.scope(config) for one in sets):
        voters = [one for one in sets if one.scope(config) == scope]
        compared, judge, again = (
            f"{stage}_{scope}" for stage in ("compare_answers", "judge_answers", "judge_again")
        )
        agreed = f"fill_majority_answer_{scope}"
        yield answers.compare(compared, [one.solved for one in voters])
        yield from answers.judge(context, judge, compared, config)
        yield answers.agree(agreed, f"{judge}.verdicts", REPAIR, config)
        yield from answers.judge(context, again, agreed, config)
        asked = sum(len(one.numbers) for one in voters)
        for one in voters:
            yield answers.join(f"{again}.{one.name}", f"{again}.verdicts", [one.solved], asked)


def _filtered(
    config: NemotronMathV2Config, name: str, records: Stage, easy: Sequence[SftSet]
) -> Stage:
    """What belongs to problems that low effort does not solve too often."""
    verdicts = dict.fromkeys(f"judge_again_{one.scope(config)}.verdicts" for one in easy)
    numbers = range(easy[0].numbers.start, easy[-1].numbers.stop)
    return answers.filter_by_pass_rate(
        name, records, list(verdicts), numbers, maximum=config.max_pass_rate
    )


def _traces_to(config: NemotronMathV2Config, one: SftSet) -> TracesTo:
    """How a set's solutions become rows: each as its model was asked."""
    template_args: dict[str, Any] = {"reasoning_effort": one.effort}
    if not one.uses_python:
        return traces_to(split=one.name, template_args=template_args)
    return traces_to(
        config,
        split=one.name,
        template_args={**template_args, "builtin_tools": ["python"]},
        assistant_end="<|return|>" if config.written_as() == GPT_OSS else None,
    )


NEMOTRON_MATH_V2 = Recipe(
    name="nemotron-math-v2",
    summary="solve with three reasoning efforts, with Python and without; vote, judge, six sets",
    config=NemotronMathV2Config,
    stages=stages,
    modes=MODES,
    citation="The method is NVIDIA's, published with Nemotron-Math-v2.",
)
