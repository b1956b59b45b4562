"""From a command line to a published dataset: what every run does around its stages."""

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import rich.console

import prompts
from beam_sdg.claims import Attempt, SharedClaims
from beam_sdg.columns import columns_of
from beam_sdg.hub import check_push, push
from beam_sdg.models import ModelSettings
from beam_sdg.options import Invocation
from beam_sdg.panel import Panel
from beam_sdg.publish import (
    ASIDE,
    Asked,
    RunManifest,
    data_schema,
    publish,
    read_manifest,
    versions,
    write_manifest,
)
from beam_sdg.recipes.recipe import Context, is_named, stages_of
from beam_sdg.report import Figures, gather, print_report, write_report
from beam_sdg.runs import Run, Stage, StageManifest, code_hash
from beam_sdg.serving import served
from transforms.engines.endpoint import Endpoint
from transforms.engines.store import AnswerStore
from transforms.engines.vllm import Vllm
from transforms.errors import RunError, UsageError
from transforms.seeding import digest
from transforms.tir.cells import require

_TRIES = 20


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
        work_dir = (settings.work_dir or f"{output}/.work").rstrip("/")
        _require_local(output, work_dir)
        _require_ours(output)
        if settings.push_to_hub:
            check_push(settings.push_to_hub)
        own = (str(recipe.prompts),) if recipe.prompts else ()
        _require_prompts(settings.prompts, own)
        context = Context(
            models=invocation.models,
            stage_settings=invocation.stage_settings,
            of_mode=invocation.of_mode,
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
        _require_divisible(run)
        if not any(isinstance(stage.engine, Vllm | Endpoint) for stage in run.stages):
            invocation.models.require_a_model()
        known = [stage.name for stage in run.stages]
        only = tuple(name for asked in settings.stages for name in meant(asked, known))
        return cls(invocation, context, run, output, only)

    @property
    def fingerprint(self) -> str:
        """A hash of all that decides the dataset."""
        settings = self.invocation.run
        parts = (self.invocation.recipe.name, settings.format, *self.run.fingerprints.values())
        return digest(*parts)[:16]

    @property
    def is_complete(self) -> bool:
        """Whether the dataset is there."""
        finished = read_manifest(self.output)
        return finished is not None and finished.fingerprint == self.fingerprint

    @property
    def models(self) -> dict[str, ModelSettings]:
        """The model settings of each asked stage."""
        asked = [stage.name for stage in self.run.stages if stage.ask]
        return {name: self.context.models_of(name) for name in asked}

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the work folder and the output, so that no two runs pay for or publish the same.

        The processes of one run hold them together.

        Raises:
            UsageError: another run holds one, or it cannot be written.
        """
        claims, together = self.run.claims, ""
        if isinstance(claims, SharedClaims):
            together = " ".join((self.fingerprint, str(claims.of), *self.only))
        with contextlib.ExitStack() as stack:
            for folder in dict.fromkeys((self.run.work_dir, f"{self.output}/.work")):
                stack.enter_context(_locked(folder, together))
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
            python = stage.ask and stage.ask.python
            if python and not self.run.is_published(stage.name):
                require(python.sandbox)
        with Panel(progress, self.models).shown() as panel:
            return self.run.execute(panel, only)

    def publish(self, stages: list[StageManifest], attempt: Attempt) -> Figures:
        """Put the dataset of these stages into the output, with its card and reports."""
        format = self.invocation.run.format
        files = publish(self.run, stages, self.output, format, attempt)
        manifest = self.manifest(stages).model_copy(update={"files": files})
        figures = gather(manifest, self.output)
        write_report(figures, self.output)
        write_manifest(figures.manifest, self.output)
        shutil.rmtree(f"{self.run.work_dir}/tmp", ignore_errors=True)  # of killed processes
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
            store=os.path.relpath(self.context.store, self.output),
            versions=versions(),
            stages=stages,
            files=[],
            format=self.invocation.run.format,
            columns=columns_of(data_schema(self.run.stages[-1].row_type)),
            asks={stage.name: self._asked(stage) for stage in self.run.stages if stage.ask},
            summary=self.invocation.recipe.summary,
            citation=self.invocation.recipe.citation,
        )

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
        SdgError: the run failed; the same command goes on from where it stopped.
    """
    prepared = Launch.prepared(invocation)
    output = prepared.output
    published: list[Figures] = []
    if not (was_complete := prepared.is_complete):
        _require_replaceable(invocation)
        with prepared.held():
            if not prepared.is_complete:  # by a run that was faster
                _require_replaceable(invocation)
            stages = prepared.execute(progress, prepared.only)
            if len(stages) < len(prepared.run.stages):
                done = [stage.stage for stage in stages]
                left = [stage.name for stage in prepared.run.stages if stage.name not in done]
                console.print(f"left to run before there is a dataset: {', '.join(left)}")
                return
            prepared.run.claims.work_through(
                {f"{output}/.work/{prepared.fingerprint}": stages},
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
    _require_rows(figures, output)
    if published or was_complete:
        _push(invocation, output, console)


def _manifest_in(output: str) -> RunManifest:
    manifest = read_manifest(output)
    assert manifest is not None
    return manifest


def _require_rows(figures: Figures, output: str) -> None:
    if not figures.data.rows:
        raise RunError(
            f"{output} has no rows: all were rejected or left out; its rejects say why, and "
            "beam-sdg preview shows what becomes of ten rows"
        )


def _push(invocation: Invocation, output: str, console: rich.console.Console) -> None:
    settings = invocation.run
    if settings.push_to_hub:
        url = push(output, settings.push_to_hub, private=not settings.public)
        console.print(f"pushed to {url}")


@contextlib.contextmanager
def _locked(folder: str, together: str) -> Iterator[None]:
    """Hold a folder alone, or with all who say the same word for what they do together."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        lock = os.open(f"{folder}/lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise UsageError(f"cannot write {error.filename}: {error.strerror}") from error
    try:
        if together and not _joined(lock, together.encode()):
            raise UsageError(
                f"{folder} is used by a run with other flags or without --shard; wait for it or "
                "stop it, and give all processes the same flags"
            )
        if not together and not _got(lock, fcntl.LOCK_EX):
            raise UsageError(f"another run is using {folder}; wait for it or stop it")
        yield
    finally:
        os.close(lock)


def _got(lock: int, how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _joined(lock: int, word: bytes) -> bool:
    """Share a lock with those who wrote the same into it; whoever is alone writes."""
    for _ in range(_TRIES):
        if _got(lock, fcntl.LOCK_EX):
            os.ftruncate(lock, 0)
            os.pwrite(lock, word, 0)
        if _got(lock, fcntl.LOCK_SH) and os.pread(lock, len(word) + 1, 0) == word:
            return True
        fcntl.flock(lock, fcntl.LOCK_UN)
        time.sleep(0.1)  # one of several may just be writing
    return False


def _require_divisible(run: Run) -> None:
    claims = run.claims
    if not isinstance(claims, SharedClaims):
        return
    if not run.in_process:
        raise UsageError("--shard divides a run in this process; drop it, or --runner")
    if claims.of > run.num_shards:
        raise UsageError(
            f"--shard {claims.number}/{claims.of}: more processes than files, which are "
            f"{run.num_shards} here; give all of them --num_shards={claims.of}, or a multiple of it"
        )


def _require_replaceable(invocation: Invocation) -> None:
    finished = read_manifest(invocation.run.output)
    if finished is not None and not invocation.run.replace:
        same = finished.recipe == invocation.recipe.name
        of = "other settings or another version of this program" if same else finished.recipe
        raise UsageError(
            f"{invocation.run.output} holds a finished dataset of {of}; pass another --output, or "
            "--replace to put the new one in its place (answers that still hold are used again)"
        )


def _require_local(*folders: str) -> None:
    for folder in folders:
        if "://" in folder:
            raise UsageError(
                f"{folder}: answers must be durable at once, which takes a local or shared "
                "filesystem; pass a path for --output and --work_dir"
            )


def _require_ours(output: str) -> None:
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {output} is a file; name a folder")
    ours = any((folder / name).exists() for name in ("manifest.json", ".work", ASIDE))
    if not ours and folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"--output {output} holds other files; name a new or empty folder")


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
