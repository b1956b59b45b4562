"""From options to a published dataset: what every run does around its stages."""

import contextlib
import fcntl
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import rich.console

from beam_sdg.options import SdgOptions, engine_of, num_shards_of, sampling_of
from beam_sdg.publish import RunManifest, publish, read_manifest, versions, write_manifest
from beam_sdg.recipes.recipe import Context, Recipe, RecipeConfig
from beam_sdg.report import print_report, report_text
from beam_sdg.runs import Run
from beam_sdg.shards import write_whole
from transforms.errors import UsageError
from transforms.seeding import digest

_log = logging.getLogger(__name__)


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
        print_report(console, finished, output)
        return finished
    if finished is not None and not options.replace:
        raise UsageError(
            f"{output} holds a finished dataset of other settings; pass another --output, or "
            "--replace to put the new one in its place (its answers are used again)"
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
            store=context.store,
            versions=versions(),
            stages=stages,
            files=files,
        )
        write_whole(f"{output}/report.txt", report_text(manifest, output).encode())
        write_manifest(manifest, output)
    print_report(console, manifest, output)
    return manifest


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
    foreign = folder.is_dir() and any(folder.iterdir()) and not (folder / ".work").is_dir()
    if finished is None and foreign:
        raise UsageError(f"--output {output} holds other files; name a new or empty folder")


@contextlib.contextmanager
def _only_run(work_dir: str) -> Iterator[None]:
    """Hold the work folder, so that two runs never pay for the same answers."""
    Path(work_dir).mkdir(parents=True, exist_ok=True)
    with Path(work_dir, "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"another run is using {work_dir}; wait for it or stop it") from error
        yield
