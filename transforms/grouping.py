"""Group by key in bounded memory: in one process, through files on the local disk.

The in-process runner keeps every shuffled collection in memory, several times over: a million rows
of 1 KB take about 5 GB. There, `Group` writes pairs to a file as they come, in blocks by partition
of the key, and reads back one partition at a time; on any other runner it is `GroupByKey`.
"""

import contextlib
import dataclasses
import io
import pickle
import shutil
import tempfile
import weakref
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.window import GlobalWindows

from transforms.errors import RunError
from transforms.files import is_remote

PARTITIONS = 64
BLOCK_BYTES = 1 << 18
Block = tuple[str, int, int, int]  # a file, an offset in it, and the bytes there and unpacked


@dataclasses.dataclass(eq=False)
class Group(beam.PTransform):
    """Bring the values of each key together, across all of the collections given.

    In:   a collection of (key, value) pairs or a tuple of such; keys are text or whole numbers.
          Globally windowed.
    Out:  (key, values), each key once, in no order that means anything.
    Cost: one shuffle. In process: each pair is written to `--temp_location` (or the system's
          temporary folder) and read once, compressed, and 1/64 of the pairs are in memory.
    Once: a retry writes files of its own; those of a failed attempt are never read.
    """

    def expand(self, keyed: Any) -> beam.PCollection:
        collections = keyed if isinstance(keyed, tuple) else (keyed,)
        pipeline = collections[0].pipeline
        if not isinstance(pipeline.runner, FnApiRunner):
            return collections | "Merge" >> beam.Flatten() | "Group" >> beam.GroupByKey()
        folder = _folder_of(pipeline)
        blocks = [
            pairs | f"Scatter{number}" >> beam.ParDo(_Scatter(folder))
            for number, pairs in enumerate(collections)
        ]
        return (
            blocks
            | "Blocks" >> beam.Flatten()
            | "Barrier" >> beam.GroupByKey()
            | "Gather" >> beam.FlatMapTuple(gathered)
        )


@contextlib.contextmanager
def spilling(options: PipelineOptions, folder: str) -> Iterator[None]:
    """Let the shuffles of one pipeline spill into `folder`, which is gone afterwards.

    Where `options` name a `--temp_location`, that is used instead; where `folder` is not of this
    machine, the system's temporary one.
    """
    cloud = options.view_as(GoogleCloudOptions)
    if cloud.temp_location is not None or is_remote(folder):
        yield
        return
    shutil.rmtree(folder, ignore_errors=True)  # what a killed process left behind
    cloud.temp_location = folder
    try:
        yield
    finally:
        cloud.temp_location = None
        shutil.rmtree(folder, ignore_errors=True)


def _folder_of(pipeline: beam.Pipeline) -> str:
    """A new folder for one shuffle, gone with the pipeline or the process."""
    place = pipeline.options.view_as(GoogleCloudOptions).temp_location
    if place and is_remote(place):
        place = None
    if place:
        Path(place).mkdir(parents=True, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="shuffle-", dir=place)
    weakref.finalize(pipeline, shutil.rmtree, folder, ignore_errors=True)
    return folder


class _Scatter(beam.DoFn):
    """Writes a bundle's pairs to one file and emits (partition, block) for each block in it."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def start_bundle(self) -> None:
        self._pending: dict[int, io.BytesIO] = {}
        self._blocks: list[tuple[int, Block]] = []
        self._file: Any = None

    def process(self, pair: tuple[Any, Any]) -> None:
        partition = partition_of(pair[0])
        pending = self._pending.setdefault(partition, io.BytesIO())
        pending.write(pickle.dumps(pair, protocol=5))
        if pending.tell() >= BLOCK_BYTES:
            self._write(partition, self._pending.pop(partition).getvalue())

    def finish_bundle(self) -> Iterator[Any]:
        for partition, pending in sorted(self._pending.items()):
            self._write(partition, pending.getvalue())
        if self._file is not None:
            self._file.close()
        return map(GlobalWindows.windowed_value, self._blocks)

    def _write(self, partition: int, content: bytes) -> None:
        packed = pa.compress(content, codec="lz4", asbytes=True)
        try:
            if self._file is None:
                self._file = tempfile.NamedTemporaryFile(dir=self._folder, delete=False)  # noqa: SIM115
            offset = self._file.tell()
            self._file.write(packed)
            self._file.flush()
        except OSError as error:
            with contextlib.suppress(OSError, AttributeError):  # it would try again what failed
                self._file.close()
            raise RunError(
                f"cannot spill a shuffle to {self._folder}: {error.strerror}; make room, or name "
                "another folder with --temp_location"
            ) from error
        self._blocks.append((partition, (self._file.name, offset, len(packed), len(content))))


def partition_of(key: Any) -> int:
    """Which of the partitions a key belongs to; numbers in a row have one each."""
    if isinstance(key, int):
        return key % PARTITIONS
    return zlib.crc32(pickle.dumps(key, protocol=5)) % PARTITIONS


def gathered(partition: int, blocks: Iterable[Block]) -> Iterator[tuple[Any, list[Any]]]:
    """The keys of one partition, each with its values."""
    groups: dict[Any, list[Any]] = {}
    for path, offset, packed_bytes, content_bytes in blocks:
        with Path(path).open("rb") as file:
            file.seek(offset)
            packed = file.read(packed_bytes)
        content = io.BytesIO(pa.decompress(packed, content_bytes, codec="lz4", asbytes=True))
        while content.tell() < content_bytes:
            key, value = pickle.load(content)
            groups.setdefault(key, []).append(value)
    return iter(groups.items())
