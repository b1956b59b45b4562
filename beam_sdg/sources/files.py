"""Files on any filesystem that Beam knows: which there are, and their text, decompressed."""

import bz2
import contextlib
import hashlib
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import zstandard
from apache_beam.io.filesystem import CompressionTypes, FileMetadata
from apache_beam.io.filesystems import FileSystems

from transforms.errors import InputError
from transforms.seeding import digest

KINDS = ("jsonl", "ndjson", "json", "csv", "tsv", "parquet")
_BUFFER = 1 << 20
_COMPRESSED_CHUNK = 1 << 16


def _zstandard() -> Any:
    return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()


_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "gz": lambda: zlib.decompressobj(wbits=zlib.MAX_WBITS | 16),
    "bz2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
    "zst": _zstandard,
}
_UNREADABLE = (
    OSError,
    EOFError,
    pa.ArrowException,
    zlib.error,
    lzma.LZMAError,
    zstandard.ZstdError,
)


class Kind(NamedTuple):
    """What a file holds, one of `KINDS`, and how it is compressed, "" where it is not."""

    content: str
    compression: str


def kind_of(path: str) -> Kind:
    """The kind of a file by its name.

    Raises:
        InputError: it is of no known kind.
    """
    stem, _, last = path.lower().rpartition(".")
    kind = Kind(stem.rpartition(".")[2], last) if last in _DECOMPRESSORS else Kind(last, "")
    if kind.content not in KINDS or (kind.content == "parquet" and kind.compression):
        raise InputError(
            f"{path} is of no kind that can be read: .{', .'.join(KINDS)}, and all but Parquet "
            f"also as .{', .'.join(_DECOMPRESSORS)}"
        )
    return kind


def matching(pattern: str) -> list[FileMetadata]:
    """The files that a pattern matches, sorted by path.

    Raises:
        InputError: its filesystem cannot be looked at.
    """
    try:
        matched = FileSystems.match([pattern])[0].metadata_list
    except Exception as error:  # each filesystem raises its own
        scheme = pattern.partition("://")[0]
        raise InputError(
            f"cannot look for {pattern}: {one_line(error)}; check the credentials, and that Beam's "
            f"support for {scheme}:// is installed (its extras gcp, aws and azure)"
        ) from error
    return sorted(matched, key=lambda file: file.path)


def one_line(error: Exception) -> str:
    """What a library says is wrong, in one line without its full stop; or its type."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


@contextlib.contextmanager
def opened(path: str) -> Iterator[io.BufferedReader]:
    """A file's bytes, decompressed; seekable where it is not compressed.

    Raises:
        InputError: here or from the body: the file cannot be read, is damaged or ends too early.
    """
    compression = kind_of(path).compression
    try:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            raw: Any = _Decompressed(file, _DECOMPRESSORS[compression]) if compression else file
            yield io.BufferedReader(raw, _BUFFER)
    except _UNREADABLE as error:
        kind = f", compressed as .{compression} says" if compression else ""
        raise InputError(
            f"cannot read {path}: {one_line(error)}; fetch or make it anew{kind}"
        ) from error


class _Decompressed(io.RawIOBase):
    """The text of all streams of a compressed file, to the last byte or an error.

    Beam's own decompression and zstandard's file reader are quiet about a file that was cut off,
    and the standard library's about damage after the first stream; rows would be missing then.
    """

    def __init__(self, file: Any, new_stream: Callable[[], Any]) -> None:
        self._file = file
        self._new_stream = new_stream
        self._stream = new_stream()
        self._compressed = b""
        self._text = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        while not self._text and self._advance():
            pass
        count = min(len(target), len(self._text))
        target[:count] = self._text[:count]
        self._text = self._text[count:]
        return count

    def _advance(self) -> bool:
        """Decompress the next piece; False where the last stream is whole and nothing follows."""
        compressed = self._compressed or self._file.read(_COMPRESSED_CHUNK)
        if not compressed and not self._stream.eof:
            raise EOFError("it was cut off: its last compressed stream has no end")
        if not compressed:
            return False
        if self._stream.eof:
            compressed = compressed.lstrip(b"\0")  # padding, which gzip and xz allow
            if compressed:
                self._stream = self._new_stream()
        if compressed:
            self._text = memoryview(self._stream.decompress(compressed))
        self._compressed = self._stream.unused_data if self._stream.eof and compressed else b""
        return True


def content_hash(file: FileMetadata) -> str:
    """A hash of a local file's bytes, about a second a gigabyte; elsewhere of size and time."""
    if "://" in file.path:
        return digest(file.path, file.size_in_bytes, file.last_updated_in_seconds)
    return local_hash(Path(file.path))


def local_hash(path: Path) -> str:
    """A hash of a local file's bytes."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "blake2b").hexdigest()[:32]
