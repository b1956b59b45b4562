"""The folders of a run: looked at before anything is asked, and held while it works."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from apache_beam.options.pipeline_options import (
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)

from beam_sdg.publish import ASIDE, MANIFEST
from beam_sdg.runs import IN_PROCESS
from transforms.errors import UsageError
from transforms.files import exists, is_full, is_remote, unwritten, write_object, writing

WORK = ".work"  # in the output: the work folder, unless --work_dir names another
_TRIES = 20
DATAFLOW = "DataflowRunner"
_WORKERS_HERE = ("FlinkRunner", "PrismRunner")  # unless an environment is named


def require_reachable(*folders: str) -> None:
    """Refuse a folder of an object store that cannot be asked.

    Raises:
        UsageError: its filesystem is not there, or refuses.
    """
    for folder in filter(is_remote, folders):
        if any(mark in folder for mark in "*?["):
            raise UsageError(
                f"{folder}: a folder of an object store has none of *, ? and [; rename it"
            )
        try:
            exists(folder)
        except OSError as error:
            raise UsageError(
                f"cannot look into {folder}: {error.strerror}; check path and credentials"
            ) from error


def require_shared(work_dir: str, options: PipelineOptions) -> None:
    """Refuse a work folder that workers have not: what they are answered would be gone with them.

    Raises:
        UsageError: they are machines or containers of their own, and it is a folder here.
    """
    runner = options.view_as(StandardOptions).runner
    environment = options.view_as(PortableOptions).environment_type
    if is_remote(work_dir) or runner == IN_PROCESS:
        return
    if runner != DATAFLOW and (
        environment == "LOOPBACK" or (environment is None and runner in _WORKERS_HERE)
    ):
        return
    if runner == DATAFLOW or environment not in ("EXTERNAL", "PROCESS"):
        who = "Dataflow's machines" if runner == DATAFLOW else "containers"
        raise UsageError(
            f"{who} do not have the folder {work_dir} of this machine, where answers are kept; "
            "name a bucket: --work_dir gs://BUCKET/work, or such an --output"
        )
    if not Path(work_dir).is_absolute():
        raise UsageError(
            f"workers need the whole path of {work_dir}, where answers are kept; if all of them "
            f"mount it, pass --work_dir {Path(work_dir).absolute()}"
        )


def require_ours(output: str) -> None:
    """Refuse an output that holds what is not ours.

    Raises:
        UsageError: it is a file, or a folder with other files.
    """
    if not is_remote(output) and Path(output).exists() and not Path(output).is_dir():
        raise UsageError(f"--output {output} is a file; name a folder")
    ours = any(exists(f"{output}/{name}") for name in (MANIFEST, WORK, ASIDE))
    if not ours and (exists(output) if is_remote(output) else _has_files(Path(output))):
        raise UsageError(f"--output {output} holds other files; name a new or empty folder")


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


@contextlib.contextmanager
def locked(folder: str, together: str) -> Iterator[None]:
    """Hold a folder alone, or with all who say the same word for what they do together.

    Raises:
        UsageError: another run holds it, or it cannot be written.
    """
    try:
        if is_remote(folder):
            write_object(f"{folder}/lock", b"")  # what marks the folder as ours
            lock = None
        else:
            Path(folder).mkdir(parents=True, exist_ok=True)
            lock = os.open(f"{folder}/lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        if is_full(error):
            raise unwritten(error.filename or folder, error) from error
        raise UsageError(
            f"cannot write {error.filename}: {error.strerror}; name another folder, or mend that"
        ) from error
    if lock is None:
        yield
        return
    try:
        with writing(f"{folder}/lock"):
            is_joined = bool(together) and _joined(lock, together.encode())
        if together and not is_joined:
            raise UsageError(
                f"{folder} is used by a run with other flags or without --shard; wait for it or "
                "stop it, and give all processes the same flags"
            )
        if not together and not _got(lock, fcntl.LOCK_EX):
            raise UsageError(f"another run is using {folder}; wait for it or stop it")
        yield
    finally:
        os.close(lock)


def _got(lock: int, how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _joined(lock: int, word: bytes) -> bool:
    """Share a lock with those who wrote the same into it; whoever is alone writes."""
    for _ in range(_TRIES):
        if _got(lock, fcntl.LOCK_EX):
            os.ftruncate(lock, 0)
            os.pwrite(lock, word, 0)
        if _got(lock, fcntl.LOCK_SH) and os.pread(lock, len(word) + 1, 0) == word:
            return True
        fcntl.flock(lock, fcntl.LOCK_UN)
        time.sleep(0.1)  # one of several may just be writing
    return False
