"""The problems that a thread's first post states: none, one or several."""

import dataclasses
import re
from collections.abc import Iterator

import apache_beam as beam

from transforms.codec import to_json
from transforms.constraint import Constraint
from transforms.forum_problems.records import ExtractedFrom, Extraction, ForumProblem, ProblemList
from transforms.outcome import Outcome, SplitRejects
from transforms.reading import Conclusion, Fault, Structured
from transforms.records import Answered, Origin, Reject, Thread, sample_id

PROMPT = "forums/extract_problems"
_JSON = Structured(ProblemList)
# A line that begins a problem, dressed up or not: `Problem 1:`, `**Problem 2.**`, `### Problem #3)`
_MARKER = re.compile(
    r"^[ \t>#*_-]*problem[ \t]*(?:no\.?|#)?[ \t]*(\d{1,3})[ \t*_]*(?::|\)|\.(?!\d))[*_]*",
    re.IGNORECASE | re.MULTILINE,
)
_NOTHING = re.compile(
    r"[*_ \t]*no (?:other |further |math(?:ematical|s)? )*problems? "
    r"(?:(?:is|are|was|were|could be|can be) )?(?:identified|found|stated)[*_ \t.!]*",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class ProblemsReader:
    """An answer that lists problems: as a JSON object, or in the published text format.

    In that, each problem comes behind a line's `Problem N:`, and `No problems identified` says that
    there are none. Only the next number begins a problem, so that one which speaks of `Problem 7:`
    is not cut; and where problems are listed the phrase means nothing.
    """

    def read(self, text: str) -> ProblemList | Fault:
        """The problems, equal ones once; or `malformed_answer`, or `empty_answer`."""
        found = _JSON.read(text)
        if isinstance(found, Fault):
            answer = Conclusion().read(text)
            marked = marked_problems(answer) if isinstance(answer, str) else None
            if marked is None:
                return found
            found = ProblemList(marked)
        distinct: dict[str, str] = {}
        for problem in found.problems:
            distinct.setdefault(" ".join(problem.split()), problem)
        return ProblemList(tuple(distinct.values()))

    def constraint(self) -> Constraint | None:
        """The schema of the JSON object."""
        return _JSON.constraint()


READER = ProblemsReader()


def marked_problems(text: str) -> tuple[str, ...] | None:
    """What stands behind the markers of problems; None where nothing says that there are none."""
    markers: list[re.Match[str]] = []
    for marker in _MARKER.finditer(text):
        if not markers or int(marker[1]) == int(markers[-1][1]) + 1:
            markers.append(marker)
    if not markers:
        return () if _says_nothing(text) else None
    ends = [*(marker.start() for marker in markers[1:]), len(text)]
    pieces = [_bare(text[marker.end() : end]) for marker, end in zip(markers, ends, strict=True)]
    return tuple(filter(None, pieces)) or None


def _says_nothing(text: str) -> bool:
    return any(_NOTHING.fullmatch(line) for line in text.splitlines())


def _bare(piece: str) -> str:
    """A problem without what a model has put around it."""
    lines = [line for line in piece.strip().splitlines() if not _NOTHING.fullmatch(line)]
    bare = "\n".join(lines).strip()
    return bare.removesuffix("**").rstrip() if bare.count("**") % 2 else bare


def variables_of(thread: Thread) -> dict[str, object]:
    """What the model is shown: the first post alone."""
    return {"forum_post": thread.post}


def extraction_of(answered: Answered[Thread, ProblemList]) -> Extraction:
    """What goes on: the problems, and where they are from, without the thread's text."""
    thread = answered.record
    origin = Origin(thread.id, thread.source, thread.source_id, thread.licence, thread.extra)
    problems = answered.value.problems
    return Extraction(answered.id, origin, thread.attributions, problems, answered.call)


@dataclasses.dataclass(eq=False)
class SplitProblems(beam.PTransform):
    """Take the problems of each thread apart.

    In:   `Extraction` records.
    Out:  `rows`, a `ForumProblem` of each problem, `THREAD-0`, `THREAD-1`, …; `rejects`, the
          threads without one (`no_problem`).
    Cost: no shuffle.
    Once: a pure function of each extraction.

    Args:
        stage: the name in the rejects.
    """

    shard_by_shard = True

    stage: str

    def expand(self, extractions: beam.PCollection) -> Outcome:
        split = extractions | "Split" >> beam.FlatMap(problems_of, self.stage)
        return split | "SplitRejects" >> SplitRejects()


def problems_of(extraction: Extraction, stage: str) -> Iterator[ForumProblem | Reject]:
    """The problems of a thread, or the reject of one that has none."""
    if not extraction.problems:
        row = to_json(extraction)
        detail = "the first post states no problem"
        yield Reject(stage, "no_problem", detail, extraction.id, row, reply="")
    for number, text in enumerate(extraction.problems):
        name = sample_id(extraction.id, number)
        extracted = ExtractedFrom(name, extraction.thread, extraction.attributions)
        yield ForumProblem(name, text, extracted, (extraction.call,))
