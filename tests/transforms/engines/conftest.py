"""What tests of engines share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from transforms.engines import hold as hold_module
from transforms.engines.hold import end_engines

ROOT = Path(__file__).parents[3]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for keepers of this test alone; its engines are ended afterwards."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(hold_module, "_holds", {})
    yield tmp_path / f"beam-sdg-{os.getuid()}"
    end_engines()
