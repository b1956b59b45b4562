"""The finished dataset: data, rejects, manifest and report appear together or not at all.

out/data/train-00000-of-00001.parquet            or .jsonl
out/rejects/rejects-00000-of-00001.parquet
out/README.md, report.html, report.txt
out/manifest.json                                written last
"""

import platform
from collections.abc import Sequence
from typing import Any

import apache_beam
import pyarrow
import pydantic
from apache_beam.io.filesystems import FileSystems

from beam_sdg.columns import Column
from beam_sdg.formats import FileFormat, sha256, write_file
from beam_sdg.runs import Run, StageManifest
from beam_sdg.serving import Served
from beam_sdg.shards import shard_path, write_whole
from beam_sdg.version import __version__
from transforms.codec import arrow_schema
from transforms.engines.completions import Api
from transforms.errors import UsageError
from transforms.records import Reject

ASIDE = ".publishing"
CARD, PAGE, TEXT, MANIFEST = "README.md", "report.html", "report.txt", "manifest.json"


class DataFile(pydantic.BaseModel, frozen=True):
    """A published file, relative to the output folder."""

    path: str
    rows: int
    sha256: str


class Asked(pydantic.BaseModel, frozen=True):
    """How a stage asks: its model, engine and sampling, and US dollars per million tokens.

    `revision` is as given, and `api` that of chats or of plain text. `served` are the engines that
    this program ran for it, by all that the store holds of the model at that revision.
    `cached_share` is that of prompt tokens which servers had from an earlier request, by the stored
    answers; None where no server tells.
    """

    model: str
    engine: str
    sampling: dict[str, Any]
    revision: str = ""
    api: Api = "chat"
    served: tuple[Served, ...] = ()
    cached_share: float | None = None
    price_in: float | None = None
    price_out: float | None = None


class RunManifest(pydantic.BaseModel, frozen=True):
    """What a dataset was made by and from; `store` is relative to the output folder.

    `asks` are the stages that ask a model, by name; `command` is the recipe's word on the command
    line and `prompts` the folder of those that replaced ours; `summary` says what the recipe does
    and `citation` where its method was published.
    """

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
    format: FileFormat = "parquet"
    columns: tuple[Column, ...] = ()
    asks: dict[str, Asked] = {}
    command: str = ""
    prompts: str = ""
    summary: str = ""
    citation: str = ""

    def model_of(self, stage: str) -> str:
        """The model that a stage asked, at its revision."""
        asked = self.asks.get(stage)
        if asked is None:
            return self.model
        return f"{asked.model} at {asked.revision}" if asked.revision else asked.model

    def paths(self, folder: str) -> list[str]:
        """The files of `data` or `rejects`, relative to the output folder."""
        return [file.path for file in self.files if file.path.startswith(f"{folder}/")]


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
    path = f"{output}/{MANIFEST}"
    if not FileSystems.exists(path):
        return None
    with FileSystems.open(path) as file:
        content = file.read()
    try:
        return RunManifest.model_validate_json(content)
    except pydantic.ValidationError as error:
        raise UsageError(f"{path} is no manifest of this program; name another folder") from error


def publish(
    run: Run, stages: Sequence[StageManifest], output: str, format: FileFormat = "parquet"
) -> list[DataFile]:
    """Put the last stage's rows and every stage's rejects into the output folder.

    Each folder is made aside and renamed into place, and the old manifest and reports go first, so
    that a reader who waits for the manifest never sees half a dataset.
    """
    aside = f"{output}/{ASIDE}"
    _remove(aside)
    for folder in ("data", "rejects"):
        FileSystems.mkdirs(f"{aside}/{folder}")
    files = []
    rejects = [run.shards_of(stage.stage, "rejects") for stage in stages]
    rows = run.shards_of(stages[-1].stage, "rows")
    schema = arrow_schema(run.stages[-1].row_type)
    for shard in range(run.num_shards):
        data = shard_path("data/train", shard, run.num_shards, format)
        files.append(_write(aside, data, rows[shard : shard + 1], schema, format))
        rejected = shard_path("rejects/rejects", shard, run.num_shards, format)
        paths = [of_stage[shard] for of_stage in rejects]
        files.append(_write(aside, rejected, paths, arrow_schema(Reject), format))
    for name in (MANIFEST, CARD, PAGE, TEXT):
        _remove(f"{output}/{name}")
    for folder in ("data", "rejects"):
        _remove(f"{output}/{folder}")
        FileSystems.rename([f"{aside}/{folder}"], [f"{output}/{folder}"])
    return files


def write_manifest(manifest: RunManifest, output: str) -> None:
    """Write the manifest, which makes the output a finished dataset."""
    write_whole(f"{output}/{MANIFEST}", manifest.model_dump_json(indent=2).encode() + b"\n")
    _remove(f"{output}/{ASIDE}")


def _write(
    aside: str, path: str, shards: Sequence[str], schema: pyarrow.Schema, format: FileFormat
) -> DataFile:
    rows = write_file(f"{aside}/{path}", shards, schema, format)
    return DataFile(path=path, rows=rows, sha256=sha256(f"{aside}/{path}"))


def _remove(path: str) -> None:
    if FileSystems.exists(path):
        FileSystems.delete([path])
