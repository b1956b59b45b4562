"""Reading answers: tolerant of the wrapping, strict about the content."""

import dataclasses
import json
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.codec import to_json
from transforms.reading import Choice, Fault, Pattern, Structured, Text
from transforms.records import (
    NewProblem,
    NewProblemEvals,
    NewProblemList,
    NewProblemWithReasoning,
)

SCORES = Structured(NewProblemEvals)
GOOD = NewProblemEvals(difficulty=3, clarity=2, adherence=1)
OTHER = NewProblemEvals(difficulty=1, clarity=1, adherence=1)
EVALS = st.builds(NewProblemEvals, *(st.integers(1, 3),) * 3)
PROSE = st.text(st.characters(exclude_characters="{}[`", exclude_categories=["Cs"]), max_size=40)
STRUCTURES = [NewProblem, NewProblemEvals, NewProblemList, NewProblemWithReasoning]


def answer(value: object, **more: object) -> str:
    return json.dumps({**dataclasses.asdict(value), **more})


def fenced(text: str, language: str = "json") -> str:
    return f"```{language}\n{text}\n```"


def spread(row: object) -> str:
    """`row` as people write JSON: with comments, and commas after everything."""
    text = json.dumps(row, indent=1, ensure_ascii=False)
    return re.sub(r'(["\d}\]])\n', r"\1, // }]\n", text.replace(",\n", "\n"))


WRAPPINGS = {
    "alone": answer(GOOD),
    "white space": f"\n\n  {answer(GOOD)}\n ",
    "indented": json.dumps(dataclasses.asdict(GOOD), indent=4),
    "fence": fenced(answer(GOOD)),
    "fence without a language": fenced(answer(GOOD), ""),
    "fence of another language": fenced(answer(GOOD), "json5"),
    "fence on Windows": f"```json\r\n{answer(GOOD)}\r\n```",
    "fence that is not closed": f"```json\n{answer(GOOD)}",
    "fence on one line": f"```{answer(GOOD)}```",
    "prose before a fence": f"Here are the scores.\n\n{fenced(answer(GOOD))}",
    "prose around a fence": f"Sure!\n{fenced(answer(GOOD))}\nI hope that this helps.",
    "prose before": f"The scores: {answer(GOOD)}",
    "prose after": f"{answer(GOOD)} That is my view.",
    "reasoning": f"<think>\nIs it {{hard}}? Yes: {{3}}.\n</think>\n\n{answer(GOOD)}",
    "reasoning with a draft": f"<think>Say {answer(OTHER)}. No.</think>\n{answer(GOOD)}",
    "reasoning that is not closed": f"It has {{n}} cases, so\n</think>{answer(GOOD)}",
    "LaTeX": rf"Since $\frac{{1}}{{2}} \in \{{x\}}$ it is hard. {answer(GOOD)}",
    "two drafts in prose": f"{answer(OTHER)} or {answer(OTHER)}, no: {answer(GOOD)}",
    "two drafts in fences": f"{fenced(answer(OTHER))}\nNo, rather\n{fenced(answer(GOOD))}",
    "a fence that does not fit at the end": f"{fenced(answer(GOOD))}\n{fenced('print(1)', 'py')}",
    "an object that does not fit at the end": f"{answer(GOOD)} {{}}",
    "a list of one": f"[{answer(GOOD)}]",
    "braces in a fence before": f"{fenced('{x for x in y}', 'python')}\n{answer(GOOD)}",
}


@pytest.mark.parametrize("text", WRAPPINGS.values(), ids=WRAPPINGS.keys())
def test_an_object_is_found_in_any_wrapping(text):
    """Fences, prose and reasoning around the object do not matter; of several the last counts."""
    assert SCORES.read(text) == GOOD


@given(st.sampled_from(STRUCTURES), st.data(), PROSE, PROSE, st.booleans())
@settings(max_examples=100, deadline=None)
def test_what_was_written_is_read_whatever_stands_around_it(kind, data, before, after, fence):
    """Any record is read back from prose around its JSON, with or without a fence."""
    alphabet = st.characters(exclude_categories=("Cs", "Cc"))
    text = st.text(alphabet, min_size=1, max_size=30).filter(
        lambda text: text == text.strip() != ""
    )
    value = data.draw(
        {
            NewProblem: st.builds(NewProblem, text, text),
            NewProblemEvals: EVALS,
            NewProblemList: st.builds(
                NewProblemList,
                st.lists(st.builds(NewProblem, text, text), max_size=3).map(tuple),
            ),
            NewProblemWithReasoning: st.builds(NewProblemWithReasoning, text, text, text),
        }[kind]
    )
    body = json.dumps(dataclasses.asdict(value), ensure_ascii=data.draw(st.booleans()))
    written = f"{before}\n{fenced(body)}\n{after}" if fence else f"{before}{body}{after}"
    assert Structured(kind).read(written) == value


@given(st.lists(EVALS, min_size=1, max_size=5), st.booleans())
@settings(deadline=None)
def test_the_last_of_several_objects_is_read(several, fence):
    """Of many objects that fit, all fenced or all in prose, the last one is the answer."""
    parts = [fenced(answer(value)) if fence else answer(value) for value in several]
    assert SCORES.read("\nor rather\n".join(parts)) == several[-1]


@given(EVALS, st.lists(st.sampled_from(["{}", '{"difficulty":9}', "{broken", "{{", "[]"])))
@settings(deadline=None)
def test_objects_that_do_not_fit_are_passed_over(value, misfits):
    """The last object that fits is read, however many after it do not."""
    assert SCORES.read(" ".join([answer(value), *misfits])) == value


def test_a_problem_may_contain_a_fence_of_its_own():
    """Back quotes inside a text of the object do not end it."""
    value = NewProblem("code", "Complete this:\n```python\ndef f(x):\n```\nfor {x} > 0.")
    reader = Structured(NewProblem)
    assert reader.read(answer(value)) == value
    assert reader.read(f"Here it is.\n{fenced(answer(value))}\nDone.") == value
    spread = json.dumps(dataclasses.asdict(value), indent=1)
    assert reader.read(f"{fenced('x = {1}', 'python')}\n{fenced(spread)}") == value


@pytest.mark.parametrize(
    "text",
    ["I would rather not.", "}", "{broken}", "{{1}}", "[1, 2]", "3", '"x"', "null"],
)
def test_an_answer_without_an_object_is_malformed(text):
    """Where no JSON object can be found, the fault says so."""
    assert SCORES.read(text) == Fault("malformed_answer", "there is no JSON object in it")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (answer(GOOD, difficulty=4), "difficulty: "),
        (answer(GOOD, clarity=0), "clarity: "),
        (answer(GOOD, clarity=None), "clarity: "),
        (answer(GOOD, adherence="high"), "adherence: "),
        (answer(GOOD, adherence=2.5), "adherence: "),
        ('{"difficulty": 1, "clarity": 1}', "adherence: "),
        ("{}", "difficulty: "),
        (fenced(answer(GOOD, difficulty=4)), "difficulty: "),
        (f"I say {answer(GOOD, difficulty=4)}.", "difficulty: "),
        (json.dumps({"scores": dataclasses.asdict(GOOD) | {"difficulty": 4}}), "difficulty: "),
    ],
)
def test_an_object_that_does_not_fit_is_malformed_and_the_fault_names_the_field(text, said):
    """A value that is missing, out of range or of another type is named in the fault."""
    fault = SCORES.read(text)
    assert isinstance(fault, Fault)
    assert fault.reason == "malformed_answer"
    assert said in fault.detail


def test_a_fault_inside_a_list_says_where():
    """The fault names the path to the value, and lists at most three."""
    problems = [{"added_concepts": "x", "problem": ""}] * 5
    fault = Structured(NewProblemList).read(json.dumps({"problems": problems}))
    assert isinstance(fault, Fault)
    assert fault.detail.startswith("problems.0.problem: ")
    assert fault.detail.count("problems.") == 3


def test_the_schema_of_a_type_is_not_an_answer():
    """A model that repeats the schema instead of filling it in has not answered."""
    for kind in STRUCTURES:
        reader = Structured(kind)
        for text in (json.dumps(reader.schema()), fenced(json.dumps(reader.schema(), indent=1))):
            said = "it repeats the schema and puts no values into it"
            assert reader.read(text) == Fault("malformed_answer", said)


@given(st.sampled_from(STRUCTURES), st.data())
@settings(deadline=None)
def test_a_cut_answer_is_never_completed(kind, data):
    """Of an answer that is cut anywhere, in any wrapping, either all is read or nothing."""
    texts = st.text("ab,:\"'{}[]\\\n`/#“’ ", max_size=12).map("x{}y".format)
    value = data.draw(
        {
            NewProblem: st.builds(NewProblem, texts, texts),
            NewProblemEvals: EVALS,
            NewProblemList: st.builds(
                NewProblemList, st.lists(st.builds(NewProblem, texts, texts), max_size=3).map(tuple)
            ),
            NewProblemWithReasoning: st.builds(NewProblemWithReasoning, texts, texts, texts),
        }[kind]
    )
    row = json.loads(to_json(value))
    wrap = data.draw(st.sampled_from([dict, lambda row: {"answer": row}, lambda row: [row]]))
    write = data.draw(
        st.sampled_from([json.dumps, repr, lambda row: json.dumps(json.dumps(row)), spread])
    )
    body = write(wrap(row))
    reader = Structured(kind)
    before, after = data.draw(st.sampled_from([("", ""), ("```json\n", "\n```"), ("So: ", ".")]))
    written = f"{before}{body}{after}"
    whole = reader.read(written)
    assert whole == value or (isinstance(whole, Fault) and "is not doubled" in whole.detail)
    for length in range(len(written)):
        read = reader.read(written[:length])
        assert read == value or isinstance(read, Fault)


@given(st.text(st.characters(), max_size=200) | st.text('{}[]":,`\n \\1aé\ud800', max_size=200))
@settings(max_examples=150, deadline=None)
def test_reading_never_raises(text):
    """Any text gives a value or a fault with a reason and a detail."""
    for reader in (SCORES, Structured(NewProblemList), Text()):
        value = reader.read(text)
        if isinstance(value, Fault):
            assert value.reason
            assert value.detail


@pytest.mark.parametrize(
    "text",
    [
        '{"difficulty": ' + "9" * 5000 + "}",
        '{"difficulty": ' + "[" * 900 + "]" * 900 + "}",
        '{"difficulty": ' + "[" * 90 + "]" * 90 + ",}",
    ],
    ids=["long number", "deep JSON", "deep and not quite JSON"],
)
def test_a_hostile_answer_is_a_fault(text):
    """Nesting and numbers without end are malformed answers."""
    fault = SCORES.read(text)
    assert isinstance(fault, Fault)
    assert fault.reason == "malformed_answer"


HOSTILE = [
    *("{", "[", "{}", "[{", '{"', "['", '{"a":', "{a:", "{'", "{“ ", "{/*", "{#", "\\", "<think>"),
    *('{"":1}', '{"a":1,}', r"{\"", "{a: b} ", r"\frac{1}{2} ", '{"properties":', "{1:", "[[1],"),
]


@pytest.mark.parametrize("part", HOSTILE)
@pytest.mark.parametrize("before", ["", '{"p":['], ids=["alone", "in a list"])
def test_the_cost_of_an_answer_grows_with_its_length_only(before, part):
    """Any megabyte is read in seconds; what grows with the square would take minutes."""
    text = before + part * (1_000_000 // len(part)) + "!"
    started = time.process_time()
    assert isinstance(SCORES.read(text), Fault)
    assert time.process_time() - started < 20


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        (Structured(NewProblem), '{"added_concepts": "half of \\ud83d", "problem": "x"}'),
        (Text(), "half of \ud83d"),
    ],
    ids=["structured", "text"],
)
def test_what_is_read_can_be_written(reader, text):
    """An answer with half of a character pair gives a fault, or a value that UTF-8 can hold."""
    value = reader.read(text)
    assert isinstance(value, Fault) or to_json(value).encode()


@pytest.mark.parametrize(
    "text", ["", " \n", "\ufeff", "<think>So", "<think>3</think>\n", 'So {"a": 1}</think>']
)
def test_a_structured_answer_of_nothing_is_empty_as_free_text_is(text):
    """White space or reasoning only: the model said nothing, rather than something malformed."""
    fault = SCORES.read(text)
    assert isinstance(fault, Fault)
    assert fault.reason == "empty_answer"
    assert fault == Text().read(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"difficulty": 1, "clarity": 1, "adherence": 1, "difficulty": 3}',
        '{"difficulty": 1, "clarity": 1, "adherence": 1, "difficulty": 3,}',
        '{"scores": {"difficulty": 1, "clarity": 1, "adherence": 1, "difficulty": 3}}',
        json.dumps({"x": '{"difficulty": 1, "clarity": 1, "adherence": 1, "difficulty": 3}'}),
    ],
    ids=["JSON", "not quite JSON", "wrapped", "JSON in a text"],
)
def test_a_field_with_two_values_is_a_fault_that_names_it(text):
    """There is no telling which is meant; the same value twice is one value."""
    said = "it names difficulty twice, with different values"
    assert SCORES.read(text) == Fault("malformed_answer", said)
    assert SCORES.read(text.replace("3", "1")) == OTHER


@pytest.mark.parametrize("comma", ["", ","])
def test_a_field_of_several_values_hides_nothing(comma):
    """Neither in a list of records, nor as the wrapper of an answer, the last one wins."""
    one, other = (
        '{"added_concepts": "x", "problem": "a"}',
        '{"added_concepts": "x", "problem": "b"}',
    )
    read = Structured(NewProblemList).read(f'{{"problems": [{one}], "problems": [{other}]{comma}}}')
    assert isinstance(read, Fault)
    assert "names problems twice" in read.detail
    read = Structured(NewProblem).read(f'{{"answer": {one}, "answer": {other}{comma}}}')
    assert isinstance(read, Fault)
    assert "names answer twice" in read.detail
    twice = '{"added_concepts": "x", "problem": "a", "problem": "b"}'
    read = Structured(NewProblemList).read(f'{{"problems": [{twice}]{comma}}}')
    assert isinstance(read, Fault)
    assert "names problem twice" in read.detail


@given(st.text(max_size=100))
@settings(deadline=None)
def test_free_text_is_read_without_surrounding_white_space(text):
    """Free text is its own value but for white space at its ends; nothing left is a fault."""
    value = Text().read(text)
    if text.strip().strip("\ufeff\u200b\u2060"):
        assert value == text.strip()
    else:
        assert value == Fault("empty_answer", "the answer is empty")


@pytest.mark.parametrize(
    "text",
    ["<think>\nSo it is 4.\n</think>\n", "So it is 4.</think>", "<think>So", "[THINK]4[/THINK]"],
)
def test_free_text_of_reasoning_only_is_empty(text):
    """Thoughts with nothing after them are no answer, nor are those that never end."""
    assert Text().read(text) == Fault("empty_answer", "the answer is reasoning only")


def test_free_text_keeps_the_reasoning_before_its_answer():
    """What was paid for is not thrown away."""
    text = "<think>\n2 + 2\n</think>\n\nIt is 4."
    assert Text().read(text) == text


def objects_of(schema: object) -> list[dict]:
    """Every schema of an object within `schema`."""
    if isinstance(schema, list):
        return [found for item in schema for found in objects_of(item)]
    if not isinstance(schema, dict):
        return []
    own = [schema] if schema.get("type") == "object" else []
    return own + [found for item in schema.values() for found in objects_of(item)]


@pytest.mark.parametrize("kind", STRUCTURES)
def test_the_schema_is_closed(kind):
    """Every object of the schema requires all its properties and allows no others."""
    schema = Structured(kind).schema()
    objects = objects_of(schema)
    assert objects
    for each in objects:
        assert each["additionalProperties"] is False
        assert each["required"] == list(each["properties"])
    assert objects[0]["required"] == [field.name for field in dataclasses.fields(kind)]


def test_the_schema_closes_nested_objects_and_knows_no_defaults():
    """An object in a list is closed too, and a field with a default is required all the same."""
    inner = dataclasses.make_dataclass("Inner", [("x", int, 5)], frozen=True)
    outer = dataclasses.make_dataclass(
        "Outer", [("inners", tuple[inner, ...], ()), ("y", str, "z")], frozen=True
    )
    schema = Structured(outer).schema()
    assert [each["required"] for each in objects_of(schema)].count(["x"]) == 1
    assert schema["required"] == ["inners", "y"]
    assert "default" not in json.dumps(schema)


def test_the_schema_keeps_descriptions_and_bounds():
    """What a model is told about a field, and its range, are in the schema."""
    difficulty = SCORES.schema()["properties"]["difficulty"]
    assert difficulty["description"] == "how much harder than the original"
    assert (difficulty["minimum"], difficulty["maximum"]) == (1, 3)


def test_the_schema_says_how_long_a_list_is():
    """Where that is known; a reply of another length is still read, for the check to judge."""
    reader = Structured(NewProblemList, items={"problems": 2})
    problems = reader.schema()["properties"]["problems"]
    assert (problems["minItems"], problems["maxItems"]) == (2, 2)
    assert "minItems" not in Structured(NewProblemList).schema()["properties"]["problems"]
    one = {"added_concepts": "x", "problem": "y"}
    assert len(reader.read(json.dumps({"problems": [one]})).problems) == 1


def test_free_text_has_no_schema():
    """An answer of any text cannot be held to a schema."""
    assert Text().constraint() is None


@pytest.mark.parametrize("command", ["frac{1}{2}", "beta", "theta", "times", "text{m}", "tau"])
def test_a_tex_command_without_its_doubled_backslash_is_a_fault(command):
    """JSON would eat the beginning of the command; with two backslashes it is read."""
    problem = '{"added_concepts": "x", "problem": "Find $%s$."}'
    fault = Structured(NewProblem).read(problem % f"\\{command}")
    assert isinstance(fault, Fault)
    assert "is not doubled" in fault.detail
    read = Structured(NewProblem).read(problem % f"\\\\{command}")
    assert read == NewProblem("x", f"Find $\\{command}$.")


def test_a_line_break_within_a_text_is_read():
    """Strict JSON forbids it; models write it."""
    read = Structured(NewProblem).read('{"added_concepts": "x", "problem": "one\ntwo"}')
    assert read == NewProblem("x", "one\ntwo")


@pytest.mark.parametrize(
    "text",
    ["yes", " Yes.\n", "**YES**", "<think>no, no</think>\n\nyes", "It holds.\n\nVerdict: yes"],
)
def test_a_choice_is_read_from_what_models_write_around_it(text):
    """The option as it was spelled in the list."""
    assert Choice(("yes", "no")).read(text) == "yes"


@pytest.mark.parametrize(
    "text", ["maybe", "yes and no", "I would not say yes", "yes\nor rather not"]
)
def test_what_names_no_option_is_no_choice(text):
    """An option within a sentence may be denied there."""
    fault = Choice(("yes", "no")).read(text)
    assert isinstance(fault, Fault)
    assert fault.reason == "malformed_answer"
    assert "none of: yes, no" in fault.detail


def test_a_choice_with_reasoning_is_read_alike_and_no_engine_is_held_to_it():
    """Held to the options, a model could not say a word before them."""
    reasoned = Choice(("yes", "no"), reasons=True)
    assert reasoned.read("It holds for all n.\nVerdict: yes") == "yes"
    assert reasoned.constraint() is None
    assert Choice(("yes", "no")).constraint().kind == "choice"


def test_options_must_differ():
    """By more than their case."""
    for options in (("yes",), ("yes", "Yes")):
        with pytest.raises(ValueError, match="different options"):
            Choice(options)


def test_a_pattern_matches_the_answer_or_its_last_line():
    """All of it, not a part."""
    reader = Pattern(r"[A-D]")
    assert reader.read(" B\n") == "B"
    assert reader.read("I think it is this:\nC") == "C"
    assert reader.read("<think>A</think>").reason == "empty_answer"
    assert reader.read("BC").detail == "'BC' does not match [A-D]"
