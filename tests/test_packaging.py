"""The wheel, the staged source distribution and the README's commands."""

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.stager import Stager

ROOT = Path(__file__).parents[1]
PACKAGES = ("beam_sdg", "transforms", "sandbox", "prompts")


def run(*command: object, **kwargs: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, **kwargs
    )


def test_the_wheel_holds_every_file_of_the_four_packages(wheel, shipped):
    """Templates, samples and type markers too, and nothing that belongs elsewhere."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert shipped <= names
    assert {name.split("/")[0] for name in names} == {*PACKAGES, "beam_sdg-0.1.0.dist-info"}


def test_beam_stages_a_source_distribution_with_every_file(source, shipped, tmp_path):
    """What `--setup_file` sends to workers holds templates and all modules."""
    options = PipelineOptions(["--setup_file", str(source / "setup.py")])
    resources = Stager.create_job_resources(options, str(tmp_path))
    file = beam_runner_api_pb2.ArtifactFilePayload
    payloads = [file.FromString(resource.type_payload) for resource in resources]
    [archive] = [payload.path for payload in payloads if payload.path.endswith(".tar.gz")]
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert shipped <= names


def test_the_wheel_runs_the_demo_in_a_clean_environment(wheel, tmp_path, network):
    """Installed with its dependencies and nothing else, outside the checkout, it makes rows."""
    environment = tmp_path / "venv"
    assert run(sys.executable, "-m", "venv", environment).returncode == 0
    python = environment / "bin" / "python"
    done = run(python, "-m", "pip", "install", "--quiet", wheel)
    assert done.returncode == 0, done.stderr
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = run(environment / "bin" / "beam-sdg", "infinibyte", cwd=tmp_path, env=bare)
    assert done.returncode == 0, done.stderr
    assert pq.read_table(tmp_path / "out" / "data").num_rows == 5


def readme_commands() -> list[str]:
    """The commands of the README's shell blocks, continued lines joined."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def test_the_readmes_first_command_makes_a_dataset(tmp_path):
    """As written, from a folder of its own, in the environment that runs the tests."""
    command = readme_commands()[0]
    assert command == "./scripts/beam-sdg infinibyte"
    done = run(
        ROOT / command.split()[0], *command.split()[1:], cwd=tmp_path,
        env={**os.environ, "BEAM_SDG_VENV": sys.prefix},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "5 rows in out/data, by rehearsal" in done.stdout
    assert pq.read_table(tmp_path / "out" / "data").num_rows == 5


def test_the_readmes_second_command_is_what_ci_calls():
    """The test command of the README and of CI are one."""
    command = readme_commands()[1]
    assert command == "./scripts/check"
    assert command in (ROOT / ".ci" / "run").read_text()
    assert os.access(ROOT / command, os.X_OK)


def test_the_readmes_model_command_runs_as_written(data, tmp_path, stub):
    """With real inputs beside it and a server at its URL, it makes rows."""
    for name in ("humaneval/HumanEval.jsonl.gz", "theoremqa/theoremqa_test.json", "scibench"):
        (tmp_path / Path(name).name).symlink_to(data / name)
    command = readme_commands()[2].replace("http://localhost:8000/v1", stub({}))
    command = command.replace("./scripts", f"{ROOT}/scripts").replace("500", "20")
    done = run("bash", "-c", command, cwd=tmp_path, env={**os.environ, "BEAM_SDG_VENV": sys.prefix})
    assert done.returncode == 0, done.stderr
    assert pq.read_table(tmp_path / "my-dataset" / "data").num_rows == 20


def test_the_readme_is_short():
    """Under 150 lines."""
    assert len((ROOT / "README.md").read_text().splitlines()) < 150
