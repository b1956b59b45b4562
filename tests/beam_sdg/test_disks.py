"""Disks that are full or read-only: nothing is lost, and the message names the cause."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.planned import files_of
from transforms.engines.store import AnswerStore
from transforms.errors import RunError, UsageError


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A small filesystem of its own, mounted or mounted anew with other options."""
    if os.geteuid():
        pytest.skip("only root may mount a filesystem")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no filesystem can be mounted here")

    def mounted(options: str) -> Path:
        subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)
        return folder

    yield mounted
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_a_run_and_the_next_one_goes_on(disk, tmp_path, beam_sdg_command):
    """Its cause is named; with room, only what is missing is asked; read-only is refused."""
    flags = ("infinibyte", "--num_records=60")
    assert beam_sdg_command(*flags, "--output", tmp_path / "whole").returncode == 0
    output = disk("size=200k") / "out"
    full = beam_sdg_command(*flags, "--output", output)
    assert full.returncode == RunError.exit_code
    assert full.stderr.splitlines()[-1].startswith("beam-sdg: cannot keep an answer in ")
    assert "No space left on device" in full.stderr
    store = AnswerStore(f"{output}/.work/store", "problem_candidates")
    kept = {line["key"] for line in store.attempts()}
    assert kept
    disk("size=20m")
    assert beam_sdg_command(*flags, "--output", output).returncode == 0
    assert files_of(output) == files_of(tmp_path / "whole")
    keys = [line["key"] for line in store.attempts()]
    assert len(keys) == len(set(keys))
    assert kept < set(keys)
    disk("ro")
    for other in (("--output", output, "--replace"), ("--output", output.parent / "new")):
        refused = beam_sdg_command("infinibyte", "--seed=4", *other)
        assert refused.returncode == UsageError.exit_code
        assert "Read-only file system" in refused.stderr
