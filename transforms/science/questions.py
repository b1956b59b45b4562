"""Questions: asked for, looked at, told apart, and made into problems."""

import dataclasses
import re
import unicodedata
from collections.abc import Iterable, Iterator

import apache_beam as beam

from transforms.codec import canonical_json, to_json
from transforms.grouping import Group
from transforms.outcome import Outcome, SplitRejects
from transforms.reading import Fault, Structured
from transforms.records import Answered, Problem, Reject
from transforms.science.options import FORMATS, fault_of, unlettered
from transforms.science.records import ChoiceQuestion, OpenQuestion, Question, Slot
from transforms.seeding import digest

PROMPT = "science/question"
AUGMENTATIONS = ("similar", "inspired_by")
_ONLY_A_WORD = re.compile(r"[^\W\d_]{4,}|\b[A-Z][a-z]{2}\b")
_DASHES = str.maketrans("‐‑‒–—−’‘“”", "------''\"\"")
Written = OpenQuestion | ChoiceQuestion


@dataclasses.dataclass(eq=False)
class FilterQuestions(beam.PTransform):
    """Keep each question once, and give it an id of its content.

    In:   `Question` records, in one collection or a tuple of several.
    Out:  `rows`, the questions under new ids, so that a question's samples are of nothing else;
          `rejects`, those that say the same as another (`normal_form`): `duplicate`. Of several,
          one that was written for its slot comes before augmented ones, then the smallest id.
    Cost: one shuffle; the questions of one text in memory.
    Once: independent of input order, so retries are harmless.
    From: NeMo-Skills, "filter_problems", which compares texts as they are spelt.

    Args:
        stage: the name in the rejects.
    """

    stage: str

    def expand(self, questions: beam.PCollection | tuple[beam.PCollection, ...]) -> Outcome:
        every = questions if isinstance(questions, tuple) else (questions,)
        return (
            every
            | "Merge" >> beam.Flatten()
            | "KeyByText" >> beam.Map(_keyed_by_text)
            | "GroupTexts" >> Group()
            | "Keep" >> beam.FlatMapTuple(_kept, self.stage)
            | "Split" >> SplitRejects()
        )


def reader_of(of_format: str) -> Structured[Written]:
    """How an answer with a question of a format is read."""
    if not FORMATS[of_format]:
        return Structured(OpenQuestion)
    return Structured(ChoiceQuestion, items={"options": FORMATS[of_format]})


def variables_of_slot(slot: Slot) -> dict[str, object]:
    """What a model that writes a question is shown."""
    return {
        "topic": slot.subtopic.topic,
        "subtopic": slot.subtopic.name,
        "difficulty": slot.difficulty,
        "num_options": FORMATS[slot.format],
    }


def variables_of_question(question: Question) -> dict[str, object]:
    """What a model that makes a new question of one is shown: never an answer."""
    return {
        "question": question.text,
        "num_options": FORMATS[question.slot.format],
    }


def check_question(slot: Slot, value: Written) -> Fault | None:
    """What is wrong with a question, if anything: as `options.fault_of`."""
    options = unlettered(_options(value))
    if isinstance(options, Fault):
        return options
    return fault_of(value.question, options, FORMATS[slot.format])


def check_augmented(original: Question, value: Written) -> Fault | None:
    """The same of a new question; or `unchanged`, where it is the one that it was made from."""
    if fault := check_question(original.slot, value):
        return fault
    new = question_text(value), _plain_options(value)
    if normal_form(*new) == normal_form(original.question, original.options):
        return Fault("unchanged", "it is the question that you were shown; write a new one")
    return None


def question_of(answered: Answered[Slot, Written]) -> Question:
    """The question in an answer that `check_question` has nothing against."""
    slot, value = answered.record, answered.value
    calls = (*slot.subtopic.calls, answered.call)
    return Question(answered.id, slot, question_text(value), _plain_options(value), calls)


def augmented_of(answered: Answered[Question, Written], kind: str) -> Question:
    """The new question in an answer that `check_augmented` has nothing against."""
    original, value = answered.record, answered.value
    return Question(
        id=answered.id,
        slot=original.slot,
        question=question_text(value),
        options=_plain_options(value),
        calls=(*original.calls, answered.call),
        augmented=kind,
        original=original.id,
    )


def problem_of(question: Question) -> Problem:
    """The question as a problem to be solved, whose expected answer nobody knows yet."""
    slot, subtopic = question.slot, question.slot.subtopic
    extra = {
        "topic": subtopic.topic,
        "subtopic": subtopic.name,
        "difficulty": slot.difficulty,
        "format": slot.format,
        "generator": question.calls[-1].model if question.calls else "",
        "augmented": question.augmented,
        "original": question.original,
    }
    return Problem(
        id=question.id,
        text=question.text,
        source=subtopic.source,
        source_id=subtopic.source_id,
        licence=subtopic.licence,
        extra=canonical_json(extra),
    )


def question_text(value: Written) -> str:
    """The question without space around it and without empty lines, which end it before options."""
    return re.sub(r"\n\s*\n+", "\n", value.question.strip())


def normal_form(question: str, options: Iterable[str]) -> str:
    """What questions that say the same have in common.

    Spacing, quotation marks, dashes, the case of words and the order of options do not count. The
    case of what may be more than a word does: `Aa` and `aa`, or `mHz` and `MHz`, are different.
    """
    return "\n".join([_normal(question), *sorted(map(_normal, options))])


def _normal(text: str) -> str:
    plain = " ".join(unicodedata.normalize("NFC", text).translate(_DASHES).split())
    return _ONLY_A_WORD.sub(_casefolded, plain).rstrip(" .?!")


def _casefolded(word: re.Match[str]) -> str:
    return word[0].casefold()


def _options(value: Written) -> tuple[str, ...]:
    return value.options if isinstance(value, ChoiceQuestion) else ()


def _plain_options(value: Written) -> tuple[str, ...]:
    options = unlettered(_options(value))
    assert not isinstance(options, Fault)
    return options


def _keyed_by_text(question: Question) -> tuple[str, Question]:
    return digest("question", normal_form(question.question, question.options)), question


def _kept(
    content: str, questions: Iterable[Question], stage: str = ""
) -> Iterator[Question | Reject]:
    first, *others = sorted(questions, key=_order)
    yield dataclasses.replace(first, id=content, draft_id=first.draft_id or first.id)
    for other in others:
        detail = f"it says the same as {first.id}"
        yield Reject(stage, "duplicate", detail, other.id, to_json(other), reply="")


def _order(question: Question) -> tuple[bool, str, str]:
    return bool(question.augmented), question.id, to_json(question)
