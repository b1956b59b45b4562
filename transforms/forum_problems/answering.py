r"""The final answers that a thread's posts give to its problems.

A model reads the thread and says which answer it gives, if any; a program sees that this is an
answer: `12`, `x = 2 \text{ or } 3`, `no such integers exist`, and not a paragraph about one.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from transforms.answers import boxed_spans, has_answer
from transforms.constraint import Constraint
from transforms.forum_problems.records import (
    HAS_ANSWER,
    NO_ANSWER,
    ForumProblem,
    FoundAnswer,
    ProblemInThread,
)
from transforms.grouping import Group
from transforms.outcome import Outcome, without_rejects
from transforms.reading import Conclusion, Fault, Structured
from transforms.records import Answered, Thread

PROMPT = "forums/extract_answers"
MOST_WORDS = 14  # of an answer in words; formulas do not count
MOST_CHARACTERS = 500
MOST_LINES = 4
_JSON = Structured(FoundAnswer)
_LABEL = re.compile(r"^[ \t>#*_-]*(?:final )?answer[*_]*[ \t]*:[*_]*", re.IGNORECASE | re.MULTILINE)
_NOT_FOUND = re.compile(
    r"\b(?:answer (?:is |was |could )?(?:not|never)(?: be)? (?:found|given|stated|provided)|"
    r"no (?:final |clear )?answer (?:is |was )?(?:found|given|stated|provided))\b",
    re.IGNORECASE,
)
_NONE = re.compile(
    r"\W*(?:null|none|n/?a|unknown|undetermined|no answer|not (?:found|given|stated|provided))\W*",
    re.IGNORECASE,
)
_WRAPPED = re.compile(
    r"\*\*(?P<bold>[^*]+)\*\*|\$\$(?P<display>[^$]+)\$\$|\$(?P<inline>[^$]+)\$|"
    r"\\\((?P<round>(?:(?!\\[()]).)+)\\\)|\\\[(?P<square>(?:(?!\\[\[\]]).)+)\\\]",
    re.DOTALL,
)
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_SENTENCES = re.compile(r"[a-z]{2,}[.!?]\s+[A-Z]")
_SPEAKS = re.compile(
    r"\b(?:posts?|thread|see|hint|proofs?|prov(?:e[dns]?|ing)|we|my|because|therefore|hence|https?|"
    r"I (?:get|got|think|guess|believe|found|have|am)|I'm|solution is|answer is)\b",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class AnswerReader:
    """An answer about an answer: as a JSON object, or in the published text format.

    In that, the last `Answer:` that begins a line says it, and `Answer not found` that there is
    none.
    """

    def read(self, text: str) -> FoundAnswer | Fault:
        """What was found; or `malformed_answer`, or `empty_answer`."""
        found = _JSON.read(text)
        if not isinstance(found, Fault):
            return found
        answer = Conclusion().read(text)
        return found if isinstance(answer, Fault) else labelled_answer(answer) or found

    def constraint(self) -> Constraint | None:
        """The schema of the JSON object."""
        return _JSON.constraint()


READER = AnswerReader()


def labelled_answer(text: str) -> FoundAnswer | None:
    """What stands behind the last label, in its line or the next; None where nothing is said."""
    labels = list(_LABEL.finditer(text))
    if not labels:
        return FoundAnswer(text, None) if _NOT_FOUND.search(text) else None
    behind = text[labels[-1].end() :].strip()
    return FoundAnswer(text[: labels[-1].start()].strip(), behind or None)


def bare_answer(answer: str | None) -> str | None:
    """An answer without box, dollars and full stop around it; None where that is no answer."""
    if not has_answer(answer) or _NONE.fullmatch(answer or ""):
        return None
    bare = _unboxed(answer or "").strip()
    while True:
        stripped = bare.removesuffix(".").rstrip() if not bare.endswith("..") else bare
        wrapped = _WRAPPED.fullmatch(stripped)
        held = next(filter(None, wrapped.groups()), "").strip() if wrapped else stripped
        if held == bare or not held:
            return bare
        bare = held


def _unboxed(answer: str) -> str:
    """What the boxes in it hold, each once; all of it where there are none."""
    held = [answer[answer.index("{", start) + 1 : end - 1] for start, end in boxed_spans(answer)]
    inner = [one.strip() for one in held if not boxed_spans(one)]
    return ", ".join(dict.fromkeys(inner)) or answer


def prose_fault(answer: str | None) -> Fault | None:
    """`prose_answer` if a text is no final answer but says something about one."""
    if answer is None:
        return None
    words = _WORD.findall(re.sub(r"\\(?:text|mathrm|mbox|textbf)\s*\{", " ", answer))
    if len(answer) > MOST_CHARACTERS or len(answer.splitlines()) > MOST_LINES:
        what = "it is as long as a solution"
    elif len(words) > MOST_WORDS:
        what = f"it has {len(words)} words"
    elif _SENTENCES.search(answer):
        what = "it is several sentences"
    elif said := _SPEAKS.search(answer):
        what = f"it says {said[0]!r}"
    else:
        return None
    return Fault("prose_answer", f"{what}; give the final answer and nothing else, or null")


def variables_of(record: ProblemInThread) -> dict[str, object]:
    """What the model is shown: the problem and the whole thread."""
    return {
        "problem": record.problem.text,
        "forum_post": record.post,
        "forum_discussions": record.discussion,
    }


def fault_of(record: ProblemInThread, found: FoundAnswer) -> Fault | None:
    """What is wrong with a found answer: it is prose."""
    return prose_fault(bare_answer(found.answer))


def answered_problem(answered: Answered[ProblemInThread, FoundAnswer]) -> ForumProblem:
    """The problem with what was found, without the thread's text."""
    problem, answer = answered.record.problem, bare_answer(answered.value.answer)
    return dataclasses.replace(
        problem,
        expected_answer=answer,
        problem_type=NO_ANSWER if answer is None else HAS_ANSWER,
        calls=(*problem.calls, answered.call),
    )


@dataclasses.dataclass(eq=False)
class JoinThreads(beam.PTransform):
    """Put problems and the threads that they are from side by side.

    In:   a pair of collections: `ForumProblem` records, and the `Thread` records that they were
          extracted from, and others.
    Out:  `rows`, a `ProblemInThread` of each problem; `rejects`, empty.
    Cost: one shuffle of both; a thread and its problems in memory.
    Once: independent of input order, so retries are harmless.
    """

    shard_by_shard = True

    def expand(self, joined: tuple[beam.PCollection, beam.PCollection]) -> Outcome:
        problems, threads = joined
        keyed = (
            problems | "KeyProblems" >> beam.Map(_keyed_problem),
            threads | "KeyThreads" >> beam.Map(_keyed_thread),
        )
        return without_rejects(keyed | "Join" >> Group() | "Put" >> beam.FlatMapTuple(put))


def _keyed_problem(problem: ForumProblem) -> tuple[str, Any]:
    return problem.extracted.thread.id, problem


def _keyed_thread(thread: Thread) -> tuple[str, Any]:
    return thread.id, thread


def put(thread_id: str, parts: Iterable[ForumProblem | Thread]) -> Iterator[ProblemInThread]:
    """The problems of a thread, each with its text."""
    problems: list[ForumProblem] = []
    threads: list[Thread] = []
    for part in parts:
        if isinstance(part, Thread):
            threads.append(part)
        else:
            problems.append(part)
    for problem in problems:
        [thread] = threads
        yield ProblemInThread(problem.id, problem, thread.post, thread.discussion)
