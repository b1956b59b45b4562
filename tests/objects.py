"""An object store for tests, `objects://NAME`, as the real ones behave.

There are no folders and no locks. Nothing is appended to: an object appears when it is closed,
whole, and a writer cannot seek. A rename is a copy and a deletion. Objects are files of a folder
that the environment names, so that several processes share them:

    objects://bucket/out/data/train-00000-of-00001.parquet   →   $OBJECTS/bucket%2Fout%2F…
"""

import beam_sdg  # noqa: F401  # isort: skip  # first: it imports Beam without its warning
import io
import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from apache_beam.io.filesystem import CompressionTypes, FileMetadata, FileSystem

VARIABLE = "OBJECTS"
SCHEME = "objects://"


class Refused(Exception):
    """An error of the store's own, which is no OSError."""


class Objects(FileSystem):
    """The filesystem; what has `refused` in its name cannot be read or written."""

    @classmethod
    def scheme(cls) -> str:
        return "objects"

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path: str) -> tuple[str, str]:
        folder, _, name = path.rpartition("/")
        return folder, name

    def mkdirs(self, path: str) -> None:
        """There are no folders."""

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        for file in sorted(_root().iterdir()):
            path = SCHEME + unquote(file.name)
            if file.is_file() and path.startswith(dir_or_prefix):
                yield FileMetadata(path, file.stat().st_size)

    def create(
        self, path: str, mime_type: str = "", compression_type: str = CompressionTypes.AUTO
    ) -> Any:
        if "/store/" in path and _file(path).exists():
            raise AssertionError(f"{path} would be written again, and its answers lost")
        return _Upload(_file(path))

    def open(
        self, path: str, mime_type: str = "", compression_type: str = CompressionTypes.AUTO
    ) -> Any:
        return io.BytesIO(_file(path).read_bytes())

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        for source, to in zip(source_file_names, destination_file_names, strict=True):
            with self.create(to) as file:
                file.write(_file(source).read_bytes())

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        self.copy(source_file_names, destination_file_names)
        self.delete(source_file_names)

    def exists(self, path: str) -> bool:
        return _file(path).is_file()

    def size(self, path: str) -> int:
        return _file(path).stat().st_size

    def last_updated(self, path: str) -> float:
        return _file(path).stat().st_mtime

    def checksum(self, path: str) -> str:
        return str(self.size(path))

    def metadata(self, path: str) -> FileMetadata:
        return FileMetadata(path, self.size(path))

    def delete(self, paths: list[str]) -> None:
        for path in paths:
            _file(path).unlink()


class _Upload(io.RawIOBase):
    """An object that is being written, aside until it is closed."""

    def __init__(self, to: Path) -> None:
        aside = _root() / "aside"
        aside.mkdir(exist_ok=True)
        self._to, self._aside = to, aside / secrets.token_hex(8)
        self._file = self._aside.open("wb")

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        return self._file.write(content)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        if not self.closed:
            self._file.close()
            self._aside.rename(self._to)
        super().close()


def _root() -> Path:
    return Path(os.environ[VARIABLE])


def _file(path: str) -> Path:
    if "refused" in path:
        raise Refused(f"403: {path} is not\nfor you")
    return _root() / quote(path.removeprefix(SCHEME), safe="")


def main() -> int:
    """The command line, in a process that knows of this filesystem."""
    from beam_sdg.cli import main as command_line

    return command_line(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
