"""What a check of a model says: one line on one thing."""

import dataclasses
from typing import Literal

Level = Literal["ok", "warning", "missing", "wrong", "not seen"]
PREVENTS_A_RUN: tuple[Level, ...] = ("missing", "wrong")


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One line of a check.

        Finding("missing", "weights", "1 of 2 files is not there: model-00002-of-00002.safetensors")

    `missing` and `wrong` keep the model from being served; `not seen` is what could not be looked
    at, with the reason.
    """

    level: Level
    about: str
    text: str
