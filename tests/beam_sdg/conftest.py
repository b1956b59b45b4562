"""What tests share: sources read by a pipeline, and finished datasets without a run."""

import json
import multiprocessing
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_sdg.columns import columns_of
from beam_sdg.formats import sha256, write_file
from beam_sdg.publish import DataFile, RunManifest, write_manifest
from beam_sdg.sources import ReadProblems, Source
from beam_sdg.stages import StageManifest
from transforms.codec import arrow_schema, from_row, to_json, to_row
from transforms.records import Problem, Reject

Dataset = Callable[..., tuple[RunManifest, str]]
Start = Callable[..., Any]
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["tests.halting"])
ORIGIN = pa.struct([("source", pa.string()), ("licence", pa.string())])
CALL = pa.struct([("ask", pa.string()), ("model", pa.string()), ("turns", pa.int64())])
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("problem", pa.string()),
        pa.field("kind", pa.string()),
        pa.field("scores", pa.struct([("clarity", pa.int64()), ("length", pa.float64())])),
        pa.field("tags", pa.list_(pa.string())),
        pa.field("provenance", pa.struct([("a", ORIGIN), ("calls", pa.list_(CALL))])),
    ]
)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a function in a process of its own, which does not outlive the test."""
    started: list[Any] = []

    def start(function: Callable[..., None], *arguments: object) -> Any:
        started.append(FORK.Process(target=function, args=arguments))
        started[-1].start()
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.join()


@pytest.fixture
def model_of_the_hub(tmp_path, monkeypatch) -> dict[str, str]:
    """The commits by revision of org/model, of which a hub's client has chat templates here."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    commits = {"main": "a" * 40, "v1": "b" * 40}
    kept = tmp_path / "hub" / "models--org--model"
    (kept / "refs").mkdir(parents=True)
    for revision, commit in commits.items():
        (kept / "refs" / revision).write_text(commit)
        (kept / "snapshots" / commit).mkdir(parents=True)
        config = {
            "chat_template": f"[{revision}]"
            "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
        }
        (kept / "snapshots" / commit / "tokenizer_config.json").write_text(json.dumps(config))
    return commits


@pytest.fixture
def row() -> Callable[..., dict[str, Any]]:
    """Make a row of `SCHEMA`, different for each number."""
    return _row


def _row(number: int, **changes: Any) -> dict[str, Any]:
    calls = [{"ask": "solution", "model": "m", "turns": 1 + (number % 5 == 0)}]
    origin = {"source": "gsm8k", "licence": "MIT"}
    return {
        "id": f"{number:032x}",
        "problem": f"How many problems are there before problem number {number} of {number**3}?",
        "kind": ("obfuscation", "complication")[number % 2],
        "scores": {"clarity": 1 + number % 3, "length": number / 7},
        "tags": [] if number % 2 else ["even"],
        "provenance": {"a": origin, "calls": calls},
        **changes,
    }


def _stage(name: str, rows_in: int, rows: int, **more: Any) -> StageManifest:
    """A stage's manifest; what it lost is `rejects` and `not_sampled`."""
    fields = {"rejects": {}, "not_sampled": 0, "settings": {}, **more}
    return StageManifest(
        stage=name, fingerprint="f", inputs={}, rows_in=rows_in, rows=rows, **fields
    )


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Publish rows of `SCHEMA` and rejects in a folder; the manifest and the folder."""

    def make(
        rows: Sequence[Mapping[str, Any]],
        rejects: Sequence[Reject] = (),
        name: str = "out",
        num_shards: int = 1,
        **fields: Any,
    ) -> tuple[RunManifest, str]:
        output = tmp_path / name
        format = fields.setdefault("format", "parquet")
        kinds = (
            ("data/train", rows, SCHEMA),
            ("rejects/rejects", [to_row(reject) for reject in rejects], arrow_schema(Reject)),
        )
        files = []
        for kind, content, schema in kinds:
            (output / kind).parent.mkdir(parents=True, exist_ok=True)
            for shard in range(num_shards):
                path = f"{kind}-{shard:05d}-of-{num_shards:05d}.{format}"
                whole = tmp_path / "shard.parquet"
                part = list(content[shard::num_shards])
                pq.write_table(pa.Table.from_pylist(part, schema=schema), whole)
                count = write_file(f"{output}/{path}", [str(whole)], schema, format)
                files.append(DataFile(path=path, rows=count, sha256=sha256(f"{output}/{path}")))
        lost: dict[str, dict[str, int]] = {}
        for reject in rejects:
            of_stage = lost.setdefault(reject.stage, {})
            of_stage[reject.reason] = of_stage.get(reject.reason, 0) + 1
        stages = [
            *(
                _stage(name, sum(reasons.values()), 0, rejects=reasons)
                for name, reasons in lost.items()
            ),
            _stage("export", len(rows), len(rows)),
        ]
        manifest = RunManifest(**{
            **dict(recipe="infinibyte", fingerprint="f" * 16, seed=0, model="m", engine="e"),
            **dict(settings={}, store=".work/store", versions={"beam_sdg": "0.1.0"}),
            **dict(stages=stages, files=files, columns=columns_of(SCHEMA), **fields),
        })  # fmt: skip
        write_manifest(manifest, str(output))
        return manifest, str(output)

    return make


Read = tuple[list[Problem], list[Reject], dict[str, int]]


@pytest.fixture
def read_sources(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Read]:
    """Rows, rejects and counts of sources through a pipeline in this process, and files."""

    def read(*sources: Source, max_records: int | None = None) -> Read:
        folder = tmp_path_factory.mktemp("read")
        transform = ReadProblems("problems_a", sources, True, max_records, seed=7)
        with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
            for name, items in (pipeline | transform)._asdict().items():
                lines = items | f"Lines_{name}" >> beam.Map(to_json)
                _ = lines | f"Write_{name}" >> beam.io.WriteToText(f"{folder}/{name}")
        return (
            [from_row(Problem, row) for row in _lines(folder, "rows")],
            [from_row(Reject, row) for row in _lines(folder, "rejects")],
            dict(_lines(folder, "counts")),
        )

    return read


def _lines(folder: Path, name: str) -> list:
    files = sorted(folder.glob(f"{name}-*"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.fixture
def job_service() -> Iterator[str]:
    """A portable job service: jobs are submitted over gRPC and everything is pickled."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    module = "apache_beam.runners.portability.local_job_service_main"
    service = subprocess.Popen(
        [sys.executable, "-m", module, "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield f"127.0.0.1:{port}"
    service.kill()
    service.wait()
