"""What vLLM yields through `Ask`, beside its own `LLM.generate` and Beam's stock handler.

    python benchmarks/vllm.py
    python benchmarks/vllm.py --quick       a small model, 64 prompts: for trying, not judged
    python benchmarks/vllm.py --hidden 1024 --max_num_seqs 64       for a GPU

Three systems have the same model and the same flags of vLLM, and each is measured as one has it:

    LLM.generate           vLLM offline: all prompts at once, already rendered, no server
    Ask                    a pipeline: rendering, shuffle, answer store, `vllm serve`, reading
    VLLMChatModelHandler   Beam's own, in batches of its choosing, each of which waits for its last

All are warm before the clock starts: the engine is loaded and has answered a prompt. (A pipeline
finds Beam's server as the one before it has left it, by a `model_identifier`.) A pipeline's own
start counts. The systems take turns, in another order each round, with prompts that are new in each
round, while the other engines idle. Rates are tokens of answers a second, the median of the rounds;
a ratio is the median of the rounds' ratios, so that what else the machine does weighs less.

There are two mixes of lengths, one length and a heavy tail (Pareto). The model makes each answer as
long as its prompt says, so every system must count exactly the tokens that are planned. The program
fails where one does not, or where a ratio is below its bound.
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

Rates = dict[str, list[float]]  # by system, a figure each round
Bounds = dict[tuple[str, str], float]  # by mix and system

ROOT = Path(__file__).parents[1]
SYSTEMS = ("LLM.generate", "Ask", "VLLMChatModelHandler")
BOUNDS: Bounds = {("equal", "LLM.generate"): 0.9, ("heavy tail", "VLLMChatModelHandler"): 1.5}
CPU_ARGS = (
    "--enforce-eager --max-model-len 1024 --dtype float32 --gpu-memory-utilization 0.2 "
    "--no-enable-chunked-prefill --max-num-batched-tokens 4096"
)
EQUAL, SHORTEST, LONGEST, SHAPE = 32, 8, 256, 1.1
WORDS = ("each", "worker", "of", "a", "mill", "carries", "sacks", "up", "the", "stair")


def equal(number: int) -> list[int]:
    return [EQUAL] * number


def heavy_tail(number: int) -> list[int]:
    """Pareto's quantiles, cut at the longest: half are below 16, one in 45 is the longest."""
    shares = [(place + 0.5) / number for place in range(number)]
    lengths = [min(LONGEST, int(SHORTEST * (1 - share) ** (-1 / SHAPE))) for share in shares]
    return random.Random(0).sample(lengths, number)


MIXES = {"equal": equal, "heavy tail": heavy_tail}


def prompt(run: str, place: int, length: int) -> str:
    """A prompt of ten words or so that begins as no other, and whose answer is so long."""
    words = random.Random(f"{run} {place}").choices(WORDS, k=8)
    return f"{place} {run} {' '.join(words)} <{length}>"


class Worker:
    """A system in its process.

    Args:
        system: its name.
        model: a folder.
        args: of vLLM.
        folder: for all that it writes.
    """

    def __init__(self, system: str, model: Path, args: str, folder: Path) -> None:
        self._system = system
        self._folder = folder
        folder.mkdir()
        self._log = folder / "log"
        command = ["-m", "benchmarks.vllm_systems", system, str(model), args, str(LONGEST)]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env={
                    "HF_HUB_OFFLINE": "1",
                    "VLLM_CPU_KVCACHE_SPACE": "1",
                    **os.environ,
                    "PYTHONPATH": path,
                    "TMPDIR": str(folder),
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                bufsize=1,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Until its engine is warm."""
        self._said()

    def run(self, prompts: list[str]) -> tuple[int, float]:
        """(tokens, seconds) of the answers."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(prompts) + "\n")
        tokens, seconds = json.loads(self._said())
        return tokens, seconds

    def end(self) -> None:
        """End it and what it started; ours ends its own engine, Beam leaves its own behind."""
        assert self._process.stdin
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _said(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._system} ended:\n{self._log.read_text()[-4000:]}")
        return line


@contextlib.contextmanager
def workers(model: Path, args: str, folder: Path) -> Iterator[dict[str, Worker]]:
    """All systems, each with its engine warm."""
    started: dict[str, Worker] = {}
    try:
        for place, system in enumerate(SYSTEMS):
            print(f"starting {system}", flush=True)
            started[system] = Worker(system, model, args, folder / str(place))
            started[system].wait()
        yield started
    finally:
        for worker in started.values():
            worker.end()


def make(model: Path, hidden: int, layers: int) -> int:
    """Save the model that counts down; its number of parameters."""
    program = [sys.executable, str(Path(__file__).with_name("counting_model.py"))]
    sizes = map(str, (hidden, layers, LONGEST))
    said = subprocess.run([*program, model, *sizes], capture_output=True, text=True)
    if said.returncode:
        raise SystemExit(said.stderr)
    return int(said.stdout)


def measured(systems: dict[str, Worker], number: int, rounds: int) -> dict[str, Rates]:
    """Tokens a second, by mix."""
    rates: dict[str, Rates] = {mix: {system: [] for system in SYSTEMS} for mix in MIXES}
    for turn, (mix, lengths_of) in itertools.product(range(rounds), MIXES.items()):
        lengths = lengths_of(number)
        prompts = [prompt(f"{mix} {turn}", *numbered) for numbered in enumerate(lengths)]
        for place in range(len(SYSTEMS)):
            system = SYSTEMS[(place + turn) % len(SYSTEMS)]
            tokens, seconds = systems[system].run(prompts)
            if tokens != sum(lengths):
                raise SystemExit(f"{system}: {tokens} tokens, not {sum(lengths)}")
            rates[mix][system].append(tokens / seconds)
            print(f"round {turn + 1}, {mix}: {system}, {seconds:.0f} s", flush=True)
    return rates


def is_met(mix: str, rates: Rates, bounds: Bounds) -> bool:
    """Print a mix's figures; whether they are within the bounds."""
    met = True
    for system in SYSTEMS:
        ratio, verdict = "", ""
        if system != "Ask":
            pairs = zip(rates["Ask"], rates[system], strict=True)
            measured = statistics.median(ours / theirs for ours, theirs in pairs)
            bound = bounds.get((mix, system), 0.0)
            ratio = f"{measured:.2f}"
            if bound:
                verdict = f"at least {bound}" if measured >= bound else f"BELOW {bound}"
            met &= measured >= bound
        rounds = " ".join(f"{rate:.0f}" for rate in rates[system])
        median = statistics.median(rates[system])
        print(f"{mix:12} {system:22} {median:10.0f} {ratio:>12} {verdict:14} {rounds}", flush=True)
    return met


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=768, help="the model's width")
    parser.add_argument("--layers", type=int, default=9)
    parser.add_argument("--max_num_seqs", type=int, default=16, help="of all systems")
    parser.add_argument(
        "--vllm_args",
        default="" if shutil.which("nvidia-smi") else CPU_ARGS,
        help="further flags of all systems; on a GPU none, else what vLLM needs on a CPU",
    )
    parser.add_argument("--quick", action="store_true", help="a small model, one round, not judged")
    flags = parser.parse_args()
    if flags.quick:
        flags.prompts, flags.rounds, flags.hidden, flags.layers = 64, 1, 256, 2
    args = f"{flags.vllm_args} --max-num-seqs {flags.max_num_seqs}".strip()
    with tempfile.TemporaryDirectory(prefix="vllm-", ignore_cleanup_errors=True) as made:
        model = Path(made, "model")
        parameters = make(model, flags.hidden, flags.layers)
        print(f"{parameters / 1e6:.0f} million parameters; vllm serve {args}", flush=True)
        with workers(model, args, Path(made)) as systems:
            rates = measured(systems, flags.prompts, flags.rounds)
    print(f"{'lengths':12} {'system':22} {'tokens/s':>10} {'Ask is so':>12} {'bound':14} rounds")
    met = [is_met(mix, rates[mix], {} if flags.quick else BOUNDS) for mix in MIXES]
    sys.exit(0 if all(met) else 1)


if __name__ == "__main__":
    main()
