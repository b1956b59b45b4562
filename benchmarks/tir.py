"""What the tool loop costs our process, and whether one sample holds up another.

    python benchmarks/tir.py

A scripted model takes a second for each turn; a third of the solutions run 3 cells, a third 30 and
a third 100, all at once. Then the same again with one among them whose first cell sleeps until its
time is up. CPU is that of this process alone: the loop, the store, and our end of the sandbox.
"""

import dataclasses
import tempfile
import time
from pathlib import Path

from sandbox import DockerSandbox
from transforms.ask import Ask
from transforms.engines.engine import Sampling
from transforms.engines.handler import AskHandler
from transforms.engines.rehearsal import Rehearsal
from transforms.reading import Text
from transforms.records import Answered, Problem, ToolUse
from transforms.seeding import digest
from transforms.tir.python_tool import PythonTool

PROMPTS = str(Path(__file__).parent / "tir_prompts")  # `prompts` would hide the package
LENGTHS = (3, 30, 100)
LATENCY_S = 1.0
MODES = {
    "dense": (256, DockerSandbox(sessions_per_container=64, max_sessions=256)),
    "a container each": (64, DockerSandbox(max_sessions=64)),
}


@dataclasses.dataclass(frozen=True)
class Done:
    id: str
    use: ToolUse
    at: float


def done(answered: Answered) -> Done:
    return Done(answered.id, answered.tool_use, time.perf_counter())


def executions(problem: Problem) -> dict[str, object]:
    return {"executions": problem.text}


def problem(number: int, wanted: int) -> Problem:
    return Problem(digest(number), str(wanted), "", "", "", "")


def run(
    at_once: int, sandbox: DockerSandbox, also: tuple[int, ...] = ()
) -> tuple[list, float, float]:
    """The solutions, and seconds and CPU seconds that they took."""
    wanted = [LENGTHS[number % len(LENGTHS)] for number in range(at_once - len(also))]
    problems = [problem(number, each) for number, each in enumerate((*wanted, *also))]
    with tempfile.TemporaryDirectory() as store:
        ask = Ask(
            name="solution",
            prompt="scripted",
            variables=executions,
            reader=Text(),
            keep=done,
            engine=Rehearsal(latency_s=LATENCY_S, in_flight=at_once, prompts=(PROMPTS,)),
            sampling=Sampling(max_tokens=200_000),
            store=store,
            seed=1,
            prompt_folders=(PROMPTS,),
            python=PythonTool(sandbox, max_executions=None),
        )
        handler = AskHandler(ask.engine, (ask.asking(),), at_once)
        client = handler.load_model()
        before, used = time.perf_counter(), time.process_time()
        steps = handler.run_inference(problems, client)
        took, used = time.perf_counter() - before, time.process_time() - used
    solved = [step.item for (step,) in steps]
    for each, use in zip((*wanted, *also), (one.use for one in solved), strict=True):
        assert use.executions == max(each, 1), use
        assert use.errors == 0 and use.timeouts == (each < 0), use
    return (
        [
            (each, one.at - before, one.use)
            for each, one in zip((*wanted, *also), solved, strict=True)
        ],
        took,
        used,
    )


def main() -> None:
    for name, (at_once, sandbox) in MODES.items():
        for also in ((), (-1,)):
            solved, took, used = run(at_once, sandbox, also)
            rounds = sum(use.rounds for _, _, use in solved)
            ends = {
                length: max(at for each, at, _ in solved if each == length) for length in LENGTHS
            }
            slowest = ", ".join(f"{n} cells in {ends[n]:.0f} s" for n in LENGTHS)
            ideal = (max(LENGTHS) + 1) * LATENCY_S
            print(
                f"{name}, {at_once} at once{', one asleep' if also else ''}: {rounds:,} rounds, "
                f"{used / rounds * 1000:.2f} ms of our CPU a round, {took / ideal:.2f} of the "
                f"model's own {ideal:.0f} s; the last of {slowest}",
                flush=True,
            )


if __name__ == "__main__":
    main()
