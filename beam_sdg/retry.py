"""A dataset made again, with one more try at what one of its stages has rejected."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from beam_sdg.commands import recalled
from beam_sdg.launch import Launch
from beam_sdg.options import Invocation, Parser, parse_flags
from beam_sdg.publish import RunManifest
from beam_sdg.recipes import recipe_of
from transforms.errors import UsageError
from transforms.files import is_remote, joined


def retried(manifest: RunManifest, output: str, arguments: Sequence[str]) -> Invocation:
    """The run that made a dataset, with one more try at the rejects of a stage.

    Changes to the folder where that run was started, since its flags may name files.

    Raises:
        UsageError: a flag is wrong, the stage has no rejects of its model, the command is gone, or
            it would make something else by now.
    """
    parser = Parser(
        prog="beam-sdg retry DIR",
        description="ask once more for what a stage has rejected, and make the dataset with it",
        allow_abbrev=False,
    )
    parser.add_argument("--stage", required=True, help="the stage whose rejects are tried again")
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="change a setting of the sampling for them, such as max_tokens; may be given again",
    )
    given = parser.parse_args(arguments)
    _require_rejects(manifest, given.stage)
    work_dir = _absolute(joined(output, manifest.store).rpartition("/")[0])
    to = _absolute(output)
    by_hand = f"run its command again with --replace --retry {given.stage}"
    try:
        typed, folder = recalled(work_dir, manifest.fingerprint)
        os.chdir(folder)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{work_dir} does not say how {output} was made; {by_hand}") from error
    before = _as_made(typed, manifest, to, work_dir)
    if Launch.prepared(before).fingerprint != manifest.fingerprint:
        raise UsageError(
            f"the command of {output} would make something else by now: its inputs or this program "
            f"have changed; {by_hand}"
        )
    changes = [quote(change, safe="=[]{}\"' ") for change in given.set]
    retry = ",".join([*before.run.retry, ":".join([given.stage, *changes])])
    return _as_made([*typed, f"--retry={retry}"], manifest, to, work_dir)


def _as_made(typed: Sequence[str], manifest: RunManifest, output: str, work_dir: str) -> Invocation:
    """The run of a command line as it ended: all of it, in one process, in its output."""
    recipe, *flags = typed
    invocation = parse_flags(recipe_of(recipe), flags, f"beam-sdg {recipe}").by(typed)
    records = manifest.settings.get("num_records")
    if isinstance(records, int):
        invocation = invocation.of_records(records)
    changes = {
        "output": output,
        "work_dir": work_dir,
        "replace": True,
        "restart": False,
        "stages": (),
        "shard": "",
        "accepted": None,
    }
    run = invocation.run.model_copy(update=changes)
    return dataclasses.replace(invocation, run=run)


def _absolute(folder: str) -> str:
    return folder if is_remote(folder) else str(Path(folder).resolve())


def _require_rejects(manifest: RunManifest, stage: str) -> None:
    stages = [made.stage for made in manifest.stages]
    if stage not in stages:
        asked = ", ".join(made for made in stages if made in manifest.asks)
        raise UsageError(f"--stage {stage}: no such stage; those that ask a model are {asked}")
    rejected = [
        made.stage
        for made in manifest.stages
        if made.stage in manifest.asks and sum(made.rejects.values()) > made.not_sent
    ]
    if stage not in rejected:
        there = f"those with some are {', '.join(rejected)}" if rejected else "no asked stage has"
        raise UsageError(f"--stage {stage}: it has no rejects of its model; {there}")
