"""The README's table of datasets says what the recipes themselves do.

A row names a dataset, the command that makes it, the command's page and modes; a recipe may have
several rows, which share its modes out.
"""

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest

from beam_sdg.cli import main
from beam_sdg.options import parse_flags
from beam_sdg.recipes import RECIPES
from beam_sdg.recipes.recipe import Context, stages_of

ROOT = Path(__file__).parents[1]
ROW = re.compile(
    r"\| (?P<dataset>[^|]+) \| \[`beam-sdg (?P<recipe>[\w-]+)(?P<flags>[^`]*)`\]"
    r"\((?P<page>docs/[\w-]+\.md)\) \|(?P<modes>(?: `[\w-]+`,?)*) \|"
)


class Row(NamedTuple):
    """A row of the table."""

    dataset: str
    recipe: str
    flags: tuple[str, ...]
    page: str
    modes: tuple[str, ...]


# A small run of the command: flags of the recipes that have such.
LEAST = {"num_records": 4, "samples": 2, "python_samples": 1, "efforts": "low", "formats": "open"}
JUDGED = {"problem": "How many?", "generation": "One.", "judgement": "Judgement: yes"}


def table() -> list[Row]:
    """The rows, of which none is written in another way."""
    text = (ROOT / "README.md").read_text()
    lines = text.split("## Datasets\n")[1].split("\n## ")[0].strip().splitlines()
    assert lines[:2] == ["| dataset | command and page | `--mode` |", "|---|---|---|"]
    rows = []
    for line in lines[2 : lines.index("")]:
        found = ROW.fullmatch(line)
        assert found, f"the README's table has a row in another form: {line}"
        flags, modes = tuple(found["flags"].split()), re.findall(r"`([^`]+)`", found["modes"])
        rows.append(Row(found["dataset"], found["recipe"], flags, found["page"], tuple(modes)))
    return rows


ROWS = table()


def test_every_recipe_is_in_the_table_with_all_of_its_modes():
    """And nothing else is; of a recipe with several rows each mode is in one."""
    modes = defaultdict(list)
    for row in ROWS:
        modes[row.recipe] += row.modes
    assert {name: sorted(found) for name, found in modes.items()} == {
        name: sorted(recipe.modes) for name, recipe in RECIPES.items()
    }
    assert len({row.dataset for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.dataset)
def test_a_command_has_the_flags_modes_and_page_that_it_is_given(row):
    """Each mode's flags fit the recipe, and the page says how to call it."""
    recipe = RECIPES[row.recipe]
    needed = [
        f"--{name}=rows.jsonl" for name, field in recipe.config.model_fields.items()
        if field.is_required()
    ]  # fmt: skip
    for mode in row.modes:
        invocation = parse_flags(recipe, [*needed, f"--mode={mode}"], row.recipe)
        assert isinstance(invocation.config, recipe.config)
    assert f"beam-sdg {row.recipe}" in (ROOT / row.page).read_text()


@pytest.mark.filterwarnings("ignore:the local sandbox isolates nothing")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.dataset)
def test_a_command_without_a_key_is_a_rehearsal(row, tmp_path):
    """As it stands in the table, but small, it makes rows; no stage asks a model."""
    recipe, output = RECIPES[row.recipe], tmp_path / "out"
    (tmp_path / "rows.jsonl").write_text(json.dumps(JUDGED))
    flags = [flag.replace("rows.jsonl", str(tmp_path / "rows.jsonl")) for flag in row.flags]
    fields = recipe.config.model_fields
    flags += [f"--{name}={least}" for name, least in LEAST.items() if name in fields]
    invocation = parse_flags(recipe, flags, row.recipe)
    context = Context(models=invocation.models, stage_settings=invocation.stage_settings)
    stages = stages_of(recipe, invocation.config, context)
    asked = [stage for stage in stages if stage.engine is not None]
    assert bool(asked) is recipe.asks
    assert {type(stage.engine).__name__ for stage in asked} <= {"Rehearsal"}
    if any(stage.runs_code_in for stage in stages):
        flags.append("--sandbox=local")  # the default is Docker
    assert main([row.recipe, *flags, "--num_shards=1", f"--output={output}"]) == 0
    assert sum(pq.read_metadata(path).num_rows for path in output.glob("data/*.parquet"))
