"""Claims: processes that share a folder divide work, and take over from those that die.

    <unit>.claim-1      free 0000000041 4242 node7
    <unit>.claim-2      held 0000000012 97 node8        beats: a number that grows

The n-th claim of a unit is a file that only one process can create (O_CREAT | O_EXCL, which is
atomic on NFS and Lustre too) and none deletes, so of all that see the last claim dead or free one
takes the next, whenever they looked. No clock is trusted: a claim is dead when its file has not
changed for so long as another process has watched it, by that one's own monotonic time.

What is made of a unit is made in a folder of its attempt, and put in place by renaming alone, from
there or to there. Who takes a unit over first takes those folders away of the attempts before: so
a process that was suspended, at whatever point, changes nothing any more when it wakes.
"""

import contextlib
import dataclasses
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from transforms.engines.windows import give_up_all
from transforms.errors import Stopped
from transforms.files import is_remote, names_in, remove, writing

T = TypeVar("T")

DEAD_AFTER_S = 30.0
_BEATS = 10  # in that time; a look at a claim counts for at most as long as one of them
_LOOKS = 30


class TakenOver(Exception):
    """This process was thought dead, and what it works on is another's now."""


class Attempt:
    """One process's work on a unit: here that of a run which is alone."""

    name = f"alone-{secrets.token_hex(4)}"
    earlier: tuple[str, ...] = ()  # the names of those that it has taken the unit from

    def later(self) -> list[str]:
        """The names of those that have taken the unit from this one."""
        return []

    def confirm(self) -> None:
        """To be called before what was made is put where others see it.

        Raises:
            TakenOver: the unit is another's by now.
        """


ALONE = Attempt()


@contextlib.contextmanager
def own_folder(attempt: Attempt, inside: str, whole: bool = False) -> Iterator[str]:
    """A folder of an attempt's own `inside` another: empty at first, gone at last.

    Those of earlier attempts at its unit are taken away first, each in one step (file after file in
    an object store). Where all that is `inside` is of this unit or dead (`whole`), all are, but
    those of later attempts.
    """
    own = f"{inside}/{attempt.name}"
    names = names_in(inside) if whole else list(attempt.earlier)
    kept = {attempt.name, *attempt.later()}  # a claim is there before its folder is
    try:
        remove(own)  # of a killed run
        for name in names:
            if name not in kept:
                _take_away(f"{inside}/{name}", f"{own}/.{name}")
        if not is_remote(own):
            with writing(own):
                Path(own).mkdir(parents=True, exist_ok=True)
        yield own
    finally:
        with contextlib.suppress(OSError):  # a thread of the runner's may still write there
            remove(own)
        if whole and not is_remote(inside):
            with contextlib.suppress(OSError):  # there are others, or none
                Path(inside).rmdir()


def _take_away(folder: str, to: str) -> None:
    if is_remote(folder):
        remove(folder)
        return
    with contextlib.suppress(FileNotFoundError):  # it is gone already
        Path(to).parent.mkdir(parents=True, exist_ok=True)
        Path(folder).rename(to)
    shutil.rmtree(to, ignore_errors=True)


class Claims:
    """How a run goes through units of work: here one that is alone, so that all are its own."""

    takes_all = True

    def work_through(
        self,
        units: Mapping[str, T],
        is_done: Callable[[T], bool],
        do: Callable[[T, Attempt], None],
        waits: Callable[[str], None],
    ) -> None:
        """Return when every unit is done, whoever did it.

        `units` are known by the paths of their claims, without the end. `is_done` is asked again
        once a unit is claimed; `do` makes it true. `waits` is told for whom there is nothing to do.
        """
        for unit in units.values():
            if not is_done(unit):
                do(unit, ALONE)


@dataclasses.dataclass(eq=False)
class SharedClaims(Claims):
    """Those of process `number` of `of`, from 1, which takes its own units first, then any.

    A process that dies with a unit is found dead after `dead_after_s`, and another does the unit.
    One that only slept that long finds out when it confirms its attempt, or when that fails.
    """

    takes_all = False

    number: int
    of: int
    dead_after_s: float = dataclasses.field(default_factory=lambda: DEAD_AFTER_S)
    _looks: dict[Path, "_Look"] = dataclasses.field(default_factory=dict)

    def work_through(
        self,
        units: Mapping[str, T],
        is_done: Callable[[T], bool],
        do: Callable[[T, Attempt], None],
        waits: Callable[[str], None],
    ) -> None:
        """As that of a run which is alone; all processes must name and order units alike."""
        names = list(units)
        own = names[self.number - 1 :: self.of]
        left = own + [name for name in names if name not in own]
        told = ""
        while left := [name for name in left if not is_done(units[name])]:
            held = next(filter(None, map(self._take, left)), None)
            if held is None:
                holders = ", ".join(sorted({_holder(name) for name in left} - {""}))
                if holders not in ("", told):
                    waits(told := holders)
                time.sleep(self.dead_after_s / _LOOKS)
                continue
            with held, contextlib.suppress(TakenOver):
                if not is_done(units[held.unit]):
                    with held.or_taken_over():
                        do(units[held.unit], held)

    def _take(self, unit: str) -> "_Held | None":
        last = _last(unit)
        if last and not self._is_over(_file(unit, last)):
            return None
        Path(unit).parent.mkdir(parents=True, exist_ok=True)
        try:
            return _Held(unit, last + 1, self.dead_after_s / _BEATS)
        except FileExistsError:
            return None

    def _is_over(self, claim: Path) -> bool:
        content, now = _content(claim), time.monotonic()
        look = self._looks.get(claim)
        if look is None or look.content != content:
            look = _Look(content, at=now)
        passed = min(now - look.at, self.dead_after_s / _BEATS)  # we may have slept ourselves
        self._looks[claim] = look = _Look(content, now, look.watched_s + passed)
        return content.startswith(b"free") or look.watched_s >= self.dead_after_s


@dataclasses.dataclass(frozen=True)
class _Look:
    """What a claim was at the last look, and for how long it was seen to be that."""

    content: bytes
    at: float
    watched_s: float = 0.0


class _Held(Attempt):
    """A claim of this process: it beats until it is left, and is free then.

    Raises:
        FileExistsError: another process was faster.
    """

    def __init__(self, unit: str, number: int, every_s: float) -> None:
        self._file = os.open(_file(unit, number), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        self.unit, self._number, self._every_s, self._beats = unit, number, every_s, 0
        self._host, self._pid = socket.gethostname(), os.getpid()
        self.name = _name(unit, number)
        self.earlier = tuple(_name(unit, before) for before in range(1, number))
        self._left = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="claim", daemon=True)

    def confirm(self) -> None:
        """See `Attempt`."""
        if _file(self.unit, self._number + 1).exists():
            raise TakenOver(self.unit)

    def later(self) -> list[str]:
        """See `Attempt`."""
        return [_name(self.unit, n) for n in range(self._number + 1, _last(self.unit) + 1)]

    @contextlib.contextmanager
    def or_taken_over(self) -> Iterator[None]:
        """Take what fails for a loss of what another has taken away, if one has the unit by now.

        Raises:
            TakenOver: instead of any error but a stop.
        """
        try:
            yield
        except Stopped:
            raise
        except Exception:
            self.confirm()
            raise

    def __enter__(self) -> "_Held":
        self._write("held")
        self._heart.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._left.set()
        self._heart.join()
        self._write("free")
        os.close(self._file)

    def _beat(self) -> None:
        while not self._left.wait(self._every_s):
            if _file(self.unit, self._number + 1).exists():
                give_up_all()  # what would be asked is asked by another
            else:
                self._write("held")

    def _write(self, state: str) -> None:
        self._beats += 1
        line = f"{state} {self._beats:010d} {self._pid} {self._host}\n"
        with contextlib.suppress(OSError):  # if it stays so we are thought dead
            os.pwrite(self._file, line.encode(), 0)
            os.fsync(self._file)  # else a network filesystem may keep it here for long


def _file(unit: str, number: int) -> Path:
    return Path(f"{unit}.claim-{number}")


def _name(unit: str, number: int) -> str:
    """What an attempt is known by: as its claim, but with the folders that a unit's name is in."""
    return "-".join((*Path(unit).parts[-3:], f"claim-{number}"))


def _last(unit: str) -> int:
    """The number of a unit's last claim; 0 where there is none."""
    number = 0
    while _file(unit, number + 1).exists():
        number += 1
    return number


def _content(claim: Path) -> bytes:
    try:
        return claim.read_bytes()
    except FileNotFoundError:  # somebody has deleted its folder
        return b""


def _holder(unit: str) -> str:
    """Who works on a unit; "" where nobody does."""
    words = _content(_file(unit, _last(unit))).decode(errors="replace").split()
    return f"process {words[2]} on {words[3]}" if len(words) == 4 and words[0] == "held" else ""
