"""Questions: how answers are read and checked, what says the same, and what they become."""

import dataclasses
import json
import random
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from hypothesis import given
from hypothesis import strategies as st

from transforms.codec import arrow_schema, from_row, to_row
from transforms.reading import Fault
from transforms.records import Answered, Call, Judgement
from transforms.science.options import FORMATS, options_of
from transforms.science.plan import DIFFICULTIES, DrawSlots, Grid
from transforms.science.questions import (
    FilterQuestions,
    augmented_of,
    check_augmented,
    check_question,
    normal_form,
    problem_of,
    question_of,
    reader_of,
    variables_of_question,
    variables_of_slot,
)
from transforms.science.records import ChoiceQuestion, OpenQuestion, Question, Slot, Subtopic
from transforms.science.solving import settled, solution_of, variables_of

CALL = Call("ask", "p", "h", "m", "{}", 0, 1, 1, ("k",), "stop", 9, 9)
SUBTOPIC = Subtopic("t-0", "Optics", "lenses", "sample", "optics", "MIT", (CALL,))
TEXT, FOUR = "How far from the lens is the image?", ("1 m", "2 m", "3 m", "4 m")
CAUGHT: list[tuple[str, Any]] = []


def slot(of_format: str = "mcq_4", place: int = 0) -> Slot:
    return Slot(f"t-0-{place}", SUBTOPIC, "hard", of_format, 0)


def question(text: str = TEXT, options: tuple[str, ...] = FOUR, of: str = "t-0-0-1", **more: Any):
    return Question(of, slot("mcq_4" if options else "open"), text, options, (CALL, CALL), **more)


def answered(record: Any, value: Any) -> Answered[Any, Any]:
    return Answered("id-1", record, value, dataclasses.replace(CALL, ask="mine"))


def caught(item: Any, name: str) -> None:
    CAUGHT.append((name, item))


def outcome(verb: beam.PTransform, *parts: list[Any]) -> tuple[list[Any], list[Any]]:
    """The rows and rejects of a verb over several collections, by id."""
    CAUGHT.clear()
    with beam.Pipeline("FnApiRunner", options=PipelineOptions([])) as pipeline:
        made = tuple(pipeline | f"Part{n}" >> beam.Create(part) for n, part in enumerate(parts))
        out = (made if len(made) > 1 else made[0]) | verb
        _ = out.rows | "Rows" >> beam.Map(caught, "rows")
        _ = out.rejects | "Rejects" >> beam.Map(caught, "rejects")
    found = [
        sorted((item for kind, item in CAUGHT if kind == name), key=lambda item: item.id)
        for name in ("rows", "rejects")
    ]
    return found[0], found[1]


@pytest.mark.parametrize("of_format", FORMATS)
def test_an_engine_is_held_to_the_format(of_format):
    """To the number of options, and to nothing beside the question: there is no place to answer."""
    reader, number = reader_of(of_format), FORMATS[of_format]
    schema = reader.constraint().schema
    assert list(schema["properties"]) == (["question", "options"] if number else ["question"])
    if number:
        options = schema["properties"]["options"]
        assert options["minItems"] == options["maxItems"] == number
    written = {
        "question": TEXT,
        **({"options": [f"{n} m" for n in range(number)]} if number else {}),
    }
    value = reader.read(f"<think>\nHm.\n</think>\n{json.dumps(written)}")
    assert not isinstance(value, Fault)
    assert check_question(slot(of_format), value) is None
    assert isinstance(reader.read('{"options": []}'), Fault)
    assert isinstance(reader.read('{"question": " "}'), Fault)


def test_a_question_is_kept_without_its_letters():
    """And with the calls of its subtopic and its own; its text has no empty line in it."""
    value = ChoiceQuestion(
        " How?\n\n\nAnd why? ", tuple(f"({n}) {o}" for n, o in zip("ABCD", FOUR, strict=True))
    )
    assert check_question(slot(), value) is None
    made = question_of(answered(slot(), value))
    assert (made.id, made.question, made.options) == ("id-1", "How?\nAnd why?", FOUR)
    assert [call.ask for call in made.calls] == ["ask", "mine"]
    assert from_row(Question, to_row(made)) == made
    assert arrow_schema(Question).names[:3] == ["id", "slot", "question"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (ChoiceQuestion(TEXT, FOUR[:3]), "wrong_number"),
        (ChoiceQuestion(TEXT, ("B) 1", "A) 2", "C) 3", "D) 4")), "letters_out_of_order"),
        (ChoiceQuestion(TEXT, ("1", "1.0", "3", "4")), "same_options"),
        (ChoiceQuestion(f"{TEXT}\nAnswer: B", FOUR), "answer_given"),
        (ChoiceQuestion(f"{TEXT}\nA) 1 m\nB) 2 m", FOUR), "options_in_question"),
    ],
)
def test_a_question_of_no_use_is_told_why(value, reason):
    """So that the model can mend it."""
    found = check_question(slot(), value)
    assert found is not None and found.reason == reason


def test_a_new_question_is_another_one():
    """What says the same as its original is refused; of what is made, all calls are known."""
    original = question()
    same = ChoiceQuestion("how  far FROM the LENS is the image", FOUR[::-1])
    found = check_augmented(original, same)
    assert found is not None and found.reason == "unchanged"
    other = ChoiceQuestion("How large is the image?", FOUR)
    assert check_augmented(original, other) is None
    made = augmented_of(answered(original, other), "similar")
    assert (made.augmented, made.original, made.slot) == ("similar", original.id, original.slot)
    assert [call.ask for call in made.calls] == ["ask", "ask", "mine"]


@given(st.permutations(FOUR), st.randoms(use_true_random=False))
def test_spelling_and_order_say_nothing(options, rng):
    """Spacing, the case of longer words, dashes, quotation marks and the end of a sentence."""
    words = [rng.choice((word, word.upper())) if len(word) > 3 else word for word in TEXT.split()]
    text = rng.choice((" ", "  ", "\n")).join(words).rstrip("?") + rng.choice(("", "?", " ?"))
    assert normal_form(text, options) == normal_form(TEXT, FOUR)
    assert normal_form("The ‘net’ – pull", ()) == normal_form("the 'net' - pull", ())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("Aa × Aa?", ()), ("AA × Aa?", ())),
        (("5 mM?", ()), ("5 MM?", ())),
        (("5 mHz?", ()), ("5 MHz?", ())),
        (("10²?", ()), ("102?", ())),
        (("How?", ("1", "2")), ("How?", ("1", "3"))),
        (("How?", ()), ("How?", ("1", "2"))),
    ],
)
def test_what_is_another_question_stays_another(one, other):
    """Genotypes, units, powers and options."""
    assert normal_form(*one) != normal_form(*other)


def test_each_question_is_kept_once_whatever_the_order():
    """One that was written comes before augmented ones; its new id is of what it says."""
    copies = [
        question(of="t-0-1-2", text=TEXT.replace("image", "IMAGE")),
        question(of="t-0-0-1"),
        question(of="a-1", augmented="similar", original="x"),
    ]
    others = [question("What?", (), "t-0-3-1"), question("Why?", (), "b-1", augmented="similar")]
    found = []
    for seed in range(2):
        mixed = [*copies, *others]
        random.Random(seed).shuffle(mixed)
        found.append(outcome(FilterQuestions("filter"), mixed[:2], mixed[2:]))
    (rows, rejects), again = found
    assert again == (rows, rejects)
    assert {row.question for row in rows} == {TEXT, "What?", "Why?"}
    assert all("-" not in row.id and len(row.id) == 32 for row in rows)
    assert [(one.id, one.reason) for one in rejects] == [
        ("a-1", "duplicate"),
        ("t-0-1-2", "duplicate"),
    ]
    kept = outcome(FilterQuestions("filter"), [*rows, copies[2]])
    assert kept[0] == rows and [one.id for one in kept[1]] == ["a-1"]


def test_a_question_is_a_problem_that_nobody_has_answered():
    """Posed with its options; where it came from and how hard it is are known."""
    problem = problem_of(question(augmented="similar", original="x"))
    assert problem.expected_answer is None
    assert options_of(problem.text) == FOUR
    assert (problem.source, problem.source_id, problem.licence) == ("sample", "optics", "MIT")
    assert json.loads(problem.extra) == {
        "topic": "Optics", "subtopic": "lenses", "difficulty": "hard", "format": "mcq_4",
        "generator": "m", "augmented": "similar", "original": "x",
    }  # fmt: skip


def test_what_models_are_shown_has_no_answer():
    """Names and numbers of the slot; of a question no more than is posed."""
    assert variables_of_slot(slot()) == {
        "topic": "Optics", "subtopic": "lenses", "difficulty": "hard", "num_options": 4,
    }  # fmt: skip
    shown = variables_of_question(question())
    assert shown == {**{"question": variables_of(question())["problem"]}, "num_options": 4}


@pytest.mark.parametrize(
    ("text", "options", "answer"),
    [
        (r"<think>\boxed{A}</think>So \boxed{(B)}.", FOUR, "B"),
        (r"So \boxed{2\text{ m}}.", FOUR, "B"),
        (r"<think>\boxed{A}</think>I cannot say.", FOUR, None),
        (r"\boxed{E}", FOUR, None),
        (r"<think>\boxed{A}</think>\boxed{A} or \boxed{2 m}", (), "2 m"),
        ("No.", (), None),
    ],
)
def test_the_final_answer_is_in_a_box_behind_the_reasoning(text, options, answer):
    """Of a multiple-choice question it is a letter that it has."""
    made = solution_of(answered(question(options=options), text))
    assert (made.predicted_answer, made.text) == (answer, text)
    assert [call.ask for call in made.calls] == ["mine", "ask", "ask"]


def test_other_letters_are_other_answers():
    """Nobody is asked; of an open question a judge is, and what is decided stays."""
    posed = problem_of(question()).text
    between = Judgement("q-0", "q", posed, "A", "B", "undecided")
    assert (settled(between).verdict, settled(between).judged_by) == ("incorrect", "equality")
    for judgement in (
        dataclasses.replace(between, problem=TEXT),
        dataclasses.replace(between, verdict="correct", judged_by="equality"),
        dataclasses.replace(between, verdict="no_answer", predicted_answer=None),
    ):
        assert settled(judgement) == judgement


def test_every_cell_has_its_slots():
    """Each difficulty and format as often as wanted; those of fewer keep their ids."""
    few, many = (
        list(Grid(DIFFICULTIES, tuple(FORMATS), number).slots_of(SUBTOPIC)) for number in (1, 3)
    )
    assert (len(few), len(many)) == (15, 45)
    assert many[: len(few)] == few
    assert few[0].id == "t-0-0" and len({each.id for each in many}) == 45
    cells = [(each.difficulty, each.format, each.number) for each in many]
    assert len(set(cells)) == 45
    grid = Grid(DIFFICULTIES, tuple(FORMATS), 3)
    assert [grid.numbered(each, number) for number in range(3) for each in few] == many


def drawn(number: int, questions: int, seed: int = 7) -> dict[str, Slot]:
    """What is drawn of the grid of three subtopics, by id."""
    grid = Grid(DIFFICULTIES, tuple(FORMATS), questions)
    subtopics = [dataclasses.replace(SUBTOPIC, id=f"t-{number}") for number in range(3)]
    slots = [each for subtopic in subtopics for each in grid.slots_of(subtopic)]
    random.Random(number).shuffle(slots)
    rows, rejects = outcome(DrawSlots(grid, number, seed), slots)
    assert not rejects
    found = {row.id: row for row in rows}
    assert found.items() <= {each.id: each for each in slots}.items() and len(found) == len(rows)
    return found


def test_a_draw_takes_as_many_of_each_format_and_cell():
    """A larger one has all of a smaller one, and at most all there is; so has a larger grid."""
    few, more, most = drawn(10, 2), drawn(50, 2), drawn(1000, 2)
    of_format = [sum(each.format == name for each in few.values()) for name in FORMATS]
    assert of_format == [4, 3, 3]
    assert (len(more), len(most)) == (50, 90)
    assert few.items() <= more.items() <= most.items()
    assert sum(each.number == 0 for each in more.values()) == 45
    assert drawn(10, 1) == few


def test_an_open_question_has_no_options():
    """Whatever it asks."""
    value = OpenQuestion("How far?")
    assert check_question(slot("open"), value) is None
    made = question_of(answered(slot("open"), value))
    assert (made.options, problem_of(made).text) == ((), "How far?")
