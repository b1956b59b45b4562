"""From options to a published dataset: what every run does around its stages."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

import rich.console

import prompts
from beam_sdg.columns import columns_of
from beam_sdg.options import SdgOptions, engine_of, num_shards_of, sampling_of
from beam_sdg.publish import (
    ASIDE,
    Asked,
    RunManifest,
    publish,
    read_manifest,
    versions,
    write_manifest,
)
from beam_sdg.recipes.recipe import Context, Recipe, RecipeConfig
from beam_sdg.report import gather, print_report, write_report
from beam_sdg.runs import Run
from transforms.codec import arrow_schema
from transforms.errors import UsageError
from transforms.seeding import digest


def launch(
    recipe: Recipe, config: RecipeConfig, options: SdgOptions, console: rich.console.Console
) -> RunManifest:
    """Make a recipe's dataset in `--output`, or say that it is already there.

    Raises:
        UsageError: the output holds something else.
        SdgError: the run failed; the same command goes on from where it stopped.
    """
    output = options.output.rstrip("/")
    work_dir = (options.work_dir or f"{output}/.work").rstrip("/")
    _require_local(output, work_dir)
    _require_prompts(options.prompts)
    engine = engine_of(options)
    context = Context(
        engine=engine,
        sampling=sampling_of(options),
        store=f"{work_dir}/store",
        seed=options.seed,
        prompt_overrides=options.prompts,
    )
    finished = read_manifest(output)
    _require_ours(output, finished)
    run = Run(
        stages=tuple(recipe.stages(config, context)),
        work_dir=work_dir,
        seed=options.seed,
        num_shards=num_shards_of(options, config.expected_rows()),
        options=options,
    )
    fingerprint = digest(recipe.name, *run.fingerprints.values())[:16]
    if finished is not None and finished.fingerprint == fingerprint:
        console.print(f"{output} is complete; there is nothing to do")
        print_report(console, gather(finished, output), output)
        return finished
    if finished is not None and not options.replace:
        raise UsageError(
            f"{output} holds a finished dataset of other settings or another version of this "
            "program; pass another --output, or --replace to put the new one in its place (answers "
            "that still hold are used again)"
        )
    with _only_run(work_dir):
        stages = run.execute()
        files = publish(run, stages, output)
        manifest = RunManifest(
            recipe=recipe.name,
            fingerprint=fingerprint,
            seed=options.seed,
            model=engine.model,
            engine=engine.identity(),
            settings=json.loads(config.model_dump_json()),
            store=os.path.relpath(context.store, output),
            versions=versions(),
            stages=stages,
            files=files,
            columns=columns_of(arrow_schema(run.stages[-1].row_type)),
            asks=_asks(run),
            summary=recipe.summary,
            citation=recipe.citation,
        )
        figures = gather(manifest, output)
        write_report(figures, output)
        write_manifest(manifest, output)
    print_report(console, figures, output)
    return manifest


def _asks(run: Run) -> dict[str, Asked]:
    return {
        stage.name: Asked(
            model=stage.engine.model,
            engine=stage.engine.identity(),
            sampling=stage.settings["sampling"],
        )
        for stage in run.stages
        if stage.engine is not None
    }


def _require_local(*folders: str) -> None:
    for folder in folders:
        if "://" in folder:
            raise UsageError(
                f"{folder}: answers must be durable at once, which takes a local or shared "
                "filesystem; pass a path for --output and --work_dir"
            )


def _require_ours(output: str, finished: RunManifest | None) -> None:
    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {output} is a file; name a folder")
    begun = any((folder / name).is_dir() for name in (".work", ASIDE))
    if finished is None and not begun and folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"--output {output} holds other files; name a new or empty folder")


def _require_prompts(folder: str) -> None:
    """Refuse a folder of prompts that would replace nothing, or not what its names say."""
    if folder and not Path(folder).is_dir():
        raise UsageError(f"--prompts {folder} is not a folder")
    if unknown := prompts.unknown_overrides(folder):
        raise UsageError(f"--prompts {folder}: {unknown[0]} replaces none of our prompts")


@contextlib.contextmanager
def _only_run(work_dir: str) -> Iterator[None]:
    """Hold the work folder, so that two runs never pay for the same answers."""
    try:
        Path(work_dir).mkdir(parents=True, exist_ok=True)
        lock = Path(work_dir, "lock").open("w")  # noqa: SIM115
    except OSError as error:
        raise UsageError(f"cannot write {error.filename}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"another run is using {work_dir}; wait for it or stop it") from error
        yield
