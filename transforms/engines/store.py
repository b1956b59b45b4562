"""The answer store: an answer is durable when it arrives and is never asked for again.

    store/<ask>/<shard>/<segment>.jsonl      one line an answer, appended and never changed
    store/<ask>/engines/<window>.jsonl       one line, an `EngineUsage`, of engines that tell

    {"key":"<32 hex>","check":"<16 hex>","reply":{"text":…,"finish_reason":"stop",…},
     "at":…,"attempts":1,"model":…,"latency_s":…,"record":"<32 hex>","sample":0,"turn":1,
     "sent":[["system",…],["user",…]]}
    {"key":…,"check":…,"execution":{"status":"ok","output":…,…},"at":…,"record":…,"sample":0}

`check` hashes the key and what was kept under it. `sent` is what the model was told since its last
turn, so the lines of a conversation are its transcript. `charged`, where it is there, are tokens in
and out that count as spent beside those the server tells. What became of code that it ran is a line
too, under the key of that call.

A segment has one writer, which creates it; a line that is not whole, or not what was written, is no
answer. Where a key has two answers, the smaller content hash wins at every reading. A failure is a
line too, for the ledger, but not an answer: it will be asked for again. Files that are not named
like segments are left alone.
"""

import contextlib
import dataclasses
import json
import logging
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pydantic

from sandbox import Execution
from transforms.engines.engine import Attempted, Failure, Reply, ToolCall
from transforms.engines.segments import (
    Fetched,
    is_named,
    is_segment,
    lines_of,
    read_segments,
    reading,
    segments_for,
    segments_in,
    write_segment,
)
from transforms.engines.usage import EngineUsage
from transforms.errors import RunError
from transforms.files import File, files_below, is_remote
from transforms.records import TokenLogprob, lineage
from transforms.seeding import digest, integer

R = TypeVar("R")
T = TypeVar("T", Reply, Execution)
_log = logging.getLogger(__name__)

SHARDS = 64
ENGINES = "engines"
_KEY = slice(8, 40)
_CHECK = slice(51, 67)
_PREFIX = b'{"key":"'
_KEPT = (b'"reply"', b'"execution"')  # a failure is not: it will be asked for again
_HEX = re.compile("[0-9a-f]{32}")
_PLACE = re.compile(rf"\d\d|{ENGINES}")
_FACTS: dict[str, Any] = {
    **dict.fromkeys(("at", "latency_s"), (int, float)),
    **dict.fromkeys(("attempts", "sample", "turn"), int),
    **dict.fromkeys(("model", "record"), str),
}
_EXAMPLES = 20  # of each kind of fault
_USAGE = pydantic.TypeAdapter(EngineUsage)
_encoded = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def shard_of(record_id: str) -> int:
    """The shard that holds the answers about a record, and about all samples of it."""
    root = lineage(record_id)[-1]
    if _HEX.fullmatch(root):
        return int(root[:4], 16) % SHARDS
    return integer(SHARDS, "record", root)


class FaultKind(NamedTuple):
    """What one fault of a kind is called, and several of them, and what becomes of it."""

    one: str
    several: str
    meaning: str


FAULTS = {
    "torn": FaultKind(
        "torn line",
        "torn lines",
        "a killed process left it, or it is being written now; no answer",
    ),
    "damaged": FaultKind("damaged line", "damaged lines", "not what was written; no answer"),
    "foreign": FaultKind(
        "foreign file",
        "foreign files",
        "not named like a segment, or in no place of one; left alone",
    ),
    "unreadable": FaultKind(
        "unreadable segment",
        "unreadable segments",
        "a run that needs it stops; move it away, and what it holds is asked for again",
    ),
    "twice": FaultKind(
        "answer that is there twice",
        "answers that are there twice",
        "written by several processes, or copied; harmless",
    ),
    "disputed": FaultKind(
        "question with different answers",
        "questions with different answers",
        "the one with the smaller hash is taken, at every reading",
    ),
}


class Faults:
    """What is wrong with a store, by its kind in `FAULTS`, and where the first few of each are."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}

    def add(self, kind: str, where: str) -> None:
        """Count one of a kind in `FAULTS`, and remember where it is."""
        self.counts[kind] += 1
        if self.counts[kind] <= _EXAMPLES:
            self.examples.setdefault(kind, []).append(where)


@dataclasses.dataclass(frozen=True)
class AnswerStore:
    """The answers of one ask, in a folder on any filesystem that Beam knows."""

    root: str
    ask: str

    @property
    def folder(self) -> str:
        """Where they are."""
        return f"{self.root}/{self.ask}"

    @contextlib.contextmanager
    def window(self, shards: Iterable[int]) -> Iterator["Window"]:
        """Open the shards that a window of requests needs, for reading and appending.

        Raises:
            RunError: at the end, what was appended cannot be written.
        """
        window = Window(self.folder, set(shards))
        try:
            yield window
        finally:
            window.close()

    def attempts(self, faults: Faults | None = None) -> Iterator[dict[str, Any]]:
        """Every sound turn of the ask: the ledger of what was asked, when and at what cost.

        `faults` is told what is wrong with the segments and files of the ask.

        Raises:
            RunError: a segment cannot be read, and there are no `faults` to tell.
        """
        return (line for line in self.lines(faults) if "execution" not in line)

    def executions(self) -> Iterator[dict[str, Any]]:
        """Every sound line of code that was run, with how long that took.

        Raises:
            RunError: a segment cannot be read.
        """
        return (line for line in self.lines() if "execution" in line)

    def lines(self, faults: Faults | None = None) -> Iterator[dict[str, Any]]:
        """Every sound line, of what was asked and of code that was run.

        Cost: with `faults`, about 300 bytes of memory for each answer of one shard.

        Raises:
            RunError: as `attempts`.
        """
        by_place: dict[str, list[File]] = {}
        for file in self.segments(faults):
            by_place.setdefault(file.name.split("/")[0], []).append(file)
        for place in sorted(by_place.keys() - {ENGINES}):
            answers = None if faults is None else _Answers(faults)
            for file, content in read_segments(by_place[place]):
                for number, line in _read(file, content, parsed, faults):
                    if answers is not None:
                        answers.add(line, f"{file.path}, line {number}")
                    yield line
            if answers is not None:
                answers.tell()

    def segments(self, faults: Faults | None = None) -> list[File]:
        """The segments of all shards and engines, by name.

        Raises:
            RunError: the folder cannot be listed.
        """
        with reading(self.folder):
            files = files_below(self.folder)
        found = []
        for file in files:
            place, *rest = file.name.split("/")
            if len(rest) == 1 and _PLACE.fullmatch(place) and is_segment(file):
                found.append(file)
            elif faults is not None:
                faults.add("foreign", file.path)
        return found

    def engines(self, faults: Faults | None = None) -> Iterator[EngineUsage]:
        """How engines of ours were used by the windows that asked them something.

        Raises:
            RunError: as `attempts`.
        """
        for file, content in read_segments(segments_in(f"{self.folder}/{ENGINES}")):
            for _, usage in _read(file, content, _usage, faults):
                yield usage

    def transcript(self, record_id: str) -> list[dict[str, Any]]:
        """The lines about a record, or those it is a sample of, as they were written.

        Raises:
            RunError: a segment cannot be read.
        """
        records = lineage(record_id)
        files = read_segments(segments_in(f"{self.folder}/{shard_of(record_id):02d}"))
        return sorted(
            (
                line
                for file, content in files
                for _, line in _read(file, content, parsed)
                if line.get("record") in records
            ),
            key=lambda line: (line.get("sample", 0), line.get("at", 0)),
        )


def stores_in(root: str, faults: Faults) -> list[AnswerStore]:
    """The answers of each ask that a store holds; `faults` is told of files that are of none.

    Raises:
        RunError: the folder cannot be listed.
    """
    with reading(root):
        files = files_below(root)
    for file in files:
        if "/" not in file.name:
            faults.add("foreign", file.path)
    asks = {file.name.split("/")[0] for file in files if "/" in file.name}
    return [AnswerStore(root, ask) for ask in sorted(asks)]


def is_store(folder: str) -> bool:
    """Whether a folder is a store: whether an ask in it has a segment of answers.

    Raises:
        OSError: it cannot be listed.
    """
    if is_remote(folder):
        names = [file.name for file in files_below(folder)]
    else:
        names = [str(path.relative_to(folder)) for path in Path(folder).glob("*/*/*")]
    parts = (name.split("/") for name in names)
    return any(
        len(part) == 3 and part[1] != ENGINES and _PLACE.fullmatch(part[1]) and is_named(part[2])
        for part in parts
    )


def _read(
    file: File,
    content: Fetched,
    read: Callable[[bytes], R | None],
    faults: Faults | None = None,
) -> Iterator[tuple[int, R]]:
    """The sound lines of a segment, numbered."""
    try:
        for number, line in enumerate(lines_of(file, content), start=1):
            if (found := read(line)) is not None:
                yield number, found
            elif faults is not None:
                kind = "damaged" if line.endswith(b"\n") else "torn"
                faults.add(kind, f"{file.path}, line {number}")
    except RunError as error:
        if faults is None:
            raise
        faults.add("unreadable", str(error))


class _Answers:
    """Which answers of a shard are there twice."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._seen: dict[str, tuple[str, str]] = {}
        self._disputed: dict[str, int] = {}

    def add(self, line: dict[str, Any], where: str) -> None:
        if "failure" in line:
            return
        key, check = line["key"], line["check"]
        kept = self._seen.setdefault(key, (check, where))
        if kept == (check, where):
            return
        if kept[0] == check:
            self._faults.add("twice", f"{where}: as in {kept[1]}")
        else:
            self._disputed[key] = self._disputed.get(key, 1) + 1
            self._seen[key] = min(kept, (check, where))

    def tell(self) -> None:
        for key, number in self._disputed.items():
            wins = self._seen[key][1]
            self._faults.add("disputed", f"{key}: {number} answers, and that of {wins} is taken")


class Window:
    """The store as one window of requests sees it: what was there, and what it adds.

    Cost: about 350 bytes of memory an answer; texts stay on disk until they are asked for. What is
    in an object store is fetched once, into a temporary file.
    """

    def __init__(self, folder: str, shards: set[int]) -> None:
        self._folder = folder
        self._segments = segments_for(folder)
        self._index: dict[int, dict[bytes, list[tuple[bytes, str, int]]]] = {}
        self._fetched: tempfile._TemporaryFileWrapper[bytes] | None = None
        for shard in sorted(shards):
            self._open(shard)

    def get(self, shard: int, key: str) -> Reply | None:
        """The stored answer to `key`; None where there is none that is undamaged.

        Raises:
            RunError: a segment cannot be read.
        """
        return self._stored(shard, key, _reply)

    def execution(self, shard: int, key: str) -> Execution | None:
        """What became of the code of a call; None where it has not been run.

        Raises:
            RunError: as `get`.
        """
        return self._stored(shard, key, _execution)

    def _stored(self, shard: int, key: str, read: Callable[[dict[str, Any]], T]) -> T | None:
        self._open(shard)
        for _, segment, offset in sorted(self._index[shard].get(key.encode(), ())):
            found = parsed(_line_at(segment, offset))
            with contextlib.suppress(LookupError):
                if found is not None and found["key"] == key:
                    return read(found)
        return None

    def append(self, shard: int, key: str, attempted: Attempted, **facts: Any) -> None:
        """Write the outcome of a turn, with facts about it.

        Returned from, it outlives the process; in an object store, some seconds later.

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
            "check": _check(key, outcome),
            name: _fields(outcome),
            "at": round(time.time(), 3),
            **facts,
        }
        encoded = _encoded(line).encode("utf-8", "surrogatepass") + b"\n"
        with self._writing():
            self._segments.append(f"{shard:02d}", encoded)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunError(
                f"cannot keep an answer in {self._folder}: {error.strerror}; make room or pass "
                "another --work_dir, then run the same command again"
            ) from error

    def note(self, usage: EngineUsage) -> None:
        """Write down how an engine was used; no run ends because that fails."""
        line = _encoded(dataclasses.asdict(usage)).encode() + b"\n"
        try:
            write_segment(self._folder, ENGINES, line)
        except OSError as error:
            _log.warning("cannot note in %s how the engine was used: %s", self._folder, error)

    def close(self) -> None:
        """Close the segments this window wrote.

        Raises:
            RunError: what was appended cannot be written, or not flushed.
        """
        if self._fetched is not None:
            self._fetched.close()
        with self._writing():
            self._segments.close()

    def _open(self, shard: int) -> None:
        if shard in self._index:
            return
        self._index[shard] = {}
        for file, content in read_segments(segments_in(f"{self._folder}/{shard:02d}")):
            path, offset = self._kept(content) if isinstance(content, bytes) else (file.path, 0)
            self._read(lines_of(file, content), path, offset, self._index[shard])

    def _kept(self, content: bytes) -> tuple[str, int]:
        """Where what was fetched is on a disk of this machine."""
        try:
            if self._fetched is None:
                self._fetched = tempfile.NamedTemporaryFile(prefix="beam-sdg-answers-")  # noqa: SIM115
            offset = self._fetched.tell()
            self._fetched.write(content)
            self._fetched.flush()
        except OSError as error:
            raise RunError(
                f"cannot copy the answers in {self._folder} to {tempfile.gettempdir()}: "
                f"{error.strerror}; make room, or set TMPDIR to another folder"
            ) from error
        return self._fetched.name, offset

    @staticmethod
    def _read(
        lines: Iterator[bytes],
        path: str,
        offset: int,
        index: dict[bytes, list[tuple[bytes, str, int]]],
    ) -> None:
        for line in lines:
            whole = line.startswith(_PREFIX) and line.endswith(b"}\n")
            if whole and line[69:].startswith(_KEPT):
                index.setdefault(line[_KEY], []).append((line[_CHECK], path, offset))
            offset += len(line)


def _line_at(segment: str, offset: int) -> bytes:
    with reading(segment), Path(segment).open("rb") as lines:
        lines.seek(offset)
        return lines.readline()


def parsed(line: bytes) -> dict[str, Any] | None:
    """A line as it was written; None of one that is torn, damaged or of another kind."""
    if not line.endswith(b"}\n"):
        return None
    try:
        found = json.loads(line)
        return found if _is_sound(found) else None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def _usage(line: bytes) -> EngineUsage | None:
    try:
        return _USAGE.validate_json(line)
    except pydantic.ValidationError:
        return None


def _is_sound(line: dict[str, Any]) -> bool:
    [kind] = line.keys() & _READ.keys()
    return (
        _HEX.fullmatch(line["key"]) is not None
        and line["check"] in _checks(line["key"], _READ[kind](line))
        and all(isinstance(line[name], of) for name, of in _FACTS.items() if name in line)
        and all(isinstance(part, str) for said in line.get("sent", ()) for part in said)
    )


def _reply(line: dict[str, Any]) -> Reply:
    fields = dict(line["reply"])
    logprobs = tuple(
        TokenLogprob(token, drawn, tuple((other, of) for other, of in top))
        for token, drawn, top in fields.pop("logprobs", ())
    )
    calls = tuple(ToolCall(*call) for call in fields.pop("calls", ()))
    return Reply(**fields, logprobs=logprobs, calls=calls)


def _execution(line: dict[str, Any]) -> Execution:
    return Execution(**line["execution"])


def _failure(line: dict[str, Any]) -> Failure:
    return Failure(**line["failure"])


_READ: dict[str, Callable[[dict[str, Any]], Reply | Failure | Execution]] = {
    "reply": _reply,
    "execution": _execution,
    "failure": _failure,
}


def _fields(outcome: Reply | Failure | Execution) -> dict[str, Any]:
    # dataclasses.asdict copies deeply, which costs more than the rest of an append
    fields = {name: getattr(outcome, name) for name in type(outcome).__slots__}
    for name in ("logprobs", "calls"):
        if not fields.get(name, True):
            del fields[name]
    return fields


def _check(key: str, outcome: Reply | Failure | Execution) -> str:
    return digest(key, *_fields(outcome).values())[:16]


def _checks(key: str, outcome: Reply | Failure | Execution) -> tuple[str, str]:
    """What a line's hash may be: before, the key was not part of it."""
    return _check(key, outcome), digest(*_fields(outcome).values())[:16]
