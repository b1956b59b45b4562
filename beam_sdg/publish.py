"""The finished dataset: data, rejects, manifest and report appear together or not at all.

out/data/train-00000-of-00001.parquet            or .jsonl; of rows with a split, SPLIT-…
out/rejects/rejects-00000-of-00001.parquet
out/reports/…                                    of recipes whose stages write some
out/README.md, report.html, report.txt
out/manifest.json                                written last
"""

import contextlib
import platform
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam
import pyarrow
import pydantic
from apache_beam.io.filesystems import FileSystems

from beam_sdg.claims import ALONE, Attempt, own_folder
from beam_sdg.columns import Column
from beam_sdg.formats import SPLIT, FileFormat, sha256, write_file
from beam_sdg.runs import Run
from beam_sdg.serving import Served
from beam_sdg.shards import column_values, shard_path, write_whole
from beam_sdg.stages import StageManifest
from beam_sdg.version import __version__
from transforms.codec import arrow_schema
from transforms.engines.completions import Api
from transforms.errors import RunError, UsageError
from transforms.files import exists, move_file, put_away, replace, writing
from transforms.records import Reject

ASIDE = ".publishing"
_NAME = re.compile("(?!all$)[A-Za-z0-9_]+")  # to `datasets`, all is every split
TRAIN = "train"  # the split of rows that name none
DATA, REJECTS, REPORTS = "data", "rejects", "reports"
CARD, PAGE, TEXT, MANIFEST = "README.md", "report.html", "report.txt", "manifest.json"


class DataFile(pydantic.BaseModel, frozen=True):
    """A published file, relative to the output folder."""

    path: str
    rows: int
    sha256: str

    @property
    def split(self) -> str:
        """The split that it is a part of: its name up to the number."""
        return self.path.rpartition("/")[2].partition("-")[0]


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
    and `citation` where its method was published. `stopped` says what ended the run before its end.
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
    stopped: str = ""

    @property
    def not_sent(self) -> int:
        """The samples that a stopped run has not asked about."""
        return sum(stage.not_sent for stage in self.stages)

    @property
    def why_partial(self) -> str:
        """What ended the run before its end, and what that left out."""
        if not self.not_sent:
            return f"stopped by {self.stopped}; more rows were wanted"
        return f"stopped by {self.stopped}; {self.not_sent:,} samples were not sent"

    def model_of(self, stage: str) -> str:
        """The model that a stage asked, at its revision."""
        asked = self.asks.get(stage)
        if asked is None:
            return self.model
        return f"{asked.model} at {asked.revision}" if asked.revision else asked.model

    def paths(self, folder: str) -> list[str]:
        """The files of `data` or `rejects`, relative to the output folder."""
        return [file.path for file in self.files_in(folder)]

    @property
    def splits(self) -> dict[str, int]:
        """The splits of the data, by name, and how many rows each has."""
        rows: Counter[str] = Counter()
        for file in self.files_in("data"):
            rows[file.split] += file.rows
        return dict(sorted(rows.items()))

    def files_in(self, folder: str) -> list[DataFile]:
        """The files of `data` or `rejects`."""
        return [file for file in self.files if file.path.startswith(f"{folder}/")]


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


@contextlib.contextmanager
def publication(
    run: Run,
    stages: Sequence[StageManifest],
    output: str,
    format: FileFormat = "parquet",
    attempt: Attempt = ALONE,
) -> Iterator[tuple[str, list[DataFile]]]:
    """Write the last stage's rows and every stage's rejects, and at the end put them in place.

    Gives the folder aside, where card, reports and manifest may be added, and the files in it.

    Rows of a type with a `split` are in files of their split, which have that for a name and not as
    a column: as many files a split as shards, one of each after the other in memory, a batch of
    rows at a time. All is made aside, so that a disk which is full leaves what was there, and then
    renamed into place (file after file in an object store). The old manifest and reports go first
    and the new manifest comes last: who finds the same manifest before and after reading has read
    what it names. Every step renames from the folder aside or into it, which who publishes instead
    takes away first: a process that wakes too late can take none.

    Raises:
        RunError: a split whose name cannot be one, or a file that cannot be written.
        TakenOver: another process publishes the same.
    """
    with own_folder(attempt, f"{output}/{ASIDE}", whole=True) as aside:
        yield aside, _written(run, stages, aside, format)
        attempt.confirm()
        for name in (MANIFEST, CARD, PAGE, TEXT):
            put_away(f"{output}/{name}", f"{aside}/{name}.old")
        for folder in (DATA, REJECTS, REPORTS):
            if exists(f"{aside}/{folder}"):
                replace(f"{aside}/{folder}", f"{output}/{folder}")
            else:
                put_away(f"{output}/{folder}", f"{aside}/{folder}.old")
        for name in (CARD, PAGE, TEXT, MANIFEST):
            if exists(f"{aside}/{name}"):
                move_file(f"{aside}/{name}", f"{output}/{name}")


def _written(
    run: Run, stages: Sequence[StageManifest], aside: str, format: FileFormat
) -> list[DataFile]:
    """The files of data and rejects, in a folder aside, and beside them what stages report."""
    for folder in (DATA, REJECTS):
        with writing(f"{aside}/{folder}"):
            FileSystems.mkdirs(f"{aside}/{folder}")
    rows = run.shards_of(stages[-1].stage, "rows")
    rejects = [run.shards_of(stage.stage, "rejects") for stage in stages]
    row_type = run.stages[-1].row_type
    data, num_shards = data_schema(row_type), run.num_shards
    files = []
    for split in _splits(rows, row_type):
        for shard, path in enumerate(rows):
            to = shard_path(f"data/{split or TRAIN}", shard, num_shards, format)
            files.append(_write(aside, to, [path], data, format, split))
    for shard in range(num_shards):
        to = shard_path("rejects/rejects", shard, num_shards, format)
        paths = [of_stage[shard] for of_stage in rejects]
        files.append(_write(aside, to, paths, arrow_schema(Reject), format))
    for stage in run.stages:
        if stage.reports is not None:
            stage.reports(run.shards_of(stage.name, "rows"), f"{aside}/{REPORTS}")
    return files


def publish(
    run: Run, stages: Sequence[StageManifest], output: str, format: FileFormat = "parquet"
) -> list[DataFile]:
    """Data and rejects alone, without anything that tells of them: see `publication`."""
    with publication(run, stages, output, format) as (_, files):
        return files


def write_manifest(manifest: RunManifest, folder: str) -> None:
    """Write the manifest, which makes an output folder a finished dataset."""
    write_whole(f"{folder}/{MANIFEST}", manifest.model_dump_json(indent=2).encode() + b"\n")


def data_schema(row_type: type) -> pyarrow.Schema:
    """The columns of a dataset's data: those of its rows, but for the split that files tell."""
    schema = arrow_schema(row_type)
    return pyarrow.schema([field for field in schema if field.name != SPLIT])


def _splits(shards: Iterable[str], row_type: type) -> list[str]:
    """The splits that rows name, in their order; "" alone where they name none."""
    if SPLIT not in arrow_schema(row_type).names:
        return [""]
    found = sorted({str(split) for path in shards for split in column_values(path, SPLIT)})
    for split in found:
        if not _NAME.fullmatch(split):
            raise RunError(
                f"a row has the split {split!r}, which datasets cannot load; the recipe must "
                "name splits with letters, digits and underscores, and none all"
            )
    return found or [""]


def _write(
    aside: str,
    path: str,
    shards: Sequence[str],
    schema: pyarrow.Schema,
    format: FileFormat,
    split: str = "",
) -> DataFile:
    rows = write_file(f"{aside}/{path}", shards, schema, format, split)
    return DataFile(path=path, rows=rows, sha256=sha256(f"{aside}/{path}"))
