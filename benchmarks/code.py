"""What verdicts cost: HumanEval's canonical solutions against their tests, verdicts a second.

    python benchmarks/code.py HumanEval.jsonl.gz [number of problems, 164]

Beside each rate is that of bare interpreters in the same minute: each program with its check in a
process of its own, as many at once as cores, no walls and no limits. Machines differ and are busy;
the ratio is what can be compared. With a container each, fewer problems are taken.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

from beam_sdg.sources.formats import FORMATS
from beam_sdg.sources.problems import Place, problem_of
from beam_sdg.sources.rows import rows_of
from sandbox import DockerSandbox
from transforms.coding.execute import Executing, executed
from transforms.coding.questions import code_problem
from transforms.coding.records import CodeProblem, CodeSolution
from transforms.records import Problem, Solution

MODES = {
    "dense": (DockerSandbox(sessions_per_container=32, max_sessions=64), 1),
    "a container each": (DockerSandbox(max_sessions=8), 8),
}
Program = tuple[CodeProblem, CodeSolution]


def programs(path: str, most: int) -> list[Program]:
    """The problems, each with its canonical solution."""
    found = []
    for number, (position, row) in enumerate(rows_of(path)):
        problem = problem_of(row, FORMATS["humaneval"], Place("humaneval", path, position), "read")
        assert isinstance(problem, Problem)
        made = code_problem(problem)
        assert isinstance(made, CodeProblem)
        solution = Solution(f"{number}-0", made.problem, "", None, ())
        code = row["prompt"] + row["canonical_solution"]
        found.append((made, CodeSolution(solution.id, solution, "python", code, "")))
    return found[:most]


async def _bare(some: list[Program]) -> None:
    turns = asyncio.Semaphore(os.cpu_count() or 1)

    async def one(problem: CodeProblem, solution: CodeSolution) -> None:
        [test] = problem.tests
        text = "\n\n".join((solution.code, test.input, f"check({problem.entry_point})"))
        async with turns:
            process = await asyncio.create_subprocess_exec(sys.executable, "-I", "-c", text)
            assert await process.wait() == 0

    await asyncio.gather(*(one(*program) for program in some))


def bare_a_second(some: list[Program]) -> float:
    before = time.perf_counter()
    asyncio.run(_bare(some))
    return len(some) / (time.perf_counter() - before)


def measure(name: str, settings: DockerSandbox, some: list[Program]) -> None:
    bare = bare_a_second(some)
    before, used = time.perf_counter(), time.process_time()
    window = [(problem, [solution]) for problem, solution in some]
    found = executed(window, "execute", Executing(settings))
    rate = len(some) / (time.perf_counter() - before)
    cpu_ms = (time.process_time() - used) / len(some) * 1000
    correct = sum(getattr(one, "verdict", "") == "correct" for one in found)
    print(
        f"{name:18} {len(some):4} programs, {correct} correct  {rate:6.1f} a second  "
        f"bare {bare:6.1f}  ratio {rate / bare:.2f}  our CPU {cpu_ms:.1f} ms",
        flush=True,
    )


def main() -> None:
    every = programs(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 164)
    if not every:
        raise SystemExit(f"{Path(sys.argv[1])} has no problems")
    for name, (settings, share) in MODES.items():
        measure(name, settings, every[: max(1, len(every) // share)])


if __name__ == "__main__":
    main()
