"""The image that sessions run in: from the Dockerfile, or, without a registry, from Debian."""

import contextlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sandbox.contract import SandboxDown
from sandbox.engine import CODE_LABEL, SUPERVISOR, docker_package, supervisor_version

DEBIAN = "debian"
RELEASE = "bookworm"
PACKAGES = (
    *("python3", "python3-matplotlib", "python3-networkx", "python3-numpy"),
    *("python3-pandas", "python3-scipy", "python3-sympy"),
)
DOCKERFILE = SUPERVISOR.with_name("Dockerfile")
# How this machine reaches its mirrors, so that the root it makes reaches them too.
_SETTINGS = ("/etc/resolv.conf", "/etc/apt/apt.conf.d", "/etc/ssl/certs/ca-certificates.crt")
_LEFT_OUT = (
    *("./proc/*", "./sys/*", "./dev/*", "./var/cache/*", "./var/lib/apt/lists/*", "./var/log/*"),
    *("./usr/share/doc/*", "./usr/share/man/*", "./usr/share/locale/*", "./usr/share/info/*"),
)

Say = Callable[[str], None]


def build(client: Any, image: str, base: str, say: Say) -> None:
    """Make the image on the engine.

    base: an image with Python that the engine has or can pull; "" for the official one; `debian`
        makes a root of Debian's packages here, as root, and imports it.

    Raises:
        SandboxDown: it cannot be made; the message has the reason.
    """
    labels = {CODE_LABEL: supervisor_version()}
    if base == DEBIAN:
        _from_packages(client, image, labels, say)
    else:
        _from_dockerfile(client, image, base, labels, say)


def _from_dockerfile(client: Any, image: str, base: str, labels: dict[str, str], say: Say) -> None:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for path in (DOCKERFILE, SUPERVISOR):
            entry = tarfile.TarInfo(path.name)
            entry.size, entry.mode = path.stat().st_size, 0o644
            archive.addfile(entry, io.BytesIO(path.read_bytes()))
    context.seek(0)
    lines = client.api.build(
        fileobj=context, custom_context=True, tag=image, labels=labels, rm=True, forcerm=True,
        buildargs={"BASE": base} if base else None, decode=True,
    )  # fmt: skip
    try:
        for line in lines:
            if line.get("error"):
                reason = " ".join(line["error"].split())[:300]
                raise SandboxDown(
                    f"the image could not be built: {reason}; "
                    "where no image can be pulled: beam-sdg sandbox build --base debian"
                )
            if text := line.get("stream", "").strip():
                say(text)
    except docker_package().errors.DockerException as error:
        raise SandboxDown(f"the image could not be built: {error}") from error


def _from_packages(client: Any, image: str, labels: dict[str, str], say: Say) -> None:
    debootstrap = shutil.which("debootstrap")
    if debootstrap is None or os.geteuid() != 0:
        raise SandboxDown(
            "--base debian needs root and debootstrap; apt-get install debootstrap, and run as root"
        )
    folder = tempfile.mkdtemp(prefix="beam-sdg-image-")
    root = Path(folder, "root")
    try:
        say(f"{RELEASE} with {', '.join(PACKAGES)}")
        _run([debootstrap, "--variant=minbase", RELEASE, str(root)])
        for setting in map(Path, _SETTINGS):
            target = root / setting.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if setting.is_dir():
                shutil.copytree(setting, target, dirs_exist_ok=True)
            elif setting.exists():
                shutil.copy(setting, target)
        inside = ["chroot", str(root), "env", "DEBIAN_FRONTEND=noninteractive"]
        _run([*inside, "apt-get", "install", "-y", "--no-install-recommends", *PACKAGES])
        ours = root / "opt" / "beam-sdg"
        (ours / "matplotlib").mkdir(parents=True)
        fonts = ["MPLCONFIGDIR=/opt/beam-sdg/matplotlib", "python3", "-c"]
        _run([*inside, *fonts, "import matplotlib.font_manager"])
        shutil.copyfile(SUPERVISOR, ours / SUPERVISOR.name)
        say("import into the engine")
        repository, _, tag = image.partition(":")
        changes = [f"LABEL {name}={value}" for name, value in labels.items()]
        with _archive(root) as stream:
            client.api.import_image_from_stream(
                stream, repository=repository, tag=tag or "latest", changes=changes
            )
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _archive(root: Path) -> Iterator[io.BufferedReader]:
    """A root as a stream of tar, without what no session needs."""
    left_out = [f"--exclude={pattern}" for pattern in _LEFT_OUT]
    command = ["tar", "-C", str(root), *left_out, "-c", "."]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert isinstance(process.stdout, io.BufferedReader)
        yield process.stdout
    if process.returncode:
        raise SandboxDown(f"tar failed with exit code {process.returncode}")


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-300:]
        raise SandboxDown(f"{Path(command[0]).name} failed: {said}")
