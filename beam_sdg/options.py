"""Flags: those of a run, those of its models, those of a recipe's settings, and Beam's own."""

import argparse
import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, TypeVar, get_args, get_origin
from urllib.parse import unquote

import pydantic
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions, StandardOptions

from beam_sdg.claims import Claims, SharedClaims
from beam_sdg.formats import FileFormat
from beam_sdg.models import ModelSettings, validated
from beam_sdg.recipes.recipe import Recipe, RecipeConfig
from beam_sdg.runs import IN_PROCESS
from beam_sdg.stopping import StopSettings
from transforms.errors import UsageError

V = TypeVar("V", bound=PipelineOptions)


class RunSettings(pydantic.BaseModel, frozen=True, extra="forbid"):
    """What every run needs to know, whatever its recipe."""

    output: str = pydantic.Field("out", description="folder of the dataset")
    work_dir: str | None = pydantic.Field(
        None, description="folder of answers and stages (default: .work in the output)"
    )
    seed: int = pydantic.Field(0, description="of every draw of the run")
    prompts: str = pydantic.Field("", description="folder of prompts that replace ours")
    num_shards: int | None = pydantic.Field(
        None, ge=1, description="files of the dataset (default: by its size)"
    )
    shard: str = pydantic.Field(
        "", description="I/N: be the I-th, from 1, of N processes that make the dataset together"
    )
    stages: tuple[str, ...] = pydantic.Field(
        (), description="run only these stages, separated by commas; what they need must be there"
    )
    format: FileFormat = pydantic.Field(
        "parquet", description="of the dataset's files: parquet or jsonl"
    )
    replace: bool = pydantic.Field(
        False, description="replace the finished dataset in --output by that of changed settings"
    )
    restart: bool = pydantic.Field(
        False, description="run every stage anew; answers that are there are not asked for again"
    )
    accepted: int | None = pydantic.Field(
        None,
        ge=1,
        description="rows that the dataset must have at least: as often num_records as that takes",
    )
    retry: tuple[str, ...] = pydantic.Field(
        (),
        description="stages whose rejects are asked for once more, with changed sampling if "
        "wanted: STAGE or STAGE:NAME=VALUE, separated by commas (one in a value is %2C)",
    )
    push_to_hub: str = pydantic.Field(
        "", description="ORG/NAME of a dataset on the Hugging Face hub that gets the result"
    )
    public: bool = pydantic.Field(
        False, description="let everyone see that dataset, if it is a new one"
    )
    dry_run: bool = pydantic.Field(
        False, description="show the stages, the first prompts and an estimate, and ask nothing"
    )

    @property
    def retries(self) -> dict[str, list[dict[str, Any]]]:
        """What each further try at a stage's rejects changes of its model settings."""
        found: dict[str, list[dict[str, Any]]] = {}
        for retry in self.retry:
            stage, *changes = re.split(r":(?=\w+=)", retry)
            parts = (change.partition("=") for change in changes)
            found.setdefault(stage, []).append(
                {
                    name: _plain(f"--retry {retry}", _annotation(name), unquote(value))
                    for name, _, value in parts
                }
            )
        return found

    @pydantic.field_validator("shard")
    @classmethod
    def _is_one_of_several(cls, shard: str) -> str:
        number, _, of = shard.partition("/")
        if shard and not (
            (number + of).isdecimal() and number and of and 1 <= int(number) <= int(of)
        ):
            raise ValueError("write I/N, with I from 1 to N, as in --shard 1/4")
        return shard

    @property
    def claims(self) -> Claims:
        """How the run is divided among processes."""
        if not self.shard:
            return Claims()
        number, _, of = self.shard.partition("/")
        return SharedClaims(int(number), int(of))

    def shards_for(self, expected_rows: int, rows_per_shard: int) -> int:
        """The number of shards asked for, or as many as the expected rows need."""
        return self.num_shards or max(1, -(-expected_rows // rows_per_shard))


@dataclasses.dataclass(frozen=True)
class Invocation:
    """A command line, understood: what to run, with which settings.

    `stage_settings` are those that `--set STAGE.NAME=VALUE` gives single stages; `of_mode` are the
    stages of which only the mode speaks. `arguments` is what was typed, recipe and flags, where it
    came from a command line, and `wave` the number of records that it asked for, where there are
    more by now.
    """

    recipe: Recipe
    run: RunSettings
    models: ModelSettings
    stops: StopSettings
    config: RecipeConfig
    stage_settings: Mapping[str, Mapping[str, Any]]
    beam: PipelineOptions
    of_mode: frozenset[str] = frozenset()
    arguments: tuple[str, ...] = ()
    wave: int | None = None

    def by(self, arguments: Sequence[str]) -> "Invocation":
        """The same, and what was typed."""
        return dataclasses.replace(self, arguments=tuple(arguments))

    def of_records(self, number: int) -> "Invocation":
        """The same for another number of records."""
        values = {**self.config.model_dump(exclude_unset=True), "num_records": number}
        config, wave = validated(type(self.config), values), self.wave or self.config.num_records
        return dataclasses.replace(self, config=config, wave=wave)


class Parser(argparse.ArgumentParser):
    """Raises what argparse would print before it ends the process."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but flags of vLLM may stand apart from the name of ours."""
        return super().parse_known_args(None if args is None else _joined(args), namespace)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; {self.prog} --help lists the flags")


def _joined(arguments: Sequence[str]) -> list[str]:
    """The arguments with --vllm_args and its value in one: alone it would be taken for a flag."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] == "--vllm_args":
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


class ParsedOnce(PipelineOptions):
    """Beam's options, which parse the flags anew for each look at them, several for each transform.

    A run's pipelines are built in three quarters of the time.
    """

    def view_as(self, cls: type[V]) -> V:
        """As Beam's, but one view of each kind; all of them share their values anyway."""
        views: dict[type[PipelineOptions], Any] = self.__dict__.setdefault("_views", {})
        if cls not in views:
            views[cls] = super().view_as(cls)
        return views[cls]


def parse_flags(recipe: Recipe, argv: Sequence[str], prog: str) -> Invocation:
    """What a recipe's command line asks for.

    Flags win over the mode's, and `--set` over both.

    Raises:
        UsageError: a flag that neither we nor Beam know, or a value that does not fit.
    """
    parser, groups = _parser(recipe, prog)
    mode, _ = parser.parse_known_args([*argv])
    flags = [*_mode_flags(recipe, mode.mode), *argv]
    known, beam_flags = parser.parse_known_args(flags)
    _refuse_unknown(beam_flags, parser)
    given: dict[type[pydantic.BaseModel], dict[str, Any]] = {
        group: {
            name: _plain(f"--{name}", field.annotation, value)
            for name, field in group.model_fields.items()
            if (value := getattr(known, name)) is not None
        }
        for group in groups
    }
    stage_settings = _assign(known.set, recipe.config, given[recipe.config])
    return Invocation(
        recipe=recipe,
        run=validated(RunSettings, given[RunSettings]),
        models=validated(ModelSettings, given.get(ModelSettings, {})),
        stops=validated(StopSettings, given.get(StopSettings, {})),
        config=validated(recipe.config, given[recipe.config]),
        stage_settings=stage_settings,
        beam=_beam_options(beam_flags),
        of_mode=frozenset(stage_settings) - {path.partition(".")[0] for path in mode.set},
    )


def in_process() -> PipelineOptions:
    """Beam's options for pipelines of this process."""
    return _beam_options(())


def _beam_options(flags: Sequence[str]) -> PipelineOptions:
    options = ParsedOnce([*flags])
    standard = options.view_as(StandardOptions)
    named = (standard.runner or "").lower()
    names = {name.lower(): name for name in StandardOptions.KNOWN_RUNNER_NAMES}
    standard.runner = names.get(named) or names.get(f"{named}runner") or standard.runner  # as Beam
    if standard.runner and "." not in standard.runner and standard.runner not in names.values():
        raise UsageError(
            f"--runner {standard.runner}: there is no such runner; drop it, or take FlinkRunner, "
            "DataflowRunner or PortableRunner"
        )
    if standard.runner in (None, "DirectRunner"):  # what that picks depends on the graph
        standard.runner = IN_PROCESS
    setup = options.view_as(SetupOptions)
    if setup.save_main_session is None:  # to Beam that means yes; all that travels is in modules
        setup.save_main_session = False
    return options


def _parser(recipe: Recipe, prog: str) -> tuple[Parser, tuple[type[pydantic.BaseModel], ...]]:
    parser = Parser(
        prog=prog,
        description=recipe.summary,
        epilog="--debug shows tracebacks and logs. Every other flag goes to Apache Beam, such as "
        "--runner.",
        allow_abbrev=False,
    )
    parser.add_argument("--mode", metavar="NAME", help=_modes_help(recipe))
    parser.add_argument(
        "--set",
        metavar="PATH=VALUE",
        action="append",
        default=[],
        help="change one setting: of the recipe (NAME=VALUE, NAME.KEY=VALUE) or of one stage's "
        "model (STAGE.NAME=VALUE, as in solution.temperature=0.6); may be given again",
    )
    groups: dict[str, type[pydantic.BaseModel]] = {
        "settings of the recipe": recipe.config,
        "the run": RunSettings,
    }
    if recipe.asks:
        groups |= {"when to stop": StopSettings, "the models": ModelSettings}
    for title, group in groups.items():
        arguments = parser.add_argument_group(title)
        for name, field in group.model_fields.items():
            if field.annotation is bool:
                arguments.add_argument(
                    f"--{name}", nargs="?", const="true", metavar="true|false", help=_help(field)
                )
            else:
                arguments.add_argument(f"--{name}", help=_help(field), metavar="VALUE")
    return parser, tuple(groups.values())


def _mode_flags(recipe: Recipe, mode: str | None) -> tuple[str, ...]:
    if mode is None:
        return ()
    if mode not in recipe.modes:
        known = ", ".join(recipe.modes) or "none"
        raise UsageError(f"--mode {mode}: {recipe.name} has no such mode; known: {known}")
    return recipe.modes[mode]


def _modes_help(recipe: Recipe) -> str:
    modes = "; ".join(f"{name}: {' '.join(flags)}" for name, flags in recipe.modes.items())
    return f"a set of flags, which flags of your own win over ({modes or 'none'})".replace(
        "%", "%%"
    )


def _annotation(setting: str) -> Any:
    field = ModelSettings.model_fields.get(setting)
    return field and field.annotation


def _assign(
    assignments: Sequence[str], config: type[RecipeConfig], values: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Put `--set` assignments to the recipe's settings into `values`; return those to stages."""
    stages: dict[str, dict[str, Any]] = {}
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        name, dot, key = path.partition(".")
        if not equals or not name or (dot and not key):
            raise UsageError(f"--set {assignment}: write PATH=VALUE, as in --set num_records=20")
        field = config.model_fields.get(name)
        if field is None and not dot:
            near = difflib.get_close_matches(name, config.model_fields, n=1)
            meant = (
                f"did you mean {near[0]}?" if near else f"known: {', '.join(config.model_fields)}"
            )
            raise UsageError(f"--set {path}: the recipe has no setting {name!r}; {meant}")
        if field is None:
            plain = _plain(f"--set {path}", _annotation(key), value)
            stages.setdefault(name, {})[key] = plain
        elif not dot:
            values[name] = _plain(f"--set {name}", field.annotation, value)
        elif get_origin(field.annotation) is dict:
            values[name] = {**(values.get(name) or field.default), key: value}
        else:
            raise UsageError(f"--set {path}: {name} has no parts; write --set {name}=VALUE")
    return stages


def _help(field: Any) -> str:
    default = field.get_default()
    if field.is_required():
        return field.description.replace("%", "%%") + " (required)"
    if isinstance(default, dict):
        default = ",".join(f"{name}={value:g}" for name, value in default.items())
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    if isinstance(default, bool):
        default = str(default).lower()
    shown = f" (default: {default})" if default not in (None, (), "", "false") else ""
    return (field.description + shown).replace("%", "%%")


def _plain(flag: str, annotation: Any, value: Any) -> Any:
    """A flag's text as pydantic wants it: lists split at commas, settings at commas and =."""
    if not isinstance(value, str):
        return value
    kinds = {get_origin(annotation), *map(get_origin, get_args(annotation))}
    if tuple in kinds:
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if dict in kinds:
        parts = [part.partition("=") for part in value.split(",") if part.strip()]
        if unset := [name for name, equals, _ in parts if not equals]:
            raise UsageError(f"{flag} {value}: {unset[0]!r} has no value; write {unset[0]}=VALUE")
        return {name.strip(): setting.strip() for name, _, setting in parts}
    return value


def _refuse_unknown(flags: Sequence[str], parser: argparse.ArgumentParser) -> None:
    beam_parser = Parser(add_help=False, allow_abbrev=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(beam_parser)  # type: ignore[arg-type]
    _, unknown = beam_parser.parse_known_args(flags)
    if unknown:
        name = unknown[0].split("=")[0]
        near = difflib.get_close_matches(name, parser._option_string_actions, n=1)
        near = near or difflib.get_close_matches(name, beam_parser._option_string_actions, 1, 0.8)
        meant = f"did you mean {near[0]}?" if near else f"{parser.prog} --help lists the flags"
        raise UsageError(f"unknown flag {name}; {meant}")
