"""Ballots a second through `CombinePerKey(MajorityVote())`, and what one comparison costs.

    python benchmarks/vote.py                       100,000 and 1 million ballots
    python benchmarks/vote.py 1000000 10000000      other sizes

Sixteen ballots a problem, as in Nemotron-Math-v2, in several spellings of a number, and for one
problem in `FORMULAS_EVERY` of a formula, whose spellings math-verify compares. Each size is a
process of its own. The ratio is that of the time per ballot to the size before: 1.0 is linear.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from transforms.equality import same_answer
from transforms.majority import MajorityVote
from transforms.records import Majority
from transforms.seeding import integer
from transforms.symbolic import MathVerify

BALLOTS = 16
CHUNK = 1000
FORMULAS_EVERY = 10_000
NUMBERS = ("{}", "{}.0", "{},000", r"\frac{{{}}}{{7}}", "x={}", "{} cm")
FORMULAS = ("{}+x", "x+{}", r"\sqrt{{{}}}")
COMPARED = 300


def ballots(chunk: int) -> Iterator[tuple[int, str | None]]:
    """The ballots of `CHUNK` problems: half of them agree, in some spelling."""
    for problem in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        spellings = NUMBERS if problem % FORMULAS_EVERY else FORMULAS
        for ballot in range(BALLOTS):
            draw = integer(1 << 16, problem, ballot)
            value = problem % 900 + 10 + (0 if draw & 1 else draw >> 12)
            spelling = spellings[(draw >> 1) % len(spellings)]
            yield problem, spelling.format(value) if draw % 50 else None


def expect(number: int, wanted: int) -> None:
    assert number == wanted, f"{number} ballots were counted, not {wanted}"


def counted(problem: int, vote: Majority) -> int:
    return vote.ballots


def run(size: int) -> None:
    """Vote in this process; print seconds and peak bytes."""
    began = time.perf_counter()
    chunks = max(1, size // (CHUNK * BALLOTS))
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        _ = (
            pipeline
            | beam.Create(range(chunks))
            | beam.FlatMap(ballots)
            | beam.CombinePerKey(MajorityVote())
            | beam.MapTuple(counted)
            | beam.CombineGlobally(sum)
            | beam.Map(expect, chunks * CHUNK * BALLOTS)
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(time.perf_counter() - began, peak)


def comparisons() -> None:
    """How many pairs a second each way of comparing decides, and how long the child takes."""
    began = time.perf_counter()
    verifier = MathVerify()
    verifier.equal("x", "y")
    print(f"math-verify starts in {time.perf_counter() - began:.2f} s")
    cases = {
        "plain number, not seen before": ("{}", "{}.0", 20_000),
        "number in TeX with a unit, not seen before": (
            r"{}\text{{ cm}}",
            r"\frac{{{}}}{{7}}",
            20_000,
        ),
        "words, not seen before": ("a number: {}", "another {}", 20_000),
        "formula, equal": ("x+{}", "{}+x", COMPARED),
        "formula, different": (r"\sqrt{{{}}}+1", "x+{}", COMPARED),
    }
    for name, (left, right, pairs) in cases.items():
        began = time.perf_counter()
        for number in range(pairs):
            same_answer(left.format(number), right.format(number), verifier.equal)
        print(f"{pairs / (time.perf_counter() - began):12,.0f} /s  {name}")
    for name, a, b in (
        ("number, seen before", "0.5", "1/2"),
        ("formula, seen before", "x+1", "1+x"),
    ):
        began = time.perf_counter()
        for _ in range(100_000):
            same_answer(a, b, verifier.equal)
        print(f"{100_000 / (time.perf_counter() - began):12,.0f} /s  {name}")
    verifier.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--case", type=int)
    flags = parser.parse_args()
    if flags.case:
        run(flags.case)
        return
    comparisons()
    print(f"{'ballots':>11} {'seconds':>8} {'ballots/s':>10} {'ratio':>6} {'peak GiB':>9}")
    before = None
    for size in flags.sizes:
        command = [sys.executable, __file__, "--case", str(size)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        seconds, peak = map(float, done.stdout.split())
        each = seconds / size
        ratio = f"{each / before:6.2f}" if before else f"{'':6}"
        print(
            f"{size:11,} {seconds:8.1f} {size / seconds:10,.0f} {ratio} {peak / 2**30:9.2f}",
            flush=True,
        )
        before = each


if __name__ == "__main__":
    main()
