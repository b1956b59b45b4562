"""A published dataset is something to train on: ten steps of a tiny model, by its folder alone."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from beam_sdg.formats import FORMATS
from tests.published import plain, published, with_tools

ROOT = Path(__file__).parents[2]
ROWS = [*(plain(number) for number in range(12)), *(with_tools(number) for number in range(12, 20))]


@pytest.mark.parametrize("format", FORMATS)
def test_ten_steps_on_published_rows_lower_their_loss(tmp_path, tiny_model, format):
    """By messages, with calls to Python among them, and by strings; no question is learnt."""
    _, output = published(tmp_path, ROWS, format)
    done = subprocess.run(
        [sys.executable, "-m", "tests.train", str(tiny_model), str(output)],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache")},
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for form, trained in json.loads(done.stdout).items():
        losses, learnt = trained["losses"], trained["learnt"]
        assert len(losses) == 10
        assert all(map(math.isfinite, losses))
        assert losses[-1] < 0.8 * losses[0]
        assert "It is" in learnt and "squared" not in learnt
        assert ('{"name": "python", "arguments": "print(' in learnt) == (form == "messages")
