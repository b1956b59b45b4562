"""The finished dataset: data, rejects, manifest and report appear together or not at all.

out/data/train-00000-of-00001.parquet
out/rejects/rejects-00000-of-00001.parquet
out/report.txt
out/manifest.json        written last
"""

import hashlib
import io
import platform
from collections.abc import Sequence
from typing import Any

import apache_beam
import pyarrow
import pyarrow.parquet as pq
import pydantic
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from beam_sdg.runs import Run, StageManifest
from beam_sdg.shards import shard_path, write_whole
from beam_sdg.version import __version__
from transforms.codec import arrow_schema
from transforms.errors import UsageError
from transforms.records import Reject

ASIDE = ".publishing"


class DataFile(pydantic.BaseModel, frozen=True):
    """A published file, relative to the output folder."""

    path: str
    rows: int
    sha256: str


class RunManifest(pydantic.BaseModel, frozen=True):
    """What a dataset was made by and from; `store` is relative to the output folder."""

    recipe: str
    fingerprint: str
    seed: int
    model: str
    engine: str
    settings: dict[str, Any]
    store: str
    versions: dict[str, str]
    stages: list[StageManifest]
    files: list[DataFile]


def versions() -> dict[str, str]:
    """The versions of what makes the bytes of a dataset."""
    return {
        "beam_sdg": __version__,
        "apache_beam": apache_beam.__version__,
        "pyarrow": pyarrow.__version__,
        "python": platform.python_version(),
    }


def read_manifest(output: str) -> RunManifest | None:
    """The manifest of a finished run in `output`, or None."""
    path = f"{output}/manifest.json"
    if not FileSystems.exists(path):
        return None
    with FileSystems.open(path) as file:
        content = file.read()
    try:
        return RunManifest.model_validate_json(content)
    except pydantic.ValidationError as error:
        raise UsageError(f"{path} is no manifest of this program; name another folder") from error


def publish(run: Run, stages: Sequence[StageManifest], output: str) -> list[DataFile]:
    """Put the last stage's rows and every stage's rejects into the output folder.

    Each folder is made aside and renamed into place, and the old manifest goes first, so that a
    reader who waits for the manifest never sees half a dataset.
    """
    aside = f"{output}/{ASIDE}"
    _remove(aside)
    for folder in ("data", "rejects"):
        FileSystems.mkdirs(f"{aside}/{folder}")
    files = []
    rejects = [run.shards_of(stage.stage, "rejects") for stage in stages]
    rows = run.shards_of(stages[-1].stage, "rows")
    for shard in range(run.num_shards):
        data = shard_path("data/train", shard, run.num_shards)
        files.append(_write(aside, data, _content(rows[shard])))
        rejected = shard_path("rejects/rejects", shard, run.num_shards)
        files.append(_write(aside, rejected, _joined([paths[shard] for paths in rejects])))
    _remove(f"{output}/manifest.json")
    for folder in ("data", "rejects"):
        _remove(f"{output}/{folder}")
        FileSystems.rename([f"{aside}/{folder}"], [f"{output}/{folder}"])
    return files


def write_manifest(manifest: RunManifest, output: str) -> None:
    """Write the manifest, which makes the output a finished dataset."""
    write_whole(f"{output}/manifest.json", manifest.model_dump_json(indent=2).encode() + b"\n")
    _remove(f"{output}/{ASIDE}")


def _write(aside: str, path: str, content: bytes) -> DataFile:
    write_whole(f"{aside}/{path}", content)
    rows = pq.ParquetFile(io.BytesIO(content)).metadata.num_rows
    return DataFile(path=path, rows=rows, sha256=hashlib.sha256(content).hexdigest())


def _content(path: str) -> bytes:
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        return file.read()


def _joined(paths: Sequence[str]) -> bytes:
    """One Parquet file of the rejects in several, in their order."""
    joined = io.BytesIO()
    with pq.ParquetWriter(joined, arrow_schema(Reject), compression="zstd") as writer:
        for path in paths:
            table = pq.read_table(io.BytesIO(_content(path)))
            if table.num_rows:
                writer.write_table(table)
    return joined.getvalue()


def _remove(path: str) -> None:
    if FileSystems.exists(path):
        FileSystems.delete([path])
