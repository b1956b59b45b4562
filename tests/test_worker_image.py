"""The worker image: its install script run in a bare Debian root, and its Dockerfile read."""

import json
import os
import re
import shutil
import subprocess
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DOCKERFILE = (ROOT / "images" / "worker" / "Dockerfile").read_text()
PYTHONS = re.compile(r"\((\d+), (\d+)\) <= sys.version_info < \((\d+), (\d+)\)")
SETTINGS = re.compile(r"(PIP_|UV_|SSL_CERT_).*|https?_proxy|no_proxy", re.IGNORECASE)
# The mounts end with the last process of their namespace, however it ends.
ENTER = """
mount -t proc proc "$0/proc" && mount -t sysfs sys "$0/sys" && mount -t tmpfs shm "$0/dev/shm" &&
mount --bind "$1" "$0/root/.cache/uv" && exec chroot "$0" "${@:2}"
"""

SCRIPTS = ("tiny_model", "on_a_worker", "placed")

Inside = Callable[..., str]


def argument(name: str) -> str:
    """The default of a build argument."""
    return re.search(rf"^ARG {name}=(.+)$", DOCKERFILE, re.MULTILINE)[1]


def specifier(requirements: list[str], name: str) -> SpecifierSet:
    [found] = [one.specifier for one in map(Requirement, requirements) if one.name == name]
    return found


def settings() -> dict[str, str]:
    """The environment of a command in the root: how this machine reaches its index, and a path."""
    found = {name: value for name, value in os.environ.items() if SETTINGS.fullmatch(name)}
    found.pop("UV_CACHE_DIR", None)
    path = "/opt/beam-sdg/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return found | {"HOME": "/root", "PATH": path, "UV_LINK_MODE": "copy"}


def settle(root: Path) -> None:
    """Give a root what this machine itself reaches its mirrors and its index by."""
    for path in map(
        Path, ("/etc/resolv.conf", "/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
    ):
        if path.exists():
            (root / path.relative_to("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / path.relative_to("/"))
    for path in map(Path, ("/etc/apt/apt.conf.d", "/usr/local/share/ca-certificates")):
        if path.exists():
            shutil.copytree(path, root / path.relative_to("/"), dirs_exist_ok=True)


@pytest.fixture(scope="module")
def bare_root(debootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Debian's smallest root, as this machine's mirror has it."""
    root = tmp_path_factory.mktemp("debian")
    try:
        command = [debootstrap, "--variant=minbase", "bookworm", str(root)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr
        settle(root)
        yield root
    finally:
        assert str(root) not in Path("/proc/self/mountinfo").read_text()
        shutil.rmtree(root)


@pytest.fixture(scope="module")
def inside(bare_root: Path) -> Inside:
    """Run a command in the root and give what it prints."""
    cache = Path(os.environ.get("UV_CACHE_DIR", Path.home() / ".cache" / "uv"))
    for folder in (cache, bare_root / "root" / ".cache" / "uv"):
        folder.mkdir(parents=True, exist_ok=True)
    enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", ENTER]

    def run(*command: str) -> str:
        done = subprocess.run(
            [*enter, str(bare_root), str(cache), *command],
            env=settings(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=1200, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
        return done.stdout

    return run


@pytest.fixture(scope="module")
def worker(bare_root: Path, wheel: Path, inside: Inside) -> Inside:
    """The root as the install script leaves it, with wheels for the CPU."""
    for folder in ("images", "scripts"):
        shutil.copytree(ROOT / folder, bare_root / "src" / folder)
    for path in (wheel, *(ROOT / "tests" / f"{name}.py" for name in SCRIPTS)):
        shutil.copy(path, bare_root / "src")
    requirement = f"/src/{wheel.name}[{argument('EXTRAS')}]"
    inside("/src/images/worker/install.sh", "--cpu", "/opt/beam-sdg", requirement)
    return inside


def test_no_other_distribution_claims_our_packages(worker, wheel):
    """Of all that comes with Beam and vLLM, none has a top-level name of ours."""
    with zipfile.ZipFile(wheel) as archive:
        [path] = [name for name in archive.namelist() if name.endswith("/top_level.txt")]
        ours = archive.read(path).decode().split()
    code = "import importlib.metadata as m, json; print(json.dumps(m.packages_distributions()))"
    claims = json.loads(worker("python", "-c", code))
    assert len(ours) == 4
    assert {name: claims[name] for name in ours} == dict.fromkeys(ours, ["beam-sdg"])


def test_the_environment_has_the_versions_that_the_project_asks_for(worker):
    """Python, Beam and vLLM, by their own word."""
    assert worker("python", "--version").startswith(f"Python {argument('PYTHON')}.")
    beam = worker("python", "-c", "import apache_beam; print(apache_beam.__version__)").strip()
    assert beam == argument("BEAM")
    vllm = worker("vllm", "--version").split()[-1]
    assert vllm in specifier(PROJECT["optional-dependencies"]["vllm"], "vllm")


def test_what_triton_compiles_can_be_compiled(worker):
    """It builds a C extension of Python when it runs, with the compiler that it finds."""
    code = "import sysconfig; print(sysconfig.get_path('include'))"
    include = worker("python", "-c", code).strip()
    program = "printf '#include <Python.h>\\n' | cc -fsyntax-only -x c -I \"$0\" -"
    worker("sh", "-c", program, include)


def test_beams_harness_asks_the_engine(worker, bare_root):
    """Four records go to a harness in a process of its own, which starts vLLM and asks it."""
    worker("python", "/src/tiny_model.py", "/model")
    offline = ("env", "PYTHONPATH=/src", "HF_HUB_OFFLINE=1", "VLLM_CPU_KVCACHE_SPACE=1")
    worker(*offline, "python", "-m", "on_a_worker", "/model", "/answers")
    rows = [json.loads(line) for line in (bare_root / "answers" / "rows").read_text().splitlines()]
    assert sorted(text for text, _, _ in rows) == [f"What is {n} + 1?" for n in range(4)]
    assert {type(is_good) for _, is_good, _ in rows} == {bool}
    assert {program for _, _, program in rows} == {"sdk_worker_main.py"}
    assert (bare_root / "answers" / "rejects").read_text() == ""


def test_dataflow_would_be_told_which_step_needs_a_gpu(worker):
    """By the job that its runner makes in a dry run: the image for all, the hint for one."""
    said = worker(
        *("env", "PYTHONPATH=/src", "python", "-m", "placed"),
        *("--runner=DataflowRunner", "--dry_run=True", "--no_auth", "--project=project"),
        *("--region=us-central1", "--sdk_container_image=registry/worker:1"),
        *("--temp_location=gs://bucket/temp", "--staging_location=gs://bucket/staging"),
    )
    told = json.loads(said.splitlines()[-1])
    with_it = [name for name, hints in told["hints"].items() if hints]
    assert any(name.endswith("/BeamML_RunInference") for name in with_it)
    assert all("/Infer/" in name for name in with_it)
    assert len(told["hints"]) > len(with_it)
    assert all("registry/worker:1" in payload for payload in told["environments"])


def test_the_index_has_every_wheel_of_a_gpu_worker(worker, wheel):
    """What is installed without --cpu can be resolved together, for that root's Python."""
    requirement = f"beam-sdg[{argument('EXTRAS')}] @ file:///src/{wheel.name}"
    resolve = f"echo '{requirement}' | python -m uv pip compile --quiet --no-header -"
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", worker("sh", "-c", resolve), re.MULTILINE))
    assert pinned["vllm"] in specifier(PROJECT["optional-dependencies"]["vllm"], "vllm")
    assert "+cpu" not in pinned["vllm"]
    assert pinned["apache-beam"] == argument("BEAM")
    assert any(name.startswith("nvidia-") for name in pinned)


def test_the_image_agrees_with_the_project():
    """Beam and Python are those of pyproject.toml, and the harness is of that Beam."""
    assert argument("BEAM") in specifier(PROJECT["dependencies"], "apache-beam")
    assert argument("PYTHON") in SpecifierSet(PROJECT["requires-python"])
    assert "FROM apache/beam_python${PYTHON}_sdk:${BEAM} AS harness" in DOCKERFILE
    assert set(argument("EXTRAS").split(",")) <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("script", ["images/worker/install.sh", "scripts/environment.sh"])
def test_the_scripts_take_the_pythons_that_the_project_takes(script):
    """The bounds in them are those of pyproject.toml."""
    bounds = PYTHONS.search((ROOT / script).read_text()).groups()
    assert PROJECT["requires-python"] == ">={}.{},<{}.{}".format(*bounds)


def test_the_build_for_cpus_is_of_the_version_that_the_extra_asks_for():
    """So that it stands for the extra in every environment that it is brought into."""
    version = re.search(r"^version=(.+)$", (ROOT / "scripts/vllm-cpu").read_text(), re.MULTILINE)[1]
    assert f"{version}+cpu" in specifier(PROJECT["optional-dependencies"]["vllm"], "vllm")
