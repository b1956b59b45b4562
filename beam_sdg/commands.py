"""What datasets were made by: the command line of each, kept beside the answers for a retry."""

import contextlib
import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from transforms.engines.flags import shown
from transforms.files import is_remote, remove, writing


def remember(arguments: Sequence[str], work_dir: str, fingerprint: str) -> None:
    """Keep the command of a dataset, for its user alone, unless a flag holds a key or a token.

    Not in an object store, where others may read it.

    Raises:
        RunError: it cannot be written.
    """
    if is_remote(work_dir) or not arguments or _holds_a_secret(arguments):
        return
    path = _path(work_dir, fingerprint)
    aside = f"{path}.{os.getpid()}"
    with writing(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        remove(aside)
        with open(aside, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            json.dump({"arguments": arguments, "folder": str(Path.cwd())}, file)
        Path(aside).replace(path)


def recalled(work_dir: str, fingerprint: str) -> tuple[list[str], str]:
    """The arguments that made a dataset, and the folder where they were given.

    Raises:
        OSError, ValueError, KeyError: they are not there, or damaged.
    """
    command = json.loads(_path(work_dir, fingerprint).read_text())
    return command["arguments"], command["folder"]


def _holds_a_secret(arguments: Sequence[str]) -> bool:
    values = (argument.partition("=")[2] for argument in arguments)
    for text in (shlex.join(arguments), *values):
        with contextlib.suppress(ValueError):  # no words of a command line, so no flags
            if shown(text) != shlex.join(shlex.split(text)):
                return True
    return False


def _path(work_dir: str, fingerprint: str) -> Path:
    return Path(work_dir, "commands", f"{fingerprint}.json")
