r"""What travels where programs are made: problems with their tests, and programs with verdicts.

A problem, as a sample:

    CodeProblem(id="8c1f…", problem=Problem(id="8c1f…", text="Numbers are given. Print…", …),
                tests=(CodeTest("stdin", "3\n1 2 3\n", "6\n"),), entry_point="", preamble="")
"""

import dataclasses

from transforms.records import Problem, Solution


@dataclasses.dataclass(frozen=True, slots=True)
class CodeTest:
    """One test of a program.

    Of a `stdin` test, `input` is what the program reads and `output` what it must print. Of a
    `call`, they are JSON: the list of arguments of the problem's function, and what it must return.
    Of a `check`, `input` is Python that defines `check(candidate)`, which raises where the function
    is wrong. A test that the question shows to whoever answers it `is_shown`.
    """

    kind: str
    input: str
    output: str = ""
    is_shown: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class CodeProblem:
    """A question, and what programs that answer it are tested by.

    `problem` has the question as models see it; its `extra` holds the short ones of the row's other
    columns, and `starter_code` and `entry_point` if there are any. `entry_point` is the function
    that is called, "" where programs read and print; `preamble` is Python that stands before the
    program and the check.
    """

    id: str
    problem: Problem
    tests: tuple[CodeTest, ...] = ()
    entry_point: str = ""
    preamble: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class TrialCounts:
    """What became of a program's tests, of which there are `tests`.

    It `passed` some, of which the question shows so many (`shown`), and `failed` others by what it
    said; `timeouts` ran out of time, in `errors` it raised, died or said too much, and `not_run`
    were given up after too many timeouts and deaths. `unjudged` are those that cannot be judged,
    whatever the program. `first_fault` is for people: the first test that was not passed, and why.
    """

    tests: int
    passed: int
    failed: int
    timeouts: int
    errors: int
    not_run: int
    unjudged: int = 0
    shown: int = 0
    first_fault: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class PassAt:
    """How likely it is that one of `k` programs for a problem, drawn at random, is correct."""

    k: int
    rate: float


@dataclasses.dataclass(frozen=True, slots=True)
class CodeSolution:
    """A solution, the program in it, and what tests say of that.

    `output` is the whole answer, its reasoning between think tags. `verdict` is `correct`, where
    all tests were passed that can be judged, or `incorrect`; `untested`, where none can be, or none
    that the question does not show; and "" where nothing was executed. `pass_rate` is the share of
    tests that were passed; `solved` the share of the problem's samples that are correct, and
    `pass_at` what follows from it.
    """

    id: str
    solution: Solution
    language: str
    code: str
    output: str
    verdict: str = ""
    counts: TrialCounts | None = None
    pass_rate: float | None = None
    solved: float | None = None
    pass_at: tuple[PassAt, ...] = ()
