"""Processes that halt while they put in place what they made: what is there is whole, or nobody's.

Each test goes through all steps, until one is not come to any more.
"""

import contextlib
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.halting import (
    FAIL,
    halting,
    kept,
    miscounted,
    names,
    prepared,
    published,
    rows_there,
    undisturbed,
)

DATASET = {"data", "rejects", "README.md", "manifest.json", ".work"}


def is_suspended(process: Any) -> bool:
    """Wait until a process suspends itself, or has ended."""
    while process.is_alive():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            stat = Path(f"/proc/{process.pid}/stat").read_text()
            if stat.rpartition(")")[2].split()[0] == "T":
                return True
        process.join(0.01)
    return False


@pytest.mark.parametrize("how", [signal.SIGKILL, FAIL])
def test_a_dataset_that_is_replaced_is_the_old_one_the_new_one_or_none(tmp_path, start, how):
    """Wherever the process is killed or a disk fails; the same run then makes the new one."""
    output = tmp_path / "out"
    prepared(tmp_path)
    left = []
    for step in range(100):
        undisturbed(published, tmp_path, 3, 0)
        assert rows_there(output) == 3
        process = start(halting, published, str(tmp_path), 5, 0, how, step)
        process.join(60)
        left.append(rows_there(output))
        undisturbed(published, tmp_path, 5, 0)
        assert rows_there(output) == 5
        if left[-1] != 5:
            assert names(output) == DATASET
        if process.exitcode == 0:
            break
    assert left[0] == 3
    assert left[-1] == 5
    assert None in left
    assert sorted(left, key=[3, None, 5].index) == left


def test_a_process_that_slept_in_its_publication_changes_nothing(tmp_path, start):
    """Wherever it was suspended: the dataset of the one that took over stays, and it sees that."""
    prepared(tmp_path / "before")
    for step in range(100):
        folder = tmp_path / str(step)
        shutil.copytree(tmp_path / "before", folder)
        asleep = start(halting, published, str(folder), 5, 1, signal.SIGSTOP, step)
        was_suspended = is_suspended(asleep)
        undisturbed(published, folder, 5, 2)
        assert rows_there(folder / "out") == 5
        there = (folder / "out" / "manifest.json").stat().st_ino
        if was_suspended:
            os.kill(asleep.pid, signal.SIGCONT)
        asleep.join(60)
        assert asleep.exitcode == was_suspended
        assert rows_there(folder / "out") == 5
        assert (folder / "out" / "manifest.json").stat().st_ino == there
        assert names(folder / "out") == DATASET
        if not was_suspended:
            break
    assert step >= 10


def test_a_process_that_slept_while_it_kept_its_rows_changes_nothing(tmp_path, start):
    """Wherever it was suspended: the rows of the one that took over stay, and their marks."""
    for step in range(100):
        folder = tmp_path / str(step)
        asleep = start(halting, kept, str(folder), 5, 1, signal.SIGSTOP, step)
        was_suspended = is_suspended(asleep)
        undisturbed(kept, folder, 5, 2)
        stages = folder / "out" / ".work" / "stages"
        there = {path: path.stat().st_ino for path in stages.rglob("*") if path.is_file()}
        if was_suspended:
            os.kill(asleep.pid, signal.SIGCONT)
        asleep.join(60)
        assert asleep.exitcode == was_suspended
        assert there == {path: path.stat().st_ino for path in stages.rglob("*") if path.is_file()}
        assert not names(folder / "out" / ".work" / "tmp")
        if not was_suspended:
            break
    assert step >= 7


def test_a_process_that_slept_while_it_took_back_what_it_could_not_count_changes_nothing(
    tmp_path, start
):
    """A disk that could not be read for a moment: what another has published since then stays."""
    for step in range(100):
        folder = tmp_path / str(step)
        asleep = start(halting, miscounted, str(folder), 5, 1, signal.SIGSTOP, step)
        if not is_suspended(asleep):
            break
        undisturbed(kept, folder, 5, 2)
        stages = folder / "out" / ".work" / "stages"
        there = {path: path.stat().st_ino for path in stages.rglob("*") if path.is_file()}
        os.kill(asleep.pid, signal.SIGCONT)
        asleep.join(60)
        assert there == {path: path.stat().st_ino for path in stages.rglob("*") if path.is_file()}
    assert step >= 9
