"""Runs: stages grouped into phases, each a Beam pipeline whose results are published whole.

    store/<ask>/…                                 answers, as they arrive
    stages/<stage>/<fingerprint>/rows-….parquet   a stage's rows
                                 rejects-….parquet
                                 counts.json      of a source: rows read, rows usable
                                 done-…           a shard whose files are all there
                                 stage.json       written last: the stage is published
    tmp/<attempt>/…                               what is being made; moved when it is whole

A stage's fingerprint hashes its settings and its inputs' fingerprints, so a published stage with
the same one is not run again, and a changed setting re-runs that stage and those after it. Shards
that a killed run has finished are not made again either. Several processes with the same `work_dir`
can make a run together: `Claims` say who does what.
"""

import contextlib
import copy
import dataclasses
import functools
import itertools
import json
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pydantic
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions

import beam_sdg
import prompts
import sandbox
import transforms
from beam_sdg.claims import Attempt, Claims, own_folder
from beam_sdg.shards import (
    Kind,
    ReadShards,
    WriteShards,
    column_values,
    damaged,
    row_count,
    shard_path,
    write_empty,
    write_whole,
)
from beam_sdg.stages import Stage, StageManifest
from beam_sdg.version import __version__
from transforms.ask import AskInTurn
from transforms.codec import canonical_json
from transforms.engines.engine import FAILURES, NOT_SENT
from transforms.engines.progress import asking
from transforms.errors import (
    EngineDown,
    InputError,
    RowsLost,
    RunError,
    SdgError,
    Stopped,
    UsageError,
    explained,
    without_step,
)
from transforms.files import is_full, is_remote, names_in, put_away, remove, unwritten, writing
from transforms.grouping import spilling
from transforms.outcome import Outcome, SourceOutcome
from transforms.records import Reject
from transforms.seeding import digest

IN_PROCESS = "FnApiRunner"  # what DirectRunner picks depends on the graph and the network
COUNTS = "counts.json"


class Watcher:
    """Someone who is told how a run goes on; this one does not care."""

    def began(self, stages: Sequence[Stage], there: Mapping[str, int]) -> None:
        """A phase began: these stages are run; of each stage in `there`, they take so many rows."""

    def published(self, manifest: StageManifest) -> None:
        """A stage is done."""

    def waits(self, holders: str) -> None:
        """There is nothing to do until these processes are done."""


@dataclasses.dataclass(frozen=True)
class Run:
    """The stages of a recipe, and where and how to run them."""

    stages: tuple[Stage, ...]
    work_dir: str
    seed: int
    num_shards: int
    options: PipelineOptions
    code: str = ""
    claims: Claims = Claims()

    def execute(
        self, watcher: Watcher | None = None, only: Collection[str] = ()
    ) -> list[StageManifest]:
        """Run what is not published yet; the manifests of the published stages, in order.

        `only`, where it names stages, leaves out all others.

        Raises:
            UsageError: a stage in `only` needs one that is neither in it nor published.
            SdgError: one line on what went wrong. What was published and answered stays.
        """
        watcher = watcher or Watcher()
        done: dict[str, StageManifest] = {}
        made: set[str] = set()
        if self.claims.takes_all and not is_remote(self.work_dir):
            remove(f"{self.work_dir}/tmp")  # of killed processes
        for phase in self.phases():
            missing = self._missing(phase, only, done, made)
            made.update(stage.name for stage in missing)
            if missing:
                takes_all = self.claims.takes_all
                there = {name: made.rows for name, made in done.items()} if takes_all else {}
                watcher.began(missing, there)
                self._run_phase(missing, done, watcher)
            for stage in phase:
                if stage in missing:
                    self.claims.work_through(
                        {f"{self._folder(stage.name)}/publication": stage},
                        lambda stage: self.is_published(stage.name),
                        functools.partial(self._publish, done),
                        watcher.waits,
                    )
                manifest = self._published(stage.name)
                if manifest is not None and stage in missing:
                    watcher.published(manifest)
                if manifest is not None and (stage in missing or not manifest.partial):
                    done[stage.name] = manifest
        return list(done.values())

    def _missing(
        self,
        phase: Sequence[Stage],
        only: Collection[str],
        done: Collection[str],
        made: Collection[str],
    ) -> list[Stage]:
        """The stages of a phase to run: not published, or following one that is `made` now."""
        missing: list[Stage] = []
        # From the last on: what another process publishes meanwhile is published in order.
        published = [stage for stage in reversed(phase) if self.is_published(stage.name)]
        for stage in phase:
            running = [before.name for before in missing]
            follows = any(name in running or name in made for name in stage.inputs)
            if (only and stage.name not in only) or (stage in published and not follows):
                continue
            for name in stage.inputs:
                if name not in running and name not in done and not self.is_published(name):
                    asked, needed = (
                        ",".join(dict.fromkeys(each.split(".")[0] for each in names))
                        for names in (only, (name, *only))
                    )
                    raise UsageError(
                        f"--stages {asked}: {stage.name} needs the rows of {name}, which has not "
                        f"been run with these settings; add it: --stages {needed}"
                    )
            missing.append(stage)
        return missing

    @property
    def in_process(self) -> bool:
        """Whether this process does the work, and not workers elsewhere."""
        return self.options.view_as(StandardOptions).runner == IN_PROCESS

    @property
    def asks_here(self) -> bool:
        """Whether requests are sent by this process, and not by workers of it either."""
        mode = self.options.view_as(DirectOptions).direct_running_mode
        return self.in_process and mode in (None, "in_memory")

    def phases(self) -> list[list[Stage]]:
        """Consecutive stages that use the same engine, or none."""
        by_engine = itertools.groupby(self.stages, key=lambda stage: stage.engine)
        return [list(stages) for _, stages in by_engine]

    @functools.cached_property
    def fingerprints(self) -> dict[str, str]:
        """Each stage's fingerprint, by its name."""
        found: dict[str, str] = {}
        for stage in self.stages:
            found[stage.name] = digest(
                self.code or code_hash(),
                stage.name,
                canonical_json(stage.settings),
                stage.engine.identity() if stage.engine else "",
                self.seed,
                self.num_shards,
                *(found[name] for name in stage.inputs),
            )[:16]
        return found

    def shards_of(self, stage: str, kind: str) -> list[str]:
        """The files of a stage's `rows` or `rejects`."""
        prefix = self._prefix(stage, kind)
        return [shard_path(prefix, shard, self.num_shards) for shard in range(self.num_shards)]

    def _folder(self, stage: str) -> str:
        return f"{self.work_dir}/stages/{stage}/{self.fingerprints[stage]}"

    def _prefix(self, stage: str, kind: str) -> str:
        return f"{self._folder(stage)}/{kind}"

    def is_published(self, stage: str) -> bool:
        """Whether a stage is done, whole and with these settings."""
        manifest = self._published(stage)
        return manifest is not None and not manifest.partial

    def _published(self, stage: str) -> StageManifest | None:
        """What is written of a stage; None where nothing is, or a power cut has left it damaged."""
        path = f"{self._folder(stage)}/stage.json"
        if not FileSystems.exists(path):
            return None
        with FileSystems.open(path) as file, contextlib.suppress(pydantic.ValidationError):
            return StageManifest.model_validate_json(file.read())
        return None

    def forget(self, only: Collection[str] = ()) -> None:
        """Delete what has been made of the stages, or of those in `only`; answers are kept."""
        for stage in self.stages:
            if not only or stage.name in only:
                remove(self._folder(stage.name))

    def _run_phase(
        self, stages: Sequence[Stage], done: Mapping[str, StageManifest], watcher: Watcher
    ) -> None:
        for stage in stages:
            if self.claims.takes_all and self.is_published(stage.name):  # from rows that are gone
                self._take_back(stage)
        inputs = {name for stage in stages for name in stage.inputs}
        follows_partial = any(done[name].partial for name in inputs if name in done)
        unit = f"{self._folder(stages[-1].name)}/shard"
        self.claims.work_through(
            {f"{unit}-{shards[0]:05d}": shards for shards in self._slices(stages)},
            functools.partial(self._is_made, stages),
            functools.partial(self._run_slice, stages, follows_partial),
            watcher.waits,
        )

    def _is_made(self, stages: Sequence[Stage], shards: Sequence[int]) -> bool:
        """Whether shards of stages are there, though these may not be published."""
        marks = (self._mark(stage, shard) for stage in reversed(stages) for shard in shards)
        return all(map(FileSystems.exists, marks))

    def _mark(self, stage: Stage, shard: int) -> str:
        return f"{self._folder(stage.name)}/{_mark_name(shard)}"

    def _take_back(self, stage: Stage) -> None:
        """Let a stage be made anew."""
        remove(f"{self._folder(stage.name)}/stage.json")
        for shard in range(self.num_shards):
            remove(self._mark(stage, shard))

    def _unmark(self, stage: Stage, shards: Iterable[int], scratch: str) -> None:
        for shard in shards:
            put_away(self._mark(stage, shard), f"{scratch}/{_mark_name(shard)}.old")

    def tidy(self) -> None:
        """Once all stages are published: delete what killed processes of this run were making.

        Others of several may still be tidying up after themselves, which each does at its end.
        """
        tmp = f"{self.work_dir}/tmp"
        if is_remote(tmp):  # which may be another run's too
            return
        fingerprints = self.fingerprints.values()
        with contextlib.suppress(OSError):
            for name in names_in(tmp):
                if self.claims.takes_all or any(of in name for of in fingerprints):
                    shutil.rmtree(f"{tmp}/{name}", ignore_errors=True)
            Path(tmp).rmdir()

    def _run_slice(
        self,
        stages: Sequence[Stage],
        follows_partial: bool,
        shards: tuple[int, ...],
        attempt: Attempt,
    ) -> None:
        names = ", ".join(stage.name for stage in stages)
        asks = any(stage.ask for stage in stages)
        with (
            asking() if asks else contextlib.nullcontext(),
            own_folder(attempt, f"{self.work_dir}/tmp") as scratch,
        ):
            try:
                with (
                    spilling(self.options, f"{scratch}/shuffles"),
                    beam.Pipeline(options=self.options) as pipeline,
                ):
                    self.wire(pipeline, stages, shards, scratch)
            except Exception as error:  # a runner's own, with the worker's as text
                if _last_line(error).startswith("KeyboardInterrupt"):
                    raise KeyboardInterrupt from error
                if isinstance(error, OSError) and is_full(error):
                    raise unwritten(error.filename or scratch, error) from error
                raise explained(error) or RunError(
                    f"{names} failed: {_last_line(error)}; --debug shows where"
                ) from error
            made = [self._files_made(stage, shards, f"{scratch}/{stage.name}") for stage in stages]
            why = next(itertools.chain.from_iterable(map(_why_not_sent, made)), "")
            if why and not self.claims.takes_all:
                raise Stopped(f"stopped by {why}; the other processes of this run go on")
            is_whole = not why and not follows_partial
            marks = [
                self._marks_made(shards if is_whole else (), f"{scratch}/{stage.name}")
                for stage in stages
            ]
            attempt.confirm()  # from here on all is renamed, from `scratch` or to there
            for stage in stages:
                self._unmark(stage, shards, f"{scratch}/{stage.name}")
            for stage, files, marked in zip(stages, made, marks, strict=True):
                self._keep(stage, files)
                self._keep(stage, marked)

    def _keep(self, stage: Stage, files: Sequence[str]) -> None:
        """Put what was made of a stage in place."""
        folder = self._folder(stage.name)
        with contextlib.suppress(OSError):  # it is there
            FileSystems.mkdirs(folder)
        with writing(folder):
            FileSystems.rename(files, [f"{folder}/{path.rpartition('/')[2]}" for path in files])

    def _marks_made(self, shards: Iterable[int], folder: str) -> list[str]:
        marks = [f"{folder}/{_mark_name(shard)}" for shard in shards]
        for mark in marks:
            write_whole(mark, b"")
        return marks

    def _files_made(self, stage: Stage, shards: Sequence[int], folder: str) -> list[str]:
        """What a slice has made of a stage, shards without a record included."""
        made = [] if stage.inputs else [f"{folder}/{COUNTS}"]
        for kind, record_type in (("rows", stage.row_type), ("rejects", Reject)):
            for shard in shards:
                made.append(shard_path(f"{folder}/{kind}", shard, self.num_shards))
                if not FileSystems.exists(made[-1]):
                    write_empty(made[-1], record_type)
        return made

    def _slices(self, stages: Sequence[Stage]) -> list[tuple[int, ...]]:
        """The shards to run together: one at a time where one process's memory holds them all."""
        every = tuple(range(self.num_shards))
        shard_by_shard = all(stage.shard_by_shard for stage in stages)
        return [(shard,) for shard in every] if self.in_process and shard_by_shard else [every]

    def wire(
        self,
        pipeline: beam.Pipeline,
        stages: Sequence[Stage],
        shards: tuple[int, ...],
        scratch: str,
    ) -> None:
        """Add the steps that make these shards of the stages of a phase, in files of `scratch`."""
        row_types = {stage.name: stage.row_type for stage in self.stages}
        rows: dict[str, Any] = {}
        for chain in chains(stages):
            for name in chain[0].inputs:
                if name not in rows:
                    rows[name] = pipeline | f"Read_{name}" >> ReadShards(
                        self._prefix(name, "rows"), row_types[name], shards, self.num_shards
                    )
            inputs = tuple(rows[name] for name in chain[0].inputs)
            into = pipeline if not inputs else inputs[0] if len(inputs) == 1 else inputs
            for stage, outcome in zip(chain, _applied(chain, into), strict=True):
                rows[stage.name] = outcome.rows
                self._write(stage, outcome, shards, f"{scratch}/{stage.name}")

    def _write(
        self,
        stage: Stage,
        outcome: Outcome | SourceOutcome,
        shards: tuple[int, ...],
        folder: str,
    ) -> None:
        rows = Kind(f"{folder}/rows", stage.row_type)
        rejects = Kind(f"{folder}/rejects", Reject)
        _ = (outcome.rows, outcome.rejects) | f"Write_{stage.name}" >> WriteShards(
            (rows, rejects), shards, self.num_shards, self.seed
        )
        if isinstance(outcome, SourceOutcome):
            _ = (
                outcome.counts
                | f"Gather_{stage.name}_counts" >> beam.combiners.ToDict()
                | f"Write_{stage.name}_counts" >> beam.Map(_write_json, f"{folder}/{COUNTS}")
            )

    def _publish(self, done: Mapping[str, StageManifest], stage: Stage, attempt: Attempt) -> None:
        """Count a stage's rows, make sure that none is missing, and publish it."""
        if not self.claims.takes_all and not self._is_made([stage], range(self.num_shards)):
            raise RunError(
                f"another process of this run could not publish {stage.name}; mend what it says "
                "and run the same command again"
            )
        with own_folder(attempt, f"{self.work_dir}/tmp") as scratch:
            try:
                manifest = self._counted(stage, done)
            except SdgError:
                attempt.confirm()
                put_away(f"{self._folder(stage.name)}/stage.json", f"{scratch}/stage.json.old")
                self._unmark(stage, range(self.num_shards), scratch)
                raise
            _write_json(manifest.model_dump(mode="json"), f"{scratch}/stage.json")
            attempt.confirm()
            self._keep(stage, [f"{scratch}/stage.json"])

    def _counted(self, stage: Stage, done: Mapping[str, StageManifest]) -> StageManifest:
        """The manifest of a stage.

        Raises:
            SdgError: a row is missing, or the rows are of no use.
        """
        inputs = [done[name] for name in stage.inputs]
        files = self.shards_of(stage.name, "rows")
        rows = sum(row_count(path) for path in files)
        reasons = Counter(_reasons(self.shards_of(stage.name, "rejects")))
        made_from = stage.makes.made_from(files)
        if inputs:
            rows_in = stage.takes.rows_in({made.stage: made for made in inputs})
            passed = rows if made_from is None else made_from
            not_sampled = rows_in - passed - reasons.total() if stage.takes.leaves_out else 0
        else:
            counts = self._counts(stage.name)
            rows_in, not_sampled = counts.get("read", 0), counts.get("usable", 0) - rows
        manifest = StageManifest(
            stage=stage.name,
            fingerprint=self.fingerprints[stage.name],
            settings=json.loads(canonical_json(stage.settings)),
            inputs={name: self.fingerprints[name] for name in stage.inputs},
            rows_in=rows_in,
            samples=stage.ask.samples if stage.ask else 1,
            rows=rows,
            rejects=dict(sorted(reasons.items())),
            not_sampled=not_sampled,
            made_from=made_from,
            partial=NOT_SENT in reasons or any(made.partial for made in inputs),
            told=stage.tell(files) if stage.tell else {},
        )
        _check_conservation(manifest)
        if reasons and not rows and not manifest.partial:
            self._check_use(stage, manifest)
        if stage.verify is not None:
            stage.verify(inputs, manifest)
        return manifest

    def _check_use(self, stage: Stage, made: StageManifest) -> None:
        """Refuse a stage of rejects alone whose cause is not in the rows.

        Raises:
            InputError: a source without a row that can be used.
            EngineDown: a model that refused all requests.
        """
        paths = self.shards_of(stage.name, "rejects")
        one = next(detail for path in paths for detail in column_values(path, "detail"))
        if not stage.inputs:
            counts = ", ".join(f"{count:,} {reason}" for reason, count in made.rejects.items())
            raise InputError(
                f"none of the {made.rows_in:,} rows of {stage.name} can be used ({counts}), one of "
                f"them because: {one}; check the file, and the flags that name its columns or "
                "choose among its rows"
            )
        if stage.ask and set(made.rejects) <= FAILURES:
            raise EngineDown(
                f"all {sum(made.rejects.values()):,} requests of {stage.name} failed, one with: "
                f"{one}; mend what it says (a flag, the model, the server) and run the same "
                "command again"
            )

    def _counts(self, stage: str) -> dict[str, int]:
        path = f"{self._folder(stage)}/{COUNTS}"
        with contextlib.suppress(OSError, ValueError), FileSystems.open(path) as file:
            return json.loads(file.read())
        raise damaged(path)


def chains(stages: Sequence[Stage]) -> list[list[Stage]]:
    """The stages of a phase, with asks that only take the rows of the ask before them together."""
    found: list[list[Stage]] = []
    for stage in stages:
        before = found[-1][-1] if found else None
        if before and before.ask and stage.ask and stage.inputs == (before.name,):
            found[-1].append(stage)
        else:
            found.append([stage])
    return found


def _applied(chain: Sequence[Stage], into: Any) -> list[Any]:
    """The outcomes of a chain, whose asks go from record to record without waiting."""
    asks = tuple(stage.ask for stage in chain if stage.ask)
    if len(asks) > 1:
        return into | "_".join(stage.name for stage in chain) >> AskInTurn(asks)
    # Beam ties one of several inputs to its pipeline, and each slice has a pipeline of its own.
    return [into | chain[0].name >> copy.copy(chain[0].transform)]


def _check_conservation(manifest: StageManifest) -> None:
    """Rows in × samples = rows, or what they were made from, + rejects + rows not sampled."""
    accounted = manifest.passed + sum(manifest.rejects.values()) + manifest.not_sampled
    taken = manifest.rows_in * manifest.samples
    if taken != accounted or manifest.not_sampled < 0:
        raise RowsLost(
            f"stage {manifest.stage} took {taken} rows and accounts for {accounted}: "
            f"{manifest.passed} rows, rejects {manifest.rejects}; this is a bug, please report it"
        )


@functools.cache
def code_hash() -> str:
    """A hash of this program's own code: rows that other code made are not taken for ours.

    Answers are kept apart from it, so running a stage again with changed code asks nothing anew.
    """
    folders = [Path(module.__path__[0]) for module in (beam_sdg, transforms, sandbox, prompts)]
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return digest(__version__, *(path.read_text() for path in files))


def _mark_name(shard: int) -> str:
    return f"done-{shard:05d}"


def _why_not_sent(files: Iterable[str]) -> Iterator[str]:
    """What stopped the run, by the first reject of each file that says so."""
    for path in files:
        if path.rpartition("/")[2].startswith("rejects-"):
            rejects = zip(column_values(path, "reason"), column_values(path, "detail"), strict=True)
            yield from itertools.islice((why for r, why in rejects if r == NOT_SENT), 1)


def _reasons(paths: Iterable[str]) -> Iterable[str]:
    return itertools.chain.from_iterable(column_values(path, "reason") for path in paths)


def _write_json(content: Mapping[str, Any], path: str) -> None:
    write_whole(path, json.dumps(content, indent=2).encode() + b"\n")


def _last_line(error: BaseException) -> str:
    lines = without_step(str(error)).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
