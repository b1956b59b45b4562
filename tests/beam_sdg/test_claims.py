"""Claims: processes that race for units do each once, whoever dies, sleeps or comes late."""

import itertools
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beam_sdg.claims import Attempt, Claims, SharedClaims, TakenOver
from tests.beam_sdg.conftest import FORK
from transforms.errors import Stopped

DEAD_AFTER_S = 2.0


def make(folder: str, number: int, of: int, units: int, work_s: float, barrier: Any = None) -> None:
    """Go through units, and log when each is begun, made and given up."""
    if barrier is not None:
        barrier.wait()
    claims = SharedClaims(number, of, dead_after_s=DEAD_AFTER_S)
    rng = random.Random(number)

    def do(unit: int, attempt: Attempt) -> None:
        log(folder, "begun", unit, number)
        time.sleep(rng.uniform(0.5, 1.5) * work_s)
        try:
            attempt.confirm()
        except TakenOver:
            log(folder, "given_up", unit, number)
            raise
        log(folder, "made", unit, number)
        Path(folder, f"{unit}.done").touch()

    claims.work_through(
        units_of(folder, units),
        lambda unit: Path(folder, f"{unit}.done").exists(),
        do,
        lambda holders: log(folder, "waits", holders, number),
    )
    log(folder, "ended", "", number)


def units_of(folder: str | Path, units: int) -> dict[str, int]:
    return {f"{folder}/claims/{unit}": unit for unit in range(units)}


def log(folder: str, *words: object) -> None:
    with Path(folder, "log").open("a") as file:  # a line is one write
        file.write("\t".join(map(str, words)) + "\n")


def logged(folder: Path, event: str) -> list[tuple[str, int]]:
    """Which units, or what else, the event was about, and of which process it was."""
    if not Path(folder, "log").exists():
        return []
    lines = [line.split("\t") for line in Path(folder, "log").read_text().splitlines()]
    return [(about, int(number)) for name, about, number in lines if name == event]


def until(condition: Callable[[], object], timeout_s: float = 60) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_run_that_is_alone_does_what_is_not_done(tmp_path):
    """In order, and leaves no claim."""
    done = [1]
    Claims().work_through(
        units_of(tmp_path, 3), done.__contains__, lambda unit, _: done.append(unit), pytest.fail
    )
    assert done == [1, 0, 2]
    assert not list(tmp_path.iterdir())


def test_processes_that_race_do_each_unit_once(tmp_path, start):
    """All of them, each some, its own first; all return only when every unit is made."""
    barrier = FORK.Barrier(3)
    processes = [start(make, str(tmp_path), number, 3, 24, 0.1, barrier) for number in (1, 2, 3)]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    made = logged(tmp_path, "made")
    assert sorted(int(unit) for unit, _ in made) == list(range(24))
    assert sorted(made) == sorted(logged(tmp_path, "begun"))
    assert {number for _, number in made} == {1, 2, 3}
    firsts = [next(unit for unit, by in made if by == number) for number in (1, 2, 3)]
    assert firsts == ["0", "1", "2"]


def test_a_process_alone_does_the_work_of_all(tmp_path):
    """The second of three comes when no other does: its own units first, then the others'."""
    make(str(tmp_path), 2, 3, 7, 0.0)
    assert [int(unit) for unit, _ in logged(tmp_path, "made")] == [1, 4, 0, 2, 3, 5, 6]


def test_what_a_killed_process_held_is_done_by_another(tmp_path, start):
    """Not before it is certainly dead, and the one that waits says for whom."""
    killed = start(make, str(tmp_path), 1, 2, 4, 600)
    until(lambda: logged(tmp_path, "begun"))
    other = start(make, str(tmp_path), 2, 2, 4, 0.01)
    until(lambda: logged(tmp_path, "waits"))
    [(holder, _)] = logged(tmp_path, "waits")
    assert holder == f"process {killed.pid} on {os.uname().nodename}"
    time.sleep(2 * DEAD_AFTER_S)
    assert len(logged(tmp_path, "made")) == 3
    killed.kill()
    other.join(60)
    assert other.exitcode == 0
    assert sorted(logged(tmp_path, "made")) == [(str(unit), 2) for unit in range(4)]


def test_a_process_that_slept_gives_up_what_was_taken_over(tmp_path, start):
    """It puts nothing where others see it, and goes on with what is left."""
    asleep = start(make, str(tmp_path), 1, 2, 1, 1.0)
    until(lambda: logged(tmp_path, "begun"))
    os.kill(asleep.pid, signal.SIGSTOP)
    make(str(tmp_path), 2, 2, 1, 0.0)
    os.kill(asleep.pid, signal.SIGCONT)
    asleep.join(60)
    assert asleep.exitcode == 0
    assert logged(tmp_path, "made") == [("0", 2)]
    assert logged(tmp_path, "given_up") == [("0", 1)]


def test_what_fails_in_a_unit_that_was_taken_over_is_no_failure(tmp_path):
    """For want of what the other has deleted, say; a stop is one all the same."""
    units, done = units_of(tmp_path, 2), [1]

    def fail(error: Exception) -> Callable[[int, Attempt], None]:
        def do(unit: int, attempt: Attempt) -> None:
            Path(tmp_path, "claims", "0.claim-2").write_text("free")
            done.append(0)
            raise error

        return do

    SharedClaims(1, 2).work_through(units, done.__contains__, fail(OSError("gone")), pytest.fail)
    assert done == [1, 0]
    done.remove(0)
    with pytest.raises(Stopped):
        SharedClaims(2, 2).work_through(
            units, done.__contains__, fail(Stopped("by SIGINT")), pytest.fail
        )


def test_an_observer_that_slept_does_not_think_others_dead(tmp_path):
    """All are suspended together, and it is the first to wake: nothing has beaten meanwhile."""
    claims = SharedClaims(1, 2, dead_after_s=DEAD_AFTER_S)
    unit = str(tmp_path / "unit")
    Path(f"{unit}.claim-1").write_text("held 0000000007 1 other\n")
    assert claims._take(unit) is None
    time.sleep(2 * DEAD_AFTER_S)
    assert claims._take(unit) is None


def test_a_unit_whose_work_failed_is_free_at_once(tmp_path):
    """The error goes on, and the next process need not wait for a death."""
    units = units_of(tmp_path, 1)

    def fail(unit: int, attempt: Attempt) -> None:
        raise ValueError(unit)

    with pytest.raises(ValueError):
        SharedClaims(1, 2).work_through(units, lambda _: False, fail, pytest.fail)
    done: list[int] = []
    SharedClaims(2, 2).work_through(
        units, done.__contains__, lambda unit, _: done.append(unit), pytest.fail
    )
    assert done == [0]


def take_all(folder: str, generations: int, dead_after_s: float) -> None:
    """Take one unit again and again, and leave it as one who dies would."""
    claims = SharedClaims(1, 9, dead_after_s=dead_after_s)
    for _ in range(generations):
        while (held := claims._take(f"{folder}/unit")) is None:
            time.sleep(0.001)
        log(folder, "took", held._number, os.getpid())
        os.close(held._file)  # without a beat


def test_of_all_that_see_a_claim_dead_one_takes_it_over(tmp_path, start):
    """A hundred deaths, four observers: no number of a claim is had by two."""
    processes = [start(take_all, str(tmp_path), 25, 0.02) for _ in range(4)]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    took = [int(number) for number, _ in logged(tmp_path, "took")]
    assert sorted(took) == list(range(1, 101))


@pytest.mark.parametrize("seed", range(3))
def test_processes_killed_at_any_time_lose_no_unit(tmp_path, start, seed):
    """They come and die at random until one is left, and nothing is made twice."""
    rng = random.Random(seed)
    numbers = itertools.cycle((1, 2, 3))
    alive = [start(make, str(tmp_path), next(numbers), 3, 12, 0.3) for _ in range(3)]
    for _ in range(4):
        time.sleep(rng.uniform(0.2, 1.0))
        alive.pop(rng.randrange(len(alive))).kill()
        alive.append(start(make, str(tmp_path), next(numbers), 3, 12, 0.3))
    for process in alive:
        process.join(120)
        assert process.exitcode == 0
    made = [int(unit) for unit, _ in logged(tmp_path, "made")]
    assert set(made) == set(range(12))
    assert len(made) - len(set(made)) <= 4  # killed right between the two traces of a unit


def test_a_claim_beats_while_it_is_held(tmp_path):
    """Its file changes by itself, and is free at the end."""
    claims = SharedClaims(1, 1, dead_after_s=0.2)
    claim = tmp_path / "unit.claim-1"
    seen: set[bytes] = set()

    def beaten() -> bool:
        seen.add(claim.read_bytes())
        return len(seen) > 3

    claims.work_through(
        {str(tmp_path / "unit"): 0}, lambda _: bool(seen), lambda *_: until(beaten), pytest.fail
    )
    assert all(content.startswith(b"held") for content in seen)
    assert claim.read_bytes().startswith(b"free")
