"""A command line that is ready to run: what every run does around its stages."""

import contextlib
import dataclasses
import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import rich.console

import prompts
from beam_sdg.claims import Attempt, SharedClaims
from beam_sdg.columns import columns_of
from beam_sdg.commands import remember
from beam_sdg.flink import on_flink
from beam_sdg.folders import WORK, locked, require_ours, require_reachable, require_shared
from beam_sdg.hub import check_push
from beam_sdg.models import ModelSettings
from beam_sdg.options import Invocation
from beam_sdg.panel import Panel
from beam_sdg.publish import (
    Asked,
    RunManifest,
    data_schema,
    publication,
    read_manifest,
    versions,
    write_manifest,
)
from beam_sdg.python_flags import PythonConfig
from beam_sdg.recipes.recipe import Context, is_named, stages_of
from beam_sdg.report import Figures, gather, write_report
from beam_sdg.runs import Run, code_hash
from beam_sdg.serving import served
from beam_sdg.stages import Drawn, Stage, StageManifest
from beam_sdg.stopping import check_limits, stoppable, stops_for
from transforms.engines.endpoint import Endpoint
from transforms.engines.rehearsal import Rehearsal
from transforms.engines.stops import Stops, stops_of
from transforms.engines.store import AnswerStore
from transforms.engines.vllm import Vllm
from transforms.errors import UsageError
from transforms.files import is_remote, relative
from transforms.seeding import digest
from transforms.tir.cells import can_run, require

_HOPELESS = 10  # waves without a row


@dataclasses.dataclass(frozen=True)
class Launch:
    """A run that is ready to go: its stages, where it works and where its dataset goes.

    `only` are the stages that --stages asks for, with their steps; none for all.
    """

    invocation: Invocation
    context: Context
    run: Run
    output: str
    only: tuple[str, ...] = ()

    @classmethod
    def prepared(cls, invocation: Invocation) -> "Launch":
        """Look at everything that can be wrong before anything is written or asked.

        Raises:
            UsageError, InputError: a flag, a prompt, a model or a source cannot be used.
        """
        settings, recipe = invocation.run, invocation.recipe
        output = settings.output.rstrip("/")
        work_dir = (settings.work_dir or f"{output}/{WORK}").rstrip("/")
        require_reachable(output, work_dir)
        require_ours(output)
        if settings.push_to_hub and is_remote(output):
            raise UsageError(
                f"--push_to_hub uploads files of this machine; {output} is none: leave it out, and "
                "copy the dataset here to push it"
            )
        if settings.push_to_hub:
            check_push(settings.push_to_hub)
        own = (str(recipe.prompts),) if recipe.prompts else ()
        _require_prompts(settings.prompts, own)
        context = Context(
            models=invocation.models,
            stage_settings=invocation.stage_settings,
            of_mode=invocation.of_mode,
            retries=settings.retries,
            store=f"{work_dir}/store",
            seed=settings.seed,
            prompt_folders=((settings.prompts,) if settings.prompts else ()) + own,
        )
        run = Run(
            stages=tuple(stages_of(recipe, invocation.config, context)),
            work_dir=work_dir,
            seed=settings.seed,
            num_shards=settings.shards_for(
                invocation.config.expected_rows(), invocation.config.rows_per_shard
            ),
            options=invocation.beam,
            code=digest(code_hash(), recipe.code.read_text()) if recipe.code else code_hash(),
            claims=settings.claims,
        )
        if (without := _without_walls(invocation, run)) is not None:
            return cls.prepared(without)
        _require_divisible(run, output, settings.restart)
        if not any(isinstance(stage.engine, Vllm | Endpoint) for stage in run.stages):
            invocation.models.require_a_model()
        known = [stage.name for stage in run.stages]
        only = tuple(name for asked in settings.stages for name in meant(asked, known))
        if only and settings.accepted is not None:
            raise UsageError("--accepted counts rows that passed all stages; drop it, or --stages")
        prepared = cls(invocation, context, run, output, only)
        check_limits(invocation.stops, prepared.models, run.asks_here, run.claims.takes_all)
        return prepared

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides the dataset."""
        settings = self.invocation.run
        parts = (self.invocation.recipe.name, settings.format, *self.run.fingerprints.values())
        return digest(*parts)[:16]

    @property
    def is_complete(self) -> bool:
        """Whether the dataset is there, whole, with as many rows as were wanted."""
        finished = read_manifest(self.output)
        return (
            finished is not None
            and self.is_of(finished)
            and not finished.stopped
            and not any(stage.partial for stage in finished.stages)
            and not self.invocation.run.restart
            and self.more_records(finished.stages) is None
        )

    def grown(self) -> "Launch":
        """This run as it has grown to what `--accepted` needed, if the output has that dataset."""
        finished = read_manifest(self.output)
        if finished is None or self.invocation.run.accepted is None:
            return self
        records = finished.settings.get("num_records")
        if not isinstance(records, int) or records <= self.invocation.config.num_records:
            return self
        grown = Launch.prepared(self.invocation.of_records(records))
        return grown if grown.fingerprint == finished.fingerprint else self

    def more_records(self, stages: Sequence[StageManifest]) -> int | None:
        """How many records to go on to for enough accepted rows; None where this is the end.

        One more wave, of as many records as the command line names: so where it ends does not
        depend on where an earlier run has ended.
        """
        wanted, at = self.invocation.run.accepted, self.invocation.config.num_records
        if wanted is None or len(stages) < len(self.run.stages) or stages[-1].partial:
            return None
        every = list(zip(self.run.stages, stages, strict=True))
        drawn = [made for stage, made in every if isinstance(stage.takes, Drawn)]
        drawn = drawn or [made for stage, made in every if not stage.inputs]
        there = sum(made.rows + made.not_sampled for made in drawn)
        most = min(there, self.invocation.config.most_records or there)
        rows, wave = stages[-1].rows, self.invocation.wave or at
        is_hopeless = not rows and at >= _HOPELESS * wave
        return None if rows >= wanted or at >= most or is_hopeless else min(at + wave, most)

    def is_of(self, finished: RunManifest) -> bool:
        """Whether a dataset, or a part of one, is what this run makes."""
        return finished.fingerprint == self.fingerprint

    def require_replaceable(self) -> RunManifest | None:
        """The dataset in the output, if there is one, and this run may put its own in its place.

        Raises:
            UsageError: it is another one, and nobody said to replace it.
        """
        finished = read_manifest(self.output)
        if finished is None or self.invocation.run.replace or self.is_of(finished):
            return finished
        same = finished.recipe == self.invocation.recipe.name
        of = "other settings or another version of this program" if same else finished.recipe
        raise UsageError(
            f"{self.invocation.run.output} holds a finished dataset of {of}; pass another "
            "--output, or --replace to put the new one in its place (answers that still hold are "
            "used again)"
        )

    def refusal(self) -> str:
        """Why the output would refuse this run; "" where it would not."""
        try:
            require_shared(self.run.work_dir, self.run.options)
            self.grown().require_replaceable()
        except UsageError as error:
            return str(error)
        return ""

    @property
    def models(self) -> dict[str, ModelSettings]:
        """The model settings of each asked stage."""
        asked = [stage.name for stage in self.run.stages if stage.ask]
        return {name: self.context.models_of(name) for name in asked}

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the work folder and the output, so that no two runs pay for or publish the same.

        An object store has no locks: there, nobody is held up. The processes of one run hold them
        together.

        Raises:
            UsageError: another run holds one, it cannot be written, or workers do not have it.
        """
        require_shared(self.run.work_dir, self.run.options)
        claims, together = self.run.claims, ""
        if isinstance(claims, SharedClaims):
            together = " ".join((self.fingerprint, str(claims.of), *self.only))
        with contextlib.ExitStack() as stack:
            for folder in dict.fromkeys((self.run.work_dir, f"{self.output}/{WORK}")):
                stack.enter_context(locked(folder, together))
            yield

    def execute(
        self, progress: rich.console.Console, only: Collection[str] = ()
    ) -> list[StageManifest]:
        """Run the stages that are not published yet; their manifests.

        Raises:
            EngineDown: before anything is read, where an engine that is asked from this process
                lacks its key or its program.
            RunError: likewise, where there is no sandbox for code that a model may write.
        """
        for stage in self.run.stages:
            if not self.run.in_process or (only and stage.name not in only):
                continue
            if stage.engine is not None:
                stage.engine.open()  # connects to nothing yet
            if stage.runs_code_in is not None and not self.run.is_published(stage.name):
                require(stage.runs_code_in, _is_rehearsed(self.run))
        if self.invocation.run.restart:
            self.run.forget(only)
        with (
            on_flink(self.run.options, self.run.work_dir),
            Panel(progress, self.models).shown() as panel,
        ):
            return self.run.execute(panel, only)

    @contextlib.contextmanager
    def stoppable(self) -> Iterator[Stops]:
        """While its stages run, or those of a larger run that keeps answers in the same store."""
        settings = self.invocation.stops
        stops = stops_for(settings, self.context.store, self.models)
        with stoppable(stops, settings, tell=not self.run.asks_here):
            yield stops

    def publish(self, stages: list[StageManifest], attempt: Attempt) -> Figures:
        """Put the dataset of these stages into the output, with its card and reports."""
        format = self.invocation.run.format
        remember(self.invocation.arguments, self.run.work_dir, self.fingerprint)
        with publication(self.run, stages, self.output, format, attempt) as (aside, files):
            manifest = self.manifest(stages).model_copy(update={"files": files})
            figures = gather(manifest, self.output, aside)
            write_report(figures, self.output, aside)
            write_manifest(figures.manifest, aside)
        return figures

    def manifest(self, stages: list[StageManifest]) -> RunManifest:
        """What a dataset of these stages was made by and from."""
        engines = [stage.engine for stage in self.run.stages if stage.engine]
        return RunManifest(
            recipe=self.invocation.recipe.name,
            command=self.invocation.recipe.command,
            prompts=self.invocation.run.prompts,
            fingerprint=self.fingerprint,
            seed=self.run.seed,
            model=", ".join(dict.fromkeys(engine.model for engine in engines)),
            engine=", ".join(dict.fromkeys(engine.identity() for engine in engines)),
            settings=json.loads(self.invocation.config.model_dump_json()),
            store=relative(self.context.store, self.output),
            versions=versions(),
            stages=stages,
            files=[],
            format=self.invocation.run.format,
            columns=columns_of(data_schema(self.run.stages[-1].row_type)),
            asks={stage.name: self._asked(stage) for stage in self.run.stages if stage.ask},
            summary=self.invocation.recipe.summary,
            citation=self.invocation.recipe.citation,
            stopped=self._stopped(stages),
        )

    def _stopped(self, stages: Sequence[StageManifest]) -> str:
        """What ended the run before its end; "" where it came there."""
        why = stops_of(self.context.store).why
        if any(stage.partial for stage in stages):
            return why or "an earlier stop"
        return why if self.more_records(stages) is not None else ""

    def _asked(self, stage: Stage) -> Asked:
        assert stage.ask is not None
        models = self.context.models_of(stage.name)
        engine = stage.ask.engine
        revision = engine.revision if isinstance(engine, Vllm) else ""
        usages = AnswerStore(self.context.store, stage.name).engines()
        of_it = (one for one in usages if (one.model, one.revision) == (engine.model, revision))
        return Asked(
            model=engine.model,
            engine=engine.identity(),
            revision=revision,
            api=models.api,
            served=served(of_it),
            sampling=stage.ask.sampling.chosen(),
            price_in=models.price_in,
            price_out=models.price_out,
        )


def _is_rehearsed(run: Run) -> bool:
    """Whether no model writes anything."""
    engines = [stage.engine for stage in run.stages if stage.engine is not None]
    return all(isinstance(engine, Rehearsal) for engine in engines)


def _without_walls(invocation: Invocation, run: Run) -> Invocation | None:
    """The same with the local sandbox, if no other can be had and what it runs is rehearsed.

    Such code is ours. Who names a sandbox gets that one, or an error.
    """
    config = invocation.config
    is_named = any(name.startswith("sandbox") for name in config.model_fields_set)
    if not isinstance(config, PythonConfig) or is_named or not run.in_process:
        return None
    needed = [stage.runs_code_in for stage in run.stages if stage.runs_code_in is not None]
    if not _is_rehearsed(run) or all(map(can_run, needed)):
        return None
    return dataclasses.replace(invocation, config=config.without_walls())


def _require_divisible(run: Run, output: str, restart: bool) -> None:
    claims = run.claims
    if not isinstance(claims, SharedClaims):
        return
    if not run.in_process:
        raise UsageError("--shard divides a run in this process; drop it, or --runner")
    for folder in filter(is_remote, (run.work_dir, output)):
        raise UsageError(f"--shard takes turns by files that {folder} cannot create as one")
    if restart:
        raise UsageError("--restart is for one process; run that first, or drop --shard")
    if claims.of > run.num_shards:
        raise UsageError(
            f"--shard {claims.number}/{claims.of}: more processes than files, which are "
            f"{run.num_shards} here; give all of them --num_shards={claims.of}, or a multiple of it"
        )


def _require_prompts(folder: str, own: tuple[str, ...]) -> None:
    """Refuse a folder of prompts that would replace nothing, or not what its names say."""
    if not folder:
        return
    if not Path(folder).is_dir():
        raise UsageError(f"--prompts {folder} is not a folder")
    if unknown := prompts.unknown_overrides(folder, own):
        raise UsageError(f"--prompts {folder}: {unknown[0]} replaces none of our prompts")
    if not any(Path(folder).rglob("*.jinja")):
        raise UsageError(f"--prompts {folder} holds no prompt; name files as in prompts/")


def meant(name: str, known: Collection[str]) -> list[str]:
    """The stage of that name and its steps; where there is none, those whose names begin with it.

    Raises:
        UsageError: there is none.
    """
    meant = [one for one in known if one == name or one.startswith(f"{name}.")]
    meant = meant or [one for one in known if is_named(one.split(".")[0], name)]
    if not meant:
        stages = dict.fromkeys(one.split(".")[0] for one in known)
        raise UsageError(f"--stages {name}: no such stage; there are {', '.join(stages)}")
    return meant
