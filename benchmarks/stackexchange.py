"""Dumps of Stack Exchange: memory by a dump's size, and posts a second by one and two workers.

    python benchmarks/stackexchange.py                  100,000 posts of about 1.5 KB, and less
    python benchmarks/stackexchange.py --posts 10000    fewer

Each case reads a generated dump in a process of its own. In process, questions and answers are
joined into threads as well, and memory should hardly grow with the dump. With workers, which are
further processes, lines, XML and HTML are read and nothing is joined, and the time is from the
beginning of the first to the end of the last, without their start. Two should be nearly twice as
fast as one. On a busy machine look at the processor time, of the one that took the most.
"""

import argparse
import html
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_sdg.sources.dumps import DumpSource, ReadDumps, ReadPosts
from transforms.forums.options import PostOptions
from transforms.forums.posts import Budget

ANSWERS = 2  # of each question
WORDS = ("let", "the", "map", "be", "such", "that", "for", "every", "point", "compact", "set", "we")
FORMULA = r"$$\sum_{k=1}^{n} k^{%d} &lt; \int_0^{n+1} x^{%d}\,dx \quad\text{for } n &gt; %d.$$"


def body(rng: random.Random) -> str:
    """A post of three paragraphs with formulas, a list and a link."""
    texts = [" ".join(rng.choices(WORDS, k=60)) for _ in range(3)]
    number = rng.randrange(10**9)
    formula = FORMULA % (number, number, number)
    items = "".join(f"<li>$a_{{{rng.randrange(999)}}} &amp;= b$</li>" for _ in range(3))
    link = f'<p>See <a href="/q/{number}">this one</a>, <em>or not</em>.</p>'
    return "\n\n".join([*(f"<p>{text} {formula}</p>" for text in texts), f"<ul>{items}</ul>", link])


def write_dump(path: Path, posts: int) -> None:
    """Questions, each followed after a while by its answers, as in a real dump."""
    rng = random.Random(posts)
    bodies = [html.escape(body(rng)).replace("\n", "&#xA;") for _ in range(500)]
    with path.open("w") as file:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<posts>\n')
        for number in range(1, posts + 1):
            question = number - (number - 1) % (ANSWERS + 1)
            kind = '"1" Title="Is it?"' if number == question else f'"2" ParentId="{question}"'
            file.write(
                f'  <row Id="{number}" PostTypeId={kind} CreationDate="2015-01-27T20:09:32.720" '
                f'Score="{rng.randrange(9)}" OwnerUserId="{number}" '
                f'Body="&lt;p&gt;{number}&lt;/p&gt;{rng.choice(bodies)}" />\n'
            )
        file.write("</posts>\n")


def expect(number: int, wanted: int) -> None:
    assert number == wanted, f"{number}, not {wanted}"


class Clocked(beam.DoFn):
    """Passes rows on and leaves (began, ended, processor seconds) of this worker in a folder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def start_bundle(self) -> None:
        self._began, self._used = time.time(), time.process_time()

    def process(self, row: object) -> Iterator[object]:
        yield row

    def finish_bundle(self) -> None:
        used = time.process_time() - self._used
        with Path(self._folder, f"clock-{os.getpid()}").open("a") as file:
            file.write(f"{self._began} {time.time()} {used}\n")


def clocked(folder: str) -> tuple[float, float]:
    """(seconds from the first beginning to the last end, most processor seconds of a worker)."""
    begins, ends, used = [], [], []
    for path in Path(folder).glob("clock-*"):
        clocks = [list(map(float, line.split())) for line in path.read_text().splitlines()]
        begins += [clock[0] for clock in clocks]
        ends += [clock[1] for clock in clocks]
        used.append(sum(clock[2] for clock in clocks))
        path.unlink()
    return max(ends) - min(begins), max(used)


def run(folder: str, posts: int, workers: int) -> None:
    """Join in this process, or read with workers of it, and print seconds and peak bytes.

    Of workers, in place of the bytes, the most processor seconds that one has used.
    """
    flags = ["--runner=FnApiRunner", f"--temp_location={folder}/shuffles"]
    if workers:
        flags += ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
    options, budget = PostOptions(), Budget()
    files = tuple(DumpSource(pattern=f"{folder}/{posts}/Posts.xml", site="math").files(options))
    began = time.perf_counter()
    with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
        if workers:
            read = pipeline | ReadPosts("threads", files, options, budget)
            found = read.posts | beam.ParDo(Clocked(folder))
            wanted = posts
        else:
            found = (pipeline | ReadDumps("threads", files, options, budget)).rows
            wanted = -(-posts // (ANSWERS + 1))
        _ = found | beam.combiners.Count.Globally() | beam.Map(expect, wanted)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(*(clocked(folder) if workers else (seconds, peak)))


def measured(folder: str, posts: int, workers: int) -> tuple[float, float]:
    """What `run` prints."""
    path = Path(folder, str(posts), "Posts.xml")
    if not path.exists():
        path.parent.mkdir()
        write_dump(path, posts)
    command = [sys.executable, __file__, "--case", folder, str(posts), str(workers)]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    done = subprocess.run(command, text=True, check=True, **quiet)
    seconds, other = map(float, done.stdout.split())
    return seconds, other


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--posts", type=int, default=100_000)
    parser.add_argument("--case", nargs=3)
    flags = parser.parse_args()
    if flags.case:
        folder, posts, workers = flags.case
        run(folder, int(posts), int(workers))
        return
    with tempfile.TemporaryDirectory() as folder:
        print("joined, in this process")
        for posts in (flags.posts // 4, flags.posts // 2, flags.posts):
            seconds, peak = measured(folder, posts, 0)
            size = Path(folder, str(posts), "Posts.xml").stat().st_size
            print(
                f"{posts:9,} posts, {size / 1e6:4.0f} MB: {seconds:6.1f} s, "
                f"{posts / seconds:6,.0f} posts/s, peak {peak / 2**20:4.0f} MiB",
                flush=True,
            )
        print("read, by workers")
        took = {}
        for workers in (1, 2):
            seconds, used = took[workers] = measured(folder, flags.posts, workers)
            print(
                f"{workers} at once: {seconds:6.1f} s, {flags.posts / seconds:6,.0f} posts/s; "
                f"processor time {used:5.1f} s, {flags.posts / used:6,.0f} posts/s",
                flush=True,
            )
        ratios = [one / two for one, two in zip(took[1], took[2], strict=True)]
        print(f"two are {ratios[0]:.2f} times as fast, {ratios[1]:.2f} by processor time")


if __name__ == "__main__":
    main()
