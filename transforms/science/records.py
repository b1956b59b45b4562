"""What travels only where science questions are made.

A question, as a sample:

    Question(id="8c1f…", slot=Slot(…, difficulty="hard", format="mcq_4"), question="What is the
             pH …?", options=("2.00", "3.00", "4.00", "5.00"), calls=(…))
"""

import dataclasses
from typing import Annotated

import pydantic

from transforms.records import Call, Problem, Statement
from transforms.science.options import written


@dataclasses.dataclass(frozen=True, slots=True)
class Subtopics:
    """The subtopics of a topic, as a model names them."""

    subtopics: Annotated[
        tuple[Statement, ...], pydantic.Field(description="the subtopics, a few words each")
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class OpenQuestion:
    """A question without options, as a model writes it."""

    question: Annotated[
        Statement, pydantic.Field(description="the complete question, without its answer")
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class ChoiceQuestion:
    """A question with options, as a model writes it."""

    question: Annotated[
        Statement,
        pydantic.Field(description="the complete question, without its options and its answer"),
    ]
    options: Annotated[
        tuple[Statement, ...],
        pydantic.Field(description="the options in order, of which exactly one is right"),
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class SubtopicList:
    """The subtopics that a model has named for a topic, under the topic's id."""

    id: str
    topic: Problem
    names: tuple[str, ...]
    call: Call


@dataclasses.dataclass(frozen=True, slots=True)
class Subtopic:
    """A subtopic: of a topic, which is what a source calls it, the k-th has the id `TOPIC-k`.

    `calls` has that of the model that named it; none where the source did.
    """

    id: str
    topic: str
    name: str
    source: str
    source_id: str
    licence: str
    calls: tuple[Call, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Slot:
    """A question that is to be written; of a subtopic the k-th has the id `SUBTOPIC-k`.

    `number` counts those of the same subtopic, difficulty and format.
    """

    id: str
    subtopic: Subtopic
    difficulty: str
    format: str
    number: int


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """A question that was written for a slot, or made from such a one; `text` is all that is posed.

    `draft_id` is the id that it had as a model's answer, before it got one of its content.
    `options` are without their letters, () of an open question. `augmented` is `similar` or
    `inspired_by`, and `original` the id of the question that it was made from; "" of one that was
    written for its slot. `calls` are those of its subtopic, its original and itself, in order.
    """

    id: str
    slot: Slot
    question: str
    options: tuple[str, ...]
    calls: tuple[Call, ...]
    augmented: str = ""
    original: str = ""
    draft_id: str = ""

    @property
    def text(self) -> str:
        """The question with its options."""
        return written(self.question, self.options)
