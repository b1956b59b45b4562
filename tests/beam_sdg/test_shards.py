"""Shards: bytes that no order of arrival shows in, and files that are written in small pieces."""

import io
import random
from collections import Counter

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_sdg import shards
from beam_sdg.shards import (
    Kind,
    WriteShards,
    read_shard,
    shard_of,
    shard_path,
    whole_file,
    write_parquet,
)
from transforms.engines import store
from transforms.records import Problem, Reject
from transforms.seeding import digest

SCHEMA = pa.schema([("text", pa.string())])


def problem(number: int, record_id: str = "") -> Problem:
    return Problem(record_id or digest("p", number), f"text {number}", "s", str(number), "", "{}")


def written(folder, records: list[Problem]) -> bytes:
    folder.mkdir()
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        write = WriteShards((Kind(f"{folder}/rows", Problem),), (0,), 1, seed=3)
        _ = (pipeline | beam.Create(records),) | write
    [path] = folder.iterdir()
    assert path.name == shard_path("rows", 0, 1)
    return path.read_bytes()


def test_no_order_of_arrival_shows_in_a_shard(tmp_path):
    """Of records with one id neither: those are in the order of what they hold."""
    records = [problem(number) for number in range(20)]
    records += [problem(number, records[0].id) for number in range(100, 105)]
    shuffled = random.Random(1).sample(records, len(records))
    assert written(tmp_path / "one", records) == written(tmp_path / "two", shuffled)
    rows = list(read_shard(f"{tmp_path}/one/rows-00000-of-00001.parquet", Problem))
    assert rows == sorted(records, key=lambda row: (digest(3, row.id), row.text))


def test_several_kinds_are_written_together(tmp_path):
    """Each record is in the file of its kind and shard."""
    rows = [problem(number) for number in range(40)]
    rejects = [Reject("s", "odd", "", digest("r", number), "{}", "") for number in range(20)]
    kinds = (Kind(f"{tmp_path}/rows", Problem), Kind(f"{tmp_path}/rejects", Reject))
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        both = tuple(
            pipeline | f"Create{number}" >> beam.Create(records)
            for number, records in enumerate((rows, rejects))
        )
        _ = both | WriteShards(kinds, (0, 1, 2), 3, seed=3)
    for (prefix, record_type), records in zip(kinds, (rows, rejects), strict=True):
        for shard in range(3):
            found = list(read_shard(shard_path(prefix, shard, 3), record_type))
            assert {row.id for row in found} == {
                row.id for row in records if shard_of(row.id, 3) == shard
            }


@pytest.mark.parametrize("num_shards", [1, 3, 20, 64, 200])
def test_the_answers_about_a_shard_are_in_few_shards_of_the_store(num_shards):
    """Else each slice would read, and hold an index of, all that the others have asked."""
    places: dict[int, set[int]] = {}
    counts: Counter[int] = Counter()
    for number in range(100 * num_shards):
        record_id = digest("record", number)
        shard = shard_of(record_id, num_shards)
        assert shard == shard_of(f"{record_id}-1-2", num_shards)
        places.setdefault(shard, set()).add(store.shard_of(record_id))
        counts[shard] += 1
    assert sorted(counts) == list(range(num_shards))
    assert min(counts.values()) > 50 and max(counts.values()) < 160
    assert max(map(len, places.values())) <= store.SHARDS // num_shards + 2


def test_a_record_may_have_any_id():
    """Its samples are where it is, in the dataset and in the store."""
    for name in ("pile 7", "", "zz", "-", "-1"):
        assert 0 <= shard_of(name, 5) < 5
        assert store.shard_of(name) == store.shard_of(f"{name}-0-1")


def batches(count: int, rows: int, size: int = 1) -> list[pa.RecordBatch]:
    return [pa.RecordBatch.from_pydict({"text": ["x" * size] * rows}, SCHEMA)] * count


def groups_of(content: io.BytesIO) -> list[int]:
    metadata = pq.ParquetFile(content).metadata
    return [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]


def test_a_row_group_ends_with_enough_rows_or_bytes(monkeypatch):
    """So that neither writing nor reading has to hold a shard."""
    monkeypatch.setattr(shards, "_GROUP_ROWS", 100)
    monkeypatch.setattr(shards, "_GROUP_BYTES", 10_000)
    for made, groups in (
        (batches(5, 40), [120, 80]),
        (batches(5, 40, size=200), [80, 80, 40]),
        (batches(2, 300), [300, 300]),
        ([], []),
    ):
        content = io.BytesIO()
        assert write_parquet(content, made, SCHEMA) == sum(groups)
        assert groups_of(content) == groups


def test_a_file_that_fails_half_way_does_not_appear(tmp_path):
    """Nor does what was there before go."""
    path = tmp_path / "whole"
    path.write_bytes(b"before")
    with pytest.raises(ValueError), whole_file(str(path)) as file:
        file.write(b"half")
        raise ValueError
    assert path.read_bytes() == b"before"
