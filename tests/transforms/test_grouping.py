"""Grouping through files gives what GroupByKey gives, and keeps little in memory."""

import collections
import random
import resource
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.errors import RunError
from transforms.grouping import PARTITIONS, Group, gathered, partition_of, spilling

PAIRS = st.lists(
    st.tuples(st.one_of(st.text(max_size=3), st.integers(-(2**40), 2**40)), st.binary(max_size=3)),
    max_size=60,
)
FOUND: list[tuple[object, list[object]]] = []


def find(key: object, values: list[object]) -> None:
    FOUND.append((key, sorted(values)))


def grouped(*collections_of_pairs, flags=()) -> dict:
    """The groups that `Group` makes of several collections in one pipeline."""
    FOUND.clear()
    options = PipelineOptions(["--runner=FnApiRunner", *flags])
    with beam.Pipeline(options=options) as pipeline:
        made = tuple(
            pipeline | f"Create{number}" >> beam.Create(pairs, reshuffle=False)
            for number, pairs in enumerate(collections_of_pairs)
        )
        _ = (made if len(made) > 1 else made[0]) | Group() | beam.MapTuple(find)
    assert len({repr(key) for key, _ in FOUND}) == len(FOUND)
    return dict(FOUND)


def expected(*collections_of_pairs) -> dict:
    groups = collections.defaultdict(list)
    for pairs in collections_of_pairs:
        for key, value in pairs:
            groups[key].append(value)
    return {key: sorted(values) for key, values in groups.items()}


@given(PAIRS, PAIRS)
@settings(max_examples=8, deadline=None)
def test_each_key_comes_once_with_all_its_values(first, second):
    """Whatever the keys and however the pairs are spread over collections."""
    assert grouped(first, second) == expected(first, second)


def test_nothing_makes_no_groups_and_no_files(tmp_path):
    """An empty collection, alone or beside another."""
    assert grouped([], flags=[f"--temp_location={tmp_path}"]) == {}
    assert grouped([], [("a", 1)]) == {"a": [1]}


def test_more_than_a_block_is_read_back_whole():
    """Values of many blocks, some larger than a block, keep every byte."""
    pairs = [(number % 7, bytes([number % 251]) * (number * 5000)) for number in range(80)]
    assert grouped(pairs) == expected(pairs)


def test_files_lie_where_the_user_says(tmp_path):
    """A --temp_location of the user's own is used, `spilling` or not."""
    options = PipelineOptions(["--runner=FnApiRunner", f"--temp_location={tmp_path / 'mine'}"])
    with spilling(options, str(tmp_path / "ours")), beam.Pipeline(options=options) as pipeline:
        _ = pipeline | beam.Create([("a", 1)]) | Group()
    assert [path.stat().st_size > 0 for path in tmp_path.glob("mine/shuffle-*/*")] == [True]
    assert not (tmp_path / "ours").exists()


def test_spilled_files_are_gone_afterwards(tmp_path):
    """The folder is there while a pipeline runs and not after it, even if it fails."""
    folder, options = tmp_path / "spill", PipelineOptions(["--runner=FnApiRunner"])
    with spilling(options, str(folder)):
        with beam.Pipeline(options=options) as pipeline:
            _ = pipeline | beam.Create([("a", 1)]) | Group()
        assert list(folder.glob("shuffle-*/*"))
    assert not folder.exists()
    with pytest.raises(ValueError), spilling(options, str(folder)):
        folder.mkdir()
        raise ValueError
    assert not folder.exists()


def test_partitions_are_used_evenly():
    """A thousand keys leave no partition empty, and a key has one partition for good."""
    used = collections.Counter(partition_of(f"key {number}") for number in range(1000))
    assert set(used) == set(range(PARTITIONS))
    assert {*map(partition_of, range(7, 7 + PARTITIONS))} == set(range(PARTITIONS))
    assert partition_of("key 1") == partition_of("".join(["key", " 1"]))


def test_a_full_disk_is_one_line(tmp_path):
    """The folder and the mend are named, be it the first block that has no room or a later one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    options = PipelineOptions(["--runner=FnApiRunner", f"--temp_location={tmp_path}"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with (
            pytest.raises(
                Exception, match=r"cannot spill a shuffle to .*--temp_location"
            ) as raised,
            beam.Pipeline(options=options) as pipeline,
        ):
            values = [(number % 9, random.randbytes(999)) for number in range(100)]
            _ = pipeline | beam.Create(values) | Group()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert RunError.__name__ in str(raised.value) or isinstance(raised.value, RunError)


def test_a_folder_that_has_gone_is_one_line(tmp_path):
    """As for a full disk."""
    folder = tmp_path / "gone"
    folder.mkdir()
    options = PipelineOptions(["--runner=FnApiRunner", f"--temp_location={folder}"])

    def remove(pair):
        for shuffle in folder.glob("shuffle-*"):
            shuffle.rmdir()
        return pair

    with (
        pytest.raises(Exception, match=r"cannot spill a shuffle to .*--temp_location") as raised,
        beam.Pipeline(options=options) as pipeline,
    ):
        _ = pipeline | beam.Create([("a", 1)]) | beam.Map(remove) | Group()
    assert RunError.__name__ in str(raised.value) or isinstance(raised.value, RunError)


def test_a_missing_block_is_an_error_and_not_a_missing_row():
    """A file that has gone raises; nothing is left out silently."""
    with pytest.raises(OSError):
        list(gathered(0, [(str(Path("/nowhere/block")), 0, 3, 3)]))
