"""Making a recipe's dataset: the run, what is published of it, and what is told of that."""

from collections.abc import Sequence

import rich.console

from beam_sdg.folders import WORK
from beam_sdg.hub import push
from beam_sdg.launch import Launch
from beam_sdg.options import Invocation, RunSettings
from beam_sdg.publish import RunManifest, read_manifest
from beam_sdg.report import Figures, gather, print_report
from beam_sdg.stages import StageManifest
from transforms.engines.stops import Stops
from transforms.errors import RunError, Stopped


def make(
    invocation: Invocation, console: rich.console.Console, progress: rich.console.Console
) -> None:
    """Make a recipe's dataset in `--output`, or say that it is already there.

    Raises:
        UsageError: the output holds something else.
        Stopped: a limit or a signal has ended the run, and what it had is in `--output`.
        SdgError: the run failed; the same command goes on from where it stopped.
    """
    launch = Launch.prepared(invocation).grown()
    output = launch.output
    published: list[Figures] = []
    if not (was_complete := launch.is_complete):
        launch.require_replaceable()
        with launch.held():
            finished = launch.require_replaceable()  # of a run that was faster
            with launch.stoppable() as stops:
                launch, stages = _accepting(launch, progress, stops)
            if len(stages) < len(launch.run.stages):
                _tell_what_is_left(launch, stages, stops, console)
                return
            _require_a_whole_one(launch, stages, stops, finished)
            launch.run.claims.work_through(
                {f"{output}/{WORK}/{launch.fingerprint}": stages},
                lambda _: launch.is_complete,
                lambda _, attempt: published.append(launch.publish(stages, attempt)),
                lambda holders: progress.print(f"waiting for {holders}"),
            )
            launch.run.tidy()
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
    _require_rows(figures, invocation.run)
    if invocation.run.push_to_hub and (published or was_complete):
        url = push(output, invocation.run.push_to_hub, private=not invocation.run.public)
        console.print(f"pushed to {url}")


def _accepting(
    launch: Launch, progress: rich.console.Console, stops: Stops
) -> tuple[Launch, list[StageManifest]]:
    """Run the stages, for more records each time until `--accepted` rows have passed all of them.

    Records come in whole waves: a larger run begins with the rows of a smaller one, whose answers
    it finds in the store. It ends early where there are no more records, or the run was stopped.
    """
    stages = launch.execute(progress, launch.only)
    while (records := launch.more_records(stages)) is not None and not stops.why:
        wanted = launch.invocation.run.accepted
        progress.print(f"{stages[-1].rows:,} of {wanted:,} rows; going on to {records:,} records")
        launch = Launch.prepared(launch.invocation.of_records(records))
        stages = launch.execute(progress)
    return launch, stages


def _tell_what_is_left(
    launch: Launch, stages: Sequence[StageManifest], stops: Stops, console: rich.console.Console
) -> None:
    """Name the stages that `--stages`, or a stop, has left to another run."""
    done = [stage.stage for stage in stages if not stage.partial]
    left = [stage.name for stage in launch.run.stages if stage.name not in done]
    console.print(f"left to run before there is a dataset: {', '.join(left)}")
    if any(stage.partial for stage in stages):
        raise Stopped(f"stopped by {stops.why}; the same command goes on")


def _require_a_whole_one(
    launch: Launch, stages: Sequence[StageManifest], stops: Stops, finished: RunManifest | None
) -> None:
    """Refuse to replace a dataset with a part of another."""
    if finished is None or finished.stopped or launch.is_of(finished):
        return
    if any(stage.partial for stage in stages):
        raise Stopped(
            f"{launch.output} keeps the dataset that was there; the run that is to replace it was "
            f"stopped by {stops.why}, and the same command goes on"
        )


def _manifest_in(output: str) -> RunManifest:
    manifest = read_manifest(output)
    assert manifest is not None
    return manifest


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
