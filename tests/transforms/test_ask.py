"""`Ask` as a verb: what it asks, what it keeps, what it rejects, and what it never asks again."""

import asyncio
import dataclasses
import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from transforms.ask import Ask
from transforms.codec import to_row
from transforms.engines.engine import Attempted, Failure, Sampling, Turn
from transforms.engines.handler import AskHandler
from transforms.engines.rehearsal import CORRECTABLE, FAILING, GOOD, MALFORMED, Rehearsal
from transforms.engines.store import AnswerStore
from transforms.errors import EngineDown
from transforms.outcome import Outcome
from transforms.reading import Fault, Structured, Text
from transforms.records import Answered, NewProblemEvals, Problem, Reject
from transforms.seeding import digest, sampling_seed

PROMPT = "infinibyte/evals"
SEED = 11


def problem(number: int) -> Problem:
    return Problem(digest("p", number), f"text {number}", "test", str(number), "", "{}")


def variables(record: Problem) -> dict[str, object]:
    return {"problem_a": "A", "combination_type": "complication", "new_problem": record.text}


def same(answered: Answered) -> Answered:
    return answered


def renamed(answered: Answered) -> Answered:
    return dataclasses.replace(answered, id="mine")


def too_easy(record: Problem, value: NewProblemEvals) -> Fault | None:
    return Fault("too_easy", "difficulty 1") if value.difficulty == 1 else None


def answers(item: Any) -> str:
    """A row of either output as JSON: for the files that the tests read."""
    return json.dumps(
        to_row(item)
        if not isinstance(item, Answered)
        else {"id": item.id, "value": str(item.value), "call": to_row(item.call)}
    )


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., tuple[list[dict], list[dict]]]:
    """Ask about `count` problems and return (rows, rejects)."""

    def run(count: int, **settings: Any) -> tuple[list[dict], list[dict]]:
        fields: dict[str, Any] = {
            "name": "evals",
            "prompt": PROMPT,
            "variables": variables,
            "reader": Structured(NewProblemEvals),
            "engine": Rehearsal(),
            "store": str(tmp_path / "store"),
            "seed": SEED,
            "keep": same,
            **settings,
        }
        folder = tmp_path / digest(*map(str, settings.values()), len(list(tmp_path.iterdir())))
        with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
            problems = pipeline | beam.Create([problem(number) for number in range(count)])
            outcome: Outcome = problems | Ask(**fields)
            for kind in ("rows", "rejects"):
                lines = getattr(outcome, kind) | f"Json_{kind}" >> beam.Map(answers)
                _ = lines | f"Write_{kind}" >> beam.io.WriteToText(str(folder / kind))
        return tuple(
            [
                json.loads(line)
                for file in sorted(folder.glob(f"{kind}-*"))
                for line in file.read_text().splitlines()
            ]
            for kind in ("rows", "rejects")
        )

    return run


CHECKED = threading.Semaphore(0)


def slow(record: Problem, value: NewProblemEvals) -> Fault | None:
    """One check waits for those of 19 others."""
    if record != problem(0):
        CHECKED.release()
    elif not all(CHECKED.acquire(timeout=60) for _ in range(19)):
        return Fault("held_up", "the others were not checked meanwhile")
    return None


def test_a_slow_check_holds_up_no_other_conversation(ask):
    """The first record's is not done before those of all others are."""
    rows, rejects = ask(20, check=slow, engine=Rehearsal(in_flight=2))
    assert (len(rows), rejects) == (20, [])


def attempts(tmp_path: Path) -> int:
    return len(list(AnswerStore(str(tmp_path / "store"), "evals").attempts()))


def test_every_sample_is_a_row_or_a_reject_as_planned(ask):
    """300 × 2 samples with planted faults: rows and rejects by reason are those of the plan."""
    engine = Rehearsal(malformed=0.1, correctable=0.1, failing=0.1)
    rows, rejects = ask(300, engine=engine, samples=2)
    planned: dict[str, list[str]] = {GOOD: [], CORRECTABLE: [], MALFORMED: [], FAILING: []}
    for number in range(300):
        for sample in range(2):
            record_id = problem(number).id
            fate = engine.fate(PROMPT, sampling_seed(SEED, "evals", record_id, sample))
            planned[fate].append(record_id)
    assert all(planned.values())
    assert len({row["id"] for row in rows}) == len(rows)
    asked_about = sorted(row["id"].partition("-")[0] for row in rows)
    assert asked_about == sorted(planned[GOOD] + planned[CORRECTABLE])
    by_reason = {
        reason: sorted(reject["id"] for reject in rejects if reject["reason"] == reason)
        for reason in ("malformed_answer", "request_refused")
    }
    assert by_reason["malformed_answer"] == sorted(planned[MALFORMED])
    assert by_reason["request_refused"] == sorted(planned[FAILING])
    assert len(rows) + len(rejects) == 600


def test_a_malformed_answer_gets_one_correction_turn(ask, tmp_path):
    """A correctable answer is a row after two turns; the store holds both."""
    rows, rejects = ask(5, engine=Rehearsal(correctable=1.0))
    assert [row["call"]["turns"] for row in rows] == [2] * 5
    assert rejects == []
    assert attempts(tmp_path) == 10


def test_without_corrections_the_first_malformed_answer_is_a_reject(ask, tmp_path):
    """`corrections=0` asks once, and the reject carries the raw reply."""
    rows, rejects = ask(5, engine=Rehearsal(correctable=1.0), corrections=0)
    assert rows == []
    assert [reject["reason"] for reject in rejects] == ["malformed_answer"] * 5
    assert all(reject["reply"] for reject in rejects)
    assert attempts(tmp_path) == 5


def test_the_check_rejects_with_its_own_reason(ask):
    """What the check finds is the reject's reason, after its correction turn found it again."""
    rows, rejects = ask(200, check=too_easy, corrections=0)
    assert {reject["reason"] for reject in rejects} == {"too_easy"}
    assert len(rows) + len(rejects) == 200
    assert not any("difficulty=1" in row["value"] for row in rows)


def test_a_truncated_text_is_a_reject(ask):
    """Free text that was cut off is rejected as such, not kept."""
    settings = {"reader": Text(), "prompt": "infinibyte/solution", "variables": variables}
    _, rejects = ask(4, engine=Rehearsal(malformed=1.0), **settings)
    assert [reject["reason"] for reject in rejects] == ["truncated_answer"] * 4


def test_a_second_run_asks_nothing_and_gives_the_same(ask, tmp_path):
    """With the answers in the store nothing is asked, and the rows are equal."""
    first = ask(50, samples=3)
    asked = attempts(tmp_path)
    assert asked == 150
    assert ask(50, samples=3) == first
    assert attempts(tmp_path) == asked


def test_samples_are_numbered_from_the_first(ask):
    """Two halves are asked and answered as the whole; one sample has the record's id only as 0."""
    whole, _ = ask(20, samples=4)
    halves = [row for first in (0, 2) for row in ask(20, samples=2, first_sample=first)[0]]
    seeds = {row["id"]: row["call"]["seed"] for row in whole}
    assert {row["id"]: row["call"]["seed"] for row in halves} == seeds
    alone, _ = ask(20, samples=1, first_sample=3)
    assert {row["id"]: row["call"]["seed"] for row in alone} == {
        row_id: seed for row_id, seed in seeds.items() if row_id.endswith("-3")
    }


def test_more_samples_ask_only_for_the_difference(ask, tmp_path):
    """Raising `samples` from 2 to 5 sends three more requests a record."""
    ask(20, samples=2)
    ask(20, samples=5)
    assert attempts(tmp_path) == 100


def test_a_failure_is_tried_again_by_the_next_run(ask, tmp_path):
    """A refusal is no answer: the next run sends it again, and nothing else."""
    engine = Rehearsal(failing=0.3)
    rows, rejects = ask(30, engine=engine)
    assert rejects
    assert ask(30, engine=engine) == (rows, rejects)
    assert attempts(tmp_path) == 30 + len(rejects)


def test_a_server_that_refuses_everything_ends_the_run(ask):
    """The first 20 requests refused is no dataset of rejects: the error quotes the server."""
    with pytest.raises(Exception, match="all of the first 20 requests failed, the last with: HTTP"):
        ask(30, engine=Rehearsal(failing=1.0))


def test_refusals_are_counted_from_window_to_window(tmp_path):
    """The twentieth of a worker's requests ends the run, however few are in a window."""
    ask = Ask(
        "evals", PROMPT, variables, Structured(NewProblemEvals), Rehearsal(failing=1.0),
        str(tmp_path), SEED, same,
    )  # fmt: skip
    handler = AskHandler(ask.engine, [ask.asking()], window=10)
    client = handler.load_model()
    assert len(list(handler.run_inference([problem(n) for n in range(10)], client))) == 10
    with pytest.raises(EngineDown, match="the first 20 requests"):
        handler.run_inference([problem(n) for n in range(10, 20)], client)


def test_a_window_that_was_given_to_another_worker_asks_nothing_more(tmp_path, caplog):
    """The second ends the first, takes its answers from the store and asks for the rest, once."""
    caplog.set_level(logging.INFO)
    engine = Rehearsal(latency_s=0.2, in_flight=4)
    ask = Ask(
        "evals", PROMPT, variables, Structured(NewProblemEvals), engine,
        str(tmp_path / "store"), SEED, same,
    )  # fmt: skip
    records, lost = [problem(n) for n in range(24)], []

    def first() -> None:
        handler = AskHandler(engine, [ask.asking()], window=100)
        try:
            handler.run_inference(records, handler.load_model())
        except CancelledError as error:
            lost.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    while attempts(tmp_path) < 4:
        assert thread.is_alive()
        time.sleep(0.01)
    handler = AskHandler(engine, [ask.asking()], window=100)
    steps = list(handler.run_inference(records, handler.load_model()))
    thread.join()
    assert len(lost) == 1
    assert caplog.messages.count("evals: a window of 24 records, 24 requests") == 2
    assert not any(isinstance(step.item, Reject) for [step] in steps)
    assert attempts(tmp_path) == len(records)


class Hasty:
    """A server that refuses at once what it refuses, and takes its time for all else."""

    model = "hasty"
    in_flight = 200
    refused = 30

    def identity(self) -> str:
        return "hasty"

    def resource_hints(self) -> dict[str, str]:
        return {}

    def open(self) -> "Hasty":
        return self

    def meter(self) -> None:
        return None

    async def complete(self, turn: Turn) -> Attempted:
        if int(turn.messages[-1].content.partition("text ")[2].split()[0]) < self.refused:
            await asyncio.sleep(0.01)
            return Attempted(Failure("prompt_too_long", "HTTP 400: too long"), 1)
        await asyncio.sleep(0.5)
        return Attempted(Rehearsal().outcome(turn), 1)

    async def close(self) -> None:
        pass


def test_refusals_that_come_first_cost_their_elements(tmp_path):
    """A server refuses in no time what is too long, while its first answers take minutes."""
    ask = Ask(
        "evals", PROMPT, variables, Structured(NewProblemEvals), Hasty(), str(tmp_path), SEED, same
    )
    handler = AskHandler(ask.engine, [ask.asking()], window=100)
    steps = handler.run_inference([problem(n) for n in range(100)], handler.load_model())
    reasons = [step.item.reason for [step] in steps if isinstance(step.item, Reject)]
    assert reasons == ["prompt_too_long"] * Hasty.refused


def test_an_answer_counts_whether_or_not_its_budget_could_have_been_lowered(ask, tmp_path):
    """Nothing is asked again when that is allowed."""
    ask(10)
    ask(10, sampling=Sampling(fit_context=True))
    assert attempts(tmp_path) == 10
    ask(10, sampling=Sampling(temperature=0.5))
    assert attempts(tmp_path) == 20


@pytest.mark.parametrize("window", [1, 1000])
def test_a_window_of_refusals_costs_its_elements(ask, window):
    """However small the window is in which nothing but refusals are."""
    rows, rejects = ask(40, engine=Rehearsal(failing=0.2), window=window)
    assert len(rows) + len(rejects) == 40
    assert {reject["reason"] for reject in rejects} == {"request_refused"}


def test_another_id_is_refused(ask):
    """`keep` gives its record the id of the Answered: by it the store and the shards know it."""
    with pytest.raises(Exception, match="evals: keep made a record with the id 'mine' out of"):
        ask(1, keep=renamed)


@pytest.mark.parametrize("window", [1, 7, 1000])
def test_the_window_does_not_change_the_answers(ask, window):
    """Any window gives the rows of one that holds everything."""
    rows, _ = ask(40, window=window)
    assert len(rows) == 40
    assert {row["call"]["seed"] for row in rows} == {
        sampling_seed(SEED, "evals", problem(number).id, 0) for number in range(40)
    }


def test_no_records_is_no_error(ask):
    """An empty input gives two empty outputs."""
    assert ask(0) == ([], [])


def test_the_settings_name_what_decides_the_rows(tmp_path):
    """A changed number of samples, prompt or sampling changes the settings."""
    ask = Ask(
        name="evals",
        prompt=PROMPT,
        variables=variables,
        reader=Structured(NewProblemEvals),
        engine=Rehearsal(),
        store=str(tmp_path),
        seed=0,
        keep=same,
    )
    assert dataclasses.replace(ask, samples=2).settings() != ask.settings()
    assert dataclasses.replace(ask, prompt="infinibyte/solution").settings() != ask.settings()
    assert dataclasses.replace(ask, seed=0).settings() == ask.settings()


def test_no_samples_is_refused(tmp_path):
    """The error names the value."""
    with pytest.raises(ValueError, match="samples must be 1 or more, not 0"):
        Ask(
            name="x",
            prompt=PROMPT,
            variables=variables,
            reader=Text(),
            engine=Rehearsal(),
            store=str(tmp_path),
            seed=0,
            keep=same,
            samples=0,
        )
