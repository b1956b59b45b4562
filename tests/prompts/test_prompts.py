"""Prompts: rendered strictly, overridden file by file, and rehearsed in the form they ask for.

The texts in tests/golden/prompts are what models are sent, for both combination types. After a
change of a template, renew them and read the difference:

    python -m pytest tests/prompts --renew-golden
"""

import functools
import itertools
import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prompts
from beam_sdg.recipes.infinibyte import INFINIBYTE, SAMPLES, InfiniByteConfig
from beam_sdg.recipes.recipe import Context
from prompts import HERE, PromptError, rehearsal, render, source_hash, tagged
from transforms.ask import Ask
from transforms.codec import canonical_json
from transforms.cross_breed import COMBINATION_TYPES
from transforms.engines.completions import TOOL_CALLS
from transforms.forum_problems.classification import CLASSES
from transforms.genselect.comparison import PROMPT as COMPARED
from transforms.genselect.summaries import PROMPT as TOLD
from transforms.reading import Choice, Fault
from transforms.records import Answered, Call, CrossBreed, Pair, Problem
from transforms.science.options import FORMATS
from transforms.science.plan import DIFFICULTIES
from transforms.science.questions import check_question, reader_of
from transforms.science.records import Slot, Subtopic
from transforms.summaries import PROMPT as SUMMARY
from transforms.tir.formats import CODE_FORMATS
from transforms.tir.insight import LABELS
from transforms.tir.solve import PROMPT as SOLUTION

NAMES = sorted(
    str(path.relative_to(HERE).with_suffix(""))
    for path in HERE.rglob("*.jinja")
    if not path.name.startswith("_")
)
FURTHER_TURNS = {"correction"}
OF_INFINIBYTE = {name for name in NAMES if name.startswith("infinibyte/")}
JUDGES = [f"tir/{question}" for question in LABELS]
WITH_TOOLS = [*CODE_FORMATS, TOOL_CALLS]
QUESTIONS = {f"science/{name}" for name in ("question", "augment_similar", "augment_inspired_by")}
PROGRAMS = {"code/python", "code/cpp"}
FORMS = {"stdin": ("", ""), "function": ("def vans(limit, weights):", "vans")}
RENDERED = {
    name.replace("/", "-") for name in {*NAMES} - OF_INFINIBYTE - {SOLUTION} - QUESTIONS - PROGRAMS
} | {
    f"{name.replace('/', '-')}-{kind}"
    for name, kind in [
        *itertools.product(OF_INFINIBYTE, COMBINATION_TYPES),
        *itertools.product([SOLUTION], WITH_TOOLS),
        *itertools.product(QUESTIONS, FORMATS),
        *itertools.product(PROGRAMS, FORMS),
    ]
}
GOLDEN = Path(__file__).parents[1] / "golden" / "prompts"
CONTEXT = Context()
ASKS = [
    stage.transform
    for stage in INFINIBYTE.stages(InfiniByteConfig(), CONTEXT)
    if isinstance(stage.transform, Ask)
]
TEXT_A = """Parcels of given weights arrive on a belt, and a van takes them in order until the next
one would be too heavy. How many vans are needed?

Input
The first line holds the van's limit and the number of parcels, the second line the weights.

Output
One integer.

Example:
10 4
6 4 7 3
2"""
TEXT_B = """A block of ice at 0 °C floats in 2 litres of water at 30 °C. Find the largest mass of
ice, in grams, that melts completely; the latent heat is 334 J/g & nothing is lost."""
FRAGMENT = """The sum has too many terms for a pencil.
```python
print(sum(n for n in range(1, 1000) if n % 7 == 3))
```
```output
71500
```
"""
POST = """Hi! [b]1.[/b] Find $x$ if $x^2 = 9 & x < 0$.
[b]2.[/b] Prove that $n^2 + n$ is even."""
# The prompts over threads, and what they are shown.
OF_FORUMS = {
    "forums/extract_problems": {"forum_post": POST, "answer_schema": '{"type":"object"}'},
    **{f"forums/classify_{name}": {"problem": TEXT_B} for name in CLASSES},
    "forums/extract_answers": {
        "problem": TEXT_B,
        "forum_post": POST,
        "forum_discussions": "Post 1:\nIt is 752 g.\n\nPost 2:\nI agree.",
        "answer_schema": '{"type":"object"}',
    },
    "forums/convert_proofs": {"problem": TEXT_B, "answer_schema": '{"type":"object"}'},
}
SOLVED = r"The water gives off 2 × 4184 × 30 J, so the mass is \boxed{752 \text{ g}}."
CHOICE = "How far from a thin lens of 10 cm is the image of the sun?\n\nA) 5 cm\nB) 10 cm\nC) 20 cm"
CALL = Call("ask", "prompt", "0" * 16, "rehearsal", "{}", 0, 0, 1, ("k",), "stop", 1, 1)


def record_of(kind: str, a: str = TEXT_A, b: str = TEXT_B) -> CrossBreed:
    sides = (
        Problem("a1", a, "coding", "parcels", "", "{}"),
        Problem("b1", b, "science", "ice", "", "{}"),
    )
    return CrossBreed("p1", Pair("p1", *sides), kind)


def variables_of(ask: Ask, record: CrossBreed) -> dict[str, object]:
    """The variables of a prompt, as the recipe gives them for a record."""
    held_to = ask.reader.constraint()
    schema = held_to and held_to.schema
    shared = {"answer_schema": canonical_json(schema)} if schema else {}
    return {**shared, **ask.variables(record)}


def rehearsed(record: CrossBreed, seed: int) -> Iterator[tuple[Ask, CrossBreed, object]]:
    """Each ask of the recipe, the record that comes to it, and the value of its answer."""
    for ask in ASKS:
        rng = random.Random(f"{ask.name} {seed}")
        text = rehearsal(ask.prompt)(messages_of(ask, record), rng)
        value = ask.reader.read(text)
        yield ask, record, value
        record = ask.keep(Answered(record.id, record, value, CALL))


def messages_of(ask: Ask, record: CrossBreed) -> list[dict[str, str]]:
    rendered = render(ask.prompt, variables_of(ask, record))
    return [{"role": role, "content": content} for role, content in rendered]


@functools.cache
def rendered_prompts() -> dict[str, str]:
    """The text of every prompt, by the name of its golden file."""
    texts = {"correction": shown(render("correction", {"fault": "difficulty: is missing"}))}
    for judge in JUDGES:
        texts[judge.replace("/", "-")] = shown(render(judge, {"fragment": FRAGMENT}))
    variables = {"problem": TEXT_B, "reasoning": "Is it 0.12?\n\nNo.", "solution": SOLVED}
    texts["math-solution"] = shown(render("math/solution", {"problem": TEXT_B}))
    answers = {"expected_answer": "752", "predicted_answer": r"752 \text{ g}"}
    texts["math-judge"] = shown(render("math/judge", {"problem": TEXT_B, **answers}))
    problems = {"first_problem": TEXT_B, "second_problem": TEXT_A}
    texts["decontamination-check"] = shown(render("decontamination/check", problems))
    texts["math-summary"] = shown(render(SUMMARY, variables))
    chosen = {"problem": TEXT_B, "max_idx": 1}
    solutions = f"Solution 0:\n{SOLVED}\n\nSolution 1:\n\\boxed{{1}}"
    texts["genselect-comparison"] = shown(render(COMPARED, {**chosen, "solutions": solutions}))
    compared = {"reasoning": "Is it the second?", "comparison": "Judgment: 0"}
    texts["genselect-summary"] = shown(render(TOLD, {**chosen, **compared}))
    for name, shows in OF_FORUMS.items():
        texts[name.replace("/", "-")] = shown(render(name, shows))
    for code_format in WITH_TOOLS:
        variables = {"problem": TEXT_B, "code_format": code_format, "max_executions": 8}
        texts[f"tir-solution-{code_format}"] = shown(render(SOLUTION, variables))
    variables = {"topic": "Optics", "max_subtopics": 8, "answer_schema": "{}"}
    texts["science-subtopic_expansion"] = shown(render("science/subtopic_expansion", variables))
    texts["science-solution"] = shown(render("science/solution", {"problem": CHOICE}))
    texts["science-judge"] = shown(render("science/judge", {"problem": TEXT_B, **answers}))
    for name, of_format in itertools.product(QUESTIONS, FORMATS):
        text = shown(render(name, variables_of_format(of_format)))
        texts[f"{name.replace('/', '-')}-{of_format}"] = text
    for name, (form, (starter, function)) in itertools.product(PROGRAMS, FORMS.items()):
        variables = {"problem": TEXT_A, "starter_code": starter, "entry_point": function}
        texts[f"{name.replace('/', '-')}-{form}"] = shown(render(name, variables))
    for kind in COMBINATION_TYPES:
        for ask, record, _ in rehearsed(record_of(kind), seed=0):
            name = f"{ask.prompt.replace('/', '-')}-{kind}"
            texts[name] = shown(render(ask.prompt, variables_of(ask, record)))
    return texts


def variables_of_format(of_format: str) -> dict[str, object]:
    """Those of all prompts that ask for a question."""
    schema = reader_of(of_format).constraint().schema
    slot = {"topic": "Optics", "subtopic": "lenses", "difficulty": "hard"}
    shown_question = CHOICE if FORMATS[of_format] else TEXT_B
    return {
        **slot, "question": shown_question, "num_options": FORMATS[of_format],
        "answer_schema": canonical_json(schema),
    }  # fmt: skip


def shown(messages: list[tuple[str, str]]) -> str:
    return "".join(f"=== {role} ===\n{text}\n" for role, text in messages)


@pytest.mark.parametrize("name", sorted(RENDERED))
def test_a_prompt_is_the_text_of_its_golden_file(name, golden):
    """What a model is sent has not changed unseen."""
    golden(f"prompts/{name}.txt", rendered_prompts()[name])


def test_every_prompt_has_its_golden_files_and_no_others():
    """Each template is in the golden files, in both combination types, and nothing is left over."""
    assert set(rendered_prompts()) == RENDERED
    assert {path.stem for path in GOLDEN.iterdir()} == RENDERED


@pytest.mark.parametrize("ask", ASKS, ids=lambda ask: ask.name)
def test_a_prompt_asks_in_two_messages_for_what_its_reader_reads(ask):
    """A system and a user message; the schema of the answer is in it where it has one."""
    for kind in COMBINATION_TYPES:
        record = next(record for each, record, _ in rehearsed(record_of(kind), 0) if each is ask)
        (first, _), (second, user) = render(ask.prompt, variables_of(ask, record))
        assert (first, second) == ("system", "user")
        held_to = ask.reader.constraint()
        schema = held_to and held_to.schema
        assert (canonical_json(schema) in user) if schema else ("schema" not in user)


@pytest.mark.parametrize("name", sorted(RENDERED))
def test_a_prompt_is_clean(name):
    """No tag of the template language, no HTML escape and no blank end of a line is left in it."""
    text = rendered_prompts()[name]
    for left in ("{%", "%}", "{{", "&amp;", "&#", "None", "Undefined"):
        assert left not in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_only_a_prompt_that_depends_on_the_type_changes_with_it():
    """Three prompts name the goal of the combination type; the goals are told apart."""
    goals = ("solution stays exactly the same", "truly harder than the original")
    for name in ("best_problem", "evals"):
        for kind, said, other in zip(COMBINATION_TYPES, goals, goals[::-1], strict=True):
            text = rendered_prompts()[f"infinibyte-{name}-{kind}"]
            assert said in text
            assert other not in text
    for kind in COMBINATION_TYPES:
        text = rendered_prompts()[f"infinibyte-problem_candidates-{kind}"]
        assert [f"The goal is {each}." in text for each in COMBINATION_TYPES] == [
            each == kind for each in COMBINATION_TYPES
        ]


@pytest.mark.parametrize("ask", ASKS, ids=lambda ask: ask.name)
def test_a_missing_variable_is_an_error_that_names_it(ask):
    """Each variable of a prompt is needed: without it, the error says prompt and variable."""
    record = next(
        record for each, record, _ in rehearsed(record_of("obfuscation"), 0) if each is ask
    )
    variables = variables_of(ask, record)
    for name in variables:
        fewer = {other: value for other, value in variables.items() if other != name}
        with pytest.raises(PromptError, match=f"{ask.prompt}.*'{name}'"):
            render(ask.prompt, fewer)


@pytest.mark.parametrize("judge", JUDGES)
def test_a_judge_of_fragments_is_shown_examples_that_its_reader_reads(judge):
    """Every label is in an example, and answers are read with the reasoning before them."""
    labels = LABELS[judge.removeprefix("tir/")]
    reader = Choice(labels, reasons=True)
    (_, system), (_, user) = render(judge, {"fragment": FRAGMENT})
    examples = [part.rpartition("</fragment>")[2] for part in system.split("\nExample ")[1:]]
    assert {reader.read(each) for each in examples} == set(labels)
    assert len(examples) == {"tir/novelty": 4, "tir/significance": 5}[judge]
    assert user.count(FRAGMENT) == 1
    messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    assert reader.read(rehearsal(judge)(messages, random.Random(0))) in labels
    with pytest.raises(PromptError, match="'fragment'"):
        render(judge, {})


def test_a_summary_is_made_of_all_that_was_thought():
    """The reasoning is shown where it is kept apart; a solution's text is shown whole."""
    variables = {"problem": "How many?", "reasoning": "Say 7.", "solution": "<think>\n</think>7"}
    (_, system), (_, user) = render(SUMMARY, variables)
    assert all(user.count(text) == 1 for text in variables.values())
    assert r"\boxed{}" in system
    (_, without) = render(SUMMARY, {**variables, "reasoning": ""})[1]
    assert "reasoning" not in without
    for name in variables:
        fewer = {other: value for other, value in variables.items() if other != name}
        with pytest.raises(PromptError, match=f"'{name}'"):
            render(SUMMARY, fewer)


@pytest.mark.parametrize("judge", JUDGES)
def test_the_outputs_in_a_judges_examples_are_those_of_their_code(judge):
    """No example teaches a model to believe a wrong result."""
    system = render(judge, {"fragment": FRAGMENT})[0][1]
    shown_runs = re.findall(r"```python\n(.*?)```\n```output\n(.*?)```", system, re.DOTALL)
    runs = [run for run in shown_runs if "sympy" not in run[0]]
    assert len(shown_runs) - len(runs) == 1
    for code, output in runs:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (done.stdout, done.stderr) == (output, "")


@pytest.mark.parametrize("of_format", FORMATS)
@pytest.mark.parametrize("name", sorted(QUESTIONS))
def test_the_questions_that_a_prompt_shows_are_what_it_asks_for(name, of_format):
    """Each example can be read and has no fault; of new questions, none is like its original."""
    user = render(name, variables_of_format(of_format))[-1][1]
    slot = Slot("s", Subtopic("t", "Optics", "lenses", "", "", ""), "hard", of_format, 0)
    examples = re.findall(r"^<example(.*?)>\n(.*?)\n</example>$", user, re.MULTILINE | re.DOTALL)
    asked = [reader_of(of_format).read(text.splitlines()[-1]) for _, text in examples]
    assert [check_question(slot, value) for value in asked] == [None] * len(examples)
    texts = [value.question for value in asked]
    assert len({*texts}) == len(texts)
    if name == "science/question":
        levels = [re.findall(r'difficulty="(.*?)"', head)[0] for head, _ in examples]
        assert levels == list(DIFFICULTIES)
    else:
        assert len(texts) == 2
        assert all(user.count(text) == 1 for text in texts)
        assert user.count("\nA) ") == (len(texts) + 1 if FORMATS[of_format] else 0)


def test_a_correction_without_a_fault_is_an_error():
    """The further turn needs to know what was wrong."""
    with pytest.raises(PromptError, match="'fault'"):
        render("correction", {})


@given(st.text())
@settings(deadline=None)
def test_what_a_variable_holds_is_shown_as_it_is(text):
    """Braces, percent signs and angle brackets of a problem are neither run nor escaped."""
    ((role, shown_text),) = render("correction", {"fault": f"({text})"})
    assert role == "user"
    assert f"({text})" in shown_text


@pytest.mark.parametrize("text", ["{{ 7 * 6 }}", "{% raise %}", "{# no #}", "<b> & 'c'"])
def test_a_problem_that_looks_like_a_template_is_text(text):
    """A problem is never taken for a part of the template."""
    ((_, shown_text),) = render("correction", {"fault": text})
    assert text in shown_text


def write(folder: Path, **files: str) -> tuple[str, ...]:
    """Files of a folder of one's own, by their names with two underscores for a slash."""
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path = path.with_suffix(".py" if text.startswith("def ") else ".jinja")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return (str(folder),)


def test_blocks_become_messages_in_order_and_empty_ones_none(tmp_path):
    """The system block comes first wherever it stands, and a block without text is left out."""
    folder = write(
        tmp_path,
        both="{% block user %}\n u {{ x }} \n{% endblock %}{% block system %} s {% endblock %}",
        empty="{% block system %} \n {% endblock %}{% block user %}u{% endblock %}",
        conditional="{% block system %}{% if x %}s{% endif %}{% endblock %}{% block user %}u"
        "{% endblock %}",
    )
    assert render("both", {"x": 1}, folder) == [("system", "s"), ("user", "u 1")]
    assert render("empty", {}, folder) == [("user", "u")]
    assert render("conditional", {"x": False}, folder) == [("user", "u")]
    assert render("conditional", {"x": True}, folder) == [("system", "s"), ("user", "u")]


@pytest.mark.parametrize("body", ["{{ x }}", "{{ x.y }}", "{% if x %}{% endif %}", "{{ y.z }}"])
def test_an_undefined_value_is_an_error_wherever_it_is_used(tmp_path, body):
    """A name, an attribute and a condition that are undefined raise instead of being empty."""
    folder = write(tmp_path, mine=f"{{% block user %}}{body}{{% endblock %}}")
    with pytest.raises(PromptError, match="prompt mine: "):
        render("mine", {"y": {}}, folder)


def test_a_prompt_that_is_not_there_is_an_error(tmp_path):
    """The error names the file and every folder that was looked into."""
    with pytest.raises(PromptError, match="nothing.jinja") as raised:
        render("nothing", {}, (str(tmp_path),))
    assert str(tmp_path) in str(raised.value)
    assert str(HERE) in str(raised.value)
    with pytest.raises(PromptError):
        source_hash("nothing")
    with pytest.raises(PromptError, match="nothing.py"):
        rehearsal("nothing")


BROKEN = "{% block user %}\n{% if %}\n{% endblock %}"
INCLUDING = '{% block user %}{% include "_part.jinja" %}{% endblock %}'


@pytest.mark.parametrize(
    "look",
    [lambda folder: render("mine", {}, folder), lambda folder: source_hash("mine", folder)],
    ids=["render", "source_hash"],
)
@pytest.mark.parametrize(
    "files",
    [{"mine": BROKEN}, {"mine": INCLUDING, "_part": BROKEN}, {"mine": INCLUDING}],
    ids=["broken", "includes broken", "includes nothing"],
)
def test_a_template_that_is_broken_is_an_error(tmp_path, files, look):
    """A syntax error or a missing include, in the file or in what it includes, is explained."""
    folder = write(tmp_path, **files)
    with pytest.raises(PromptError):
        look(folder)


def test_a_syntax_error_is_told_with_file_and_line(tmp_path):
    """The error says where the template is broken."""
    with pytest.raises(PromptError, match=r"mine\.jinja, line 2"):
        render("mine", {}, write(tmp_path, mine=BROKEN))


def test_overrides_win_file_by_file(tmp_path):
    """A template of one's own replaces the one of its name and leaves all others as they are."""
    folder = write(
        tmp_path, infinibyte__evals="{% block user %}Rate {{ new_problem }}{% endblock %}"
    )
    assert render("infinibyte/evals", {"new_problem": "it"}, folder) == [("user", "Rate it")]
    for name in sorted(set(NAMES) - {"infinibyte/evals"}):
        assert source_hash(name, folder) == source_hash(name)
    variables = {"new_problem": "How?"}
    own = render("infinibyte/solution", variables, folder)
    assert own == render("infinibyte/solution", variables)


def test_an_overridden_part_changes_every_prompt_that_includes_it(tmp_path):
    """A part of one's own is included by the templates that are not overridden."""
    folder = write(tmp_path, infinibyte___writer="You are a pirate.")
    changed = {name for name in NAMES if source_hash(name, folder) != source_hash(name)}
    assert changed == {
        "infinibyte/best_problem",
        "infinibyte/evals",
        "infinibyte/problem_candidates",
    }
    variables = {
        "problem_a": "a",
        "problem_b": "b",
        "combination_type": "obfuscation",
        "num_candidates": 2,
        "answer_schema": "{}",
    }
    system, _ = render("infinibyte/problem_candidates", variables, folder)
    assert system == ("system", "You are a pirate.")


def test_an_override_may_include_a_part_that_is_not_overridden(tmp_path):
    """Includes of a template of one's own are found in the folder of the product too."""
    mine = '{% block user %}{% include "_json.jinja" %}{% endblock %}'
    ((_, text),) = render("mine", {"answer_schema": "{}"}, write(tmp_path, mine=mine))
    assert text.endswith("Its schema:\n{}")


def test_a_folder_that_overrides_nothing_changes_nothing(tmp_path):
    """Without files of their names, hashes and rehearsals are those of the product."""
    for name in NAMES:
        assert source_hash(name, (str(tmp_path),)) == source_hash(name)
    assert rehearsal("infinibyte/evals", (str(tmp_path),)).__doc__ == "The three scores."


def test_the_hash_changes_with_the_template_and_whatever_it_includes(tmp_path):
    """Hashes are 16 hex digits and differ where the file, a part or a part of a part does."""
    files = {
        "mine": INCLUDING,
        "_part": 'one {% include "_deep.jinja" %}',
        "_deep": "deep",
        "_other": "other",
    }
    versions = [
        files,
        {**files, "mine": f"{INCLUDING} "},
        {**files, "_part": files["_part"] + "."},
        {**files, "_deep": "deeper"},
    ]
    hashes = [
        source_hash("mine", write(tmp_path / str(number), **version))
        for number, version in enumerate(versions)
    ]
    assert len(set(hashes)) == 4
    assert all(len(each) == 16 and set(each) <= set("0123456789abcdef") for each in hashes)
    unrelated = write(tmp_path / "unrelated", **{**files, "_other": "changed"})
    assert source_hash("mine", unrelated) == hashes[0]


def test_a_part_that_includes_itself_does_not_stop_the_hash(tmp_path):
    """A template that is included by what it includes has a hash all the same."""
    folder = write(tmp_path, _a='{% include "_b.jinja" %}', _b='{% include "_a.jinja" %}')
    assert len(source_hash("_a", folder)) == 16


@pytest.mark.parametrize("name", sorted(set(NAMES) - FURTHER_TURNS))
def test_every_prompt_has_its_rehearsal_beside_it(name):
    """A template that begins a conversation stands beside a file with `rehearse`."""
    assert (HERE / f"{name}.py").is_file()
    assert callable(rehearsal(name))


@pytest.mark.parametrize("name", sorted(FURTHER_TURNS))
def test_a_further_turn_is_rehearsed_by_the_prompt_it_continues(name):
    """A correction has a template and no rehearsal of its own."""
    assert name in NAMES
    with pytest.raises(PromptError, match=f"{name}.py beside {name}.jinja"):
        rehearsal(name)


def test_no_rehearsal_is_left_without_its_prompt():
    """Every rehearsal stands beside a template of its name."""
    modules = {path.relative_to(HERE).with_suffix("") for path in HERE.rglob("*.py")}
    rehearsals = {str(module) for module in modules if module.name != "__init__"}
    assert rehearsals == set(NAMES) - FURTHER_TURNS


def sample_texts(name: str) -> list[str]:
    lines = (SAMPLES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["problem"] for line in lines]


@pytest.mark.parametrize("kind", COMBINATION_TYPES)
def test_every_rehearsed_answer_can_be_read_and_passes_its_check(kind):
    """From every pair of the sample, each prompt's rehearsal gives what its stage accepts."""
    pairs = itertools.product(sample_texts("coding"), sample_texts("science"))
    for seed, (a, b) in enumerate(pairs):
        answers = 0
        for ask, record, value in rehearsed(record_of(kind, a, b), seed):
            assert not isinstance(value, Fault), (ask.name, a, b)
            assert ask.check is None or ask.check(record, value) is None, (ask.name, a, b)
            answers += 1
        assert answers == len(ASKS) == 4


@pytest.mark.parametrize("kind", COMBINATION_TYPES)
def test_a_rehearsal_depends_on_its_messages_and_generator_alone(kind):
    """Rehearsed twice from the same start, a record gets the same answers; else others."""
    runs = [list(rehearsed(record_of(kind), seed)) for seed in (1, 1, 2)]
    assert [value for _, _, value in runs[0]] == [value for _, _, value in runs[1]]
    assert [value for _, _, value in runs[0]] != [value for _, _, value in runs[2]]


def test_a_rehearsal_of_ones_own_is_used_in_place_of_the_products(tmp_path):
    """The file beside one's own template wins, and a template without one keeps the product's."""
    folder = write(
        tmp_path,
        infinibyte__solution="def rehearse(messages, rng):\n    return messages[0]['content']\n",
        infinibyte__evals="{% block user %}Rate it.{% endblock %}",
    )
    messages = [{"role": "user", "content": "hello"}]
    assert rehearsal("infinibyte/solution", folder)(messages, random.Random(1)) == "hello"
    scores = json.loads(rehearsal("infinibyte/evals", folder)(messages, random.Random(1)))
    assert list(scores) == ["difficulty", "clarity", "adherence"]


MARKED = st.text(st.characters(exclude_characters="<>\r"), max_size=30).filter(
    lambda text: text == text.strip("\n")
)


@given(MARKED, MARKED)
@settings(deadline=None)
def test_what_stands_between_tags_is_found(text, other):
    """The text of a tag is read from the first user message, without the tags' own line breaks."""
    messages = [
        {"role": "system", "content": "<problem>\nno\n</problem>"},
        {"role": "user", "content": f"{other}\n<problem>\n{text}\n</problem>\n<b>{other}</b>"},
        {"role": "user", "content": "<problem>\nno\n</problem>"},
    ]
    assert tagged(messages, "problem") == text
    assert tagged(messages, "b") == other


def test_a_tag_that_is_not_there_is_an_error():
    """A rehearsal that looks for a tag its prompt does not have says which."""
    with pytest.raises(PromptError, match="<problem_c>"):
        tagged([{"role": "user", "content": "<problem>\nx\n</problem>"}], "problem_c")


def test_a_prompt_error_is_an_ordinary_value_error():
    """Whoever calls `render` may treat a bad prompt as a bad value."""
    assert issubclass(prompts.PromptError, ValueError)


def test_a_schema_with_braces_is_shown_whole():
    """The schema in a prompt is JSON that can be read back from it."""
    ask = next(ask for ask in ASKS if ask.name == "evals")
    record = next(
        record for each, record, _ in rehearsed(record_of("complication"), 0) if each is ask
    )
    user = render(ask.prompt, variables_of(ask, record))[-1][1]
    assert json.loads(user.splitlines()[-1]) == ask.reader.constraint().schema
