"""What is flushed every few seconds: objects where nothing can be appended, else files."""

import os
import threading
import time
from pathlib import Path

import pytest

from tests.objects import VARIABLE
from transforms.engines import segments as segments_module
from transforms.engines.engine import Attempted, Reply
from transforms.engines.store import AnswerStore, Faults, Window
from transforms.engines.usage import EngineUsage
from transforms.errors import RunError
from transforms.files import files_below
from transforms.seeding import digest

ROOT = "objects://bucket/out/.work/store"
KEYS = [digest("key", number) for number in range(40)]


def reply(text: str) -> Attempted:
    return Attempted(Reply(text, "", "stop", 10, 20), 1)


@pytest.fixture
def store(tmp_path, monkeypatch) -> AnswerStore:
    """A store in an empty bucket."""
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    return AnswerStore(ROOT, "evals")


@pytest.fixture
def soon(monkeypatch) -> None:
    """Segments are flushed at once rather than after seconds."""
    monkeypatch.setattr(segments_module, "FLUSH_AFTER_S", 0.02)


def found(store: AnswerStore, *keys: str) -> list[str | None]:
    """What a window that is opened now finds for each key."""
    with store.window([5]) as window:
        replies = [window.get(5, key) for key in keys]
    return [one.text if one else None for one in replies]


def file_of(path: str, folder: Path) -> Path:
    """Where an object is kept."""
    return folder / path.removeprefix("objects://").replace("/", "%2F")


def wait_for(condition) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def wait_until_full(window: Window) -> None:
    """Append until that is refused, for want of room."""

    def is_refused() -> bool:
        try:
            window.append(5, KEYS[1], reply("perhaps"))
        except RunError as error:
            assert "No space left on device" in str(error)
            return True
        return False

    wait_for(is_refused)


def test_what_a_window_appended_is_there_when_it_is_closed(store):
    """However few seconds it was open; each shard is an object of its own, and none before."""
    with store.window([5]) as window:
        for number, key in enumerate(KEYS):
            window.append(5 + number % 2, key, reply(f"answer {number}"), model="m")
        assert store.segments() == []
    assert sorted(file.name[:3] for file in store.segments()) == ["05/", "06/"]
    assert found(store, *KEYS[:4]) == ["answer 0", None, "answer 2", None]
    assert len(list(store.attempts())) == len(KEYS)


def test_an_answer_is_durable_after_some_seconds(store, soon):
    """While its window is still open, and so when its process is killed, each is there soon."""
    with store.window([5]) as window:
        window.append(5, KEYS[0], reply("first"))
        wait_for(lambda: found(store, KEYS[0]) == ["first"])
        window.append(5, KEYS[1], reply("second"))
        wait_for(lambda: found(store, KEYS[1]) == ["second"])
    assert len(store.segments()) == 2


def test_writers_at_once_lose_nothing(store, soon):
    """Eight windows of as many threads, over many segments: every answer is read back."""

    def write(writer: int) -> None:
        with store.window([5]) as window:
            for key in KEYS[writer::8]:
                window.append(5, key, reply(key))
                time.sleep(0.03)

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found(store, *KEYS) == KEYS
    assert len(store.segments()) > 8


def test_damage_and_foreign_objects_are_told_of(store, tmp_path):
    """A cut segment, one of garbage, one that is empty, and what others have put there."""
    for key in KEYS[:2]:
        with store.window([5]) as window:
            window.append(5, key, reply(key))
    cut, garbage = (file_of(file.path, tmp_path) for file in store.segments())
    cut.write_bytes(cut.read_bytes()[:-20])
    garbage.write_bytes(b"\xff{}\n[[[\n" + garbage.read_bytes())
    for name in (f"{'0' * 32}.jsonl", "notes.txt", f"sub/{'1' * 32}.jsonl", "a.jsonl"):
        file_of(f"{ROOT}/evals/05/{name}", tmp_path).write_bytes(b"")
    faults = Faults()
    [sound] = store.attempts(faults)
    assert faults.counts == {"torn": 1, "damaged": 2, "foreign": 3}
    assert set(found(store, *KEYS[:2])) == {None, sound["key"]}


def test_a_store_that_refuses_is_a_run_error(store):
    """One line with the store's own words, also where they are no OSError."""
    refused = AnswerStore("objects://refused/store", "evals")
    said = "cannot keep an answer in .*: 403: .* is not for you; make"
    with pytest.raises(RunError, match=said), refused.window([]) as window:
        window.append(5, KEYS[0], reply("lost"))


def test_a_write_that_fails_once_is_made_good(store, soon, monkeypatch):
    """Later appends say what is wrong; at its close a window tries again, and nothing is lost."""
    failing = threading.Event()
    failing.set()
    write_object = segments_module.write_object

    def write(path: str, content: bytes) -> None:
        if failing.is_set():
            raise OSError(28, "No space left on device", path)
        write_object(path, content)

    monkeypatch.setattr(segments_module, "write_object", write)
    with store.window([]) as window:
        window.append(5, KEYS[0], reply("kept"))

        wait_until_full(window)
        failing.clear()
    assert found(store, KEYS[0]) == ["kept"]


def test_a_note_on_an_engine_is_kept(store):
    """As on any filesystem."""
    with store.window([]) as window:
        window.note(EngineUsage("vllm", "m", seconds=1.5))
    assert [usage.seconds for usage in store.engines()] == [1.5]


def test_a_transcript_is_read_from_objects(store):
    """The lines of one record, by sample and time."""
    record = "0005" + "0" * 28
    with store.window([]) as window:
        for sample in (1, 0):
            window.append(5, KEYS[sample], reply(f"{sample}"), record=record, sample=sample)
    assert [line["reply"]["text"] for line in store.transcript(record)] == ["0", "1"]


def test_what_was_fetched_is_gone_with_its_window(store, tmp_path_factory, monkeypatch):
    """The temporary copy of the answers is deleted."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with store.window([5]) as window:
        window.append(5, KEYS[0], reply("first"))
    with store.window([5]) as window:
        assert window.get(5, KEYS[0]) is not None
        assert len(list(folder.iterdir())) == 1
    assert list(folder.iterdir()) == []
    assert [file.name for file in files_below("objects://bucket/nothing")] == []


@pytest.fixture
def flushed(monkeypatch) -> list[int]:
    """How many bytes each file had that was flushed to the disk."""
    sizes: list[int] = []
    fsync = os.fsync

    def measured(descriptor: int) -> None:
        fsync(descriptor)
        sizes.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fsync", measured)
    return sizes


def test_a_file_is_flushed_while_it_is_open_and_at_the_end(tmp_path, soon, flushed):
    """So that a machine that is lost takes seconds of answers with it, and not those of hours."""
    with AnswerStore(str(tmp_path), "evals").window([]) as window:
        window.append(5, KEYS[0], reply("first"))
        wait_for(lambda: len(flushed) == 1)
        time.sleep(0.1)
        assert len(flushed) == 1  # there is nothing new
        window.append(5, KEYS[1], reply("second"))
        wait_for(lambda: len(flushed) == 2)
        segments_module.FLUSH_AFTER_S = 1000.0
        time.sleep(0.1)
        window.append(5, KEYS[2], reply("third"))
    [segment] = tmp_path.glob("evals/05/*")
    assert flushed[0] < flushed[1] < flushed[-1] == segment.stat().st_size


def test_a_disk_that_only_a_flush_finds_full_ends_the_window(tmp_path, soon, monkeypatch):
    """Some network filesystems: the next append says so, and so does the close."""

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(RunError, match="No space left on device"),
        AnswerStore(str(tmp_path), "evals").window([]) as window,
    ):
        window.append(5, KEYS[0], reply("first"))

        wait_until_full(window)


def test_what_came_before_a_line_that_a_full_disk_has_torn_is_flushed(
    tmp_path, flushed, monkeypatch
):
    """Though its segment is left, and the next line goes into another."""
    write, room = os.write, [10]

    def full(descriptor: int, line: bytes) -> int:
        if room:
            left = room.pop()
            if left:
                room.append(0)
                return write(descriptor, line[:left])
            raise OSError(28, "No space left on device")
        return write(descriptor, line)

    with AnswerStore(str(tmp_path), "evals").window([]) as window:
        monkeypatch.setattr(os, "write", write)
        window.append(5, KEYS[0], reply("first"))
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(RunError, match="No space left on device"):
            window.append(5, KEYS[1], reply("torn"))
        [torn] = tmp_path.glob("evals/05/*")
        assert flushed == [torn.stat().st_size]
        window.append(5, KEYS[1], reply("second"))
    assert len(flushed) == 2


@pytest.mark.parametrize("root", ["{tmp_path}/store", ROOT])
def test_nothing_is_appended_after_the_end(root, store, tmp_path):
    """Where it would be lost, or go into another one's file."""
    with AnswerStore(root.format(tmp_path=tmp_path), "evals").window([]) as window:
        window.append(5, KEYS[0], reply("first"))
    with pytest.raises(ValueError, match="after the end"):
        window.append(5, KEYS[1], reply("second"))
