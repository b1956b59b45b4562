"""Training data of rows that somebody else generated and judged, under the published names.

    rows ─ traces ─ prepare_for_sft ─ export

The names of columns and filters are those of NVIDIA's NeMo-Skills.
"""

import pydantic

from beam_sdg.recipes.problems import JudgedRowsConfig
from beam_sdg.recipes.recipe import Context, Recipe
from beam_sdg.recipes.sft import SftConfig, TracesTo, same, training_data
from beam_sdg.recipes.solving import PROMPT
from beam_sdg.stages import Stage
from transforms.records import Trace
from transforms.sft.render import variables_of
from transforms.sft.traces import TracesOfRows
from transforms.tir.formats import CODE_FORMATS


class PrepareSftConfig(JudgedRowsConfig, SftConfig):
    """The settings of making training data of rows that are there."""

    problems: tuple[str, ...] = pydantic.Field(
        description=JudgedRowsConfig.model_fields["problems"].description
    )
    num_records: int = pydantic.Field(1_000_000, ge=1, description="most rows that are taken")
    prompt_config: str = pydantic.Field(
        PROMPT, description="the prompt that solutions are answers to; none: the problem alone"
    )
    code_format: str = pydantic.Field(
        "", description=f"how calls to Python are written: {', '.join(CODE_FORMATS)}"
    )

    def expected_rows(self) -> int:
        """Of files no more than their sizes allow."""
        return self.rows_at_most()

    @pydantic.field_validator("code_format")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name and name not in CODE_FORMATS:
            raise ValueError(f"{name!r} is none of: {', '.join(CODE_FORMATS)}")
        return name

    @pydantic.model_validator(mode="after")
    def _knows_its_code(self) -> "PrepareSftConfig":
        if not self.code_format:
            self.refuse_filters_of_code()
        return self


def stages(config: PrepareSftConfig, context: Context) -> list[Stage]:
    """The stages."""
    prompt = "" if config.prompt_config == "none" else config.prompt_config
    return [
        context.read("rows", config.sources(), max_records=config.num_records, deduplicate=False),
        Stage(
            name="traces",
            transform=TracesOfRows("traces", config.use_judgement, config.code_format),
            row_type=Trace,
            settings={"use_judgement": config.use_judgement, "code_format": config.code_format},
            inputs=("rows",),
        ),
        *training_data(config, context, {"traces": TracesTo(same, prompt, variables_of)}),
    ]


PREPARE_SFT = Recipe(
    name="prepare-sft",
    summary="make training data of solutions that are there: filter, render, draw, split",
    config=PrepareSftConfig,
    stages=stages,
    asks=False,
    citation="The method is NVIDIA's, published with NeMo-Skills.",
)
