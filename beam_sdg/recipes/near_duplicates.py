"""Rows that say nearly the same, as a part of recipes: one of each stays."""

from collections.abc import Iterator

import pydantic

from beam_sdg.stages import Stage
from transforms.near_duplicates import Rank, RejectNearDuplicates, Signatures, unranked

NAME = "near_duplicates"


class NearDuplicatesConfig(pydantic.BaseModel, frozen=True, extra="forbid"):
    """The flags of recipes that can drop near duplicates: a mixin."""

    near_duplicates: float = pydantic.Field(
        0.0,
        ge=0,
        le=1,
        description="reject rows that have with an earlier one so large a share in common of all "
        "runs of words that either has, as in 0.8 (default: none)",
    )


def near_duplicates(
    after: str, config: NearDuplicatesConfig, row_type: type, rank: Rank = unranked
) -> Iterator[Stage]:
    """The stage that drops near duplicates from the rows of the stage `after`, if asked for.

    Of near ones the row with the smallest `rank` stays.
    """
    if not config.near_duplicates:
        return
    signatures = Signatures(config.near_duplicates)
    yield Stage(
        name=NAME,
        transform=RejectNearDuplicates(NAME, signatures, rank),
        row_type=row_type,
        settings={**signatures.settings(), "rank": rank.__qualname__},
        inputs=(after,),
    )
