"""Flags: the few that every recipe shares, those of a recipe's settings, and Beam's own."""

import argparse
import difflib
from collections.abc import Sequence
from typing import Any, NoReturn, TypeVar, get_origin

import pydantic
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from beam_sdg.recipes.recipe import RecipeConfig
from transforms.engines.endpoint import Endpoint
from transforms.engines.engine import Engine, Sampling
from transforms.engines.rehearsal import Rehearsal
from transforms.errors import UsageError

ROWS_PER_SHARD = 50_000
IN_PROCESS = "FnApiRunner"
_SHARED = ("in_flight", "prompts")  # of an engine's settings, those with a flag of their own
C = TypeVar("C", bound=pydantic.BaseModel)


class SdgOptions(PipelineOptions):
    """What every run needs to know, whatever its recipe."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--output", default="out", help="folder of the dataset")
        parser.add_argument(
            "--work_dir", help="folder of answers and stages (default: .work in the output)"
        )
        parser.add_argument("--seed", type=int, default=0, help="of every draw of the run")
        parser.add_argument("--model", help="name of the model, as its server knows it")
        parser.add_argument(
            "--endpoint", help="URL of an OpenAI-compatible API: http://HOST:PORT/v1"
        )
        parser.add_argument(
            "--key_env", default="OPENAI_API_KEY", help="environment variable with the API key"
        )
        parser.add_argument("--in_flight", type=int, default=64, help="requests at once")
        parser.add_argument(
            "--timeout_s", type=float, default=3600.0, help="longest wait for one answer"
        )
        parser.add_argument(
            "--patience_s",
            type=float,
            default=120.0,
            help="end the run when the server has failed for this long without an answer",
        )
        parser.add_argument("--temperature", type=float, help="of the sampling")
        parser.add_argument("--top_p", type=float, help="of the sampling")
        parser.add_argument("--max_tokens", type=int, help="most tokens of one answer")
        parser.add_argument(
            "--rehearsal",
            default="",
            metavar="NAME=VALUE,…",
            help="settings of the rehearsed model: malformed, correctable and failing (shares "
            "of planted faults), latency_s, seed",
        )
        parser.add_argument("--prompts", default="", help="folder of prompts that replace ours")
        parser.add_argument(
            "--num_shards", type=int, help="files of the dataset (default: by its size)"
        )
        parser.add_argument(
            "--replace",
            action="store_true",
            help="replace the finished dataset in --output by that of changed settings",
        )
        parser.add_argument("--debug", action="store_true", help="show tracebacks and Beam's log")


class _Parser(argparse.ArgumentParser):
    """Raises what argparse would print before it ends the process."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; {self.prog} --help lists the flags")


def parse_flags(
    prog: str, summary: str, config_type: type[RecipeConfig], argv: Sequence[str]
) -> tuple[SdgOptions, RecipeConfig]:
    """The options of a run and the settings of its recipe.

    Raises:
        UsageError: a flag that neither we nor Beam know, or a value that does not fit.
    """
    parser = _Parser(
        prog=prog,
        description=summary,
        epilog="Every other flag goes to Apache Beam, such as --runner.",
        allow_abbrev=False,
    )
    settings = parser.add_argument_group("settings of the recipe")
    for name, field in config_type.model_fields.items():
        settings.add_argument(f"--{name}", help=_help(field), metavar="VALUE")
    shared = _Parser(add_help=False, allow_abbrev=False)
    SdgOptions._add_argparse_args(shared)
    for action in shared._actions:
        parser._add_action(action)
    known, beam_flags = parser.parse_known_args(argv)
    _refuse_unknown(beam_flags, parser)
    values = vars(known)
    config = {
        name: _plain(field.annotation, values[name])
        for name, field in config_type.model_fields.items()
        if values[name] is not None
    }
    rest = {name: value for name, value in values.items() if name not in config_type.model_fields}
    options = SdgOptions(beam_flags, **rest)
    standard = options.view_as(StandardOptions)
    if standard.runner in (None, "DirectRunner"):  # what that picks depends on the graph
        standard.runner = IN_PROCESS
    return options, validated(config_type, config)


def engine_of(options: SdgOptions) -> Engine:
    """The engine that the flags name: an endpoint where there is a model, else the rehearsal.

    Raises:
        UsageError: a model without a server, a server without a model, or a bad value.
    """
    if not options.model and not options.endpoint:
        settings = _plain(dict, options.rehearsal)
        given = {"in_flight": options.in_flight, "prompts": options.prompts}
        return validated(Rehearsal, {**given, **settings}, flag="rehearsal")
    if not options.endpoint:
        raise UsageError(
            f"--model {options.model} needs the server that serves it: --endpoint http://HOST/v1"
        )
    if not options.model:
        raise UsageError(f"--endpoint {options.endpoint} needs the --model to ask it for")
    if options.rehearsal:
        raise UsageError("--rehearsal is for runs without a --model; drop one of them")
    return validated(
        Endpoint,
        {
            "url": options.endpoint,
            "model": options.model,
            "key_env": options.key_env,
            "in_flight": options.in_flight,
            "timeout_s": options.timeout_s,
            "patience_s": options.patience_s,
        },
    )


def sampling_of(options: SdgOptions) -> Sampling:
    """The sampling that the flags ask for; what they leave out is left to the server."""
    names = ("temperature", "top_p", "max_tokens")
    return validated(Sampling, {name: getattr(options, name) for name in names})


def num_shards_of(options: SdgOptions, expected_rows: int) -> int:
    """The number of shards asked for, or one per 50,000 expected rows."""
    if options.num_shards is None:
        return max(1, -(-expected_rows // ROWS_PER_SHARD))
    if options.num_shards < 1:
        raise UsageError(f"--num_shards {options.num_shards} must be 1 or more")
    return options.num_shards


def validated(model: type[C], values: dict[str, Any], flag: str = "") -> C:
    """A configuration from values; `flag` is where they came from, if not from flags each.

    Raises:
        UsageError: the flag, the value and what is wrong with it.
    """
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        message = first["msg"].removeprefix("Value error, ")
        shown = f"{flag} {name}" if flag and name not in _SHARED else name
        raise UsageError(f"--{shown} {first['input']!r}: {message}" if name else message) from error


def _help(field: Any) -> str:
    default = field.default
    if isinstance(default, dict):
        default = ",".join(f"{name}={value:g}" for name, value in default.items())
    shown = f" (default: {default})" if default not in (None, ()) else ""
    return (field.description + shown).replace("%", "%%")


def _plain(annotation: Any, value: str) -> Any:
    """A flag's text as pydantic wants it: lists split at commas, settings at commas and =."""
    if get_origin(annotation) is tuple:
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if annotation is dict or get_origin(annotation) is dict:
        parts = [part.partition("=") for part in value.split(",") if part.strip()]
        if unset := [name for name, equals, _ in parts if not equals]:
            raise UsageError(f"{unset[0]!r} in {value!r} has no value; write {unset[0]}=VALUE")
        return {name.strip(): setting.strip() for name, _, setting in parts}
    return value


def _refuse_unknown(flags: Sequence[str], parser: argparse.ArgumentParser) -> None:
    beam_parser = _Parser(add_help=False, allow_abbrev=False)
    for options in PipelineOptions.__subclasses__():
        if options is not SdgOptions:
            options._add_argparse_args(beam_parser)  # type: ignore[arg-type]
    _, unknown = beam_parser.parse_known_args(flags)
    if unknown:
        name = unknown[0].split("=")[0]
        ours = [*parser._option_string_actions, *beam_parser._option_string_actions]
        near = difflib.get_close_matches(name, ours, n=1)
        meant = f"did you mean {near[0]}?" if near else f"{parser.prog} --help lists the flags"
        raise UsageError(f"unknown flag {name}; {meant}")
