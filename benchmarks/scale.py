"""How many records a second a whole recipe makes in one process, and in how much memory.

    python benchmarks/scale.py                     100,000 records and a million
    python benchmarks/scale.py 20000 200000        other sizes
    python benchmarks/scale.py --folder /big 1000000    where there is room

The command line itself makes InfiniByte's dataset of so many pairs of problems of 1 KB, of which
there are as many as pairs: sources, cross join, four asks of a rehearsal that takes no time, export
and publication. So what is measured is all but the model. Peak memory is that of the process with
all that it starts, and must stay under 4 GiB, or the program fails. A record takes about 28 KB of
disk, most of it answers, in a folder that goes with it.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import memory

MOST_GIB = 4.0
ASKS = 4
LOOK_EVERY_S = 0.1


def measured(folder: Path, records: int) -> tuple[float, int, int]:
    """(seconds, peak bytes, bytes on disk) of the command."""
    for side in "ab":
        memory.write_problems(folder / f"{side}.jsonl", side, max(1, records // 2))
    command = [sys.executable, "-m", "beam_sdg", "infinibyte", f"--output={folder / 'out'}"]
    command += [f"--problems_{side}={folder / f'{side}.jsonl'}" for side in "ab"]
    command += [f"--max_records_{side}={records}" for side in "ab"]
    command += [f"--num_records={records}", f"--limit={records}"]
    began, peak = time.perf_counter(), 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while process.poll() is None:
                peak = max(peak, resident(process.pid))
                time.sleep(LOOK_EVERY_S)
        finally:
            process.kill()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    size = sum(path.stat().st_size for path in (folder / "out").rglob("*") if path.is_file())
    return time.perf_counter() - began, peak, size


def resident(pid: int) -> int:
    """The memory of a process and of all that it has started, in bytes."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        own = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
        children = [
            int(child)
            for path in Path(f"/proc/{pid}/task").glob("*/children")
            for child in path.read_text().split()
        ]
        return own + sum(map(resident, children))
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--folder", help="where the files go, for as long as it takes")
    flags = parser.parse_args()
    print(
        f"{'records':>9} {'seconds':>8} {'records/s':>10} {'answers/s':>10} {'peak GiB':>9} "
        f"{'disk GiB':>9}"
    )
    for records in flags.sizes:
        with tempfile.TemporaryDirectory(dir=flags.folder) as folder:
            seconds, peak, size = measured(Path(folder), records)
        print(
            f"{records:9,} {seconds:8.0f} {records / seconds:10,.0f} "
            f"{ASKS * records / seconds:10,.0f} {peak / 2**30:9.2f} {size / 2**30:9.2f}",
            flush=True,
        )
        if peak > MOST_GIB * 2**30:
            raise SystemExit(f"{peak / 2**30:.2f} GiB is more than {MOST_GIB:g}")


if __name__ == "__main__":
    main()
