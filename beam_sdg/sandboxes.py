"""`beam-sdg sandbox`: build the image, look at the machine, attack it, clean up."""

import asyncio
import warnings
from collections.abc import Sequence
from pathlib import Path

import rich.console
import rich.text

from beam_sdg.options import Parser
from sandbox import engine
from sandbox.attack import OWN_CASES, CaseError, DockerWitness, Witness, attack, read_cases
from sandbox.build import build
from sandbox.docker import DockerSandbox, sweep
from sandbox.doctor import Finding, examine
from sandbox.local import WARNING, LocalSandbox
from transforms.errors import InputError, RunError, UsageError

COMMANDS = ("build", "doctor", "attack", "clean")
_STYLES = {"ok": "green", "warning": "yellow", "missing": "bold red"}


def sandbox(arguments: Sequence[str], console: rich.console.Console) -> None:
    """Run one of the commands about the sandbox.

    Raises:
        UsageError: a flag is wrong.
        RunError: something is missing, or an attack got through.
        SandboxError: the engine cannot be used.
    """
    if not arguments or arguments[0] not in COMMANDS:
        raise UsageError(
            "sandbox takes build, doctor, attack or clean; --help after it lists flags"
        )
    command, rest = arguments[0], arguments[1:]
    parser = Parser(prog=f"beam-sdg sandbox {command}", allow_abbrev=False)
    fields = DockerSandbox.model_fields
    parser.add_argument("--engine", default="", help="unix:///PATH or tcp://HOST:PORT")
    parser.add_argument("--tls", default="", help="folder of ca.pem, cert.pem and key.pem")
    parser.add_argument("--image", default=fields["image"].default, help="the image's name")
    if command == "build":
        parser.add_argument(
            "--base", default="", help="an image with Python, or debian: made of its packages"
        )
    if command in ("doctor", "attack"):
        parser.add_argument("--runtime", default="", help="an OCI runtime, such as runsc")
        parser.add_argument("--sessions_per_container", type=int, default=1)
        parser.add_argument("--memory_mb", type=int, default=fields["memory_mb"].default)
        parser.add_argument("--transport", default="auto", choices=("auto", "socket", "attach"))
    if command == "attack":
        parser.add_argument("--cases", default="", help="a list of your own, as JSON lines")
        parser.add_argument("--local", action="store_true", help="attack this very machine")
    if command == "clean":
        parser.add_argument("--all", action="store_true", help="also what runs are using")
    given = vars(parser.parse_args(rest))
    special = {name: given.pop(name, None) for name in ("base", "cases", "local", "all")}
    try:
        settings = DockerSandbox(**given)
    except ValueError as error:
        raise UsageError(f"a setting of the sandbox does not fit: {error}") from error
    if command == "build":
        client = engine.connect(settings.address(), timeout_s=3600)
        build(client, settings.image, special["base"] or "", lambda text: console.print(text))
        console.print(f"{settings.image} is there")
    elif command == "clean":
        client = engine.connect(settings.address())
        count = sweep(client, everything=bool(special["all"]))
        console.print(f"{count} container{'s'[: count != 1]} removed")
    elif command == "doctor":
        asyncio.run(_doctor(settings, console))
    else:
        cases = Path(special["cases"]) if special["cases"] else OWN_CASES
        asyncio.run(_attack(settings, cases, bool(special["local"]), console))


async def _doctor(settings: DockerSandbox, console: rich.console.Console) -> None:
    findings = []
    async for finding in examine(settings):
        findings.append(finding)
        _print(finding, console)
    if any(finding.level == "missing" for finding in findings):
        raise RunError("no session can be opened here as it is; mend what is missing above")


def _print(finding: Finding, console: rich.console.Console) -> None:
    line = rich.text.Text(f"{finding.level:9}", style=_STYLES[finding.level])
    line.append(f"{finding.about:13}{finding.text}", style="not dim default")
    console.print(line, soft_wrap=True)


async def _attack(
    settings: DockerSandbox, path: Path, local: bool, console: rich.console.Console
) -> None:
    try:
        cases = read_cases(path)
    except CaseError as error:
        raise InputError(str(error)) from error
    witness: Witness | None = None
    if local:
        console.print(f"warning: {WARNING}", style="yellow")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            opened = LocalSandbox().open()
    else:
        client = engine.connect(settings.address())
        witness = DockerWitness(lambda container: engine.processes_in(client, container))
        opened = settings.model_copy(update={"warm": 1}).open()
    failed = 0
    try:
        async for outcome in attack(opened, cases, witness):
            failed += bool(outcome.faults)
            level, style = ("held", "green") if not outcome.faults else ("failed", "bold red")
            line = rich.text.Text(f"{level:9}", style=style)
            line.append(f"{outcome.case.group:13}{outcome.case.name}", style="not dim default")
            for fault in outcome.faults:
                line.append(f"\n{'':22}{fault}", style="not dim default")
            console.print(line, soft_wrap=True)
    finally:
        await opened.close()
    console.print(f"{len(cases) - failed} of {len(cases)} attacks held off")
    if failed:
        raise RunError(f"{failed} attacks got through or were answered wrongly; see above")
