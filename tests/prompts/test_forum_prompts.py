"""The prompts over threads: examples that their readers read, and rehearsals that pass checks."""

import json
import random
import re

import pytest

from beam_sdg.recipes.problems import SAMPLES
from prompts import PromptError, rehearsal, render
from tests.planned import generator
from transforms.forum_problems import answering, classification, conversion, extraction
from transforms.forum_problems.classification import CLASSES
from transforms.forum_problems.records import (
    ConvertedProof,
    ExtractedFrom,
    ForumProblem,
    FoundAnswer,
    ProblemInThread,
    ProblemList,
)
from transforms.reading import Fault
from transforms.records import Origin

EXAMPLES = {"proof": 4, "mcq": 8, "binary": 7, "invalid": 10}  # as many as the published prompts
SHOWN = {
    extraction.PROMPT: ("forum_post",),
    answering.PROMPT: ("problem", "forum_post", "forum_discussions"),
    conversion.PROMPT: ("problem",),
    **{classification.prompt_of(name): ("problem",) for name in CLASSES},
}
THREADS = [json.loads(line) for line in (SAMPLES / "forum.jsonl").read_text().splitlines()]


def messages(prompt: str, **shown: str) -> list[dict[str, str]]:
    schema = {} if "classify" in prompt else {"answer_schema": '{"type":"object"}'}
    rendered = render(prompt, {**shown, **schema})
    return [{"role": role, "content": text} for role, text in rendered]


@pytest.mark.parametrize("prompt", SHOWN)
def test_a_prompt_shows_what_it_is_given_and_needs_all_of_it(prompt):
    """Each text once, as it is; nothing of it in the system message."""
    shown = {name: f"the {name} of $a < b$ & {{x}}" for name in SHOWN[prompt]}
    system, user = messages(prompt, **shown)
    assert all(user["content"].count(text) == 1 for text in shown.values())
    assert not any(text in system["content"] for text in shown.values())
    for name in shown:
        with pytest.raises(PromptError, match=f"'{name}'"):
            messages(prompt, **{other: text for other, text in shown.items() if other != name})


def examples(prompt: str) -> list[tuple[str, str]]:
    """(what stands before it, the answer) of each example."""
    shown = {name: "x" for name in SHOWN[prompt]}
    parts = re.split(r"\nExample(?: \d+)?\n", messages(prompt, **shown)[0]["content"])[1:]
    return [(before, after) for before, _, after in (part.rpartition("</") for part in parts)]


def answer_of(after: str) -> str:
    return after.partition(">")[2].strip()


@pytest.mark.parametrize("name", CLASSES)
def test_the_examples_of_a_class_are_read_as_votes(name):
    """As many as are published, of the class and of what looks like it."""
    reader = classification.reader_of(name)
    found = [reader.read(answer_of(after)) for _, after in examples(classification.prompt_of(name))]
    assert len(found) == EXAMPLES[name]
    assert {*found} == {name, f"not {name}"}
    assert 2 <= found.count(name) <= len(found) - 2


def test_the_examples_of_extractions_are_read():
    """Several problems, one in parts, none, one; and each is made of the post's own words."""
    found = [
        (before, extraction.READER.read(answer_of(after)))
        for before, after in examples(extraction.PROMPT)
    ]
    assert [len(value.problems) for _, value in found if isinstance(value, ProblemList)] == [
        2, 1, 0, 1,
    ]  # fmt: skip
    for post, value in found:
        assert isinstance(value, ProblemList)
        assert words_of(" ".join(value.problems)) <= words_of(post)


def words_of(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.casefold()))


def test_the_examples_of_answers_and_conversions_pass_their_checks():
    """What a model is shown would not be a reject."""
    [(_, after)] = examples(answering.PROMPT)
    answer = answering.READER.read(answer_of(after))
    assert isinstance(answer, FoundAnswer) and answer.answer == r"\frac{1}{2}"
    assert answering.prose_fault(answering.bare_answer(answer.answer)) is None
    converted = [
        (before.partition("<problem>")[2].strip(), conversion.READER.read(answer_of(after)))
        for before, after in examples(conversion.PROMPT)
    ]
    assert len(converted) == 2
    for statement, value in converted:
        assert isinstance(value, ConvertedProof) and value.answer
        assert conversion.fault_of(problem(statement), value) is None
        assert value.answer not in value.problem


def problem(text: str) -> ForumProblem:
    origin = Origin("t", "forum", "s", "Apache-2.0", "{}")
    return ForumProblem("t-0", text, ExtractedFrom("t-0", origin, ()), ())


def test_rehearsals_answer_in_forms_that_are_read():
    """Of every bundled thread: each draw is read, and only planted faults fail a check."""
    reasons = set()
    for thread in THREADS:
        post, talk = thread["forum_post"], thread["forum_discussions"]
        for seed in range(40):
            rng = random.Random(seed)
            said = rehearsal(extraction.PROMPT)(messages(extraction.PROMPT, forum_post=post), rng)
            found = extraction.READER.read(said)
            assert isinstance(found, ProblemList)
            for text in found.problems:
                for name in CLASSES:
                    asked = classification.prompt_of(name)
                    vote = rehearsal(asked)(messages(asked, problem=text), rng)
                    assert classification.reader_of(name).read(vote) == vote
                shown = messages(
                    answering.PROMPT, problem=text, forum_post=post, forum_discussions=talk
                )
                answer = answering.READER.read(rehearsal(answering.PROMPT)(shown, rng))
                assert isinstance(answer, FoundAnswer)
                joined = ProblemInThread("t-0", problem(text), post, talk)
                reasons.add(("answer", reason_of(answering.fault_of(joined, answer))))
                asked = messages(conversion.PROMPT, problem=text)
                new = conversion.READER.read(rehearsal(conversion.PROMPT)(asked, rng))
                assert isinstance(new, ConvertedProof)
                reasons.add(("new", reason_of(conversion.fault_of(problem(text), new))))
    assert reasons == {
        ("answer", ""), ("answer", "prose_answer"), ("new", ""), ("new", "unchanged"),
    }  # fmt: skip


def reason_of(fault: Fault | None) -> str:
    return fault.reason if fault else ""


def test_a_rehearsed_answer_is_none_of_the_marks():
    """Neither the number of a post nor its score."""
    marked = "Post 1:\n(accepted answer, score 12)\nSo $n = 7$\n\nPost 2:\n(answer, score -3)\nNo."
    truth = generator("forums/extract_answers").truth
    assert truth(marked) == "7"


def test_a_rehearsed_answer_in_prose_may_be_corrected():
    """At the second turn, where that was the plan."""
    generate = rehearsal(answering.PROMPT)
    shown = messages(
        answering.PROMPT, problem="Find it.", forum_post="Find it.", forum_discussions="It is 7."
    )
    again = [*shown, {"role": "assistant", "content": "prose"}, {"role": "user", "content": "No."}]
    joined = ProblemInThread("t-0", problem("Find it."), "Find it.", "It is 7.")
    mended = 0
    for seed in range(60):
        first, second = (
            answering.READER.read(generate(turns, random.Random(seed))) for turns in (shown, again)
        )
        assert isinstance(first, FoundAnswer) and isinstance(second, FoundAnswer)
        faults = [answering.fault_of(joined, one) for one in (first, second)]
        mended += faults[0] is not None and faults[1] is None
    assert mended
