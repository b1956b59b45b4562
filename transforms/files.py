"""Files on any filesystem that Beam knows: of `scheme://…` by Beam, of all else by the system.

An object store has no folders and no locks, cannot append, and renames a file by copying it; what
is written there appears when it is closed, and whole. Its paths have none of the characters `*?[`,
which Beam would take for a pattern.
"""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from transforms.errors import RunError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_AS_IT_IS = CompressionTypes.UNCOMPRESSED


class File(NamedTuple):
    """A file below a folder, its name relative to that; `is_regular` is false of a pipe or so."""

    path: str
    name: str
    size: int
    is_regular: bool = True


def is_remote(path: str) -> bool:
    """Whether Beam's filesystems read and write this, and not the system's own."""
    return "://" in path


def files_below(folder: str) -> list[File]:
    """All files in a folder and its folders, by name; none where there is no folder.

    Raises:
        OSError: it cannot be listed.
    """
    return sorted(_remote_below(folder) if is_remote(folder) else _local_below(Path(folder)))


def _remote_below(folder: str) -> Iterator[File]:
    prefix = f"{folder.rstrip('/')}/"
    with _by_beam(folder):
        [matched] = FileSystems.match([f"{prefix}**"])
    for found in matched.metadata_list:
        name = found.path.removeprefix(prefix)
        if not found.path.endswith("/"):  # some stores keep an object for what looks like a folder
            yield File(found.path, name, found.size_in_bytes)


def _local_below(folder: Path) -> Iterator[File]:
    for parent, _, names in os.walk(folder, onerror=_raise_unless_missing):
        for path in (Path(parent, name) for name in names):
            is_regular = path.is_file()
            size = path.stat().st_size if is_regular else 0
            yield File(str(path), str(path.relative_to(folder)), size, is_regular)


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def exists(path: str) -> bool:
    """Whether there is a file or a folder; in an object store, a file or some below it.

    Raises:
        OSError: its filesystem cannot be asked.
    """
    if not is_remote(path):
        return Path(path).exists()
    with _by_beam(path):
        [below] = FileSystems.match([f"{path}/**"], limits=[1])
        return bool(below.metadata_list) or FileSystems.exists(path)


def read_file(path: str) -> bytes:
    """All of a file.

    Raises:
        OSError: it cannot be read.
    """
    if not is_remote(path):
        return Path(path).read_bytes()
    with _by_beam(path), FileSystems.open(path, compression_type=_AS_IT_IS) as file:
        return file.read()


def write_object(path: str, content: bytes) -> None:
    """Write a file of an object store, which appears whole.

    Raises:
        OSError: it cannot be written.
    """
    with _by_beam(path), FileSystems.create(path, compression_type=_AS_IT_IS) as file:
        file.write(content)


@contextlib.contextmanager
def writing(path: str) -> Iterator[None]:
    """Say of an error that a file cannot be written, and how to mend it.

    Raises:
        RunError: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise unwritten(path, error) from error


def unwritten(path: str, error: OSError) -> RunError:
    """What to say of a file that cannot be written."""
    said = error.strerror or " ".join(str(error).split())
    mend = "make room" if is_full(error) else "mend that"
    return RunError(
        f"cannot write {path}: {said}; {mend} and run the same command again: what was answered "
        "and finished is kept"
    )


def is_full(error: OSError) -> bool:
    """Whether it is for want of room on a disk; Beam's own errors say so only in words."""
    return error.errno in _FULL or any(os.strerror(number) in str(error) for number in _FULL)


def remove(path: str) -> None:
    """Delete a file or a folder with all that is in it; nothing where there is none.

    Raises:
        OSError: it cannot be deleted.
    """
    if is_remote(path):
        paths = [file.path for file in files_below(path)]
        with _by_beam(path):
            paths += [path] if FileSystems.exists(path) else []
            if paths:
                FileSystems.delete(paths)
    elif Path(path).is_dir() and not Path(path).is_symlink():
        shutil.rmtree(path)
    else:
        Path(path).unlink(missing_ok=True)


def names_in(folder: str) -> list[str]:
    """The names of the files and folders in a folder; none where there is no folder.

    Raises:
        OSError: it cannot be listed.
    """
    if is_remote(folder):
        return sorted({file.name.partition("/")[0] for file in files_below(folder)})
    try:
        return sorted(path.name for path in Path(folder).iterdir())
    except FileNotFoundError:
        return []


def put_away(path: str, to: str) -> None:
    """Let a file or a folder be elsewhere, where there is none, if it is there at all.

    In an object store it is deleted. Else it stays where the folder of `to` is gone.

    Raises:
        OSError: it cannot be moved or deleted.
    """
    if is_remote(path):
        remove(path)
    elif os.path.lexists(path):
        Path(path).rename(to)


def move(folder: str, to: str) -> None:
    """Let a folder appear elsewhere, where there is none; of an object store, file after file.

    Raises:
        OSError: it cannot be moved.
    """
    if is_remote(folder):
        files = files_below(folder)
        with _by_beam(to):
            names = [file.name for file in files]
            FileSystems.rename([f"{folder}/{n}" for n in names], [f"{to}/{n}" for n in names])
    else:
        Path(folder).rename(to)


def replace(folder: str, to: str) -> None:
    """Let a folder appear where there may be another, which is gone a moment before.

    Where the folder that it is in has been taken away meanwhile, nothing changes (but in an object
    store).

    Raises:
        OSError: it cannot be moved.
    """
    old = f"{folder}.old"  # deleting many files takes longer than a moment
    put_away(to, old)
    move(folder, to)
    remove(old)


def move_file(path: str, to: str) -> None:
    """Let a file appear elsewhere, in the place of any that is there.

    Raises:
        OSError: it cannot be moved.
    """
    if is_remote(path):
        with _by_beam(to):
            FileSystems.rename([path], [to])
    else:
        Path(path).replace(to)


def relative(path: str, to: str) -> str:
    """`path` as seen from the folder `to`: what `joined` makes it again from."""
    if path.startswith(f"{to}/"):
        return path.removeprefix(f"{to}/")
    if is_remote(path):
        return path
    return str(Path(path).resolve()) if is_remote(to) else os.path.relpath(path, to)


def joined(folder: str, path: str) -> str:
    """A path that is relative to a folder, or absolute."""
    if is_remote(path) or path.startswith("/"):
        return path
    return f"{folder}/{path}" if is_remote(folder) else str(Path(folder, path))


@contextlib.contextmanager
def _by_beam(path: str) -> Iterator[None]:
    """Filesystems have errors of their own; all of them are an OSError here, in their words."""
    try:
        yield
    except Exception as error:
        details = getattr(error, "exception_details", None) or {}
        said = "; ".join(str(detail) for detail in details.values()) or str(error)
        raise OSError(errno.EIO, " ".join(said.split()), path) from error
