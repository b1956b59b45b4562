"""The command line: make a dataset, look at one row or ten, and at what came out."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence

import rich.console

from beam_sdg.folders import WORK
from beam_sdg.holdings import holdings, print_holdings, store_of
from beam_sdg.make import make
from beam_sdg.model_check import check_model, print_findings
from beam_sdg.models import ModelSettings
from beam_sdg.options import Parser, parse_flags
from beam_sdg.preview import dry_run, preview
from beam_sdg.publish import read_manifest
from beam_sdg.recipes import RECIPES, recipe_of
from beam_sdg.report import gather, print_report
from beam_sdg.retry import retried
from beam_sdg.sandboxes import sandbox
from beam_sdg.trace import print_way, samples_of, way_of
from beam_sdg.version import __version__
from prompts import PromptError
from sandbox import SandboxError
from transforms.errors import RunError, SdgError, UsageError
from transforms.files import exists, is_full, joined, unwritten

USAGE = """\
usage: beam-sdg RECIPE [--flag=value …]           make a dataset (RECIPE --help lists the flags)
       beam-sdg RECIPE --dry_run [--flag=value …] stages, first prompts, an estimate; asks nothing
       beam-sdg preview RECIPE [--flag=value …]   ten rows: prompt, raw reply, value, rejects
       beam-sdg show DIR ID                       one row's way through every stage
       beam-sdg report DIR                        what came out of a run and what was lost
       beam-sdg retry DIR --stage STAGE           one more try at what a stage has rejected
       beam-sdg store DIR                         what was answered, and what is wrong with it
       beam-sdg recipes                           the recipes there are
       beam-sdg model check MODEL [--flag=value]  a model, looked at before vLLM serves it
       beam-sdg sandbox build|doctor|attack|clean where code that models write is run

RECIPE is a name or the path of a Python file that holds one. With --debug, a command shows
tracebacks and logs.
"""
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0 done, 2 bad usage, 3 bad input, 4 a failed run, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    console = rich.console.Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    logging.basicConfig(
        level=logging.INFO if debug else logging.CRITICAL, format="%(message)s", force=True
    )
    try:
        _command(arguments, console)
    except (SdgError, PromptError, SandboxError) as error:
        if debug:
            raise
        _say(" ".join(str(error).split()))
        if isinstance(error, SdgError):
            return error.exit_code
        return RunError.exit_code if isinstance(error, SandboxError) else UsageError.exit_code
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if debug:
            raise
        said = f"{error.filename or error}: {error.strerror or type(error).__name__}"
        _say(str(unwritten(error.filename or "a file", error)) if is_full(error) else said)
        return RunError.exit_code
    except KeyboardInterrupt:
        _say("stopped; answers so far are kept, and the same command goes on")
        os._exit(INTERRUPTED)  # Beam's worker threads would be waited for
    return 0


def _say(message: str) -> None:
    sys.stderr.write(f"beam-sdg: {message}\n")
    sys.stderr.flush()


def _command(arguments: Sequence[str], console: rich.console.Console) -> None:
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if command in ("-h", "--help"):
        console.print(USAGE, end="")
    elif command == "--version":
        console.print(__version__)
    elif command in COMMANDS:
        COMMANDS[command](rest, console)
    else:
        _make(arguments, console)


def _make(arguments: Sequence[str], console: rich.console.Console) -> None:
    invocation = parse_flags(
        recipe_of(arguments[0], also=tuple(COMMANDS)), arguments[1:], f"beam-sdg {arguments[0]}"
    )
    if invocation.run.dry_run:
        dry_run(invocation, console)
    else:
        make(invocation.by(arguments), console, _progress())


def _preview(arguments: Sequence[str], console: rich.console.Console) -> None:
    if not arguments:
        raise UsageError("preview takes a recipe and its flags: beam-sdg preview RECIPE …")
    prog = f"beam-sdg preview {arguments[0]}"
    preview(parse_flags(recipe_of(arguments[0]), arguments[1:], prog), console, _progress())


def _show(arguments: Sequence[str], console: rich.console.Console) -> None:
    if len(arguments) != 2:
        raise UsageError("show takes a folder and the id of a row: beam-sdg show DIR ID")
    output = arguments[0].rstrip("/")
    for folder in (output, f"{output}/{WORK}"):  # a dataset, or a preview of one
        manifest = read_manifest(folder)
        if manifest is not None:
            work_dir = joined(folder, manifest.store).rpartition("/")[0]
            print_way(console, way_of(manifest, work_dir, arguments[1]), most=None)
            if samples := samples_of(manifest, work_dir, arguments[1]):
                console.rule("samples of it, those that came furthest first", align="left")
                console.print(*samples, sep="\n", markup=False)
            return
    raise _nothing_in(output)


def _report(arguments: Sequence[str], console: rich.console.Console) -> None:
    if len(arguments) != 1:
        raise UsageError("report takes one folder: beam-sdg report DIR")
    output = arguments[0].rstrip("/")
    manifest = read_manifest(output)
    if manifest is None:
        raise _nothing_in(output)
    print_report(console, gather(manifest, output), output)


def _retry(arguments: Sequence[str], console: rich.console.Console) -> None:
    if not arguments or arguments[0].startswith("-"):
        raise UsageError("retry takes a folder and a stage: beam-sdg retry DIR --stage STAGE")
    output = arguments[0].rstrip("/")
    manifest = read_manifest(output)
    if manifest is None:
        raise _nothing_in(output)
    make(retried(manifest, output, arguments[1:]), console, _progress())


def _store(arguments: Sequence[str], console: rich.console.Console) -> None:
    if len(arguments) != 1:
        raise UsageError("store takes one folder: beam-sdg store DIR")
    folder = arguments[0].rstrip("/") or "/"
    store = store_of(folder)
    if store:
        print_holdings(console, holdings(store))
    else:
        console.print(f"nothing was asked for the dataset in {folder}", markup=False)


def _recipes(arguments: Sequence[str], console: rich.console.Console) -> None:
    for recipe in RECIPES.values():
        console.print(f"{recipe.name:28}{recipe.summary}")
        for mode, flags in recipe.modes.items():
            console.print(f"  --mode {mode:17}{' '.join(flags)}")


def _model(arguments: Sequence[str], console: rich.console.Console) -> None:
    if not arguments or arguments[0] != "check":
        raise UsageError("model takes check and a model: beam-sdg model check MODEL")
    parser = Parser(
        prog="beam-sdg model check",
        description="look at a model before a run: nothing is loaded, no weights are downloaded",
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", help="a folder, or a name on the hub")
    for name in ("revision", "vllm_args"):
        described = ModelSettings.model_fields[name].description
        parser.add_argument(f"--{name}", default="", metavar="VALUE", help=described)
    given = parser.parse_args(arguments[1:])
    findings = check_model(given.model, given.revision, given.vllm_args)
    print_findings(console, given.model, findings)


def _nothing_in(output: str) -> UsageError:
    if exists(f"{output}/{WORK}"):
        return UsageError(f"{output} holds an unfinished run; run its command again")
    return UsageError(f"{output} holds no run; check the path")


def _progress() -> rich.console.Console:
    """Where a run says how far it is: not in the way of what it prints for others to read."""
    return rich.console.Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


Command = Callable[[Sequence[str], rich.console.Console], None]
COMMANDS: Mapping[str, Command] = {
    "model": _model,
    "preview": _preview,
    "recipes": _recipes,
    "report": _report,
    "retry": _retry,
    "sandbox": sandbox,
    "show": _show,
    "store": _store,
}
