"""A recipe's own phases as Dataflow would get them: looked at in the job, which nobody runs."""

import contextlib
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import TestOptions as DryRun
from apache_beam.portability.api import beam_runner_api_pb2 as protos

from beam_sdg.launch import Launch
from beam_sdg.options import parse_flags
from beam_sdg.recipes import RECIPES
from tests.objects import VARIABLE
from tests.placed import ACCELERATOR, hinted

IMAGE = "registry/worker:1"
FLAGS = (
    *("--model=m", f"--accelerator={ACCELERATOR}", "--num_shards=3"),
    *("--runner=DataflowRunner", "--no_auth", "--project=project", "--region=us-central1"),
    *("--temp_location=gs://bucket/temp", "--staging_location=gs://bucket/staging"),
    f"--sdk_container_image={IMAGE}",
)


@pytest.fixture
def jobs(dataflow, source, tmp_path, monkeypatch) -> list[Any]:
    """The program of each phase of InfiniByte, with the project's own code to be staged."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    flags = [*FLAGS, "--output=objects://bucket/out", f"--setup_file={source / 'setup.py'}"]
    run = Launch.prepared(parse_flags(RECIPES["infinibyte"], flags, "beam-sdg")).run
    run.options.view_as(DryRun).dry_run = True  # the flag of that name is ours
    assert not run.in_process
    found = []
    with contextlib.chdir(source):
        for phase in run.phases():
            pipeline = beam.Pipeline(options=run.options)
            run.wire(pipeline, phase, tuple(range(run.num_shards)), f"{run.work_dir}/tmp/attempt")
            pipeline.run()
            found.append(pipeline.runner.proto_pipeline)
    return found


def staged(environment: Any) -> Iterator[tuple[str, Path]]:
    """What a worker of an environment gets: names, and the files here."""
    for artifact in environment.dependencies:
        role = protos.ArtifactStagingToRolePayload.FromString(artifact.role_payload)
        payload = protos.ArtifactFilePayload.FromString(artifact.type_payload)
        yield role.staged_name, Path(payload.path)


def test_dataflow_gets_the_image_the_code_and_a_gpu_for_the_asks_alone(jobs):
    """Three phases: only the second asks a model, and only its inference steps need a GPU."""
    before, asking, after = map(hinted, jobs)
    assert not any(before.values())
    assert not any(after.values())
    with_it = {name for name, hints in asking.items() if hints}
    assert {hint for name in with_it for hint in asking[name]} == {ACCELERATOR}
    asks = "problem_candidates_best_problem_evals_solution"
    assert all(name.startswith(f"{asks}/Infer/") for name in with_it)
    assert f"{asks}/Infer/BeamML_RunInference" in with_it
    written = [name for name in asking if name.startswith("Write_solution/")]
    assert written
    assert not with_it & set(written)
    for job in jobs:
        for environment in job.components.environments.values():
            assert IMAGE in environment.payload.decode()
            [(name, package)] = staged(environment)
            assert name == "workflow.tar.gz"
    with tarfile.open(package) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"beam_sdg/recipes/infinibyte.py", "prompts/infinibyte/solution.jinja"} <= names
