"""What the project promises about its own shape: exports, layers, imports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import beam_sdg

ROOT = Path(__file__).parents[1]
LAYERS = {"beam_sdg": 2, "transforms": 1, "sandbox": 0, "prompts": 0}
# not pandas: Beam itself imports it where it is installed
HEAVY = ("datasets", "docker", "huggingface_hub", "matplotlib", "torch", "transformers", "vllm")


def modules() -> list[Path]:
    return [path for name in LAYERS for path in sorted((ROOT / name).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """The top-level packages that a module imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add((node.module or "").split(".")[0])
    return names


def test_exports_are_sorted_and_exist():
    """`__all__` is in order and complete: everything in it can be imported."""
    assert beam_sdg.__all__ == sorted(beam_sdg.__all__)
    assert all(hasattr(beam_sdg, name) for name in beam_sdg.__all__)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_imports_upward(path):
    """beam_sdg → transforms → sandbox, prompts; the two leaves do not know each other."""
    own = path.relative_to(ROOT).parts[0]
    for other in imported(path) & LAYERS.keys():
        assert other == own or LAYERS[other] < LAYERS[own], f"{path} imports {other}"


def test_no_module_postpones_annotations():
    """`from __future__ import annotations` would switch Beam's type checks off."""
    assert not [path for path in modules() if "__future__" in imported(path)]


def test_importing_loads_nothing_heavy_and_says_nothing():
    """`import beam_sdg` loads no model library, and prints nothing."""
    code = (
        f"import sys, beam_sdg; loaded = [name for name in {HEAVY} if name in sys.modules]; "
        "sys.exit(', '.join(loaded) or None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
