"""Commands run again: what a run was started by is kept beside its answers."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from beam_sdg.options import Invocation, Parser, parse_flags
from beam_sdg.publish import RunManifest
from beam_sdg.recipes import recipe_of
from transforms.errors import UsageError
from transforms.files import is_remote, joined, read_file, remove, write_object

_COMMAND = "command.json"


def remember(invocation: Invocation, work_dir: str) -> None:
    """Keep what a run was started by, for the user alone: flags may hold keys."""
    command = {"arguments": invocation.arguments, "folder": str(Path.cwd())}
    path, content = f"{work_dir}/{_COMMAND}", json.dumps(command).encode()
    if is_remote(path):
        write_object(path, content)
        return
    remove(path)
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)


def retried(manifest: RunManifest, output: str, arguments: Sequence[str]) -> Invocation:
    """The run that made a dataset, with one more try at the rejects of a stage.

    Changes to the folder where that run was started, since its flags may name files.

    Raises:
        UsageError: a flag is wrong, the stage has no rejects of its model, or the command is gone.
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
    path = f"{joined(output, manifest.store).rpartition('/')[0]}/{_COMMAND}"
    try:
        command = json.loads(read_file(path))
        recipe, *flags = command["arguments"]
        folder = output if is_remote(output) else Path(output).resolve()
        os.chdir(command["folder"])
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"{path} does not say how {output} was made; run its command again with "
            f"--replace --retry {given.stage}"
        ) from error
    before = parse_flags(recipe_of(recipe), flags, f"beam-sdg {recipe}").run.retry
    retry = ",".join([*before, ":".join([given.stage, *given.set])])
    flags += [f"--output={folder}", "--replace", f"--retry={retry}"]
    return parse_flags(recipe_of(recipe), flags, f"beam-sdg {recipe}").by([recipe, *flags])


def _require_rejects(manifest: RunManifest, stage: str) -> None:
    rejected = [
        made.stage
        for made in manifest.stages
        if made.stage in manifest.asks and sum(made.rejects.values()) > made.not_sent
    ]
    if stage not in rejected:
        there = f"those with some are {', '.join(rejected)}" if rejected else "no asked stage has"
        raise UsageError(f"--stage {stage}: it has no rejects of its model; {there}")
