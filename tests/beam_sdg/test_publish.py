"""Publication: the same rows in both formats, the same bytes, and nothing stale beside them."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_sdg import publish as publish_module
from beam_sdg.columns import columns_of
from beam_sdg.formats import FORMATS, read_rows
from beam_sdg.publish import RunManifest, publication, publish, read_manifest, write_manifest
from beam_sdg.report import gather
from beam_sdg.runs import Run
from beam_sdg.shards import write_whole
from beam_sdg.stages import Stage, StageManifest
from transforms.codec import arrow_schema, to_row
from transforms.errors import RunError
from transforms.outcome import SourceOutcome
from transforms.records import Problem, Reject
from transforms.seeding import digest

Made = tuple[Run, list[StageManifest]]


def problem(number: int) -> Problem:
    return Problem(digest("p", number), f'text {number} "ü"\n\u2028', "s", str(number), "MIT", "{}")


def reject(number: int) -> Reject:
    return Reject("numbers", "odd", "it is odd", digest("p", number), "{}", "")


@dataclasses.dataclass(eq=False)
class Numbers(beam.PTransform):
    """A source of `rows` problems and `rejects` rejects."""

    rows: int
    rejects: int

    def expand(self, begin: beam.pvalue.PBegin) -> SourceOutcome:
        rows = begin | "Rows" >> beam.Create([problem(number) for number in range(self.rows)])
        lost = [reject(number) for number in range(self.rejects)]
        rejects = begin | "Lost" >> beam.Create(lost).with_output_types(Reject)
        said = [("read", self.rows + self.rejects), ("usable", self.rows)]
        return SourceOutcome(rows, rejects, begin | "Said" >> beam.Create(said))


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Made]:
    """An executed run of a source."""

    def make(rows: int = 20, rejects: int = 4, num_shards: int = 2) -> Made:
        stage = Stage("numbers", Numbers(rows, rejects), Problem, {"rows": rows})
        options = PipelineOptions(["--runner=FnApiRunner"])
        run = Run((stage,), str(tmp_path / "work"), 0, num_shards, options)
        return run, run.execute()

    return make


def manifest(run: Run, stages: list[StageManifest], files: list, **fields) -> RunManifest:
    return RunManifest(
        recipe="numbers", fingerprint="f", seed=0, model="m", engine="e", settings={},
        store="work/store", versions={}, stages=stages, files=files, **fields,
    )  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
def test_the_files_hold_the_rows_and_rejects_of_the_stages(made, tmp_path, format):
    """Every row once, in either format; counts and hashes are those of the files."""
    run, stages = made()
    files = publish(run, stages, str(tmp_path / "out"), format)
    found: dict[str, list] = {"data": [], "rejects": []}
    for file in files:
        path = tmp_path / "out" / file.path
        assert path.suffix == f".{format}"
        assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
        rows = list(read_rows(str(path)))
        assert len(rows) == file.rows
        found[Path(file.path).parts[0]] += rows
    key = json.dumps
    assert sorted(found["data"], key=key) == sorted(
        (to_row(problem(n)) for n in range(20)), key=key
    )
    assert sorted(found["rejects"], key=key) == sorted(
        (to_row(reject(n)) for n in range(4)), key=key
    )


@pytest.mark.parametrize("format", FORMATS)
def test_two_publications_write_the_same_bytes(made, tmp_path, format):
    """Names and contents of data and rejects are equal."""
    run, stages = made()
    contents = []
    for name in ("one", "two"):
        publish(run, stages, str(tmp_path / name), format)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        contents.append([(path.relative_to(tmp_path / name), path.read_bytes()) for path in files])
    assert contents[0] == contents[1]
    assert len(contents[0]) == 4


def test_jsonl_has_one_row_a_line(made, tmp_path):
    """As tools that read by lines expect: whatever a text holds, a line is a row."""
    run, stages = made(num_shards=1)
    publish(run, stages, str(tmp_path / "out"), "jsonl")
    [path] = (tmp_path / "out" / "data").iterdir()
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert [json.loads(line)["source"] for line in lines] == ["s"] * 20


def test_a_parquet_file_without_rows_has_no_row_group(made, tmp_path):
    """Columns and types are there all the same."""
    run, stages = made(rows=1, rejects=0, num_shards=3)
    files = publish(run, stages, str(tmp_path / "out"))
    for file in files:
        parquet = pq.ParquetFile(tmp_path / "out" / file.path)
        assert (parquet.metadata.num_row_groups > 0) == (file.rows > 0)
        expected = Problem if file.path.startswith("data") else Reject
        assert parquet.schema_arrow == arrow_schema(expected)
    assert sorted(file.rows for file in files) == [0, 0, 0, 0, 0, 1]


def test_an_old_manifest_and_its_reports_go_before_new_data_comes(made, tmp_path):
    """After publication nothing tells of the rows that were replaced."""
    run, stages = made()
    output = tmp_path / "out"
    output.mkdir()
    for name in ("manifest.json", "README.md", "report.html", "report.txt"):
        (output / name).write_text("old")
    publish(run, stages, str(output))
    assert sorted(path.name for path in output.iterdir() if path.is_file()) == []
    assert (output / "data").is_dir()


def test_what_ends_in_the_middle_of_a_publication_is_no_dataset(made, tmp_path, monkeypatch):
    """Whichever step fails: without a manifest, or still the old one whole; then it is done."""
    run, stages = made()
    output, steps = str(tmp_path / "out"), ("made", "data", "rejects", "README.md", "manifest.json")

    def put(fails: str) -> None:
        with publication(run, stages, output) as (aside, files):
            if fails == "made":
                raise OSError(fails)
            write_whole(f"{aside}/README.md", fails.encode())
            write_manifest(manifest(run, stages, files, summary=fails), aside)

    put("nothing")
    for step in steps:
        with monkeypatch.context() as patch:
            for name in ("replace", "move_file"):
                patch.setattr(publish_module, name, failing(getattr(publish_module, name), step))
            with pytest.raises(OSError, match=step):
                put(step)
        left = read_manifest(output)
        assert left is None if step != "made" else left.summary == "nothing"
    put("nothing")
    assert gather(read_manifest(output), output).data.rows == 20
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md", "data", "manifest.json", "rejects"
    ]  # fmt: skip


def failing(move: Callable[[str, str], None], step: str) -> Callable[[str, str], None]:
    def moved(path: str, to: str) -> None:
        if to.endswith(step):
            raise OSError(step)
        move(path, to)

    return moved


@pytest.mark.parametrize("format", FORMATS)
def test_a_manifest_comes_back_as_it_was_written(made, tmp_path, format):
    """With the columns, nested ones included."""
    run, stages = made()
    output = str(tmp_path / "out")
    files = publish(run, stages, output, format)
    written = manifest(run, stages, files, format=format, columns=columns_of(arrow_schema(Problem)))
    write_manifest(written, output)
    assert read_manifest(output) == written
    assert gather(written, output).data.rows == 20


def test_a_manifest_of_the_first_version_is_still_read(made, tmp_path):
    """It knows neither format nor columns: they are Parquet and those of the files."""
    run, stages = made()
    output = tmp_path / "out"
    written = manifest(run, stages, publish(run, stages, str(output)))
    new = {"format", "columns", "asks", "summary", "citation"}
    (output / "manifest.json").write_text(written.model_dump_json(exclude=new))
    old = read_manifest(str(output))
    assert old is not None
    assert [column.name for column in gather(old, str(output)).columns] == [
        field.name for field in dataclasses.fields(Problem)
    ]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("damage", ["gone", "junk"])
def test_a_damaged_file_is_one_line_that_says_what_to_delete(made, tmp_path, format, damage):
    """Deleting the manifest and running again makes the file anew."""
    run, stages = made(num_shards=1)
    output = str(tmp_path / "out")
    files = publish(run, stages, output, format)
    written = manifest(run, stages, files, format=format, columns=columns_of(arrow_schema(Problem)))
    [path] = (tmp_path / "out" / "data").iterdir()
    path.unlink() if damage == "gone" else path.write_text("junk")
    with pytest.raises(RunError, match=rf"missing or damaged; delete {output}/manifest.json"):
        gather(written, output)


def test_the_type_of_a_column_is_shown_in_one_line():
    """Structs and lists with what is in them."""
    kind = pa.struct(
        [("problems", pa.list_(pa.struct([("text", pa.string())]))), ("n", pa.int64())]
    )
    [column] = columns_of(pa.schema([("made", kind)]))
    assert column.shown_type() == "struct<problems: list<struct<text: string>>, n: int64>"
