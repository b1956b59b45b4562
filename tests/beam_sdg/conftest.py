"""What tests of sources share."""

import json
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_sdg.sources import ReadProblems, Source
from transforms.codec import from_row, to_json
from transforms.records import Problem, Reject

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
            [from_row(Problem, row) for row in _rows(folder, "rows")],
            [from_row(Reject, row) for row in _rows(folder, "rejects")],
            dict(_rows(folder, "counts")),
        )

    return read


def _rows(folder: Path, name: str) -> list:
    files = sorted(folder.glob(f"{name}-*"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]
