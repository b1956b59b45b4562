"""The benchmark of scale in a reduced size."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_whole_recipe_is_measured(tmp_path):
    """It prints a rate and a peak for each size, and leaves no file."""
    command = [sys.executable, "benchmarks/scale.py", f"--folder={tmp_path}", "300"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    records, seconds, rate, answers, peak, disk = done.stdout.splitlines()[-1].split()
    assert records == "300"
    assert abs(int(answers) - 4 * int(rate)) <= 4
    assert float(seconds) > 0
    assert 0.1 < float(peak) < 1
    assert float(disk) < 0.1
    assert not list(tmp_path.iterdir())
