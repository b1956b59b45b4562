"""What a run may spend and lose, and what happens then."""

import asyncio
import dataclasses
import threading
import time

import pytest

from transforms.engines.engine import Attempted, Failure, Message, Reply, Sampling, ToolCall, Turn
from transforms.engines.stops import Limits, Price, Spent, Stops, waiting


def turn(characters: int = 300, max_tokens: int | None = 100) -> Turn:
    message = Message("user", "x" * characters)
    return Turn("k", "p", (message,), Sampling(max_tokens=max_tokens), 0, None)


def answering(prompt_tokens: int, completion_tokens: int, after_s: float = 0.0):
    async def send(turn: Turn) -> Attempted:
        await asyncio.sleep(after_s)
        return Attempted(Reply("", "", "stop", prompt_tokens, completion_tokens), 1)

    return send


def sent(stops: Stops, turns: int, send) -> list[Attempted | None]:
    async def all_at_once() -> list[Attempted | None]:
        return await asyncio.gather(*(stops.sent("ask", turn(), send) for _ in range(turns)))

    return asyncio.run(all_at_once())


def test_without_limits_everything_is_sent(tmp_path):
    """And nothing is counted against anybody."""
    stops = Stops(str(tmp_path / "store"))
    assert None not in sent(stops, 50, answering(1000, 1000))
    assert stops.why == ""


@pytest.mark.parametrize("used", [(100, 100), (60, 10), (0, 1)])
def test_tokens_of_turns_in_flight_never_exceed_the_limit(tmp_path, used):
    """All at once, they reserve 200 each; what they leave lets others go, to the last that fits."""
    stops = Stops(str(tmp_path / "store"), Limits(tokens=1000))
    answers = sent(stops, 2000, answering(*used, after_s=0.001))
    spent = sum(sum(used) for answer in answers if answer)
    assert 800 < spent <= 1000
    assert stops.why == f"--max_tokens_total 1000: {spent} tokens are spent"


def test_what_was_spent_before_counts(tmp_path):
    """A run that goes on has what is left."""
    stops = Stops(str(tmp_path / "store"), Limits(tokens=1000), Spent(tokens=500))
    assert len([answer for answer in sent(stops, 50, answering(100, 100)) if answer]) == 2


def test_cost_is_by_the_price_of_each_ask(tmp_path):
    """A dollar buys ten requests of 100 tokens in at 400 and 100 out at 600 dollars a million."""
    prices = {"ask": Price(400.0, 600.0)}
    stops = Stops(str(tmp_path / "store"), Limits(cost=1.0, prices=prices))
    assert len([answer for answer in sent(stops, 50, answering(100, 100)) if answer]) == 10
    assert stops.why == "--max_cost 1: $1.00 are spent"


def test_a_failure_spends_nothing(tmp_path):
    """A server that refuses has used nothing that it would tell."""

    async def refuse(turn: Turn) -> Attempted:
        return Attempted(Failure("request_refused", "no"), 1)

    stops = Stops(str(tmp_path / "store"), Limits(tokens=200))
    assert None not in sent(stops, 20, refuse)


@pytest.mark.parametrize("reason", ["timed_out", "server_error"])
def test_a_request_that_timed_out_may_have_been_paid_for(tmp_path, reason):
    """It counts with what was reserved for it; one that failed does not."""

    async def fail(turn: Turn) -> Attempted:
        return Attempted(Failure(reason, "late"), 1, timed_out=reason == "timed_out")

    stops = Stops(str(tmp_path / "store"), Limits(tokens=1000))
    assert len([one for one in sent(stops, 9, fail) if one]) == (5 if reason == "timed_out" else 9)


@pytest.mark.parametrize("max_tokens", [100, None])
def test_a_server_that_tells_no_usage_is_held_to_what_was_said(tmp_path, max_tokens):
    """Else the limit would never be reached, or be another one for the run that goes on."""

    async def silent(turn: Turn) -> Attempted:
        return Attempted(Reply("x" * 240, "y" * 60, "stop", 0, 0), 1)

    async def one_by_one(stops: Stops) -> list[Attempted | None]:
        sampling = Sampling(max_tokens=max_tokens)
        one = dataclasses.replace(turn(), sampling=sampling)
        return [await stops.sent("ask", one, silent) for _ in range(40)]

    stops = Stops(str(tmp_path / "store"), Limits(tokens=5000))
    answered = [one for one in asyncio.run(one_by_one(stops)) if one]
    assert {one.charged for one in answered} == {(100, 100)}
    assert len(answered) == 25


@pytest.mark.parametrize(("timed_out", "most"), [(0, 5), (1, 3)])
def test_a_timeout_that_a_retry_has_mended_is_spent_too(tmp_path, timed_out, most):
    """Three turns of 200 with a timeout each are 1,200 tokens; a 429 on the way is nothing."""

    async def mended(turn: Turn) -> Attempted:
        return Attempted(Reply("", "", "stop", 100, 100), 3, timed_out=timed_out)

    async def one_by_one(stops: Stops) -> list[Attempted | None]:
        return [await stops.sent("ask", turn(), mended) for _ in range(9)]

    stops = Stops(str(tmp_path / "store"), Limits(tokens=1000))
    assert len([one for one in asyncio.run(one_by_one(stops)) if one]) == most
    assert stops.why.endswith(f"{most * (200 + 200 * timed_out)} tokens are spent")


@pytest.mark.parametrize("limits", [Limits(), Limits(tokens=10_000)])
@pytest.mark.parametrize(
    ("attempted", "charged"),
    [
        (Attempted(Failure("timed_out", "late"), 2, timed_out=2), (200, 200)),
        (Attempted(Failure("not_sent", "SIGINT"), 2, timed_out=1), (100, 100)),
        (Attempted(Reply("", "", "stop", 7, 3), 2, timed_out=1), (100, 100)),
        (Attempted(Reply("x" * 30, "", "stop", 0, 0), 2, timed_out=1), (200, 110)),
        (Attempted(Reply("", "", "stop", 7, 3), 2), (0, 0)),
        (Attempted(Failure("server_error", "no"), 8), (0, 0)),
    ],
)
def test_what_is_charged_is_told_for_the_store(tmp_path, limits, attempted, charged):
    """With and without limits: a later run may have one, and counts what this one has spent."""

    async def send(turn: Turn) -> Attempted:
        return attempted

    [one] = sent(Stops(str(tmp_path / "store"), limits), 1, send)
    assert one is not None
    assert (one.result, one.charged) == (attempted.result, charged)


@pytest.mark.parametrize("limits", [Limits(), Limits(tokens=10_000)])
def test_a_stop_ends_what_waits_and_nothing_else(tmp_path, limits):
    """Whatever thread says so: of four turns the two that an engine has are answered."""

    async def send(turn: Turn) -> Attempted:
        if turn.seed % 2:
            async with waiting():
                await asyncio.sleep(60)
        else:
            threading.Timer(0.2, stops.stop, ["SIGINT"]).start()
            await asyncio.sleep(1.5)
        return Attempted(Reply("", "", "stop", 1, 1), 1)

    async def all_at_once() -> list[Attempted | None]:
        turns = [dataclasses.replace(turn(), seed=seed) for seed in range(4)]
        return await asyncio.gather(*(stops.sent("ask", one, send) for one in turns))

    stops = Stops(str(tmp_path / "store"), limits)
    began = time.monotonic()
    assert [one is None for one in asyncio.run(all_at_once())] == [False, True, False, True]
    assert time.monotonic() - began < 10


def test_a_stop_ends_what_waits_elsewhere(tmp_path):
    """In a worker, which learns of it by the file."""

    async def send(turn: Turn) -> Attempted:
        async with waiting():
            await asyncio.sleep(60)
        raise AssertionError

    store = str(tmp_path / "store")
    driver, worker = Stops(store), Stops(store, watch=True)
    driver.stop("SIGINT")
    threading.Timer(0.2, driver.tell).start()
    began = time.monotonic()
    assert sent(worker, 2, send) == [None, None]
    assert time.monotonic() - began < 20


def test_an_error_while_a_turn_waits_is_itself(tmp_path):
    """Be it a timeout of its own."""

    async def send(turn: Turn) -> Attempted:
        async with waiting():
            raise TimeoutError("of a socket")

    with pytest.raises(TimeoutError, match="of a socket"):
        sent(Stops(str(tmp_path / "store")), 1, send)


def test_the_limit_that_is_reached_is_the_one_that_is_named(tmp_path):
    """Of two."""
    limits = Limits(tokens=400, cost=100.0, prices={"ask": Price(400.0, 600.0)})
    stops = Stops(str(tmp_path / "store"), limits)
    sent(stops, 9, answering(100, 100))
    assert stops.why == "--max_tokens_total 400: 400 tokens are spent"


def test_calls_and_digits_are_reserved_for(tmp_path):
    """A conversation with tools, whose text is in their arguments; a digit is a token."""
    call = Message("assistant", "", calls=(ToolCall("c", "python", "7" * 500),))
    asked = dataclasses.replace(turn(0), messages=(call,))
    stops = Stops(str(tmp_path / "store"), Limits(tokens=599))
    assert asyncio.run(stops.sent("ask", asked, answering(1, 1))) is None


def test_an_error_gives_back_what_was_reserved(tmp_path):
    """The next turn has room."""

    async def break_down(turn: Turn) -> Attempted:
        raise RuntimeError("down")

    stops = Stops(str(tmp_path / "store"), Limits(tokens=200))
    with pytest.raises(RuntimeError, match="down"):
        sent(stops, 1, break_down)
    assert sent(stops, 1, answering(100, 100)) != [None]


def test_after_a_stop_nothing_is_sent_and_the_first_reason_counts(tmp_path):
    """Not even where there is room."""
    stops = Stops(str(tmp_path / "store"))
    stops.stop("SIGINT")
    stops.stop("--deadline 1s")
    assert sent(stops, 3, answering(1, 1)) == [None] * 3
    assert stops.why == "SIGINT"


def test_workers_elsewhere_learn_of_a_stop(tmp_path):
    """By a file beside the store, which the next run removes."""
    store = str(tmp_path / "store")
    driver, worker = Stops(store), Stops(store, watch=True)
    assert worker.why == ""
    driver.stop("SIGTERM")
    driver.tell()
    assert Stops(store, watch=True).why == "SIGTERM"
    driver.clear()
    assert Stops(store, watch=True).why == ""


def test_a_share_of_rejects_stops_once_there_are_enough_samples(tmp_path):
    """Of the last 200: what was long ago is forgotten."""
    stops = Stops(str(tmp_path / "store"), Limits(failures=0.5))
    for _ in range(99):
        stops.ended("ask", "bad_json")
    assert stops.why == ""
    for _ in range(200):
        stops.ended("other", "")
    stops.ended("ask", "truncated_answer")
    assert stops.why == (
        "--max_failures 0.5: 100 of the last 100 samples of ask are rejects, 99 of them bad_json"
    )


@pytest.mark.parametrize(("rejects", "stopped"), [(100, False), (101, True)])
def test_a_share_is_of_the_last_samples(tmp_path, rejects, stopped):
    """A thousand good ones before do not help; samples that were not sent count for nothing."""
    stops = Stops(str(tmp_path / "store"), Limits(failures=0.5))
    for reason in [""] * 1000 + ["not_sent"] * 500 + ["bad_json"] * rejects:
        stops.ended("ask", reason)
    assert bool(stops.why) is stopped
