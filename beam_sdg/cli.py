"""The command line: `beam-sdg RECIPE --flags`, `beam-sdg report DIR`, `beam-sdg recipes`."""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import rich.console

from beam_sdg.launch import launch
from beam_sdg.options import parse_flags
from beam_sdg.publish import read_manifest
from beam_sdg.recipes import RECIPES
from beam_sdg.report import gather, print_report
from beam_sdg.version import __version__
from prompts import PromptError
from transforms.errors import RunError, SdgError, UsageError

USAGE = """\
usage: beam-sdg RECIPE [--flag=value …]   make a dataset (RECIPE --help lists the flags)
       beam-sdg report DIR                what came out of a run and what was lost
       beam-sdg recipes                   the recipes there are
"""
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 done, 2 bad usage, 3 bad input, 4 a failed run, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    console = rich.console.Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    debug = "--debug" in arguments
    logging.basicConfig(
        level=logging.INFO if debug else logging.CRITICAL, format="%(message)s", force=True
    )
    logging.getLogger("beam_sdg").setLevel(logging.INFO)
    try:
        return _command(arguments, console)
    except (SdgError, PromptError) as error:
        if debug:
            raise
        _say(" ".join(str(error).split()))
        return error.exit_code if isinstance(error, SdgError) else UsageError.exit_code
    except OSError as error:
        if debug:
            raise
        _say(f"{error.filename or error}: {error.strerror or type(error).__name__}")
        return RunError.exit_code
    except KeyboardInterrupt:
        _say("stopped; answers so far are kept, and the same command goes on")
        os._exit(INTERRUPTED)  # Beam's worker threads would be waited for


def _say(message: str) -> None:
    sys.stderr.write(f"beam-sdg: {message}\n")
    sys.stderr.flush()


def _command(arguments: Sequence[str], console: rich.console.Console) -> int:
    command, flags = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if command in ("-h", "--help"):
        console.print(USAGE, end="")
    elif command == "--version":
        console.print(__version__)
    elif command == "recipes":
        for recipe in RECIPES.values():
            console.print(f"{recipe.name:24}{recipe.summary}")
    elif command == "report":
        _report(flags, console)
    elif command in RECIPES:
        recipe = RECIPES[command]
        options, config = parse_flags(f"beam-sdg {command}", recipe.summary, recipe.config, flags)
        launch(recipe, config, options, console)
    else:
        known = ", ".join((*RECIPES, "report", "recipes"))
        raise UsageError(f"unknown command {command!r}; there are {known}")
    return 0


def _report(arguments: Sequence[str], console: rich.console.Console) -> None:
    if len(arguments) != 1:
        raise UsageError("report takes one folder: beam-sdg report DIR")
    output = arguments[0].rstrip("/")
    manifest = read_manifest(output)
    if manifest is None:
        unfinished = Path(output, ".work").is_dir()
        state = "holds an unfinished run; run its command again" if unfinished else "holds no run"
        raise UsageError(f"{output} {state}")
    print_report(console, gather(manifest, output), output)
