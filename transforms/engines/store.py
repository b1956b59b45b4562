"""The answer store: an answer is durable when it arrives and is never asked for again.

    store/<ask>/<shard>/<segment>.jsonl      one line an answer, appended and never changed
    store/<ask>/engines/<window>.jsonl       one line, an `EngineUsage`, of engines that tell

    {"key":"<32 hex>","check":"<16 hex>","reply":{"text":…,"finish_reason":"stop",…},
     "at":…,"attempts":1,"model":…,"latency_s":…,"record":"<32 hex>","sample":0,"turn":1,
     "sent":[["system",…],["user",…]]}
    {"key":…,"check":…,"execution":{"status":"ok","output":…,…},"at":…,"record":…,"sample":0}

`sent` is what the model was told since its last turn, so the lines of a conversation are its
transcript. What became of code that it ran is a line too, under the key of that call.

A segment has one writer, which creates it; a line is one write, so that a killed process leaves at
most one torn line, at the end. Where a key has two answers, the smaller content hash wins at every
reading. A failure is a line too, for the ledger, but not an answer: it will be asked for again.
"""

import contextlib
import dataclasses
import itertools
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from sandbox import Execution
from transforms.engines.engine import Attempted, Failure, Reply, ToolCall
from transforms.engines.usage import EngineUsage
from transforms.errors import RunError
from transforms.records import TokenLogprob, lineage
from transforms.seeding import digest

T = TypeVar("T", Reply, Execution)
_log = logging.getLogger(__name__)

SHARDS = 64
_KEY = slice(8, 40)
_CHECK = slice(51, 67)
_PREFIX = b'{"key":"'
_KEPT = (b'"reply"', b'"execution"')  # a failure is not: it will be asked for again
_encoded = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def shard_of(record_id: str) -> int:
    """The shard that holds the answers about a record."""
    return int(record_id[:4], 16) % SHARDS


@dataclasses.dataclass(frozen=True)
class AnswerStore:
    """The answers of one ask, in a folder on a local or shared filesystem."""

    root: str
    ask: str

    @contextlib.contextmanager
    def window(self, shards: Iterable[int]) -> Iterator["Window"]:
        """Open the shards that a window of requests needs, for reading and appending."""
        window = Window(Path(self.root) / self.ask, set(shards))
        try:
            yield window
        finally:
            window.close()

    def attempts(self) -> Iterator[dict[str, Any]]:
        """Every readable turn of the ask: the ledger of what was asked, when and at what cost."""
        return (line for line in self._lines("[0-9]*") if "execution" not in line)

    def executions(self) -> Iterator[dict[str, Any]]:
        """Every readable line of code that was run, with how long that took."""
        return (line for line in self._lines("[0-9]*") if "execution" in line)

    def engines(self) -> Iterator[EngineUsage]:
        """How engines of ours were used by the windows that asked them something."""
        for line in self._lines("engines"):
            with contextlib.suppress(TypeError):
                yield EngineUsage(**line)

    def transcript(self, record_id: str) -> list[dict[str, Any]]:
        """The lines about a record, or those it is a sample of, as they were written."""
        lines = self._lines(f"{shard_of(record_id):02d}")
        records = lineage(record_id)
        return sorted(
            (line for line in lines if line.get("record") in records),
            key=lambda line: (line["sample"], line["at"]),
        )

    def _lines(self, shards: str) -> Iterator[dict[str, Any]]:
        for segment in sorted((Path(self.root) / self.ask).glob(f"{shards}/*.jsonl")):
            with segment.open("rb") as lines:
                for line in lines:
                    with contextlib.suppress(ValueError):
                        yield json.loads(line)


class Window:
    """The store as one window of requests sees it: what was there, and what it adds.

    Cost: about 150 bytes of memory an answer; texts stay on disk until they are asked for.
    """

    def __init__(self, folder: Path, shards: set[int]) -> None:
        self._folder = folder
        self._segments: dict[int, int] = {}
        self._index: dict[int, dict[bytes, list[tuple[bytes, Path, int]]]] = {}
        for shard in sorted(shards):
            self._open(shard)

    def get(self, shard: int, key: str) -> Reply | None:
        """The stored answer to `key`; None where there is none that is undamaged."""
        return self._stored(shard, key, _reply)

    def execution(self, shard: int, key: str) -> Execution | None:
        """What became of the code of a call; None where it has not been run."""
        return self._stored(shard, key, _execution)

    def _stored(self, shard: int, key: str, read: Callable[[dict[str, Any]], T]) -> T | None:
        self._open(shard)
        for check, segment, offset in sorted(self._index[shard].get(key.encode(), ())):
            with contextlib.suppress(ValueError, KeyError, TypeError):
                found = read(_line_at(segment, offset))
                if _check(found).encode() == check:
                    return found
        return None

    def append(self, shard: int, key: str, attempted: Attempted, **facts: Any) -> None:
        """Write the outcome of a turn, with facts about it; returned from, it outlives the process.

        Raises:
            RunError: the disk is full or the folder cannot be written; nothing was recorded.
        """
        outcome = attempted.result
        name = "failure" if isinstance(outcome, Failure) else "reply"
        self._write(shard, key, name, outcome, attempts=attempted.attempts, **facts)

    def append_execution(self, shard: int, key: str, execution: Execution, **facts: Any) -> None:
        """Write what became of the code of a call, as `append` does.

        Raises:
            RunError: as `append`.
        """
        self._write(shard, key, "execution", execution, **facts)

    def _write(
        self, shard: int, key: str, name: str, outcome: Reply | Failure | Execution, **facts: Any
    ) -> None:
        line = {
            "key": key,
            "check": _check(outcome),
            name: _fields(outcome),
            "at": round(time.time(), 3),
            **facts,
        }
        encoded = _encoded(line).encode("utf-8", "surrogatepass") + b"\n"
        try:
            if shard not in self._segments:
                self._segments[shard] = _create_segment(self._folder / f"{shard:02d}")
            written = os.write(self._segments[shard], encoded)
        except OSError as error:
            raise RunError(
                f"cannot keep an answer in {self._folder}: {error.strerror}; make room or pass "
                "another --work_dir, then run the same command again"
            ) from error
        if written < len(encoded):
            raise RunError(f"the disk of {self._folder} is full; make room and run again")

    def note(self, usage: EngineUsage) -> None:
        """Write down how an engine was used; no run ends because that fails."""
        line = _encoded(dataclasses.asdict(usage)).encode() + b"\n"
        try:
            segment = _create_segment(self._folder / "engines")
            try:
                os.write(segment, line)
            finally:
                os.close(segment)
        except OSError as error:
            _log.warning("cannot note in %s how the engine was used: %s", self._folder, error)

    def close(self) -> None:
        """Close the segments this window wrote."""
        for descriptor in self._segments.values():
            os.close(descriptor)
        self._segments.clear()

    def _open(self, shard: int) -> None:
        if shard in self._index:
            return
        self._index[shard] = {}
        for segment in sorted((self._folder / f"{shard:02d}").glob("*.jsonl")):
            self._read(segment, self._index[shard])

    @staticmethod
    def _read(segment: Path, index: dict[bytes, list[tuple[bytes, Path, int]]]) -> None:
        offset = 0
        with segment.open("rb") as lines:
            for line in lines:
                whole = line.startswith(_PREFIX) and line.endswith(b"}\n")
                if whole and line[69:].startswith(_KEPT):
                    found = (line[_CHECK], segment, offset)
                    index.setdefault(line[_KEY], []).append(found)
                offset += len(line)


def _line_at(segment: Path, offset: int) -> dict[str, Any]:
    with segment.open("rb") as lines:
        lines.seek(offset)
        return json.loads(lines.readline())


def _reply(line: dict[str, Any]) -> Reply:
    fields = line["reply"]
    logprobs = tuple(
        TokenLogprob(token, drawn, tuple((other, of) for other, of in top))
        for token, drawn, top in fields.pop("logprobs", ())
    )
    calls = tuple(ToolCall(*call) for call in fields.pop("calls", ()))
    return Reply(**fields, logprobs=logprobs, calls=calls)


def _execution(line: dict[str, Any]) -> Execution:
    return Execution(**line["execution"])


def _fields(outcome: Reply | Failure | Execution) -> dict[str, Any]:
    # dataclasses.asdict copies deeply, which costs more than the rest of an append
    fields = {name: getattr(outcome, name) for name in type(outcome).__slots__}
    for name in ("logprobs", "calls"):
        if not fields.get(name, True):
            del fields[name]
    return fields


def _check(outcome: Reply | Failure | Execution) -> str:
    return digest(*_fields(outcome).values())[:16]


def _create_segment(folder: Path) -> int:
    """A new file of the next free number: creation is exclusive, so no two writers share one."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(len(list(folder.glob("*.jsonl")))):
        with contextlib.suppress(FileExistsError):
            return os.open(
                folder / f"{number:06d}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
            )
    raise AssertionError("unreachable")
