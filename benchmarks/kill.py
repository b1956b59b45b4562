"""What SIGKILL costs: a run that is killed ten times, beside one that nobody disturbs.

    python benchmarks/kill.py                                   3,000 requests, ten kills
    python benchmarks/kill.py --records 40 evals roll manifest  fewer of both

InfiniByte asks a server of 50 ms, each of its four asks a model of its own, so that one follows the
other. The kills are spread over the asks (at a share of their answers), over a segment's roll (the
second slice of an ask begins, and with it new segments) and over publication (files are made aside;
they are in place, and the manifest is not). After each, the same command goes on.

Data and rejects must be the undisturbed run's, byte for byte, and what is sent twice no more than
was in flight at a kill, or the program fails. In flight is what the server was asked for and the
store has no answer to.
"""

import argparse
import contextlib
import dataclasses
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from transforms.engines import store

ROOT = Path(__file__).parents[1]
ASKS = ("problem_candidates", "best_problem", "evals", "solution")
ROLLS = "evals"
SHARDS = 2
IN_FLIGHT = 64
LATENCY_S = 0.05
GIVE_UP_S = 300
_KEY = re.compile(rb'\{"key":"([0-9a-f]{32})".*\}\n')


@dataclasses.dataclass(frozen=True)
class Point:
    """Where to kill: in an ask, at a share of its answers; or else as its name says."""

    name: str
    share: float | None = None

    def __str__(self) -> str:
        return self.name if self.share is None else f"{self.name}, {self.share:.0%} answered"


POINTS = (
    Point("problem_candidates", 0.3),
    Point("problem_candidates", 0.9),
    Point("best_problem", 0.3),
    Point("best_problem", 0.8),
    Point("roll"),
    Point("evals", 0.7),
    Point("solution", 0.1),
    Point("solution", 0.9),
    Point("aside"),
    Point("manifest"),
)


@dataclasses.dataclass(frozen=True)
class Killed:
    """One kill: the answers in the store then, the requests in flight, and those sent again."""

    point: Point
    after_s: float
    stored: int
    in_flight: int
    sent_again: int


class Output:
    """A run's folder, as it is on the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def files(self) -> dict[str, bytes]:
        """Data and rejects, by name."""
        paths = sorted([*self.path.glob("data/*"), *self.path.glob("rejects/*")])
        return {str(path.relative_to(self.path)): path.read_bytes() for path in paths}

    def segments(self, ask: str) -> list[Path]:
        return sorted(self.path.glob(f".work/store/{ask}/[0-9][0-9]/*.jsonl"))

    def stored(self, ask: str) -> set[str]:
        """The keys of all answers."""
        content = b"".join(path.read_bytes() for path in self.segments(ask))
        return {key.decode() for key in _KEY.findall(content)}

    def reached(self, point: Point, records: int) -> Callable[[], bool]:
        """Whether a run that begins now has come to a point."""
        if point.name == "aside":
            return lambda: any(self.path.glob(".publishing/*/data/*"))
        if point.name == "manifest":
            return (self.path / "data").exists
        if point.name == "roll":
            before = self.segments(ROLLS)
            return lambda: self._is_rolled(before)
        assert point.share is not None
        wanted = point.share * records
        return lambda: len(self.stored(point.name)) >= wanted

    def _is_rolled(self, before: Sequence[Path]) -> bool:
        """Whether a run has closed the segments of its first slice, and begun the second's."""
        new = set(self.segments(ROLLS)) - set(before)
        return len({int(path.parent.name) * SHARDS // store.SHARDS for path in new}) == SHARDS


@contextlib.contextmanager
def server(log: Path, latency_s: float) -> Iterator[str]:
    """The URL of a stub that logs every key."""
    command = [sys.executable, "-m", "transforms.engines.stub", "--log", str(log)]
    command += ["--rehearsal", json.dumps({"latency_s": latency_s, "correctable": 0.02})]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:  # it would tell of every connection that a killed run breaks off
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def asked(log: Path) -> list[str]:
    """The keys of all requests, in their order."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.split()[1] for line in lines if line.startswith("asked ")]


def settled(log: Path) -> list[str]:
    """The same, once the server has read what a killed process had sent."""
    before = None
    while before != (now := asked(log)):
        before = now
        time.sleep(0.2)
    return now


def write_problems(path: Path, records: int) -> None:
    """Enough of them that half of the pairs with as many others are `records`."""
    rows = [{"problem": f"What is {n} plus {n * n}?"} for n in range(math.isqrt(2 * records) + 1)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def started(url: str, output: Path, records: int, in_flight: int) -> subprocess.Popen[str]:
    """A run, which says nothing but errors."""
    command = [sys.executable, "-m", "beam_sdg", "infinibyte", f"--output={output}"]
    command += [f"--problems_{side}={output.parent / side}.jsonl" for side in "ab"]
    command += [f"--num_records={records}", f"--limit={records}", f"--num_shards={SHARDS}"]
    command += [f"--endpoint={url}"]
    command += [f"--in_flight={in_flight}", "--model=model"]
    command += [f"--set={ask}.model=model-of-{ask}" for ask in ASKS[1:]]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def finished(run: subprocess.Popen[str]) -> None:
    """Wait for a run that nobody disturbs."""
    _, said = run.communicate()
    if run.returncode:
        raise SystemExit(said)


def killed(run: subprocess.Popen[str], is_there: Callable[[], bool]) -> float:
    """Kill a run when it has come to a point; the seconds that took."""
    began = time.monotonic()
    try:
        while not is_there():
            if run.poll() is not None:
                assert run.stderr
                raise SystemExit(f"the run ended too soon: {run.stderr.read()[-2000:]}")
            if time.monotonic() > began + GIVE_UP_S:
                raise SystemExit("the run did not come to its point")
            time.sleep(0.005)
    finally:
        run.kill()
        run.wait()
        if run.stderr:
            run.stderr.close()
    return time.monotonic() - began


def disturbed(
    folder: Path,
    points: Sequence[Point],
    records: int,
    in_flight: int = IN_FLIGHT,
    latency_s: float = LATENCY_S,
) -> list[Killed]:
    """Kill a run at each point in turn, let it end, and hold it to the undisturbed one.

    Raises:
        AssertionError: other bytes, other requests, or more of them sent twice than were in flight.
    """
    expected, output = Output(folder / "undisturbed"), Output(folder / "killed")
    first_log, log = folder / "undisturbed.log", folder / "killed.log"
    for side in "ab":
        write_problems(folder / f"{side}.jsonl", records)
    with server(first_log, latency_s) as url:
        finished(started(url, expected.path, records, in_flight))
    kills: list[tuple[Point, float, int, set[str], int]] = []
    with server(log, latency_s) as url:
        for point in points:
            before = len(asked(log))
            is_there = output.reached(point, records)
            after_s = killed(started(url, output.path, records, in_flight), is_there)
            sent = settled(log)
            stored = set().union(*map(output.stored, ASKS))
            kills.append((point, after_s, len(stored), set(sent[before:]) - stored, len(sent)))
        finished(started(url, output.path, records, in_flight))
    sent = asked(log)
    found = [
        Killed(point, after_s, stored, len(flying), len(flying & set(sent[until:])))
        for point, after_s, stored, flying, until in kills
    ]
    assert output.files() == expected.files(), "the data are not those of the undisturbed run"
    assert len(expected.files()) == 2 * SHARDS
    assert set(sent) == set(asked(first_log)), "other requests than the undisturbed run's"
    twice = len(sent) - len(set(sent))
    assert twice == sum(kill.sent_again for kill in found), "something was sent twice for no kill"
    assert all(kill.in_flight <= in_flight for kill in found), "more was lost than was in flight"
    return found


def named(names: Sequence[str]) -> list[Point]:
    """The points of these names, or all."""
    if unknown := set(names) - {point.name for point in POINTS}:
        raise SystemExit(f"no such point: {', '.join(sorted(unknown))}")
    return [point for point in POINTS if not names or point.name in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=750, help="each is asked about four times")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of points; all by default")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = disturbed(Path(folder), named(flags.names), flags.records)
        requests = len(set(asked(Path(folder) / "killed.log")))
    print(f"{'killed in':32} {'after s':>8} {'answers':>8} {'in flight':>10} {'sent twice':>11}")
    for kill in found:
        print(
            f"{kill.point!s:32} {kill.after_s:8.1f} {kill.stored:8,} {kill.in_flight:10} "
            f"{kill.sent_again:11}"
        )
    twice = sum(kill.sent_again for kill in found)
    print(
        f"{requests:,} requests, {twice} of them sent twice; data and rejects byte for byte equal"
    )


if __name__ == "__main__":
    main()
