"""From a pair to a finished row: the draw of a type, the checks of answers, the columns."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from transforms.cross_breed import (
    COMBINATION_TYPES,
    COMPLICATION,
    OBFUSCATION,
    check_best,
    check_candidates,
    check_solution,
    cross_breed,
    example_of,
    with_answer,
)
from transforms.records import (
    Answered,
    Call,
    CrossBreed,
    NewProblem,
    NewProblemEvals,
    NewProblemList,
    NewProblemWithReasoning,
    Origin,
    Pair,
    Problem,
    Provenance,
)

TEXT_A = """A ferry takes cars in the order in which they queue. How many crossings are needed?

Input
The first line holds n.

Output
One integer.

Example:
10 5 4 3 6 2
3 crossings"""
TEXT_B = """A cup of tea cools from ninety to seventy degrees in five minutes in a room at twenty
degrees, and its rate of cooling is proportional to the difference from the room. After how many
minutes has it reached forty-five degrees?"""
WOVEN = f"The harbour's tea cools as the cars queue.\n\n{TEXT_A}"
HARDER = "A ferry's engine cools by a law while cars queue. Find the fewest crossings in time t."
A = Problem("a1", TEXT_A, "coding", "ferry", "MIT", '{"level":1}')
B = Problem("b1", TEXT_B, "science", "tea", "CC-BY-4.0", "{}")


def breed(kind: str, a: str = TEXT_A, b: str = TEXT_B) -> CrossBreed:
    pair = Pair("p1", dataclasses.replace(A, text=a), dataclasses.replace(B, text=b))
    return CrossBreed("p1", pair, kind)


def listed(*texts: str) -> NewProblemList:
    return NewProblemList(tuple(NewProblem("cooling", text) for text in texts))


def candidates_fault(kind: str, *texts: str, wanted: int | None = None) -> str:
    wanted = len(texts) if wanted is None else wanted
    fault = check_candidates(breed(kind), listed(*texts), wanted)
    return fault.reason if fault else ""


def call(ask: str) -> Call:
    return Call(
        ask, f"infinibyte/{ask}", "0" * 16, "rehearsal", "{}", 7, 0, 1, ("k",), "stop", 10, 20
    )


@given(st.text(), st.integers(), st.floats(0.1, 9), st.floats(0.1, 9))
@settings(deadline=None)
def test_a_pair_keeps_its_type_for_a_seed(pair_id, seed, first, second):
    """The type is a function of pair, seed and weights, and nothing else of the pair is changed."""
    pair = Pair(pair_id, A, B)
    weights = {OBFUSCATION: first, COMPLICATION: second}
    record = cross_breed(pair, seed, weights)
    assert record == cross_breed(pair, seed, dict(reversed(weights.items())))
    assert record == CrossBreed(pair_id, pair, record.combination_type)
    assert record.combination_type in COMBINATION_TYPES


def test_types_follow_their_weights():
    """Over 4,000 pairs the types come in the proportion of the weights (chi-square)."""
    weights = {OBFUSCATION: 1.0, COMPLICATION: 3.0}
    drawn = [
        cross_breed(Pair(f"p{number}", A, B), 27, weights).combination_type
        for number in range(4000)
    ]
    counts = [drawn.count(kind) for kind in (OBFUSCATION, COMPLICATION)]
    assert chisquare(counts, [1000, 3000]).pvalue > 0.001


def test_types_do_not_change_between_versions():
    """The types of the first pairs of a seed are these very ones."""
    weights = dict.fromkeys(COMBINATION_TYPES, 1.0)
    drawn = [cross_breed(Pair(f"p{number}", A, B), 27, weights) for number in range(12)]
    assert "".join(record.combination_type[0] for record in drawn) == "cccococcoccc"


def test_another_seed_draws_types_anew():
    """Between two seeds about half of the pairs change their type."""
    pairs = [Pair(f"p{number}", A, B) for number in range(2000)]
    weights = dict.fromkeys(COMBINATION_TYPES, 1.0)
    changed = sum(cross_breed(pair, 1, weights) != cross_breed(pair, 2, weights) for pair in pairs)
    assert 900 < changed < 1100


def test_a_type_without_weight_is_not_drawn():
    """With all the weight on one type, every pair has it."""
    weights = {OBFUSCATION: 0.0, COMPLICATION: 2.0}
    drawn = {cross_breed(Pair(f"p{number}", A, B), 1, weights) for number in range(200)}
    assert {record.combination_type for record in drawn} == {COMPLICATION}


def test_an_answer_fills_its_column_and_adds_its_call():
    """One column and one call more; everything else, and the record given, stay as they were."""
    record = dataclasses.replace(breed(OBFUSCATION), calls=(call("seed"),))
    evals = NewProblemEvals(1, 2, 3)
    filled = with_answer(Answered(record.id, record, evals, call("evals")), "evals")
    assert filled == dataclasses.replace(record, evals=evals, calls=(call("seed"), call("evals")))
    assert record.evals is None


def test_an_answer_needs_a_column_that_exists():
    """A column that the record does not have raises instead of being lost."""
    with pytest.raises(TypeError):
        with_answer(Answered("id", breed(OBFUSCATION), "x", call("x")), "verdict")


@pytest.mark.parametrize("kind", COMBINATION_TYPES)
@pytest.mark.parametrize(("given_number", "wanted"), [(0, 1), (1, 2), (3, 2), (2, 0)])
def test_another_number_of_candidates_is_a_fault(kind, given_number, wanted):
    """There must be exactly as many candidates as asked for; the fault says both numbers."""
    fault = check_candidates(breed(kind), listed(*["x"] * given_number), wanted)
    assert fault.reason == "wrong_number"
    assert f"{given_number} problems" in fault.detail
    assert f"{wanted} were asked for" in fault.detail


def test_good_candidates_have_no_fault():
    """An obfuscation that keeps the base problem, and a complication that leaves its examples."""
    assert candidates_fault(OBFUSCATION, WOVEN, f"{WOVEN} The tide is low.") == ""
    assert candidates_fault(COMPLICATION, HARDER, "How fast?") == ""


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        (OBFUSCATION, f"As in Problem A: {WOVEN}", "names_source"),
        (COMPLICATION, f"As in problem B: {HARDER}", "names_source"),
        (OBFUSCATION, f"{WOVEN}\n{TEXT_B}", "copies_source"),
        (COMPLICATION, f"{HARDER}\n{TEXT_B}", "copies_source"),
        (OBFUSCATION, WOVEN.replace("How many crossings", "How many trips"), "changes_question"),
        (OBFUSCATION, WOVEN.replace("10 5 4 3 6 2", ""), "loses_examples"),
        (OBFUSCATION, WOVEN.replace("Output\n", ""), "loses_examples"),
        (OBFUSCATION, f"{WOVEN} The tea is irrelevant.", "admits_irrelevance"),
        (COMPLICATION, f"{HARDER}\n3 crossings", "keeps_examples"),
    ],
)
def test_each_duty_of_a_candidate_is_checked(kind, text, reason):
    """A candidate that breaks a duty of its type is a fault, wherever it stands in the list."""
    good = WOVEN if kind == OBFUSCATION else HARDER
    assert candidates_fault(kind, text) == reason
    assert candidates_fault(kind, good, text) == reason
    assert candidates_fault(kind, text, good) == reason


def test_a_duty_of_one_type_does_not_bind_the_other():
    """A complication may ask anew and say what does not matter; an obfuscation keeps examples."""
    assert candidates_fault(COMPLICATION, f"{HARDER} The colour does not matter.") == ""
    assert candidates_fault(OBFUSCATION, f"{WOVEN} What is the best tide?") == ""


@pytest.mark.parametrize("kind", [OBFUSCATION, COMPLICATION])
def test_the_original_and_twins_are_no_candidates(kind):
    """A text that is the base problem's, or the other candidate's, is a fault."""
    good = WOVEN if kind == OBFUSCATION else HARDER
    assert candidates_fault(kind, TEXT_A) == "unchanged"
    assert candidates_fault(kind, good, f"  {good.upper()}\n") == "same_candidates"


def test_the_first_fault_of_the_first_candidate_is_told():
    """Of several faulty candidates the first one's fault is shown to the model."""
    faulty = f"{WOVEN} The tea is irrelevant.", f"As in Problem A: {WOVEN}"
    assert candidates_fault(OBFUSCATION, *faulty) == "admits_irrelevance"
    assert candidates_fault(OBFUSCATION, *reversed(faulty)) == "names_source"


def test_what_the_sources_say_is_not_held_against_a_candidate():
    """Words that a check forbids are allowed where a source uses them."""
    a = f"{TEXT_A}\nThe order is irrelevant. See Problem A."
    assert check_candidates(breed(OBFUSCATION, a), listed(f"At sea. {a}"), 1) is None


def test_a_passage_that_both_sources_share_may_be_kept():
    """An obfuscation keeps the base problem, even where the second problem says the same."""
    shared = " ".join(f"word{number}" for number in range(40))
    record = breed(OBFUSCATION, f"{shared}. Print the sum.", f"{shared}. Find the heat.")
    assert check_candidates(record, listed(f"At sea. {shared}. Print the sum."), 1) is None


def chosen(text: str) -> NewProblemWithReasoning:
    return NewProblemWithReasoning("cooling", text, "It is the clearest.")


def choosing(kind: str, *texts: str) -> CrossBreed:
    return dataclasses.replace(breed(kind), problem_candidates=listed(*texts))


@pytest.mark.parametrize("kind", COMBINATION_TYPES)
def test_any_candidate_may_be_chosen(kind):
    """The text of any candidate passes, whatever its case and line breaks."""
    record = choosing(kind, HARDER, WOVEN)
    for text in (HARDER, WOVEN, f"\n {WOVEN.upper()} \n", HARDER.replace(" ", "\n")):
        assert check_best(record, chosen(text)) is None


def test_a_slip_of_the_pen_is_forgiven():
    """One word of many may differ, if the text keeps the duties of its type."""
    record = choosing(OBFUSCATION, WOVEN)
    assert check_best(record, chosen(WOVEN.replace("harbour's", "harbours"))) is None


def test_a_slip_that_breaks_a_duty_is_a_fault():
    """A nearly equal text that lost an example or asks something else is not accepted."""
    record = choosing(OBFUSCATION, WOVEN)
    lost = check_best(record, chosen(WOVEN.replace("3 crossings", "4 crossings")))
    assert lost.reason == "loses_examples"
    changed = check_best(record, chosen(WOVEN.replace("How many crossings", "How many trips")))
    assert changed.reason == "changes_question"


@pytest.mark.parametrize(
    "text",
    [
        "Something else altogether.",
        TEXT_A,
        TEXT_B,
        " ".join(WOVEN.split()[:20]),
        f"{WOVEN} {HARDER}",
        " ".join(reversed(WOVEN.split())),
    ],
    ids=["other", "a", "b", "cut", "joined", "reversed"],
)
def test_a_text_of_its_own_is_not_a_candidate(text):
    """Another text, a source, a cut, joined or scrambled candidate is not a choice."""
    fault = check_best(choosing(OBFUSCATION, WOVEN, HARDER), chosen(text))
    assert fault.reason == "not_a_candidate"


@given(st.lists(st.text("abc ", min_size=1, max_size=12), min_size=1, max_size=4), st.data())
@settings(deadline=None)
def test_every_candidate_word_for_word_is_accepted(texts, data):
    """Whatever the candidates are, each of them can be chosen."""
    record = choosing(COMPLICATION, *texts)
    assert check_best(record, chosen(data.draw(st.sampled_from(texts)))) is None


@pytest.mark.parametrize(
    "answer",
    [
        "The answer is 42.",
        "```python\nprint(42)\n```",
        "```python\nprint(\n```\nNo:\n```python\nprint(42)\n```",
        "```cpp\nint main( {\n```",
        "```python\nprint(42)\n```\n```text\n(((\n```",
    ],
    ids=["no code", "good", "good after a draft", "other language", "text after"],
)
def test_a_solution_whose_last_program_parses_has_no_fault(answer):
    """Prose, other languages and earlier drafts are not held against a solution."""
    assert check_solution(breed(OBFUSCATION), answer) is None


@pytest.mark.parametrize(
    "answer",
    ["```python\nprint(\n```", "```py\nx = 1\n```\nor\n```py\nx = = 1\n```\nDone."],
    ids=["only", "last"],
)
def test_a_solution_whose_last_program_does_not_parse_is_a_fault(answer):
    """A last Python block that cannot be parsed is broken code, and the fault names the line."""
    fault = check_solution(breed(OBFUSCATION), answer)
    assert fault.reason == "broken_code"
    assert "line 1: " in fault.detail


FINISHED = dataclasses.replace(
    breed(OBFUSCATION),
    problem_candidates=listed(WOVEN, HARDER),
    best_problem_json=chosen(WOVEN),
    evals=NewProblemEvals(1, 2, 3),
    solution="It takes 3.",
    calls=(call("problem_candidates"), call("best_problem")),
)


def test_a_finished_row_has_every_column_of_its_record():
    """Ids of the rows' own, both texts, all answers, and where they came from."""
    row = example_of(FINISHED)
    assert (row.id, row.id_a, row.id_b) == ("p1", "ferry", "tea")
    assert (row.problem_a, row.problem_b) == (TEXT_A, TEXT_B)
    assert row.combination_type == OBFUSCATION
    assert row.problem_candidates == FINISHED.problem_candidates
    assert row.best_problem_json == FINISHED.best_problem_json
    assert row.new_problem == WOVEN
    assert row.evals == NewProblemEvals(1, 2, 3)
    assert row.solution == "It takes 3."
    assert row.provenance == Provenance(
        a=Origin("a1", "coding", "ferry", "MIT", '{"level":1}'),
        b=Origin("b1", "science", "tea", "CC-BY-4.0", "{}"),
        calls=FINISHED.calls,
    )


@pytest.mark.parametrize("column", ["problem_candidates", "best_problem_json", "evals", "solution"])
def test_a_row_is_not_made_of_a_record_that_is_not_finished(column):
    """A column that no stage has filled raises instead of becoming an empty cell."""
    with pytest.raises(AssertionError):
        example_of(dataclasses.replace(FINISHED, **{column: None}))
