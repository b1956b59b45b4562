"""Rows of 10 KB from solutions to data files: how fast, and in how much memory.

    python benchmarks/export.py                      100,000 rows and a million
    python benchmarks/export.py 20000 200000         other sizes

The stages of a recipe: traces, made on the fly of small records, are filtered, deduplicated and
rendered, put into two buckets by length, exported, and published, as Parquet and then as JSONL. A
row has its text three times, as generation, output and message. Each size is a process of its own,
whose peak is that of the product; it takes about 40 KB of disk a row, in a folder that goes with
it. The ratios are those of the time per row and of the peak to the size before: 1.0 is linear, and
memory that does not grow.
"""

import argparse
import dataclasses
import functools
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_sdg.formats import FORMATS
from beam_sdg.options import RunSettings
from beam_sdg.publish import publish
from beam_sdg.recipes.problems import SourcesConfig
from beam_sdg.recipes.sft import same
from beam_sdg.runs import Run
from beam_sdg.stages import Stage
from transforms.export import ExportRows
from transforms.outcome import SourceOutcome
from transforms.records import Reject, SftExample, Trace
from transforms.seeding import digest, integer
from transforms.sft.lengths import BucketByLength
from transforms.sft.options import SftFilters
from transforms.sft.prepare import PrepareForSft

ROW_BYTES = 10_000
CHUNK = 1000
TEXT_BYTES = ROW_BYTES // 3
FILTERS = SftFilters(drop_multi_boxed=True, trim_solutions=True, max_solution_length=10**6)
LONG = 4 * TEXT_BYTES // 3  # of every tenth


@dataclasses.dataclass(frozen=True, slots=True)
class Number:
    id: str
    number: int


@dataclasses.dataclass(eq=False)
class Numbers(beam.PTransform):
    """A source of `count` small records."""

    count: int

    def expand(self, begin: beam.pvalue.PBegin) -> SourceOutcome:
        rows = (
            begin
            | "Chunks" >> beam.Create(range(self.count // CHUNK))
            | "Numbers" >> beam.FlatMap(numbers)
        )
        none = begin | "None" >> beam.Create([]).with_output_types(Reject)
        said = [("read", self.count), ("usable", self.count)]
        return SourceOutcome(rows, none, begin | "Said" >> beam.Create(said))


def numbers(chunk: int) -> Iterator[Number]:
    for number in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        yield Number(digest("number", number), number)


@functools.cache
def book() -> bytes:
    """A megabyte of letters, digits and signs, six bits in each: little is saved by packing it."""
    draws = random.Random(0).randbytes(1 << 20)
    signs = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 \n"
    return draws.translate(bytes(signs[byte % 64] for byte in range(256)))


def trace_of(record: Number) -> Trace:
    """Passages of the book: no two rows alike, and none made of long repeats."""
    length = TEXT_BYTES if record.number % 10 else LONG
    passages = range(length // 250)
    starts = [integer(len(book()) - 250, record.number, passage) for passage in passages]
    text = b"".join(book()[start : start + 250] for start in starts).decode()
    return Trace(
        id=record.id,
        problem_id=record.id,
        problem=text[:500],
        generation=f"{text}\n\\boxed{{{record.number}}}",
        reasoning_content="",
        expected_answer=str(record.number),
        predicted_answer=str(record.number),
        is_correct=True,
        finish_reason="stop",
    )


def run(size: int, folder: str) -> None:
    """Make and publish in this process; print seconds of stage and formats, and peak bytes."""
    stages = (
        Stage("numbers", Numbers(size), Number, {"count": size}),
        Stage("prepare", PrepareForSft("prepare", trace_of, FILTERS), SftExample, {}, ("numbers",)),
        Stage("bucket", BucketByLength((LONG,)), SftExample, {}, ("prepare",)),
        Stage("export", ExportRows(same, SftExample), SftExample, {}, ("bucket",)),
    )
    shards = RunSettings().shards_for(size, SourcesConfig.rows_per_shard)
    options = PipelineOptions(["--runner=FnApiRunner"])
    made = Run(stages, f"{folder}/work", 0, shards, options)
    made.execute(only=["numbers"])
    began = time.perf_counter()
    published = made.execute()
    seconds = [time.perf_counter() - began]
    for format in FORMATS:
        began = time.perf_counter()
        files = publish(made, published, f"{folder}/{format}", format)
        seconds.append(time.perf_counter() - began)
        rows = sum(file.rows for file in files)
        assert rows == size, f"{rows} rows were published, not {size}"
        shutil.rmtree(f"{folder}/{format}")
    print(*seconds, peak_bytes())


def peak_bytes() -> int:
    """Of this process, and of the largest that it has started."""
    own, started = (
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return (own + started) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", type=int, nargs="*", default=[100_000, 1_000_000])
    flags = parser.parse_args()
    print(
        f"{'rows':>9} {'format':>8} {'stage s':>8} {'publish s':>9} {'rows/s':>7} {'ratio':>6} "
        f"{'peak GiB':>9} {'ratio':>6}"
    )
    before: dict[str, float] = {}
    for size in flags.sizes:
        with tempfile.TemporaryDirectory() as folder:
            call = (
                f"import export; export.run({size}, {folder!r})"  # records of __main__ travel badly
            )
            command = [sys.executable, "-c", call]
            place = Path(__file__).parent
            done = subprocess.run(command, cwd=place, stdout=subprocess.PIPE, text=True, check=True)
        made, *publications, peak = map(float, done.stdout.split())
        for format, published in zip(FORMATS, publications, strict=True):
            each = (made + published) / size
            print(
                f"{size:9,} {format:>8} {made:8.1f} {published:9.1f} {1 / each:7,.0f} "
                f"{ratio(each, before.get(format))} {peak / 2**30:9.2f} "
                f"{ratio(peak, before.get('peak'))}",
                flush=True,
            )
            before[format] = each
        before["peak"] = peak


def ratio(value: float, before: float | None) -> str:
    return f"{value / before:6.2f}" if before else f"{'':6}"


if __name__ == "__main__":
    main()
