"""The rehearsed model: what becomes of a turn is planned by its seed, and by nothing else."""

import asyncio
import json
from collections.abc import Iterator

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

import prompts
from transforms.engines.engine import Failure, Message, Reply, Sampling, Turn
from transforms.engines.rehearsal import CORRECTABLE, FAILING, GOOD, MALFORMED, Rehearsal
from transforms.reading import Fault, Structured
from transforms.records import (
    NewProblem,
    NewProblemEvals,
    NewProblemList,
    NewProblemWithReasoning,
)

PLANTED = Rehearsal(seed=3, malformed=0.1, correctable=0.2, failing=0.05)
SHARES = st.floats(0, 0.3)
SEEDS = st.integers(0, 2**31 - 1)
NAMES = st.sampled_from(["infinibyte/evals", "infinibyte/solution", "mine/one", ""])
BASE = "How many cars cross the river?\n\nExample:\n3 4 5\n2"
VARIABLES = {
    "problem_a": BASE,
    "problem_b": "Tea cools in a room. After how many minutes is it cold?",
    "combination_type": "obfuscation",
    "num_candidates": 2,
    "candidates": (NewProblem("tea", BASE), NewProblem("room", f"At sea. {BASE}")),
    "new_problem": BASE,
    "answer_schema": "{}",
}
READERS = {
    "infinibyte/problem_candidates": Structured(NewProblemList),
    "infinibyte/best_problem": Structured(NewProblemWithReasoning),
    "infinibyte/evals": Structured(NewProblemEvals),
}
FREE_TEXT = "infinibyte/solution"


def turn(prompt: str, seed: int) -> Turn:
    messages = tuple(Message(*message) for message in prompts.render(prompt, VARIABLES))
    constraint = READERS[prompt].constraint() if prompt in READERS else None
    return Turn("0" * 32, prompt, messages, Sampling(), seed, constraint)


def further(first: Turn, answer: Reply) -> Turn:
    """The turn after an answer that could not be used."""
    again = Message("assistant", answer.text), Message("user", "That cannot be used.")
    return Turn(
        "1" * 32, first.prompt, (*first.messages, *again), Sampling(), first.seed, first.constraint
    )


def seeds_of(rehearsal: Rehearsal, prompt: str, fate: str, number: int) -> Iterator[int]:
    """The first sampling seeds that meet a fate."""
    found = (seed for seed in range(100_000) if rehearsal.fate(prompt, seed) == fate)
    return (next(found) for _ in range(number))


@given(SEEDS, NAMES, SEEDS, SHARES, SHARES, SHARES)
@settings(deadline=None)
def test_a_fate_is_a_function_of_its_seeds(seed, prompt, request_seed, first, second, third):
    """Two rehearsals of equal settings agree, and pace and prompts folder change nothing."""
    shares = {"malformed": first, "correctable": second, "failing": third}
    fate = Rehearsal(seed=seed, **shares).fate(prompt, request_seed)
    assert fate in (GOOD, CORRECTABLE, MALFORMED, FAILING)
    other = Rehearsal(seed=seed, latency_s=3, in_flight=1, prompts=("x",), **shares)
    assert other.fate(prompt, request_seed) == fate


def test_the_shares_of_the_fates_are_those_of_the_settings():
    """Over 20,000 requests the fates come in the planted proportion (chi-square)."""
    drawn = [PLANTED.fate("infinibyte/evals", seed) for seed in range(20_000)]
    counts = [drawn.count(fate) for fate in (MALFORMED, CORRECTABLE, FAILING, GOOD)]
    assert chisquare(counts, [2000, 4000, 1000, 13_000]).pvalue > 0.001


@pytest.mark.parametrize("fate", [MALFORMED, CORRECTABLE, FAILING])
def test_a_share_of_one_is_everything_and_none_is_nothing(fate):
    """With one fault planted everywhere all requests meet it; with none planted all are good."""
    everywhere = Rehearsal(**{fate: 1.0})
    assert {everywhere.fate("x", seed) for seed in range(1000)} == {fate}
    assert {Rehearsal().fate("x", seed) for seed in range(1000)} == {GOOD}


@pytest.mark.parametrize(
    ("other", "prompt"), [(PLANTED.model_copy(update={"seed": 4}), "x"), (PLANTED, "y")]
)
def test_another_seed_or_prompt_has_fates_of_its_own(other, prompt):
    """Whether a request is good under one seed or prompt says nothing about another."""
    faulty = [seed for seed in range(20_000) if PLANTED.fate("x", seed) != GOOD]
    also = sum(other.fate(prompt, seed) != GOOD for seed in faulty)
    assert 0.32 < also / len(faulty) < 0.38


@pytest.mark.parametrize("prompt", [*READERS, FREE_TEXT])
def test_the_same_turn_has_the_same_outcome(prompt):
    """Asked again, by another rehearsal and in another order, a turn is answered alike."""
    turns = [turn(prompt, seed) for seed in range(60)]
    outcomes = [PLANTED.outcome(each) for each in turns]
    again = Rehearsal(**PLANTED.model_dump())
    assert [again.outcome(each) for each in reversed(turns)] == outcomes[::-1]
    assert len({outcome.text for outcome in outcomes if isinstance(outcome, Reply)}) > 5


@pytest.mark.parametrize("prompt", READERS)
def test_a_good_answer_can_be_read(prompt):
    """Without planted faults every answer fits the type that was asked for."""
    for seed in range(60):
        outcome = Rehearsal().outcome(turn(prompt, seed))
        assert isinstance(outcome, Reply)
        assert outcome.finish_reason == "stop"
        assert not isinstance(READERS[prompt].read(outcome.text), Fault)


@pytest.mark.parametrize("prompt", READERS)
def test_a_malformed_answer_cannot_be_read_nor_can_its_correction(prompt):
    """Whatever way the answer is spoiled in, both turns give a fault."""
    for seed in seeds_of(PLANTED, prompt, MALFORMED, 60):
        first = turn(prompt, seed)
        answer = PLANTED.outcome(first)
        corrected = PLANTED.outcome(further(first, answer))
        assert isinstance(READERS[prompt].read(answer.text), Fault)
        assert isinstance(READERS[prompt].read(corrected.text), Fault)


@pytest.mark.parametrize("prompt", READERS)
def test_a_correctable_answer_can_be_read_when_it_is_asked_for_again(prompt):
    """The first turn gives a fault, the correction the answer that a good turn would give."""
    for seed in seeds_of(PLANTED, prompt, CORRECTABLE, 60):
        first = turn(prompt, seed)
        answer = PLANTED.outcome(first)
        corrected = PLANTED.outcome(further(first, answer))
        assert isinstance(READERS[prompt].read(answer.text), Fault)
        assert not isinstance(READERS[prompt].read(corrected.text), Fault)
        assert corrected.text == Rehearsal(seed=PLANTED.seed).outcome(first).text


def test_malformed_answers_are_spoiled_in_several_ways():
    """Cut off, in prose, with a null, and the schema instead of an answer: all of them occur."""
    texts = {
        PLANTED.outcome(turn("infinibyte/evals", seed)).text
        for seed in seeds_of(PLANTED, "infinibyte/evals", MALFORMED, 60)
    }
    kinds = {
        "cut"
        if text.startswith("{") and not text.endswith("}")
        else "prose"
        if not text.startswith("{")
        else "null"
        if "null" in text
        else "schema"
        if "properties" in text
        else text
        for text in texts
    }
    assert kinds == {"cut", "prose", "null", "schema"}


def test_a_failing_turn_is_refused_whenever_it_is_asked():
    """A planted failure has a reason and a detail, and comes back for the same turn."""
    for seed in seeds_of(PLANTED, "infinibyte/evals", FAILING, 10):
        outcome = PLANTED.outcome(turn("infinibyte/evals", seed))
        assert isinstance(outcome, Failure)
        assert outcome.reason == "request_refused"
        assert outcome.detail
        assert PLANTED.outcome(turn("infinibyte/evals", seed)) == outcome


def test_a_malformed_free_text_is_cut_off_at_the_limit():
    """Free text cannot be misshapen: half of it comes, and the finish reason says so."""
    for seed in seeds_of(PLANTED, FREE_TEXT, MALFORMED, 20):
        outcome = PLANTED.outcome(turn(FREE_TEXT, seed))
        whole = Rehearsal(seed=PLANTED.seed).outcome(turn(FREE_TEXT, seed))
        assert outcome.finish_reason == "length"
        assert whole.text.startswith(outcome.text)
        assert len(outcome.text) == len(whole.text) // 2


def test_a_correctable_free_text_is_good():
    """There is nothing to correct in free text."""
    for seed in seeds_of(PLANTED, FREE_TEXT, CORRECTABLE, 20):
        good = Rehearsal(seed=PLANTED.seed).outcome(turn(FREE_TEXT, seed))
        assert PLANTED.outcome(turn(FREE_TEXT, seed)) == good
        assert good.finish_reason == "stop"


def test_tokens_are_counted_by_length():
    """A longer conversation has more prompt tokens, and the counts are never negative."""
    first = turn("infinibyte/evals", 1)
    answer = Rehearsal().outcome(first)
    assert answer.prompt_tokens > 0
    assert answer.completion_tokens > 0
    assert Rehearsal().outcome(further(first, answer)).prompt_tokens > answer.prompt_tokens


def test_the_transport_gives_the_outcome_in_one_attempt():
    """What comes through the transport is what the settings foretell."""

    async def complete() -> None:
        transport = PLANTED.open()
        for seed in range(40):
            asked = turn("infinibyte/evals", seed)
            attempted = await transport.complete(asked)
            assert (attempted.result, attempted.attempts) == (PLANTED.outcome(asked), 1)
        await transport.close()

    asyncio.run(complete())


def test_the_transport_takes_its_time():
    """An answer takes as long as the latency says, and is the same answer."""

    async def complete() -> float:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await Rehearsal(latency_s=0.05).open().complete(turn("infinibyte/evals", 1))
        return loop.time() - started

    assert 0.04 < asyncio.run(complete()) < 5


def test_pace_and_place_are_no_part_of_the_identity():
    """What decides fates changes the identity; the pace and the prompts' folder do not."""
    identity = PLANTED.identity()
    for same in ({"latency_s": 9.0}, {"in_flight": 1}, {"prompts": "mine"}):
        assert PLANTED.model_copy(update=same).identity() == identity
    changes = {"seed": 4, "malformed": 0.2, "correctable": 0.3, "failing": 0.4}
    identities = {PLANTED.model_copy(update={k: v}).identity() for k, v in changes.items()}
    assert len(identities | {identity}) == 5


@pytest.mark.parametrize(
    "wrong",
    [{"malformed": -0.1}, {"failing": 1.1}, {"latency_s": -1}, {"in_flight": 0}, {"faulty": 0.1}],
    ids=str,
)
def test_settings_out_of_range_are_refused(wrong):
    """Shares lie in [0, 1], times are not negative, and unknown settings are an error."""
    with pytest.raises(pydantic.ValidationError, match=next(iter(wrong))):
        Rehearsal(**wrong)


def test_a_rehearsal_of_ones_own_answers_for_its_prompt(tmp_path):
    """With a folder of prompts, the generator beside the overridden template is used."""
    (tmp_path / "infinibyte").mkdir()
    (tmp_path / "infinibyte" / "evals.py").write_text(
        "def rehearse(messages, rng):\n    return '{\"mine\": %d}' % len(messages)\n"
    )
    rehearsal = Rehearsal(prompts=(str(tmp_path),))
    assert json.loads(rehearsal.outcome(turn("infinibyte/evals", 1)).text) == {"mine": 2}
    for prompt in (FREE_TEXT, "infinibyte/best_problem"):
        assert rehearsal.outcome(turn(prompt, 1)) == Rehearsal().outcome(turn(prompt, 1))


@pytest.mark.parametrize(
    "text",
    [
        "Then write a program that counts cars.",
        "Then write 7 lines that count cars.",
        "Take {n} of <b>.",
    ],
)
def test_a_base_problem_may_use_the_words_of_the_prompt(text):
    """Whatever words a problem uses, as many candidates come as were asked for."""
    variables = {**VARIABLES, "problem_a": f"{text} {BASE}", "combination_type": "complication"}
    rendered = prompts.render("infinibyte/problem_candidates", variables)
    first = turn("infinibyte/problem_candidates", 1)
    asked = Turn(
        first.key,
        first.prompt,
        tuple(Message(*each) for each in rendered),
        Sampling(),
        1,
        first.constraint,
    )
    value = READERS[first.prompt].read(Rehearsal().outcome(asked).text)
    assert isinstance(value, NewProblemList)
    assert len(value.problems) == 2
    assert not any(BASE in new.problem for new in value.problems)
