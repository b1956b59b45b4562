"""From a command line to a published dataset: what every run does around its stages."""

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
from beam_sdg.folders import WORK, locked, require_ours, require_reachable
from beam_sdg.hub import check_push, push
from beam_sdg.models import ModelSettings
from beam_sdg.options import Invocation, RunSettings
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
from beam_sdg.report import Figures, gather, print_report, write_report
from beam_sdg.runs import Run, code_hash
from beam_sdg.serving import served
from beam_sdg.stages import Drawn, Stage, StageManifest
from beam_sdg.stopping import check_limits, stoppable, stops_for
from transforms.engines.endpoint import Endpoint
from transforms.engines.rehearsal import Rehearsal
from transforms.engines.stops import Stops, stops_of
from transforms.engines.store import AnswerStore
from transforms.engines.vllm import Vllm
from transforms.errors import RunError, Stopped, UsageError
from transforms.files import is_remote, relative, remove
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
        _require_divisible(run, settings.restart)
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
            and finished.fingerprint == self.fingerprint
            and not finished.stopped
            and not any(stage.partial for stage in finished.stages)
            and not self.invocation.run.restart
            and _more_records(self, finished.stages) is None
        )

    def refusal(self) -> str:
        """Why the output would refuse this run; "" where it would not."""
        finished, grown = read_manifest(self.output), self
        if finished is not None and self.invocation.run.accepted is not None:
            grown = _grown_to(finished, self)
        try:
            _require_replaceable(finished, grown)
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
            UsageError: another run holds one, or it cannot be written.
        """
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
        if not is_remote(self.run.work_dir):  # which may be another run's too
            remove(f"{self.run.work_dir}/tmp")  # of killed processes
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
        return why if _more_records(self, stages) is not None else ""

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


def launch(
    invocation: Invocation, console: rich.console.Console, progress: rich.console.Console
) -> None:
    """Make a recipe's dataset in `--output`, or say that it is already there.

    Raises:
        UsageError: the output holds something else.
        Stopped: a limit or a signal has ended the run, and what it had is in `--output`.
        SdgError: the run failed; the same command goes on from where it stopped.
    """
    prepared, settings = Launch.prepared(invocation), invocation.run
    output, finished = prepared.output, read_manifest(prepared.output)
    if finished is not None and settings.accepted is not None:
        prepared = _grown_to(finished, prepared)
    published: list[Figures] = []
    if not (was_complete := prepared.is_complete):
        _require_replaceable(finished, prepared)
        with prepared.held():
            _require_replaceable(read_manifest(output), prepared)  # of a run that was faster
            with prepared.stoppable() as stops:
                prepared, stages = _accepting(prepared, progress, stops)
            is_partial = any(stage.partial for stage in stages)
            if len(stages) < len(prepared.run.stages):
                done = [stage.stage for stage in stages if not stage.partial]
                left = [stage.name for stage in prepared.run.stages if stage.name not in done]
                console.print(f"left to run before there is a dataset: {', '.join(left)}")
                if is_partial:
                    raise Stopped(f"stopped by {stops.why}; the same command goes on")
                return
            if is_partial and finished is not None and not _is_of(finished, prepared):
                raise Stopped(
                    f"{output} keeps the dataset that was there; the run that is to replace it was "
                    f"stopped by {stops.why}, and the same command goes on"
                )
            prepared.run.claims.work_through(
                {f"{output}/{WORK}/{prepared.fingerprint}": stages},
                lambda _: prepared.is_complete,
                lambda _, attempt: published.append(prepared.publish(stages, attempt)),
                lambda holders: progress.print(f"waiting for {holders}"),
            )
    if published:
        [figures] = published
    else:
        console.print(f"{output} is complete; there is nothing to do")
        figures = gather(_manifest_in(output), output)
    print_report(console, figures, output)
    if figures.manifest.stopped:
        raise Stopped(
            f"a part of the dataset is in {output}; it was {figures.manifest.why_partial}, and the "
            "same command goes on"
        )
    _require_rows(figures, settings)
    if published or was_complete:
        _push(invocation, output, console)


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


def _manifest_in(output: str) -> RunManifest:
    manifest = read_manifest(output)
    assert manifest is not None
    return manifest


def _is_of(finished: RunManifest, prepared: Launch) -> bool:
    """Whether a dataset, or a part of it, is what the run makes."""
    return finished.fingerprint == prepared.fingerprint or bool(finished.stopped)


def _accepting(
    prepared: Launch, progress: rich.console.Console, stops: Stops
) -> tuple[Launch, list[StageManifest]]:
    """Run the stages, for more records each time until `--accepted` rows have passed all of them.

    Records come in whole waves: a larger run begins with the rows of a smaller one, whose answers
    it finds in the store. It ends early where there are no more records, or the run was stopped.
    """
    stages = prepared.execute(progress, prepared.only)
    while (records := _more_records(prepared, stages)) is not None and not stops.why:
        wanted = prepared.invocation.run.accepted
        progress.print(f"{stages[-1].rows:,} of {wanted:,} rows; going on to {records:,} records")
        prepared = Launch.prepared(prepared.invocation.of_records(records))
        stages = prepared.execute(progress)
    return prepared, stages


def _more_records(prepared: Launch, stages: Sequence[StageManifest]) -> int | None:
    """How many records to go on to for enough accepted rows; None where this is the end.

    One more wave, of as many records as the command line names: so where it ends does not depend on
    where an earlier run has ended.
    """
    wanted, at = prepared.invocation.run.accepted, prepared.invocation.config.num_records
    if wanted is None or len(stages) < len(prepared.run.stages) or stages[-1].partial:
        return None
    every = list(zip(prepared.run.stages, stages, strict=True))
    drawn = [made for stage, made in every if isinstance(stage.takes, Drawn)]
    drawn = drawn or [made for stage, made in every if not stage.inputs]
    there = sum(made.rows + made.not_sampled for made in drawn)
    most = min(there, prepared.invocation.config.most_records or there)
    rows, wave = stages[-1].rows, prepared.invocation.wave or at
    is_hopeless = not rows and at >= _HOPELESS * wave
    return None if rows >= wanted or at >= most or is_hopeless else min(at + wave, most)


def _grown_to(finished: RunManifest, prepared: Launch) -> Launch:
    """The run as it has grown to the finished dataset, if that is of the same settings."""
    records = finished.settings.get("num_records")
    if not isinstance(records, int) or records <= prepared.invocation.config.num_records:
        return prepared
    grown = Launch.prepared(prepared.invocation.of_records(records))
    return grown if grown.fingerprint == finished.fingerprint else prepared


def _require_rows(figures: Figures, settings: RunSettings) -> None:
    output, wanted = settings.output, settings.accepted
    if not figures.data.rows:
        raise RunError(
            f"{output} has no rows: all were rejected or left out; its rejects say why, and "
            "beam-sdg preview shows what becomes of ten rows"
        )
    if wanted is not None and figures.data.rows < wanted:
        raise RunError(
            f"--accepted {wanted}: only {figures.data.rows} rows passed all stages, and there are "
            f"no more records; {output} has these, so give it more, or make it reject fewer"
        )


def _push(invocation: Invocation, output: str, console: rich.console.Console) -> None:
    settings = invocation.run
    if settings.push_to_hub:
        url = push(output, settings.push_to_hub, private=not settings.public)
        console.print(f"pushed to {url}")


def _require_divisible(run: Run, restart: bool) -> None:
    claims = run.claims
    if not isinstance(claims, SharedClaims):
        return
    if not run.in_process:
        raise UsageError("--shard divides a run in this process; drop it, or --runner")
    if is_remote(run.work_dir):
        raise UsageError(f"--shard takes turns by files that {run.work_dir} cannot create as one")
    if restart:
        raise UsageError("--restart is for one process; run that first, or drop --shard")
    if claims.of > run.num_shards:
        raise UsageError(
            f"--shard {claims.number}/{claims.of}: more processes than files, which are "
            f"{run.num_shards} here; give all of them --num_shards={claims.of}, or a multiple of it"
        )


def _require_replaceable(finished: RunManifest | None, prepared: Launch) -> None:
    invocation = prepared.invocation
    is_ours = finished is not None and finished.fingerprint == prepared.fingerprint
    if finished is not None and not invocation.run.replace and not is_ours:
        same = finished.recipe == invocation.recipe.name
        of = "other settings or another version of this program" if same else finished.recipe
        raise UsageError(
            f"{invocation.run.output} holds a finished dataset of {of}; pass another --output, or "
            "--replace to put the new one in its place (answers that still hold are used again)"
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
