"""Labels of decontamination: read from a file, once, and what they make of traces."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.traces import trace
from transforms.errors import InputError
from transforms.records import Reject
from transforms.sft.contamination import Labels
from transforms.sft.filters import filtered
from transforms.sft.options import SftFilters

ROWS = [
    {"problem": "How many?", "contaminated": False, "similar_items": ["x"]},
    {"problem": "How few?", "contaminated": True, "similar_items": []},
]


def written(folder: Path, kind: str) -> str:
    path = folder / f"labels.{kind}"
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif kind == "jsonl.gz":
        path.write_bytes(gzip.compress(lines.encode()))
    else:
        path.write_text(lines)
    return str(path)


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "parquet"])
def test_a_problem_is_contaminated_or_not_or_unknown(tmp_path, kind):
    """By its exact text; the same labels have the same hash, however they are written."""
    labels = Labels(written(tmp_path, kind))
    found = [labels.of(problem) for problem in ("How many?", "How few?", "How many")]
    assert found == [False, True, None]
    (tmp_path / "again").mkdir()
    assert Labels(written(tmp_path / "again", "jsonl")).content_hash() == labels.content_hash()


@pytest.mark.parametrize(
    ("problem", "reason"),
    [("How many?", ""), ("How few?", "remove_contaminated"), ("Why?", "no_contamination_label")],
)
def test_what_nobody_has_looked_at_does_not_pass(tmp_path, problem, reason):
    """Published, a problem without a label passes."""
    filters = SftFilters(contamination_file=written(tmp_path, "jsonl"))
    made = filtered(trace(problem=problem), "filter", filters)
    assert (made.reason if isinstance(made, Reject) else "") == reason


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"problem": "a"}\n', "row 1: a label is"),
        ('{"problem": "a", "contaminated": true}\n["a"]\n', "row 2: a label is"),
        ('{"problem": "a", "contaminated": "yes"}\n', "row 1: a label is"),
        ("{oops\n", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_none_of_labels_is_named(tmp_path, content, message):
    """With its row."""
    path = tmp_path / "labels.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message) as error:
        Labels(str(path)).of("a")
    assert str(path) in str(error.value)
