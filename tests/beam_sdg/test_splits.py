"""Datasets of several splits: files, card and figures of each, and what `datasets` makes of it."""

import dataclasses
import json
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from beam_sdg.formats import FORMATS, read_rows
from beam_sdg.publish import RunManifest
from beam_sdg.report import gather
from beam_sdg.report.page import page
from beam_sdg.report.terminal import report_text
from beam_sdg.trace import way_of
from tests.published import Example, plain, published, with_tools
from transforms.codec import to_row
from transforms.errors import RunError
from transforms.records import Reject

REJECT = Reject("rows", "truncated", "cut off", "1", "{}", "x")
ROWS = [*(plain(number) for number in range(30)), *(with_tools(number) for number in range(30, 37))]


def expected(rows: list[Example]) -> dict[str, dict[str, dict[str, Any]]]:
    """The published form of rows, by split and id: all but the split itself."""
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        found[row.split][row.id] = {k: v for k, v in to_row(row).items() if k != "split"}
    return found


def found_in(manifest: RunManifest, output: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """The rows of the data files, by split and id."""
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for path in manifest.paths("data"):
        split = Path(path).name.split("-")[0]
        found[split].update((row["id"], row) for row in read_rows(str(output / path)))
    return found


@pytest.mark.parametrize("format", FORMATS)
def test_rows_are_in_the_files_of_their_split(tmp_path, format):
    """A file for each split and shard, and in them every row, whole but for its split."""
    manifest, output = published(tmp_path, ROWS, format, num_shards=3)
    assert sorted(path.name for path in (output / "data").iterdir()) == [
        f"{split}-{shard:05d}-of-00003.{format}"
        for split in ("high_with_python", "low")
        for shard in range(3)
    ]
    assert found_in(manifest, output) == expected(ROWS)
    assert manifest.splits == {"high_with_python": 7, "low": 30}
    assert "split" not in [column.name for column in manifest.columns]


@pytest.mark.parametrize("format", FORMATS)
def test_the_rows_of_a_split_are_the_same_in_any_number_of_shards(tmp_path, format):
    """Only the files are others."""
    one = found_in(*published(tmp_path / "one", ROWS, format, num_shards=1))
    assert found_in(*published(tmp_path / "four", ROWS, format, num_shards=4)) == one


@pytest.mark.parametrize("format", FORMATS)
def test_two_runs_write_the_same_bytes(tmp_path, format):
    """Of data and card, whatever order the rows came in."""
    contents = []
    for name, rows in (("one", ROWS), ("two", ROWS[::-1])):
        _, output = published(tmp_path / name, rows, format)
        files = [*sorted((output / "data").iterdir()), output / "README.md"]
        contents.append([(file.name, file.read_bytes()) for file in files])
    assert contents[0] == contents[1]


def test_rows_keep_the_order_of_their_shard(tmp_path):
    """The files of a shard's splits are what filtering the shard would give."""
    manifest, output = published(tmp_path, ROWS, num_shards=1)
    [shard] = (tmp_path / "work").glob("stages/rows/*/rows-00000-of-00001.parquet")
    order = pq.read_table(shard, columns=["id", "split"]).to_pylist()
    for path in manifest.paths("data"):
        ids = [row["id"] for row in read_rows(str(output / path))]
        split = Path(path).name.split("-")[0]
        assert ids == [row["id"] for row in order if row["split"] == split]


@pytest.mark.parametrize("format", FORMATS)
def test_datasets_loads_every_split_without_arguments(tmp_path, load_dataset, format):
    """With every value as it was: optional scalars, records, lists of records within lists."""
    manifest, output = published(tmp_path, ROWS, format, num_shards=3, rejects=[REJECT])
    loaded = load_dataset(output)
    assert {split: {row["id"]: row for row in rows} for split, rows in loaded.items()} == expected(
        ROWS
    )
    assert loaded["low"].features == loaded["high_with_python"].features
    low = load_dataset(output, split="low")
    assert len(low) == 30
    assert [row["reason"] for row in load_dataset(output, "rejects", split="rejects")] == [
        "truncated"
    ]


@pytest.mark.parametrize("format", FORMATS)
def test_columns_that_are_empty_in_a_whole_split_keep_their_types(tmp_path, load_dataset, format):
    """In the split that `datasets` reads first, and in the other."""
    for first, second in (("a", "b"), ("b", "a")):
        rows = [plain(1, first), plain(2, first), with_tools(3, second)]
        _, output = published(tmp_path / first, rows, format, num_shards=1)
        loaded = load_dataset(output)
        assert {row["id"]: row for row in loaded[first]} == expected(rows)[first]
        assert {row["id"]: row for row in loaded[second]} == expected(rows)[second]
        features = loaded[first].features
        assert features["votes"].dtype == "int64"
        assert features["messages"].feature["tool_calls"].feature["function"] == {
            "name": features["input"],
            "arguments": features["input"],
        }


@pytest.mark.parametrize("format", FORMATS)
def test_other_files_of_the_same_names_are_loaded_anew(tmp_path, load_dataset, format):
    """`datasets` keeps what it has loaded, but not by what is in the files."""
    for number in (1, 2):
        row = dataclasses.replace(plain(number), id="same")
        _, output = published(tmp_path / str(number), [row], format, num_shards=1)
        assert load_dataset(output, split="low")["input"] == [row.input]


@pytest.mark.parametrize("format", FORMATS)
def test_a_pushed_folder_loads_alike(tmp_path, load_dataset, format):
    """Data and card alone are enough, wherever they are."""
    _, output = published(tmp_path, ROWS, format)
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    shutil.copytree(output / "data", copy / "data")
    shutil.copy(output / "README.md", copy)
    assert {split: len(rows) for split, rows in load_dataset(copy).items()} == {
        "high_with_python": 7,
        "low": 30,
    }


def test_pyarrow_reads_the_files_of_a_split_as_one_table(tmp_path):
    """All of one schema, whatever a split has none of."""
    manifest, output = published(tmp_path, ROWS, num_shards=3)
    files = sorted((output / "data").glob("low-*.parquet"))
    table = pq.ParquetDataset(files).read()
    assert {row["id"]: row for row in table.to_pylist()} == expected(ROWS)["low"]
    assert len({pq.read_schema(output / path) for path in manifest.paths("data")}) == 1


@pytest.mark.parametrize("format", FORMATS)
def test_without_a_row_there_is_an_empty_train_split(tmp_path, format):
    """And its columns are those of the rows that it does not have."""
    manifest, output = published(tmp_path, [], format, num_shards=1)
    [path] = (output / "data").iterdir()
    assert path.name == f"train-00000-of-00001.{format}"
    assert list(read_rows(str(path))) == []
    assert manifest.splits == {"train": 0}
    if format == "parquet":
        names = [field.name for field in dataclasses.fields(Example)]
        assert ["split", *pq.read_schema(path).names] == sorted(names, key="split".__ne__)


@pytest.mark.parametrize("name", ["", "with-tools", "a b", "../train", "ümlaut", "all"])
def test_a_name_that_datasets_refuses_is_refused_first(tmp_path, name):
    """One line, and nothing of an earlier dataset is gone."""
    published(tmp_path, ROWS)
    before = (tmp_path / "out" / "README.md").read_bytes()
    with pytest.raises(RunError, match="a row has the split") as raised:
        published(tmp_path, [*ROWS, plain(99, name)])
    assert repr(name) in str(raised.value)
    assert (tmp_path / "out" / "README.md").read_bytes() == before
    assert (tmp_path / "out" / "manifest.json").exists()


def test_card_and_reports_tell_of_each_split(tmp_path):
    """Rows and shares, in all three; the command makes as many shards again."""
    manifest, output = published(tmp_path, ROWS, num_shards=3)
    text = (output / "README.md").read_text()
    assert "| high_with_python | 7 | 18.9% |\n| low | 30 | 81.1% |" in text
    assert "splits = load_dataset(" in text and "# high_with_python, low" in text
    assert "--num_shards=3" in text
    figures = gather(manifest, str(output))
    assert figures.data.rows == 37
    for shown in (page(figures), report_text(figures, str(output))):
        assert "high_with_python" in shown and "18.9%" in shown


def test_of_rows_without_splits_no_report_tells_of_any(tmp_path):
    """A lone `train` is no news."""
    _, output = published(tmp_path, [plain(1, "train")])
    text = (output / "README.md").read_text()
    assert "## Splits" not in text and 'split="train"' in text


def test_a_row_is_shown_with_its_split(tmp_path):
    """Where it went is a part of its way."""
    manifest, _ = published(tmp_path, ROWS)
    [station] = way_of(manifest, str(tmp_path / "work"), ROWS[-1].id)
    assert [row["split"] for row in station.rows] == ["high_with_python"]


def test_a_manifest_says_which_files_are_of_which_split(tmp_path):
    """With the rows of each, as the files have them."""
    manifest, output = published(tmp_path, ROWS, "jsonl")
    read = RunManifest.model_validate(json.loads((output / "manifest.json").read_text()))
    assert read == manifest
    for file in read.files:
        if file.split == "low":
            assert len((output / file.path).read_text().split("\n")) == file.rows + 1
