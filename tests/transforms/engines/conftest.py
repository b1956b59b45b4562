"""What tests of engines share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from transforms.engines import hold as hold_module

ROOT = Path(__file__).parents[3]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for keepers of this test alone; its holds are let go afterwards."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(hold_module, "_holds", {})
    yield tmp_path / f"beam-sdg-{os.getuid()}"
    for taken in hold_module._holds.values():
        taken.let_go()
