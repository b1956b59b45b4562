"""Execution: every program against its problem's tests, many at once, each in its own session.

problems ──┬─ by problem ─ trials ─ verdicts, and what they make of the problem
solutions ─┘
"""

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows

from sandbox import SandboxSettings
from transforms.codec import to_json, well_formed
from transforms.coding.cases import CHECK
from transforms.coding.records import CodeProblem, CodeSolution, PassAt, TrialCounts
from transforms.coding.trial import Checkers, Squeezed, Trial, TrialLost
from transforms.engines.client import run_jobs
from transforms.grouping import Group
from transforms.judging import CORRECT, INCORRECT, by_root
from transforms.outcome import Outcome, SplitRejects
from transforms.records import Reject
from transforms.seeding import integer
from transforms.tir.cells import SharedSandbox, shared_sandbox

UNTESTED = "untested"
_WINDOW_CHARACTERS = 1 << 26  # of tests and programs that are in memory at once
_WORKERS = 4096  # at most; sessions are fewer


@dataclasses.dataclass(frozen=True)
class Executing:
    """How programs are executed.

    sandbox: where.
    timeout_s: of one test.
    max_tests: of one problem, drawn by `seed` where there are more; None is all.
    samples: how many solutions of each problem were asked for: those that are not here have not
        solved it.
    """

    sandbox: SandboxSettings
    seed: int = 0
    timeout_s: float = 10.0
    max_tests: int | None = None
    samples: int = 1


@dataclasses.dataclass(eq=False)
class ExecuteSolutions(beam.PTransform):
    """Run programs against the tests of their problems.

    In:   a pair of collections: `CodeProblem` records, and the `CodeSolution` records of theirs.
    Out:  `rows`, solutions with verdict, counts, and the problem's share of solved samples;
          `rejects`, those under which sessions broke again and again (`sandbox_failed`).
    Cost: one shuffle of both; one session of the sandbox for each program, and one round trip for
          each test. Of all problems, tests of 64 MB are in memory at once.
    Once: a pure function of program, tests and seed, but for programs near the time limit. A
          retried bundle runs its programs again.
    From: published by nobody: OpenCodeReasoning executes nothing.

    Args:
        stage: the name in the rejects.
        executing: how.
    """

    shard_by_shard = True

    stage: str
    executing: Executing

    @property
    def sandbox(self) -> SandboxSettings:
        """Where it runs what models wrote."""
        return self.executing.sandbox

    def expand(self, joined: tuple[beam.PCollection, beam.PCollection]) -> Outcome:
        problems, solutions = joined
        keyed = (
            problems | "KeyProblems" >> beam.Map(by_root),
            solutions | "KeySolutions" >> beam.Map(by_root),
        )
        executed = (
            keyed
            | "Join" >> Group()
            | "Execute" >> beam.ParDo(_Execute(self.stage, self.executing))
        )
        return executed | "Split" >> SplitRejects()


class _Execute(beam.DoFn):
    """Gathers a window of problems and executes what belongs to them."""

    def __init__(self, stage: str, executing: Executing) -> None:
        self._stage, self._executing = stage, executing

    def start_bundle(self) -> None:
        self._window: list[tuple[CodeProblem, list[CodeSolution]]] = []
        self._characters = 0

    def process(self, grouped: tuple[str, Iterable[Any]]) -> Iterator[Any]:
        problem, solutions = _parted(grouped[1])
        if not solutions:
            return
        assert problem is not None
        self._window.append(
            (drawn(problem, self._executing.max_tests, self._executing.seed), solutions)
        )
        self._characters += _size(problem, solutions)
        if self._characters > _WINDOW_CHARACTERS:
            yield from self._emptied()

    def finish_bundle(self) -> Iterator[Any]:
        return map(GlobalWindows.windowed_value, self._emptied())

    def _emptied(self) -> list[CodeSolution | Reject]:
        window, self._window, self._characters = self._window, [], 0
        return executed(window, self._stage, self._executing)


def executed(
    window: Sequence[tuple[CodeProblem, Sequence[CodeSolution]]], stage: str, executing: Executing
) -> list[CodeSolution | Reject]:
    """The programs of a window with their verdicts; blocks until all have run.

    Raises:
        RunError: no session can be opened.
    """
    shared = shared_sandbox(executing.sandbox)
    checkers = Checkers(shared, executing.seed)
    pairs = [(problem, one) for problem, some in window for one in some]
    jobs = [
        functools.partial(_tried, shared, checkers, problem, one, executing)
        for problem, one in pairs
        if problem.tests
    ]
    tried = iter(run_jobs(jobs, _WORKERS, [shared.used(), checkers]) if jobs else ())
    counts = [next(tried) if problem.tests else None for problem, _ in pairs]
    found: list[CodeSolution | Reject] = []
    said = iter(counts)
    for _, solutions in window:
        found += judged(solutions, [next(said) for _ in solutions], stage, executing.samples)
    return found


def judged(
    solutions: Sequence[CodeSolution],
    counts: Sequence[TrialCounts | str | None],
    stage: str,
    samples: int,
) -> Iterator[CodeSolution | Reject]:
    """A problem's solutions with the verdicts that follow from their counts.

    A text in place of counts is why nothing is known of the program.
    """
    verdicts = [verdict_of(each) if not isinstance(each, str) else "" for each in counts]
    lost = verdicts.count("")
    asked = max(len(solutions), samples) - lost
    correct = verdicts.count(CORRECT)
    is_known = lost < len(solutions) and UNTESTED not in verdicts
    for solution, each, verdict in zip(solutions, counts, verdicts, strict=True):
        if isinstance(each, str):
            yield Reject(
                stage, "sandbox_failed", well_formed(each), solution.id, to_json(solution), reply=""
            )
            continue
        is_judged = verdict != UNTESTED
        yield dataclasses.replace(
            solution,
            verdict=verdict,
            counts=each,
            pass_rate=round(each.passed / _judged(each), 6) if each and is_judged else None,
            solved=round(correct / asked, 6) if is_known else None,
            pass_at=pass_at(asked, correct) if is_known else (),
        )


def verdict_of(counts: TrialCounts | None) -> str:
    """`correct` if all tests were passed that can be judged; `untested` if they say nothing.

    That is where there are none, and where all were passed and the question shows them all: a
    program may print what it was shown.
    """
    if counts is None or not _judged(counts):
        return UNTESTED
    if counts.passed < _judged(counts):
        return INCORRECT
    return CORRECT if counts.passed > counts.shown else UNTESTED


def _judged(counts: TrialCounts) -> int:
    """How many tests say something; those that were given up say that it is wrong."""
    return counts.tests - counts.unjudged


def pass_at(asked: int, correct: int) -> tuple[PassAt, ...]:
    """Pass@k for the powers of two up to `asked`, and for `asked` itself, without bias.

    Of all ways to draw k of the samples, the share of those with a correct one among them.
    """
    ks = sorted({*(1 << n for n in range(asked.bit_length())), asked} & set(range(1, asked + 1)))
    return tuple(
        PassAt(k, round(1 - math.comb(asked - correct, k) / math.comb(asked, k), 6)) for k in ks
    )


def density(sandbox: SandboxSettings) -> int:
    """How many sessions share memory and files; 0 is that there are no walls between any."""
    return int(getattr(sandbox, "sessions_per_container", 0))


def drawn(problem: CodeProblem, most: int | None, seed: int) -> CodeProblem:
    """The problem with no more tests than are to be run, drawn by the seed, in their order."""
    if most is None or len(problem.tests) <= most:
        return problem

    def draw(place: int) -> tuple[int, int]:
        return integer(1 << 64, "max_tests", seed, problem.id, place), place

    places = sorted(sorted(range(len(problem.tests)), key=draw)[:most])
    return dataclasses.replace(problem, tests=tuple(problem.tests[place] for place in places))


async def _tried(
    shared: SharedSandbox,
    checkers: Checkers,
    problem: CodeProblem,
    solution: CodeSolution,
    executing: Executing,
) -> TrialCounts | str:
    """What became of a program's tests, as soon as sessions are free; or why nobody knows."""
    is_alone = density(executing.sandbox) == 1
    trial = Trial(
        solution.id, problem, solution.code, executing.seed, executing.timeout_s, is_alone
    )
    is_checked = any(test.kind == CHECK for test in problem.tests)
    try:
        async with checkers.places(2 if is_checked else 1):
            return await trial.counts(shared.sandbox, checkers)
    except TrialLost as error:
        return str(error)
    except Squeezed:
        last = dataclasses.replace(trial, is_alone=True, is_last=True)
    try:
        async with checkers.places(shared.sandbox.sessions):
            return await last.counts(shared.sandbox, checkers)
    except TrialLost as error:
        return str(error)


def _parted(parts: Iterable[Any]) -> tuple[CodeProblem | None, list[CodeSolution]]:
    problem, solutions = None, []
    for part in parts:
        if isinstance(part, CodeProblem):
            problem = part
        else:
            solutions.append(part)
    return problem, sorted(solutions, key=_id)


def _id(solution: CodeSolution) -> str:
    return solution.id


def _size(problem: CodeProblem, solutions: Sequence[CodeSolution]) -> int:
    tests = sum(len(test.input) + len(test.output) for test in problem.tests)
    return tests + sum(len(one.output) + len(one.code) for one in solutions)
