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
_GIVEN = (
    r"(?:found|given|stated|provided|specified|available|posted|mentioned|known|reached|determined)"
)
_USABLE = r"(?:\s(?:final|clear|usable|definite|explicit|single|correct|complete))?"
# "No solution" and "none" answer a question; that none was given is said in other words.
_NONE = re.compile(
    rf"""\W*(?:null | n/?a | unknown | undetermined
    | (?:the\s)?(?:final\s)?answer(?:\s(?:is|was|has|can|could))?\s(?:not|never)(?:\sbe(?:en)?)?
      \s{_GIVEN}
    | (?:there\s(?:is|was)\s)?no{_USABLE}\sanswer(?:(?:\s(?:is|was))?\s{_GIVEN})?
    | no{_USABLE}\s(?:solution|value|result)(?:\s(?:is|was))?\s{_GIVEN}
    | (?:none|not)(?:\s(?:is|was))?\s{_GIVEN}
    | (?:no\sone|nobody)\s(?:gives|gave|posts|posted|states|stated|provides|provided|finds|found)
      \s(?:an?|the|any){_USABLE}\s(?:answer|solution|value)
    )(?:\s(?:yet|here|so\sfar))?\W*""",
    re.IGNORECASE | re.VERBOSE,
)
_EMPTY = re.compile(r"[-–—−?!.…*_$~\s]*|\\(?:boxed|fbox)\s*\{\s*\}|None")
_TEXT = re.compile(r"\\(?:text|mathrm|mbox|textbf)\s*\{")
_OPENS = re.compile(
    r"\\\\|(?P<up>\\begin\b|\\\[|\{)|(?P<down>\\end\b|\\\]|\})|(?P<turn>\$\$)|\\.", re.DOTALL
)
_GOES_ON = re.compile(r"(?:[,;=]|\\\\|\b(?:and|or))\s*\Z", re.IGNORECASE)
_WRAPPED = re.compile(
    r"\*\*(?P<bold>[^*]+)\*\*|\$\$(?P<display>[^$]+)\$\$|\$(?P<inline>[^$]+)\$|"
    r"\\\((?P<round>(?:(?!\\[()]).)+)\\\)|\\\[(?P<square>(?:(?!\\[\[\]]).)+)\\\]",
    re.DOTALL,
)
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_SENTENCES = re.compile(r"[a-z]{2,}[.!?]\s+[A-Z]")
_PARAGRAPHS = re.compile(r"\S[ \t]*\n[ \t]*\n")
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
    """What stands behind the last label, in its line or the next; None where nothing is said.

    What follows the answer, "I hope this helps", is none of it.
    """
    labels = list(_LABEL.finditer(text))
    if not labels:
        return FoundAnswer(text, None) if _NOT_FOUND.search(text) else None
    answer = first_stated(text[labels[-1].end() :])
    if answer.count("**") % 2:  # of "**Answer: 12**" the label has taken the first
        answer = answer.removesuffix("**").rstrip()
    return FoundAnswer(text[: labels[-1].start()].strip(), answer or None)


def first_stated(text: str) -> str:
    """The first line with something in it, and those after it in which its formula goes on."""
    lines = text.strip().splitlines()
    depth, is_display = 0, False
    for number, line in enumerate(lines, start=1):
        for token in _OPENS.finditer(line):
            depth += bool(token["up"]) - bool(token["down"])
            is_display ^= bool(token["turn"])
        if depth <= 0 and not is_display and not _GOES_ON.search(line):
            return "\n".join(lines[:number]).strip()
    return lines[0].strip() if lines else ""


def bare_answer(answer: str | None) -> str | None:
    """An answer without box, dollars and full stop around it; None where that is no answer."""
    if answer is None or not has_answer(answer):
        return None
    bare = _unboxed(answer).strip()
    while True:
        stripped = bare.removesuffix(".").rstrip() if not bare.endswith("..") else bare
        wrapped = _WRAPPED.fullmatch(stripped)
        held = next(filter(None, wrapped.groups()), "").strip() if wrapped else stripped
        if held == bare or not held:
            return None if says_nothing(bare) else bare
        bare = held


def says_nothing(answer: str) -> bool:
    """Whether an answer is empty, or says that there is none; "no solution" is one."""
    if len(answer) > MOST_CHARACTERS:
        return False
    plain = " ".join(_TEXT.sub(" ", answer).split())
    return bool(_EMPTY.fullmatch(plain) or _NONE.fullmatch(plain))


def _unboxed(answer: str) -> str:
    """What the boxes in it hold, each once; all of it where there are none."""
    held = [answer[answer.index("{", start) + 1 : end - 1] for start, end in boxed_spans(answer)]
    inner = [one.strip() for one in held if not boxed_spans(one)]
    return ", ".join(dict.fromkeys(inner)) or answer


def prose_fault(answer: str | None) -> Fault | None:
    """`prose_answer` if a text is no final answer but says something about one."""
    if answer is None:
        return None
    words = _WORD.findall(_TEXT.sub(" ", answer))
    if len(answer) > MOST_CHARACTERS or len(answer.splitlines()) > MOST_LINES:
        what = "it is as long as a solution"
    elif len(words) > MOST_WORDS:
        what = f"it has {len(words)} words"
    elif _PARAGRAPHS.search(answer):
        what = "it is several paragraphs"
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
