"""Cross-join sampling: time and peak memory as the pairs and the product grow.

    python benchmarks/cross_join.py            200,000 × 200,000 rows of 1 KB, a million pairs
    python benchmarks/cross_join.py --quick    a twentieth of it

Each case is a process of its own, so that its peak is its own. Time and memory should grow with the
pairs at one size of the sides, and hardly at all with the product at one number of rows and pairs.
"""

import argparse
import functools
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from transforms.cross_join import SampleCrossJoin
from transforms.records import Problem
from transforms.seeding import digest, integer

ROW_BYTES = 1024
CHUNK = 1000
SYLLABLES = [a + b for a in "bcdfghklmnprstvw" for b in "aeiou"]


@functools.cache
def book() -> str:
    """A megabyte of words, of which rows are passages: cheap to make, and no two alike."""
    syllables = random.Random(0).choices(SYLLABLES, k=1 << 19)
    return " ".join("".join(syllables[i : i + 3]) for i in range(0, len(syllables), 3))


def problems(chunk: int, side: str) -> Iterator[Problem]:
    """`CHUNK` problems of 1 KB each, the same in every run."""
    for number in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        start = integer(len(book()) - ROW_BYTES, side, number)
        text = f"{number} {book()[start : start + ROW_BYTES]}"[:ROW_BYTES]
        yield Problem(digest(side, number), text, "benchmark", str(number), "", "{}")


def expect(number: int, wanted: int) -> None:
    assert number == wanted, f"{number} pairs, not {wanted}"


def run(size_a: int, size_b: int, pairs: int) -> None:
    """Join in this process and print seconds and peak bytes."""
    began = time.perf_counter()
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        sides = tuple(
            pipeline
            | f"Chunks_{side}" >> beam.Create(range(size // CHUNK))
            | f"Problems_{side}" >> beam.FlatMap(problems, side)
            for side, size in (("a", size_a), ("b", size_b))
        )
        drawn = sides | SampleCrossJoin(pairs, seed=1)
        _ = drawn | beam.combiners.Count.Globally() | beam.Map(expect, min(pairs, size_a * size_b))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(time.perf_counter() - began, peak)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--case", type=int, nargs=3)
    flags = parser.parse_args()
    if flags.case:
        run(*flags.case)
        return
    rows, pairs = (10_000, 50_000) if flags.quick else (200_000, 1_000_000)
    print(
        f"{'rows A':>9} {'rows B':>9} {'pairs':>10} {'seconds':>8} {'peak GiB':>9} {'pairs/s':>8}"
    )
    for size_a, size_b, wanted in (
        (rows, rows, pairs // 100),
        (rows, rows, pairs // 4),
        (rows, rows, pairs // 2),
        (rows, rows, pairs),
        (rows * 2 - CHUNK, CHUNK, pairs // 4),
    ):
        command = [sys.executable, __file__, "--case", str(size_a), str(size_b), str(wanted)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        seconds, peak = map(float, done.stdout.split())
        print(
            f"{size_a:9,} {size_b:9,} {wanted:10,} {seconds:8.1f} {peak / 2**30:9.2f} "
            f"{wanted / seconds:8.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
