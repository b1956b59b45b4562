"""Dumps of Stack Exchange: posts a second by one and two processes, and memory by a dump's size.

    python benchmarks/stackexchange.py             up to 400,000 posts, of about 1.3 KB each
    python benchmarks/stackexchange.py --quick     a tenth of it

Each case reads a generated dump in a process of its own: lines, XML and HTML (`read`), and joins
questions and answers into threads as well (`joined`). Peaks are of the process, or of the largest
of its workers. Two workers should read nearly twice as fast as one, and memory should not grow with
the dump.
"""

import argparse
import html
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_sdg.sources.dumps import DumpSource, ReadDumps, ReadPosts
from transforms.forums.options import PostOptions
from transforms.forums.posts import Budget

SIZES = (100_000, 400_000)
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


def run(folder: str, posts: int, workers: int, joined: bool) -> None:
    """Read in this process, or with workers of it, and print seconds and peak bytes."""
    flags = ["--runner=FnApiRunner", f"--temp_location={folder}/shuffles"]
    if workers > 1:
        flags += ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
    options, budget = PostOptions(), Budget()
    files = tuple(DumpSource(pattern=f"{folder}/{posts}/Posts.xml", site="math").files(options))
    began = time.perf_counter()
    with beam.Pipeline(options=PipelineOptions(flags)) as pipeline:
        if joined:
            rows = pipeline | ReadDumps("threads", files, options, budget)
            found, wanted = rows.rows, -(-posts // (ANSWERS + 1))
        else:
            found = (pipeline | ReadPosts("threads", files, options, budget)).posts
            wanted = posts
        _ = found | beam.combiners.Count.Globally() | beam.Map(expect, wanted)
    seconds = time.perf_counter() - began
    who = resource.RUSAGE_CHILDREN if workers > 1 else resource.RUSAGE_SELF
    print(seconds, resource.getrusage(who).ru_maxrss * 1024)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--case", nargs=4)
    flags = parser.parse_args()
    if flags.case:
        folder, posts, workers, joined = flags.case
        run(folder, int(posts), int(workers), joined == "joined")
        return
    sizes = [size // 10 if flags.quick else size for size in SIZES]
    print(f"{'posts':>8} {'MB':>6} {'':7} {'workers':>7} {'seconds':>8} {'posts/s':>8} {'MiB':>6}")
    with tempfile.TemporaryDirectory() as folder:
        for posts in sizes:
            path = Path(folder, str(posts), "Posts.xml")
            path.parent.mkdir()
            write_dump(path, posts)
            for what, workers in (("read", 1), ("read", 2), ("joined", 1), ("joined", 2)):
                command = [sys.executable, __file__, "--case", folder, posts, workers, what]
                done = subprocess.run(
                    [*map(str, command)], stdout=subprocess.PIPE, text=True, check=True
                )
                seconds, peak = map(float, done.stdout.split())
                size = path.stat().st_size / 1e6
                print(
                    f"{posts:8,} {size:6.0f} {what:7} {workers:7} {seconds:8.1f} "
                    f"{posts / seconds:8.0f} {peak / 2**20:6.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
