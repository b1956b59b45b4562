"""What travels from a thread to its problems: none but `ProblemInThread` has the forum's text.

A thread's k-th problem has the id `THREAD-k` until problems are merged; then its id is a hash of
its text, as that of a problem from a file is, and the old one is in `extracted`.
"""

import dataclasses
from typing import Annotated

import pydantic

from transforms.decontamination.records import Evidence
from transforms.records import Attribution, Call, Origin, Statement

# How a problem came by its answer: the published words.
HAS_ANSWER, NO_ANSWER = "has_answer_extracted", "no_answer_extracted"
CONVERTED = "converted_proof"
PROBLEM_TYPES = (HAS_ANSWER, NO_ANSWER, CONVERTED)


@dataclasses.dataclass(frozen=True, slots=True)
class ProblemList:
    """The problems that a post states; none at all where it states none."""

    problems: Annotated[
        tuple[Statement, ...],
        pydantic.Field(description="each problem's complete text; [] where the post states none"),
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class FoundAnswer:
    """The final answer that a thread gives to a problem, if it gives one."""

    reasoning: Annotated[
        str,
        pydantic.Field(description="in a sentence or two, which posts give it, and do they agree"),
    ]
    answer: Annotated[
        str | None,
        pydantic.Field(description="the final answer alone; null where nobody gives a usable one"),
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class ConvertedProof:
    """A statement to be proved, as a problem that has an answer."""

    problem: Annotated[
        Statement, pydantic.Field(description="the complete text of the problem that asks for it")
    ]
    answer: Annotated[
        str | None,
        pydantic.Field(description="what the statement says the answer is; null if it does not"),
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class Extraction:
    """What a model found in a thread's first post; the id is the thread's."""

    id: str
    thread: Origin
    attributions: tuple[Attribution, ...]
    problems: tuple[str, ...]
    call: Call


@dataclasses.dataclass(frozen=True, slots=True)
class ExtractedFrom:
    """Which problem of which thread it was, and who wrote the thread."""

    id: str
    thread: Origin
    attributions: tuple[Attribution, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class ForumProblem:
    """A problem out of a thread, as far as it has come.

    `calls` are those of the extraction, of the votes on its classes, of its conversion, of its
    answer and of the comparison with benchmarks. `problem_type` is "" until it is one of
    `PROBLEM_TYPES`. `original_problem` is the statement that a converted one was made from.
    `contaminated` is None where it was compared with no benchmark, and `contamination` is why it is
    true.
    """

    id: str
    text: str
    extracted: ExtractedFrom
    calls: tuple[Call, ...]
    expected_answer: str | None = None
    problem_type: str = ""
    original_problem: str | None = None
    contaminated: bool | None = None
    contamination: tuple[Evidence, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class ClassVote:
    """A vote on whether a problem is of a class."""

    id: str
    problem_id: str
    is_member: bool
    call: Call


@dataclasses.dataclass(frozen=True, slots=True)
class ProblemInThread:
    """A problem beside the thread that may have its answer: for the one stage that reads both."""

    id: str
    problem: ForumProblem
    post: str
    discussion: str


@dataclasses.dataclass(frozen=True, slots=True)
class ForumProvenance:
    """The thread that a problem was made from, who wrote it, and every call that made it."""

    extracted: ExtractedFrom
    calls: tuple[Call, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class ForumProblemExample:
    """A row of a dataset of problems: the published columns, then our own."""

    problem: str
    expected_answer: str | None
    problem_type: str
    problem_source: str
    original_problem: str | None
    contaminated: bool | None
    contamination: tuple[Evidence, ...]
    id: str
    provenance: ForumProvenance
