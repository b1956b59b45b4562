"""Where an engine runs: some of this machine's GPUs, and what is written down of who has them.

A keeper has a record, a file that stays locked until nothing of its engine is left; the kernel
unlocks it when a keeper was killed. So a record that is locked says which GPUs are taken, and one
that is not says what to clear away: every process of the keeper's session, and its folder.

    {"engine": "vllm serve …", "key": …, "gpus": ["0", "1"], "session": 4711, "began": 123456,
     "system": …, "scratch": "/tmp/beam-sdg-1000/engine-…"}
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from transforms.errors import EngineDown
from transforms.seeding import digest

VISIBLE = "CUDA_VISIBLE_DEVICES"
_RECORD = ".keeper"
_CLEARED_WITHIN_S = 10.0


@dataclasses.dataclass(frozen=True)
class Place:
    """A set of GPUs, and the files of the one keeper that may have it.

    folder: where this user's keepers are found.
    gpus: their names, sorted; none stands for all that the machine has.
    """

    folder: Path
    gpus: tuple[str, ...]

    @property
    def stem(self) -> Path:
        """The path of its files, without their suffix."""
        name = "+".join(self.gpus) or "all"
        is_short = re.fullmatch(r"[\w+-]{1,24}", name)
        return self.folder / f"gpus-{name if is_short else digest(name)[:12]}"

    def overlaps(self, gpus: tuple[str, ...]) -> bool:
        """Whether an engine on these GPUs would be in the way of one here."""
        return not self.gpus or not gpus or not set(self.gpus).isdisjoint(gpus)


@dataclasses.dataclass(frozen=True)
class Record:
    """What a keeper writes down before it starts its engine.

    engine, key: which engine it is, in words and exactly.
    session, began: of all its processes: the keeper's own id, and its start in the clock's ticks.
    system: in which run of which system, or container, that id means something.
    scratch: the folder that the engine has for itself.
    """

    engine: str
    key: str
    gpus: tuple[str, ...]
    session: int
    began: int
    system: str
    scratch: str

    @classmethod
    def of_this_process(
        cls, engine: str, key: str, gpus: tuple[str, ...], scratch: str
    ) -> "Record":
        """The record of the keeper that this process is."""
        own = _status(os.getpid())
        return cls(engine, key, gpus, os.getpid(), own.began if own else 0, _system(), scratch)

    def write(self, stem: Path) -> None:
        """Put it into the file that whoever started this process has locked for it."""
        stem.with_suffix(_RECORD).write_text(json.dumps(dataclasses.asdict(self)))


class _Status(NamedTuple):
    state: str
    session: int
    began: int


def visible_gpus(gpus: str) -> tuple[str, ...]:
    """The names of the GPUs that an engine gets; none stands for all.

    Numbers count within what this process sees, as they would for a program that it starts.

    Raises:
        EngineDown: it does not see that many.
    """
    inherited = os.environ.get(VISIBLE)
    seen = [name.strip() for name in (inherited or "").split(",") if name.strip()]
    if not gpus:
        return tuple(seen)
    wanted = [int(number) for number in gpus.split(",")]
    if inherited is None:
        return tuple(map(str, wanted))
    if max(wanted) >= len(seen):
        raise EngineDown(
            f"there is no GPU {max(wanted)} among those of {VISIBLE}={inherited}; --gpus counts "
            "within them, from 0"
        )
    return tuple(seen[number] for number in wanted)


def place_of(names: tuple[str, ...]) -> Place:
    """The place of these GPUs, in a folder that is this user's alone.

    Raises:
        EngineDown: the folder is another user's.
    """
    folder = Path(tempfile.gettempdir()) / f"beam-sdg-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise EngineDown(f"{folder} belongs to another user; set TMPDIR to a folder of yours")
    return Place(folder, tuple(sorted(set(names))))


@contextlib.contextmanager
def alone(place: Place) -> Iterator[None]:
    """Be the only one that looks at the folder's records, for a moment."""
    with (place.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def in_the_way(place: Place) -> list[Record | None]:
    """The keepers that have any of the place's GPUs; None for one that is just coming or going.

    What is left of those that were killed is cleared away.
    """
    found: list[Record | None] = []
    for path in sorted(place.folder.glob(f"*{_RECORD}")):
        with contextlib.suppress(FileNotFoundError), path.open("r+") as file:
            record = _read(file)
            if not _is_locked(file):
                _clear(path, record)
            elif record is None or place.overlaps(record.gpus):
                found.append(record)
    return found


def locked_record(place: Place) -> IO[str]:
    """An empty record, locked for as long as a process has the file open."""
    file = place.stem.with_suffix(_RECORD).open("w")
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def forget(stem: Path) -> None:
    """Take a record away whose engine has ended."""
    stem.with_suffix(_RECORD).unlink(missing_ok=True)


def _is_locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _read(file: IO[str]) -> Record | None:
    try:
        fields = json.load(file)
        return Record(**{**fields, "gpus": tuple(fields["gpus"])})
    except (ValueError, TypeError, KeyError):  # not yet written
        return None


def _clear(path: Path, record: Record | None) -> None:
    """End every process that a killed keeper has left, and remove what it wrote."""
    if record is not None:
        give_up_at = time.monotonic() + _CLEARED_WITHIN_S
        while (left := _left_of(record)) and time.monotonic() < give_up_at:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        shutil.rmtree(record.scratch, ignore_errors=True)
    path.with_suffix(".sock").unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _left_of(record: Record) -> list[int]:
    """The processes of a keeper's session, unless its number has come to mean another one."""
    if record.system != _system():
        return []
    leader = _status(record.session)
    if leader is not None and leader.began != record.began:
        return []
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if _is_left(_status(pid), record)]


def _is_left(status: _Status | None, record: Record) -> bool:
    if status is None or status.state in "ZX":
        return False
    return status.session == record.session and status.began >= record.began


def _status(pid: int) -> _Status | None:
    """Of a process; None if there is none of this number."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return None
    return _Status(fields[0], int(fields[3]), int(fields[19]))


def _system() -> str:
    """What a process's number is good for: this run of the machine, and of the container."""
    boot = namespace = ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with contextlib.suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return f"{boot} {namespace}"
