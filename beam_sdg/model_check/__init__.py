"""A look at a model before a run: nothing is loaded, and no weights are downloaded."""

from collections.abc import Sequence

import rich.console
import rich.text

from beam_sdg.model_check.files import model_files
from beam_sdg.model_check.finding import PREVENTS_A_RUN, Finding, Level
from beam_sdg.model_check.model import read_model
from beam_sdg.model_check.settings import (
    check_architecture,
    check_context,
    check_parallelism,
    check_sampling,
)
from beam_sdg.model_check.template import check_template
from beam_sdg.model_check.vllm_names import installed_names
from beam_sdg.model_check.weights import check_files, check_memory, check_weights, weight_files
from beam_sdg.models import validated
from transforms.engines.vllm import Vllm
from transforms.errors import InputError

__all__ = ["Finding", "check_model", "print_findings"]

_STYLES: dict[Level, str] = {
    "ok": "green",
    "warning": "yellow",
    "missing": "bold red",
    "wrong": "bold red",
    "not seen": "dim",
}


def check_model(name: str, revision: str = "", args: str = "") -> list[Finding]:
    """What there is to say about a model that vLLM is to serve with `args`.

    It reads the small files and, in a folder, the headers of the weights; of the hub, it asks for
    names and sizes.

    Raises:
        UsageError: flags that cannot be read, or a missing client of the hub.
        InputError: there is no such model, no access to it, or a folder that is none.
    """
    validated(Vllm, {"model": name, "revision": revision, "args": args})
    files = model_files(name, revision)
    model = read_model(files, args)
    if not {"config.json", "params.json", "adapter_config.json"} & files.sizes.keys():
        _, weights = weight_files(model)
        if not weights:
            raise InputError(f"{name} holds no model; it has neither config.json nor weights")
    known = installed_names()
    return [
        *check_files(model),
        *check_weights(model),
        *check_memory(model),
        *check_architecture(model, known),
        *check_parallelism(model),
        *check_context(model),
        *check_template(model, known),
        *check_sampling(model),
    ]


def print_findings(console: rich.console.Console, name: str, findings: Sequence[Finding]) -> None:
    """Print a line for each.

    Raises:
        InputError: one of them keeps the model from being served.
    """
    for finding in findings:
        line = rich.text.Text(f"{finding.level:9}", style=_STYLES[finding.level])
        line.append(f"{finding.about:13}{' '.join(finding.text.split())}", style="not dim default")
        console.print(line, soft_wrap=True)
    if any(finding.level in PREVENTS_A_RUN for finding in findings):
        raise InputError(f"{name} cannot be served as it is; mend what is missing or wrong above")
