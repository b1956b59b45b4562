"""What runs inside sessions, before and around programs; its text is a session's first cell.

A program and what it is held to are never in the same session. In the program's own there is
nothing but inputs: `run_program` gives one to a process of its own, `call` calls its function and
prints what that returns. In a session of checks, `begin_check` runs a test's Python in a process
of its own, where `candidate` asks the host for each value and `go_on` brings it. So nothing that a
program does in its session, whether it prints, ends, patches or kills, can make a verdict: it can
only be silent, or say what it says.

Standard library only, and nothing of ours: it is sent as it stands.
"""

import atexit
import base64
import builtins
import contextlib
import io
import json
import math
import os
import resource
import signal
import sys
import threading
import traceback
import types
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MOST_MESSAGE = 300
# How the last line of a cell begins that came to no result, or a check's last word.
OUT_OF_TIME = "out of CPU time"
NO_ROOM = "the session has no room"
KILLED = "killed by SIGKILL"
DIED = "the check has died"
_loaded: dict[str, Any] = {}


# --- values as text ------------------------------------------------------------------------------


def encode(value: Any) -> str:
    """A value of plain types as JSON that `decode` makes the same value of.

    Raises:
        TypeError, ValueError, RecursionError: it is of another type, or too deep.
    """
    return json.dumps(_coded(value))


def decode(text: str) -> Any:
    """The value that `encode` made the text of.

    Raises:
        ValueError, TypeError, KeyError, RecursionError: the text is not of that form.
    """
    return _decoded(json.loads(text))


def _coded(value: Any) -> Any:
    if hasattr(value, "tolist") and type(value).__module__ == "numpy":
        value = value.tolist()
    if type(value) in (bool, str, type(None)):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        whole = int(value)
        return whole if abs(whole) < 1 << 53 else {"int": hex(whole)}
    if isinstance(value, float):
        number = float(value)
        return number if math.isfinite(number) else {"float": repr(number)}
    if isinstance(value, complex):
        return {"complex": [_coded(value.real), _coded(value.imag)]}
    if isinstance(value, bytes | bytearray):
        return {type(value).__name__: value.hex()}
    if isinstance(value, list):
        return [_coded(item) for item in value]
    if isinstance(value, dict):
        return {"dict": [[_coded(key), _coded(value[key])] for key in value]}
    for name in ("tuple", "set", "frozenset"):
        if isinstance(value, _OF[name]):
            return {name: [_coded(item) for item in value]}
    if isinstance(value, range):
        return {"range": [value.start, value.stop, value.step]}
    if isinstance(value, Iterator):  # whoever takes it apart gets the same items
        return {"tuple": [_coded(item) for item in value]}
    raise TypeError(f"a {type(value).__name__} has no plain form")


def _decoded(coded: Any) -> Any:
    if isinstance(coded, list):
        return [_decoded(item) for item in coded]
    if not isinstance(coded, dict):
        return coded
    [(name, inner)] = coded.items()
    if name == "dict":
        return {_decoded(key): _decoded(item) for key, item in inner}
    if name in ("bytes", "bytearray"):
        return _OF[name].fromhex(inner)
    if name in ("float", "complex", "range"):
        return _OF[name](inner) if name == "float" else _OF[name](*map(_decoded, inner))
    return int(inner, 16) if name == "int" else _OF[name](map(_decoded, inner))


_OF: dict[str, Any] = {
    kind.__name__: kind for kind in (bytes, bytearray, complex, float, frozenset, range, set, tuple)
}


def unpacked(packed: str) -> str:
    """Text as it travels in a cell: compressed, and without a character that code could be."""
    return zlib.decompress(base64.b85decode(packed)).decode("utf-8", "surrogatepass")


# --- the program's session -----------------------------------------------------------------------


def take(packed: str) -> None:
    """One piece of a text that is too long for a cell."""
    _loaded.setdefault("pieces", []).append(packed)


def _text(packed: str) -> str:
    """The text of all pieces, of which this is the last."""
    return unpacked("".join([*_loaded.pop("pieces", []), packed]))


def load_program(packed: str) -> None:
    """Compile a program that reads and prints."""
    _loaded["program"] = compile(_text(packed), "<program>", "exec", dont_inherit=True)


def run_program(packed: str, cpu_s: float) -> None:
    """Run it in a process of its own on this input; what it prints is what the cell prints.

    Where it raises, dies or takes more than `cpu_s`, the cell is in error, and its output ends with
    why. What sleeps is ended by the cell's own time limit.
    """
    try:
        Path(".input").write_bytes(_text(packed).encode("utf-8", "replace"))
        said_r, said_w = os.pipe()
        # A process that the program leaves behind may hold the other end.
        os.set_blocking(said_r, False)
        child = os.fork()
    except OSError as error:
        sys.exit(f"\n{NO_ROOM}: {error}")
    if child == 0:
        _be_program(said_w, cpu_s)
    os.close(said_w)
    _, status, used = os.wait4(child, 0)
    try:
        why = os.read(said_r, MOST_MESSAGE).decode("utf-8", "replace")
    except BlockingIOError:
        why = ""
    os.close(said_r)
    code = os.waitstatus_to_exitcode(status)
    # With its children's, and whatever it says: it may have ignored the signal.
    if code in (-signal.SIGXCPU, -signal.SIGPROF) or used.ru_utime + used.ru_stime >= cpu_s:
        sys.exit(f"\n{OUT_OF_TIME} after {cpu_s:g} s")
    if code < 0:
        sys.exit(f"\nkilled by {signal.Signals(-code).name}")
    if code:
        sys.exit(f"\n{why or f'exit code {code}'}")


def _be_program(said_w: int, cpu_s: float) -> None:
    """In the child: be a fresh interpreter, as far as the program can tell."""
    status = 1
    try:
        try:
            signal.setitimer(signal.ITIMER_PROF, cpu_s)  # a program may stop it, but not the other
            most_s = math.ceil(cpu_s)
            resource.setrlimit(resource.RLIMIT_CPU, (most_s, most_s + 1))
            atexit._clear()
            os.dup2(os.open(".input", os.O_RDONLY), 0)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        except OSError as error:
            os.write(said_w, f"{NO_ROOM}: {error}".encode()[:MOST_MESSAGE])
            raise
        os.dup2(said_w, 3)
        os.closerange(4, 4096)
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8")
        sys.stdout, sys.stderr = _printer(1), _printer(2)
        main = types.ModuleType("__main__")
        main.__dict__["__builtins__"] = builtins
        sys.modules["__main__"] = main
        try:
            exec(_loaded["program"], main.__dict__)
            status = 0
        except SystemExit as left:
            status = left.code if isinstance(left.code, int) else int(left.code is not None)
        except BaseException as error:
            os.write(3, _brief(error).encode("utf-8", "replace")[:MOST_MESSAGE])
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
    except BaseException:
        status = status or 1
    finally:
        os._exit(status & 0xFF)


def _printer(fd: int) -> io.TextIOWrapper:
    raw = io.FileIO(fd, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", "replace", "\n")


def _brief(error: BaseException) -> str:
    """The last line of a traceback, and of a syntax error where it is."""
    return "".join(traceback.format_exception_only(type(error), error)[-1:]).strip()


def load_function(packed: str, cpu_s: float) -> None:
    """Run the Python that defines a function, in this process; what it prints is not shown."""
    parts = json.loads(_text(packed))
    module = types.ModuleType("program")
    module.__dict__["__builtins__"] = builtins
    sys.modules["program"] = module
    with _Quiet(), _within(cpu_s):
        for name in ("preamble", "code"):
            exec(compile(parts[name], f"<{name}>", "exec", dont_inherit=True), module.__dict__)
    solver = module.__dict__.get("Solution")
    if isinstance(solver, type) and hasattr(solver, parts["entry_point"]):
        _loaded["function"] = getattr(solver(), parts["entry_point"])
    else:
        _loaded["function"] = module.__dict__[parts["entry_point"]]


def call(packed: str, cpu_s: float) -> None:
    """Call the function; what it returns or raises is all that the cell prints."""
    arguments, keywords = decode(_text(packed))
    try:
        with _Quiet(), _within(cpu_s):
            try:
                said = {"value": encode(_loaded["function"](*arguments, **keywords))}
            except Exception as error:
                said = {"raised": type(error).__name__, "said": _brief(error)[:MOST_MESSAGE]}
    except OSError as error:
        sys.exit(f"\n{NO_ROOM}: {error}")
    os.write(1, b"\n")
    _write(1, json.dumps(said).encode())


class _OutOfTime(BaseException):
    """The function has used up its time."""


@contextlib.contextmanager
def _within(cpu_s: float) -> Iterator[None]:
    """Raise in what runs within once it has computed for so long, or when it has ended.

    The timer ends what loops; what stops the timer, or has others compute, is found out afterwards.
    """
    before_s = _used_s()

    def stop(*_: object) -> None:
        raise _OutOfTime

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, cpu_s, 0.5)
    with contextlib.suppress(_OutOfTime):
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        if _used_s() - before_s < cpu_s:
            return
    sys.exit(f"\n{OUT_OF_TIME} after {cpu_s:g} s")


def _used_s() -> float:
    """CPU time of this process and of its children that have ended."""
    both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


class _Quiet:
    """Nothing that is printed within is seen."""

    def __enter__(self) -> None:
        sys.stdout.flush()
        self._kept = os.dup(1), os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for fd in (1, 2):
            os.dup2(nowhere, fd)
        os.close(nowhere)

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()
        for fd, kept in zip((1, 2), self._kept, strict=True):
            os.dup2(kept, fd)
            os.close(kept)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


# --- the session of checks -----------------------------------------------------------------------


def begin_check(packed: str) -> None:
    """Start a test's Python in a process of its own, and print its first word."""
    end_check()
    parts = json.loads(_text(packed))
    questions_r, questions_w = os.pipe()
    answers_r, answers_w = os.pipe()
    child = os.fork()
    if child == 0:
        _be_check(parts, answers_r, questions_w)
    os.close(questions_w)
    os.close(answers_r)
    _loaded["check"] = child, io.BufferedReader(io.FileIO(questions_r)), answers_w
    _next_word()


def go_on(packed: str) -> None:
    """Bring what the function returned or raised, and print the check's next word."""
    _, _, answers = _loaded["check"]
    with contextlib.suppress(BrokenPipeError):  # it has died, as its next word says
        _write(answers, _text(packed).encode() + b"\n")
    _next_word()


def end_check() -> None:
    """Have no check under way."""
    if "check" not in _loaded:
        return
    child, questions, answers = _loaded.pop("check")
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    questions.close()
    os.close(answers)


def _next_word() -> None:
    _, questions, _ = _loaded["check"]
    word = questions.readline() or json.dumps({"broken": DIED}).encode()
    if "call" not in json.loads(word):
        end_check()
    os.write(1, b"\n")
    _write(1, word)


def _be_check(parts: dict[str, str], answers: int, questions: int) -> None:
    """In the child: run the check, and end with its last word."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nowhere, fd)
    low, high = sorted((answers, questions))
    for first, last in ((3, low), (low + 1, high), (high + 1, 4096)):
        os.closerange(first, last)
    replies = io.BufferedReader(io.FileIO(answers))

    def say(word: dict[str, Any]) -> None:
        _write(questions, json.dumps(word).encode() + b"\n")

    def candidate(*arguments: Any, **keywords: Any) -> Any:
        try:
            asked = encode([list(arguments), keywords])
        except TypeError as error:  # whatever the check makes of this, no program can be asked
            say({"broken": _brief(error)[:MOST_MESSAGE]})
            os._exit(0)
        say({"call": asked})
        reply = json.loads(replies.readline())
        if "raised" in reply:
            kind = getattr(builtins, reply["raised"], RuntimeError)
            is_error = isinstance(kind, type) and issubclass(kind, Exception)
            raise (kind if is_error else RuntimeError)(reply["said"])
        return decode(reply["value"])

    try:
        main: dict[str, Any] = {"__name__": "check", "__builtins__": builtins}
        try:
            for name in ("preamble", "check"):
                exec(compile(parts[name], f"<{name}>", "exec", dont_inherit=True), main)
            main[parts["entry_point"]] = candidate
            check: Callable[[Any], object] = main["check"]
        except BaseException as error:
            say({"broken": _brief(error)[:MOST_MESSAGE]})
        else:
            try:
                check(candidate)
            except BaseException as error:
                say({"failed": _brief(error)[:MOST_MESSAGE] or type(error).__name__})
            else:
                say({"passed": True})
    finally:
        os._exit(0)
