"""Disks that are full or read-only: nothing is lost, and the message names the cause."""

import hashlib
import itertools
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beam_sdg.cli import main
from beam_sdg.publish import read_manifest
from tests.conftest import lacking
from tests.planned import files_of
from transforms.engines.store import AnswerStore
from transforms.errors import RunError, UsageError

PLACES = re.compile("shuffle|answer|rows-|publishing")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A small filesystem of its own, mounted or mounted anew with other options."""
    if os.geteuid():
        lacking("disk", "only root may mount a filesystem")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        lacking("disk", "no filesystem can be mounted here")

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


def test_wherever_a_disk_gets_full_the_same_command_goes_on(disk, tmp_path, capsys):
    """It grows a little for each run: every one names a file and a mend, and nothing is lost.

    A dataset that is to be replaced stays whole as long as there is no room for the other.
    """
    flags = ["infinibyte", "--num_records=8", "--num_shards=2"]
    assert main([*flags, "--output", str(tmp_path / "whole")]) == 0
    output = tmp_path / "disk" / "out"
    capsys.readouterr()
    said: list[str] = []
    for size in itertools.count(40, 104):
        disk(f"size={size}k")
        status = main([*flags, "--output", str(output)])
        if status == 0:
            break
        assert status == RunError.exit_code
        [line] = capsys.readouterr().err.splitlines()[-1:]
        assert re.fullmatch(
            rf"beam-sdg: cannot .* {output}/\S+: No space left on device; make room.*", line
        )
        said.append(line)
    assert {"shuffle", "answer", "rows-", "publishing"} <= set(re.findall(PLACES, " ".join(said)))
    assert files_of(output) == files_of(tmp_path / "whole")
    for ask in ("problem_candidates", "best_problem", "evals", "solution"):
        keys = [line["key"] for line in AnswerStore(f"{output}/.work/store", ask).attempts()]
        assert len(keys) == len(set(keys)) == 8
    disk(f"size={size + 8}k")
    other = [*flags, "--seed=1", "--replace", "--work_dir", str(tmp_path / "work")]
    assert main([*other, "--output", str(output)]) == RunError.exit_code
    assert "publishing" in capsys.readouterr().err.splitlines()[-1]
    assert files_of(output) == files_of(tmp_path / "whole")
    manifest = read_manifest(str(output))
    assert manifest is not None
    for file in manifest.files:
        assert hashlib.sha256((output / file.path).read_bytes()).hexdigest() == file.sha256
    disk("size=20m")
    assert main([*other, "--output", str(output)]) == 0
    assert files_of(output) != files_of(tmp_path / "whole")
