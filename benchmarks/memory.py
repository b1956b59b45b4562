"""What a million rows of 1 KB take in one process, from files to published stages.

    python benchmarks/memory.py                    2 × 500,000 rows, a million pairs of them
    python benchmarks/memory.py --rows 100000      fewer

The command line itself reads two JSONL files, finds duplicates, samples, crosses and writes every
stage as Parquet. Peak memory should not grow with the rows, and time should grow like them.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROW_BYTES = 1024
SYLLABLES = [a + b for a in "bcdfghklmnprstvw" for b in "aeiou"]
STAGES = "problems_a,problems_b,seed"


def write_problems(path: Path, side: str, rows: int) -> None:
    """Rows of 1 KB of words, no two alike."""
    syllables = random.Random(side).choices(SYLLABLES, k=1 << 19)
    book = " ".join("".join(syllables[i : i + 3]) for i in range(0, len(syllables), 3))
    with path.open("w") as file:
        for number in range(rows):
            start = number * 7919 % (len(book) - ROW_BYTES)
            text = f"{side}{number} {book[start : start + ROW_BYTES]}"[: ROW_BYTES - 16]
            file.write(json.dumps({"problem": text}) + "\n")


def measured(folder: Path, rows: int, pairs: int) -> tuple[float, int]:
    """(seconds, peak bytes) of the command."""
    for side in "ab":
        write_problems(folder / f"{side}.jsonl", side, rows)
    command = [sys.executable, "-m", "beam_sdg", "infinibyte", f"--output={folder / 'out'}"]
    command += [f"--problems_{side}={folder / f'{side}.jsonl'}" for side in "ab"]
    command += [f"--max_records_{side}={rows}" for side in "ab"]
    command += [f"--num_records={pairs}", f"--limit={pairs}", f"--stages={STAGES}"]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return time.perf_counter() - began, usage.ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of both sides together")
    parser.add_argument("--pairs", type=int, help="as many as rows by default")
    flags = parser.parse_args()
    print(f"{'rows':>9} {'pairs':>9} {'seconds':>8} {'rows+pairs /s':>14} {'peak GiB':>9}")
    for share in (10, 1):
        rows, pairs = flags.rows // share, (flags.pairs or flags.rows) // share
        with tempfile.TemporaryDirectory() as folder:
            seconds, peak = measured(Path(folder), rows // 2, pairs)
        rate = (rows + pairs) / seconds
        print(f"{rows:9,} {pairs:9,} {seconds:8.0f} {rate:14,.0f} {peak / 2**30:9.2f}", flush=True)


if __name__ == "__main__":
    main()
