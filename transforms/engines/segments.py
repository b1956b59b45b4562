"""Segments of the answer store: written a line at a time, and read as far as they are sound.

On a local or shared filesystem a segment is appended to: a line outlives the process when `append`
returns, and the machine `FLUSH_AFTER_S` later, or when the segment is closed. An object store
cannot append: there the lines of those seconds become a segment of their own, and they (and a
segment that is just being written) are what a killed process loses.
"""

import abc
import contextlib
import io
import itertools
import os
import re
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from transforms.errors import RunError
from transforms.files import File, files_below, is_remote, read_file, write_object

FLUSH_AFTER_S = 5.0
_AT_ONCE = 16  # segments that are flushed, and requests to an object store
Fetched = (
    bytes | RunError | None
)  # of an object store: what a segment holds, or why that is unknown
_NAME = re.compile(r"\d{6,}\.jsonl|[0-9a-f]{32}\.jsonl")


class Segments(Protocol):
    """What one writer appends to: a segment of its own in each place, made with its first line."""

    def append(self, place: str, line: bytes) -> None:
        """Write a line into a segment in the folder `place`.

        Raises:
            OSError: it, or a line before it, cannot be written.
            ValueError: after the close.
        """
        ...

    def close(self) -> None:
        """Write what is not written yet.

        Raises:
            OSError: it cannot be written.
        """
        ...


def segments_for(folder: str) -> Segments:
    """New segments in folders of this folder, as its filesystem can write them."""
    return _Objects(folder) if is_remote(folder) else _Files(Path(folder))


class _Flushed(abc.ABC):
    """What is flushed every few seconds by a thread of its own, and when it is closed."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._fault: OSError | None = None
        self._is_closing = threading.Event()
        self._thread: threading.Thread | None = None

    def _writable(self) -> None:
        """Begin to flush, if that has not begun; with the lock held."""
        if self._is_closing.is_set():
            raise ValueError("an answer after the end of its window")
        if self._fault is not None:
            raise self._fault
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="segments", daemon=True)
            self._thread.start()

    def close(self) -> None:
        with self._lock:
            self._is_closing.set()
        if self._thread is not None:
            self._thread.join()
        self._flush()
        if self._fault is not None:
            raise self._fault

    def _run(self) -> None:
        while not self._is_closing.wait(FLUSH_AFTER_S):
            self._flush()

    @abc.abstractmethod
    def _flush(self) -> None:
        """Write what is not written yet, and note in `_fault` if that fails."""


class _Files(_Flushed):
    """Files that are appended to; a line is one write, so at most one is torn, at the end."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._descriptors: dict[str, int] = {}
        self._unflushed: set[str] = set()

    def append(self, place: str, line: bytes) -> None:
        with self._lock:
            self._writable()
            if place not in self._descriptors:
                self._descriptors[place] = _create(self._folder / place)
            self._unflushed.add(place)
            written = os.write(self._descriptors[place], line)
            if written < len(line):
                self._write_rest(place, line[written:])

    def _write_rest(self, place: str, rest: bytes) -> None:
        """A disk that is full takes part of a line; what follows goes into a segment of its own."""
        try:
            while rest:
                rest = rest[os.write(self._descriptors[place], rest) :]
        except OSError:
            self._flush_file(self._descriptors.pop(place))
            raise

    def close(self) -> None:
        try:
            super().close()
        finally:
            for descriptor in self._descriptors.values():
                os.close(descriptor)
            self._descriptors.clear()

    def _flush(self) -> None:
        copies: list[int] = []
        with self._lock:
            try:
                for place in self._unflushed & self._descriptors.keys():
                    copies.append(os.dup(self._descriptors[place]))
                self._unflushed.clear()
            except OSError as error:  # too many are open
                self._fault = error
        if copies:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(self._flush_file, copies))

    def _flush_file(self, descriptor: int) -> None:
        try:
            os.fsync(descriptor)
        except OSError as error:  # some filesystems find only now that the disk is full
            with self._lock:
                self._fault = error
        finally:
            os.close(descriptor)


def _create(folder: Path) -> int:
    """A new file of the next free number: creation is exclusive, so no two writers share one."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(sum(1 for _ in folder.iterdir())):
        with contextlib.suppress(FileExistsError):
            return os.open(
                folder / f"{number:06d}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
            )
    raise AssertionError("unreachable")


class _Objects(_Flushed):
    """Objects that are written whole, each with the lines of some seconds."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder
        self._lines: dict[str, list[bytes]] = {}

    def append(self, place: str, line: bytes) -> None:
        with self._lock:
            self._writable()
            self._lines.setdefault(place, []).append(line)

    def _flush(self) -> None:
        with self._lock:
            waiting, self._lines = self._lines, {}
            self._fault = None  # what could not be written is tried again
        if waiting:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                list(pool.map(self._write_segment, waiting, waiting.values()))

    def _write_segment(self, place: str, lines: list[bytes]) -> None:
        try:
            path = f"{self._folder}/{place}/{secrets.token_hex(16)}.jsonl"
            write_object(path, b"".join(lines))
        except OSError as error:
            with self._lock:
                self._fault = error
                self._lines[place] = lines + self._lines.get(place, [])


def write_segment(folder: str, place: str, line: bytes) -> None:
    """Write a segment of one line, which may be lost with the machine.

    Raises:
        OSError: it cannot be written.
    """
    if is_remote(folder):
        write_object(f"{folder}/{place}/{secrets.token_hex(16)}.jsonl", line)
        return
    descriptor = _create(Path(folder) / place)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def is_segment(file: File) -> bool:
    """Whether we may have written it, by its name."""
    return file.is_regular and is_named(file.name)


def is_named(path: str) -> bool:
    """Whether a file is named like a segment."""
    return _NAME.fullmatch(path.rpartition("/")[2]) is not None


def segments_in(folder: str) -> list[File]:
    """The segments that are in a folder itself.

    Raises:
        RunError: it cannot be listed.
    """
    with reading(folder):
        found = files_below(folder)
    return [file for file in found if "/" not in file.name and is_segment(file)]


def read_segments(files: list[File]) -> Iterator[tuple[File, Fetched]]:
    """Segments in turn; with what they hold, where that had to be fetched from an object store."""
    remote = [file for file in files if is_remote(file.path)]
    yield from ((file, None) for file in files if not is_remote(file.path))
    if remote:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            yield from zip(remote, pool.map(_content, remote), strict=True)


def _content(file: File) -> bytes | RunError:
    try:
        with reading(file.path):
            return read_file(file.path)
    except RunError as error:
        return error


def lines_of(file: File, content: Fetched) -> Iterator[bytes]:
    """The lines of a segment, of which `content` was fetched; the last one may be torn.

    Raises:
        RunError: it cannot be read.
    """
    if isinstance(content, RunError):
        raise content
    if content is not None:
        yield from io.BytesIO(content)
        return
    with reading(file.path), Path(file.path).open("rb") as lines:
        yield from lines


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """Say of an error that a part of the store cannot be read.

    Raises:
        RunError: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot read {path}, a part of the answer store: {error.strerror}; mend that, or move "
            "it away: then what it holds is asked for again"
        ) from error
