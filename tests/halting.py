"""A process that halts in the middle of putting in place what it has made, at any step of that.

A step is a file or a folder that is renamed or deleted. All before the n-th are done; there, it
ends by SIGKILL, is suspended by SIGSTOP, or finds a disk that fails.
"""

import contextlib
import dataclasses
import errno
import hashlib
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_sdg.claims import Attempt, Claims, SharedClaims
from beam_sdg.publish import RunManifest, publication, read_manifest, write_manifest
from beam_sdg.runs import Run
from beam_sdg.shards import write_whole
from beam_sdg.stages import Stage, StageManifest
from transforms.errors import RunError
from transforms.outcome import SourceOutcome
from transforms.records import Problem, Reject
from transforms.seeding import digest

DEAD_AFTER_S = 0.3
STEPS = {"os.rename", "os.remove", "shutil.rmtree"}
FAIL = 0


@dataclasses.dataclass(eq=False)
class Numbers(beam.PTransform):
    """A source of so many problems, and a reject."""

    rows: int

    def expand(self, begin: beam.pvalue.PBegin) -> SourceOutcome:
        made = [Problem(digest("p", n), f"{n}", "s", "", "MIT", "{}") for n in range(self.rows)]
        lost = [Reject("numbers", "odd", "it is odd", digest("p", "lost"), "{}", "")]
        rows = begin | "Rows" >> beam.Create(made)
        rejects = begin | "Lost" >> beam.Create(lost)
        counts = [("read", self.rows + 1), ("usable", self.rows)]
        return SourceOutcome(rows, rejects, begin | "Said" >> beam.Create(counts))


def run_of(folder: str, rows: int, claims: Claims) -> Run:
    """A run of a source of so many problems."""
    stage = Stage("numbers", Numbers(rows), Problem, {"rows": rows})
    options = PipelineOptions(["--runner=FnApiRunner"])
    return Run((stage,), f"{folder}/out/.work", 0, 2, options, claims=claims)


def published(folder: str, rows: int, number: int, halt: Callable[[Attempt], Attempt]) -> None:
    """Make a dataset of so many rows, whose card says their number, in the place of any other.

    `number` is that of a process of several; 0 is a run that is alone.
    """
    claims = SharedClaims(number, 2, DEAD_AFTER_S) if number else Claims()
    run, output = run_of(folder, rows, claims), f"{folder}/out"
    stages = run.execute()

    def is_there(_: object) -> bool:
        there = read_manifest(output)
        return there is not None and there.stages == stages

    def publish(_: object, attempt: Attempt) -> None:
        with publication(run, stages, output, attempt=halt(attempt)) as (aside, files):
            write_whole(f"{aside}/README.md", str(rows).encode())
            write_manifest(manifest(stages, files), aside)

    units = {f"{output}/.work/{run.fingerprints['numbers']}": None}
    claims.work_through(units, is_there, publish, lambda _: None)


def kept(folder: str, rows: int, number: int, halt: Callable[[Attempt], Attempt]) -> None:
    """Make the rows of a source, and no dataset of them."""
    run = run_of(folder, rows, SharedClaims(number, 2, DEAD_AFTER_S))
    for name in ("_run_slice", "_publish"):
        object.__setattr__(run, name, halted(getattr(run, name), halt))
    run.execute()


def miscounted(folder: str, rows: int, number: int, halt: Callable[[Attempt], Attempt]) -> None:
    """The same, but what is made cannot be counted, and so is taken back."""

    def unreadable(*_: object) -> NoReturn:
        raise RunError("it cannot be read")

    run = run_of(folder, rows, SharedClaims(number, 2, DEAD_AFTER_S))
    for name in ("_run_slice", "_publish"):
        object.__setattr__(run, name, halted(getattr(run, name), halt))
    object.__setattr__(run, "_counted", unreadable)
    run.execute()


def halted(do: Callable[..., None], halt: Callable[[Attempt], Attempt]) -> Callable[..., None]:
    """The same for an attempt that halts; it is the last argument."""
    return lambda *given: do(*given[:-1], halt(given[-1]))


def prepared(folder: str | Path) -> None:
    """Make a dataset of three rows, and the rows of one of five that is to replace it."""
    undisturbed(published, folder, 3, 0)
    run_of(str(folder), 5, Claims()).execute()


def manifest(stages: list[StageManifest], files: list[Any]) -> RunManifest:
    """That of a dataset."""
    return RunManifest(
        recipe="numbers", fingerprint="f", seed=0, model="m", engine="e", settings={},
        store=".work/store", versions={}, stages=stages, files=files,
    )  # fmt: skip


def halting(
    make: Callable[..., None], folder: str, rows: int, number: int, how: int, at: int
) -> None:
    """Make something; after the look whether the unit is still one's own, halt at that step.

    Exits with 1 where it has come there and was not killed.
    """
    steps, is_armed, has_halted = itertools.count(), False, False

    def audited(event: str, _: object) -> None:
        nonlocal has_halted
        if is_armed and event in STEPS and next(steps) == at:
            has_halted = True
            if how == FAIL:
                raise OSError(errno.EIO, "the disk fails")
            os.kill(os.getpid(), how)

    def armed(attempt: Attempt) -> Attempt:
        confirm = attempt.confirm

        def confirmed() -> None:
            nonlocal is_armed
            confirm()
            is_armed = True

        attempt.confirm = confirmed  # type: ignore[method-assign]
        return attempt

    sys.addaudithook(audited)
    with contextlib.suppress(OSError if how == FAIL else ()):
        make(folder, rows, number, armed)
    is_armed = False
    sys.exit(has_halted)


def undisturbed(make: Callable[..., None], folder: str | Path, rows: int, number: int) -> None:
    """Make something."""
    make(str(folder), rows, number, lambda attempt: attempt)


def rows_there(output: Path) -> int | None:
    """How many rows the dataset says that it has; None where there is no dataset.

    Raises:
        AssertionError: what is there is not what its manifest names, and nothing else.
    """
    there = read_manifest(str(output))
    if there is None:
        return None
    found = [*output.glob("data/*"), *output.glob("rejects/*")]
    hashes = {str(p.relative_to(output)): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}
    assert hashes == {file.path: file.sha256 for file in there.files}
    rows = sum(file.rows for file in there.files_in("data"))
    assert (output / "README.md").read_text() == str(rows)
    return rows


def names(folder: Path) -> set[str]:
    """What is in a folder."""
    return {path.name for path in folder.iterdir()}
