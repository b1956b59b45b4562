"""The stages that make training data of judged solutions, and the flags that say how.

judged ─ prepare_for_sft ─ [downsample] ─ [bucket] ─ export
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import pydantic

import prompts
from beam_sdg.models import typed
from beam_sdg.recipes.recipe import Context
from beam_sdg.stages import Needed, Stage, StageManifest
from beam_sdg.template_flags import TemplateConfig, pinned
from transforms.chat_template import ChatTemplate
from transforms.errors import RowsLost
from transforms.records import RlExample, SftExample, SftShortExample, Trace
from transforms.sft.contamination import Labels
from transforms.sft.downsample import Downsample
from transforms.sft.lengths import BucketByLength, Lengths
from transforms.sft.options import SftFilters
from transforms.sft.prepare import PrepareForSft
from transforms.sft.render import SftFormat, Variables
from transforms.sft.rl_manifest import PrepareForRl, of_problems


class SftConfig(TemplateConfig, SftFilters):
    """Base of the configurations of recipes that end in training data."""

    sft_tokenizer: str = pydantic.Field(
        "",
        description="folder, or NAME[@REVISION] on the hub, of the model to train: its chat "
        "template makes the texts",
    )
    sft_template_args: dict[str, str] = pydantic.Field(
        {}, description="NAME=VALUE,… for that template, as in reasoning_effort=high"
    )
    assistant_end: str | None = pydantic.Field(
        None, description="what ends an answer, in place of what the template has for it"
    )
    system_message: str | None = pydantic.Field(None, description="in place of the prompt's own")
    metadata: dict[str, str] = pydantic.Field(
        {}, description="NAME=VALUE,… that every row gets, as JSON in a column of its own"
    )
    exclude_optional_keys: bool = pydantic.Field(
        False, description="only the columns expected_answer, input, output, metadata and id"
    )
    deduplicate_solutions: bool = pydantic.Field(
        True, description="reject equal solutions of a problem"
    )
    downsampling_method: Literal["random", "fair"] | None = pydantic.Field(
        None, description="random or fair: how num_output_samples are drawn of each split"
    )
    num_output_samples: int | None = pydantic.Field(
        None, ge=1, description="most rows of each split"
    )
    buckets: tuple[int, ...] = pydantic.Field(
        (),
        description="put rows into splits by length, up to 16000,32000,… tokens of the output, or "
        "characters where there is no sft_tokenizer",
    )
    rl_manifest: bool = pydantic.Field(
        False, description="make rows for reinforcement learning: each problem with its answer"
    )

    @pydantic.field_validator("buckets", mode="before")
    @classmethod
    def _are_bounds(cls, bounds: Any) -> Any:
        if not all(str(bound).isdigit() for bound in bounds):
            raise ValueError(
                "a bucket is named by its longest output; write whole numbers, as in 16000,32000"
            )
        return bounds

    @pydantic.field_validator("buckets")
    @classmethod
    def _ascend(cls, buckets: tuple[int, ...]) -> tuple[int, ...]:
        if list(buckets) != sorted({bound for bound in buckets if bound > 0}):
            raise ValueError(f"{buckets} must ascend, from 1 on")
        return buckets

    @pydantic.model_validator(mode="after")
    def _draws_or_not(self) -> "SftConfig":
        if self.rl_manifest and (self.buckets or self.exclude_optional_keys):
            idle = "buckets" if self.buckets else "exclude_optional_keys"
            raise ValueError(f"{idle} is of traces, which --rl_manifest leaves out; drop one")
        if (self.downsampling_method is None) != (self.num_output_samples is None):
            raise ValueError(
                "downsampling_method and num_output_samples belong together; give both or none"
            )
        return self

    def refuse_filters_of_code(self) -> None:
        """Refuse what would look for calls to Python where there can be none.

        Raises:
            ValueError: a filter of code is on.
        """
        for name in ("remove_code_errors", "remove_no_code", "add_code_execution_counts"):
            if getattr(self, name):
                raise ValueError(f"{name} is of calls to Python, and there are none; drop it")

    def lengths(self) -> Lengths:
        """What lengths are counted in: the tokens of `sft_tokenizer`, if there is one."""
        return Lengths(*pinned(self.sft_tokenizer)) if self.sft_tokenizer else Lengths()


@dataclasses.dataclass(frozen=True)
class TracesTo:
    """How one stage's records become rows: their trace, prompt, and the split that they are in.

    `template_args` are those of the set, which the flags' win over, and `assistant_end` likewise.
    `shows_prompt` is that of `SftFormat`.
    """

    of: Callable[[Any], Trace]
    prompt: str
    variables: Variables
    split: str = "train"
    template_args: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    assistant_end: str | None = None
    shows_prompt: bool = False


def training_data(
    config: SftConfig, context: Context, sets: Mapping[str, TracesTo], suffixes: Sequence[str] = ()
) -> Iterator[Stage]:
    """The stages from the records of some stages to the dataset; a suffix for each names its own.

    Raises:
        UsageError, InputError: the tokenizer has no chat template, or cannot be had.
    """
    template = None
    if config.sft_tokenizer:
        template = config.template_of(*pinned(config.sft_tokenizer))
    last = []
    for (after, to), suffix in zip(sets.items(), suffixes or [""] * len(sets), strict=True):
        prepared = _prepared(config, context, after, to, template, suffix)
        yield prepared
        last.append(prepared.name)
        for stage in _drawn(config, context, prepared, suffix):
            yield stage
            last[-1] = stage.name
    row_type: type = SftExample
    if config.rl_manifest:
        row_type = RlExample
    elif config.exclude_optional_keys:
        row_type = SftShortExample
    yield context.export(last, short_of if row_type is SftShortExample else same, row_type)


def verify_draw(number: int, inputs: Sequence[StageManifest], made: StageManifest) -> None:
    """All rows are drawn, or as many as were asked for."""
    if made.rows != min(number, inputs[0].rows):
        raise RowsLost(f"{made.stage} drew {made.rows} of {inputs[0].rows} rows, not {number}")


def same(row: Any) -> Any:
    """The row as it is."""
    return row


def short_of(row: SftExample) -> SftShortExample:
    """The published columns of a row, and its metadata."""
    return SftShortExample(
        row.expected_answer, row.input, row.output, row.metadata, row.id, row.split
    )


def _prepared(
    config: SftConfig,
    context: Context,
    after: str,
    to: TracesTo,
    template: ChatTemplate | None,
    suffix: str,
) -> Stage:
    given = {name: typed(value) for name, value in config.sft_template_args.items()}
    own_end = to.assistant_end if template else None
    sft_format = SftFormat(
        prompt=to.prompt,
        folders=context.prompt_folders,
        variables=to.variables,
        system_message=config.system_message,
        template=template,
        chat_template_kwargs={**to.template_args, **given},
        assistant_end=own_end if config.assistant_end is None else config.assistant_end,
        metadata=config.metadata,
        split=to.split,
        shows_prompt=to.shows_prompt,
    )
    filters = config.part(SftFilters)
    if config.rl_manifest:
        filters = of_problems(filters)
    settings = {
        "filters": filters.model_dump(),
        "labels": Labels(filters.contamination_file).content_hash()
        if filters.contamination_file
        else "",
        "deduplicate": config.deduplicate_solutions and not config.rl_manifest,
        "format": {
            "tokenizer": "@".join(filter(None, dataclasses.astuple(config.lengths()))),
            "template": dataclasses.asdict(template) if template else {},
            "lengths": config.lengths().content_hash(),
            "template_args": dict(sft_format.chat_template_kwargs),
            "prompt": to.prompt,
            "prompt_hash": to.prompt and prompts.source_hash(to.prompt, context.prompt_folders),
            "system_message": config.system_message,
            "assistant_end": sft_format.assistant_end,
            "metadata": config.metadata,
            "split": to.split,
        },
    }
    if config.rl_manifest:
        name = f"prepare_for_rl{suffix}"
        return Stage(
            name=name,
            transform=PrepareForRl(name, to.of, filters, config.lengths(), sft_format),
            row_type=RlExample,
            settings=settings,
            inputs=(after,),
            takes=Needed(),
        )
    name = f"prepare_for_sft{suffix}"
    return Stage(
        name=name,
        transform=PrepareForSft(
            name,
            to.of,
            filters,
            config.lengths(),
            config.deduplicate_solutions,
            sft_format,
        ),
        row_type=SftExample,
        settings=settings,
        inputs=(after,),
    )


def _drawn(config: SftConfig, context: Context, prepared: Stage, suffix: str) -> Iterator[Stage]:
    """The stages that leave out rows, and that put them into buckets, as asked for."""
    after = prepared.name
    if config.downsampling_method and config.num_output_samples:
        number, method = config.num_output_samples, config.downsampling_method
        yield Stage(
            name=f"downsample{suffix}",
            transform=Downsample(number, method, context.seed),
            row_type=prepared.row_type,
            settings={"number": number, "method": method},
            inputs=(after,),
            takes=Needed(),
            verify=functools.partial(verify_draw, number),
        )
        after = f"downsample{suffix}"
    if config.buckets:
        yield Stage(
            name=f"bucket{suffix}",
            transform=BucketByLength(config.buckets, config.lengths()),
            row_type=SftExample,
            settings={"buckets": config.buckets, "lengths": config.lengths().content_hash()},
            inputs=(after,),
        )
