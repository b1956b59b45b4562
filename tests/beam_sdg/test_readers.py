"""Who polls an output folder while runs publish reads a whole dataset or none."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from beam_sdg import publish
from beam_sdg.cli import main
from beam_sdg.publish import RunManifest
from transforms import files
from transforms.errors import Stopped

FLAGS = ("infinibyte", "--num_shards=2")
MOVES = ("put_away", "replace", "move_file", "_write", "write_manifest")
INNER = ("put_away", "remove", "move")


class Reader:
    """Reads a manifest, the files that it names and the manifest again; keeps what it found."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self.found: list[RunManifest | None] = []
        self.torn: list[str] = []

    def look(self, *, at_once: bool) -> None:
        """`at_once` says that nothing changes meanwhile, so that all must be there and fit."""
        before = self._manifest()
        manifest = RunManifest.model_validate_json(before) if before else None
        torn = [file.path for file in manifest.files if not self._fits(file)] if manifest else []
        if self._manifest() != before:
            assert not at_once
            return
        self.found.append(manifest)
        self.torn += torn

    def _manifest(self) -> bytes:
        try:
            return (self._output / "manifest.json").read_bytes()
        except FileNotFoundError:
            return b""

    def _fits(self, file: publish.DataFile) -> bool:
        try:
            content = (self._output / file.path).read_bytes()
        except FileNotFoundError:
            return False
        return hashlib.sha256(content).hexdigest() == file.sha256

    def rows(self) -> list[int]:
        """Of the datasets that it has seen, in turn; 0 for none."""
        seen = [found.stages[-1].rows if found else 0 for found in self.found]
        return [n for number, n in enumerate(seen) if number == 0 or n != seen[number - 1]]


def looking(reader: Reader, move: Callable[..., Any]) -> Callable[..., Any]:
    """The same step of a publication, with a look before and after it."""

    def moved(*arguments: Any) -> Any:
        reader.look(at_once=True)
        result = move(*arguments)
        reader.look(at_once=True)
        return result

    return moved


@pytest.fixture
def polling(tmp_path: Path) -> Iterator[Reader]:
    """A reader that polls in a thread of its own."""
    reader, is_over = Reader(tmp_path / "out"), threading.Event()

    def poll() -> None:
        while not is_over.wait(0.01):
            reader.look(at_once=False)

    thread = threading.Thread(target=poll)
    thread.start()
    yield reader
    is_over.set()
    thread.join()


def test_a_reader_never_sees_half_a_dataset(tmp_path, monkeypatch, polling):
    """At every step of a part, of the whole and of a larger one, and at any time in between."""
    stepping = Reader(tmp_path / "out")
    for module, names in ((publish, MOVES), (files, INNER)):
        for name in names:
            monkeypatch.setattr(module, name, looking(stepping, getattr(module, name)))
    run = (*FLAGS, "--output", str(tmp_path / "out"))
    assert main([*run, "--num_records=8", "--max_tokens_total=20000"]) == Stopped.exit_code
    part = stepping.rows()[-1]
    assert main([*run, "--num_records=8"]) == 0
    assert main([*run, "--num_records=12", "--replace"]) == 0
    stepping.look(at_once=True)
    assert stepping.torn == polling.torn == []
    assert stepping.rows() == [0, part, 0, 8, 0, 12]
    assert 0 < part < 8
    assert 8 in polling.rows()
