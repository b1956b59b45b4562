"""OpenReasoning's code data: assemble questions, solve, keep programs, and run their tests.

    problems ─ prepare_questions ─ filter_questions ─ generate_solutions ─ filter_solutions ─┐
                                          │   ┌──────────────────────────────────────────────┘
                                          └───┴ [execute_solutions ─ filter_executed] ─ export

The method and the names are those of NVIDIA's OpenCodeReasoning, by which OpenReasoning's code data
was made; execution is not published.
"""

import dataclasses
import json
from typing import Literal

import pydantic

from beam_sdg.python_flags import SandboxConfig
from beam_sdg.recipes.problems import ProblemsConfig
from beam_sdg.recipes.recipe import Context, Recipe
from beam_sdg.sources import Source
from beam_sdg.sources.library import ReadLibrary, Shelf
from beam_sdg.stages import Every, Stage
from beam_sdg.template_flags import pinned
from transforms.coding import cpp, solve
from transforms.coding.blocks import CPP, PYTHON
from transforms.coding.execute import ExecuteSolutions, Executing, density
from transforms.coding.filters import FilterSolutions
from transforms.coding.judge import KeepPassing, judgement_of
from transforms.coding.limits import PUBLISHED_TOKENS, FilterQuestions, TakeQuestions
from transforms.coding.questions import PrepareQuestions
from transforms.coding.records import CodeProblem, CodeSolution, PassAt, TrialCounts
from transforms.errors import UsageError
from transforms.reading import Text
from transforms.records import Call, Origin, Problem, Solution
from transforms.sft.lengths import Lengths

TEMPERATURE = 0.6  # published
_FULL = (
    "--problems=ocr2",
    "--model=deepseek-ai/DeepSeek-R1-0528",
    "--question_tokenizer=deepseek-ai/DeepSeek-R1-0528",
    "--samples=32",
    "--max_tokens=28768",
    "--top_p=0.95",
    "--num_records=1000000",
)
MODES = {
    "demo": (
        "--endpoint=nvidia",
        "--model=deepseek-ai/deepseek-r1-distill-qwen-32b",
        "--samples=1",
        "--max_tokens=8192",
        "--num_records=10",
    ),
    "full": _FULL,
    "full-executed": (*_FULL, "--execute", "--sandbox_sessions_per_container=16"),
    "full-cpp": (*_FULL, "--language=cpp"),
}


class OpenReasoningCodeConfig(ProblemsConfig, SandboxConfig):
    """The settings of OpenReasoning's code data; the mode `full` has the published ones."""

    samples: int = pydantic.Field(4, ge=1, description="solutions of each problem")
    language: Literal["python", "cpp"] = pydantic.Field(
        "python", description="that solutions are asked for in: python or cpp"
    )
    library: tuple[str, ...] = pydantic.Field(
        (),
        description="DATASET:SPLIT=FILE, a glob or hf://…: what rows of ocr2 point at; several, "
        "separated by commas",
    )
    max_question_tokens: int = pydantic.Field(
        PUBLISHED_TOKENS, ge=1, description="longer questions are left out"
    )
    question_tokenizer: str = pydantic.Field(
        "",
        description="folder, or NAME[@REVISION] on the hub, that counts them (default: estimated)",
    )
    require_reasoning: bool = pydantic.Field(
        True, description="reject solutions without reasoning between think tags, or set apart"
    )
    execute: bool = pydantic.Field(
        False, description="run Python programs against the tests of their problems"
    )
    test_timeout_s: float = pydantic.Field(10.0, gt=0, description="most time of one test")
    max_tests: int | None = pydantic.Field(
        100, ge=1, description="tests of each problem that are run, drawn by the seed; or none"
    )
    min_test_pass_rate: float = pydantic.Field(
        1.0, ge=0, le=1, description="share of its tests that a program must pass"
    )
    only_tested: bool = pydantic.Field(
        False, description="reject programs of which no test says anything"
    )

    @pydantic.model_validator(mode="after")
    def _can_be_executed(self) -> "OpenReasoningCodeConfig":
        if self.execute and self.language == CPP:
            raise ValueError("only Python is executed; drop --execute, or --language cpp")
        if self.only_tested and not self.execute:
            raise ValueError("only_tested is of programs that are run; add --execute or drop it")
        return self

    def expected_rows(self) -> int:
        return self.num_records * self.samples

    def without_walls(self) -> "OpenReasoningCodeConfig":
        """Nothing is executed: some rehearsed programs loop, and what others print is known."""
        return self.model_copy(update={"execute": False, "only_tested": False})

    def lengths(self) -> Lengths:
        """What questions are measured by."""
        return Lengths(*pinned(self.question_tokenizer)) if self.question_tokenizer else Lengths()


@dataclasses.dataclass(frozen=True, slots=True)
class CodeOrigin:
    """What a solution was made from and by."""

    problem: Origin
    calls: tuple[Call, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class CodeExample:
    """A row of the dataset: the published columns, then what tests say, then provenance.

    `dataset`, `source_split` and `index` are where the question came from. `judgement` is `right`
    or `wrong` by the tests. `split` is the language, as in OpenCodeReasoning-2, and is no column.
    """

    input: str
    output: str
    solution: str
    source: str
    license: str
    dataset: str
    source_split: str
    index: str
    difficulty: str
    question_id: str
    judgement: str | None
    pass_rate: float | None
    tests: TrialCounts | None
    solved: float | None
    pass_at: tuple[PassAt, ...]
    id: str
    provenance: CodeOrigin
    split: str = PYTHON


def stages(config: OpenReasoningCodeConfig, context: Context) -> list[Stage]:
    """The stages."""
    if config.language == CPP:
        cpp.require_parser()
    sources, lengths = config.sources("programs"), config.lengths()
    last = "filter_solutions"
    found = [
        config.read(context, sources),
        _prepared(config, sources),
        Stage(
            name="filter_questions",
            transform=FilterQuestions("filter_questions", config.max_question_tokens, lengths),
            row_type=CodeProblem,
            settings={
                "max_tokens": config.max_question_tokens,
                "lengths": lengths.content_hash(),
            },
            inputs=("prepare_questions",),
        ),
        Stage(
            name="filter_questions.asked",
            transform=TakeQuestions(),
            row_type=Problem,
            settings={},
            inputs=("filter_questions",),
        ),
        context.ask(
            "generate_solutions",
            after="filter_questions.asked",
            prompt=solve.prompt_of(config.language),
            variables=solve.variables_of,
            reader=Text(),
            keep=solve.solution_of,
            row_type=Solution,
            samples=config.samples,
            temperature=TEMPERATURE,
        ),
        Stage(
            name=last,
            transform=FilterSolutions(last, config.language, config.require_reasoning),
            row_type=CodeSolution,
            settings={
                "language": config.language,
                "require_reasoning": config.require_reasoning,
            },
            inputs=("generate_solutions",),
        ),
    ]
    if config.execute:
        found += _executed(config, context, last)
        last = found[-1].name
    return [*found, context.export(last, example_of, CodeExample)]


def _prepared(config: OpenReasoningCodeConfig, sources: tuple[Source, ...]) -> Stage:
    """The stage that assembles questions."""
    pointers = sorted({source.name for source in sources if source.format.points})
    shelves = tuple(map(Shelf.parse, config.library))
    if pointers and not shelves:
        raise UsageError(
            f"rows of {', '.join(pointers)} point at other datasets, and --library names none; "
            "write where they are, as in --library taco:train=taco/train.parquet"
        )
    if shelves and not pointers:
        raise UsageError(
            "--library is for rows that point at others, and no source has such; drop it, or read "
            "ocr2=FILE"
        )
    library = ReadLibrary(shelves) if shelves else None
    return Stage(
        name="prepare_questions",
        transform=PrepareQuestions(
            "prepare_questions", frozenset(pointers), library, needs_tests=config.execute
        ),
        row_type=CodeProblem,
        settings={
            "pointers": pointers,
            "library": [shelf.settings() for shelf in shelves],
            "needs_tests": config.execute,
        },
        inputs=("problems",),
    )


def _executed(config: OpenReasoningCodeConfig, context: Context, after: str) -> list[Stage]:
    """The stages that run programs, and keep those that pass."""
    name, kept = "execute_solutions", "filter_executed"
    executing = Executing(
        config.sandbox_settings(),
        context.seed,
        config.test_timeout_s,
        config.max_tests,
        config.samples,
    )
    settings = {
        "sandbox": executing.sandbox.identity(),
        "sessions_per_container": density(executing.sandbox),
        "timeout_s": config.test_timeout_s,
        "max_tests": config.max_tests,
        "samples": config.samples,
    }
    return [
        Stage(
            name=name,
            transform=ExecuteSolutions(name, executing),
            row_type=CodeSolution,
            settings=settings,
            inputs=("filter_questions", after),
            takes=Every(after),
        ),
        Stage(
            name=kept,
            transform=KeepPassing(kept, config.min_test_pass_rate, config.only_tested),
            row_type=CodeSolution,
            settings={
                "min_pass_rate": config.min_test_pass_rate,
                "only_tested": config.only_tested,
            },
            inputs=(name,),
        ),
    ]


def example_of(solved: CodeSolution) -> CodeExample:
    """The finished row of a program."""
    problem, columns = solved.solution.problem, json.loads(solved.solution.problem.extra)

    def column(name: str) -> str:
        return str(columns.get(name, ""))

    origin = Origin(problem.id, problem.source, problem.source_id, problem.licence, problem.extra)
    return CodeExample(
        input=problem.text,
        output=solved.output,
        solution=solved.code,
        source=column("source"),
        license=problem.licence,
        dataset=column("dataset") or problem.source,
        source_split=column("split"),
        index=column("index"),
        difficulty=column("difficulty"),
        question_id=column("question_id") or problem.source_id,
        judgement=judgement_of(solved),
        pass_rate=solved.pass_rate,
        tests=solved.counts,
        solved=solved.solved,
        pass_at=solved.pass_at,
        id=solved.id,
        provenance=CodeOrigin(origin, solved.solution.calls),
        split=solved.language,
    )


OPENREASONING_CODE = Recipe(
    name="openreasoning-code",
    summary="solve programming problems in Python or C++, and run the programs' tests",
    config=OpenReasoningCodeConfig,
    stages=stages,
    modes=MODES,
    citation="The method is NVIDIA's, published with OpenCodeReasoning (arXiv:2504.01943).",
)
