"""Limits per minute."""

from hypothesis import given
from hypothesis import strategies as st

from transforms.engines.engine import Message, Reply, Sampling, Turn, asked_tokens
from transforms.engines.pace import Pace


def turn(text: str, max_tokens: int | None = None) -> Turn:
    return Turn("", "p", (Message("user", text),), Sampling(max_tokens=max_tokens), 1, None)


def sent_times(pace: Pace, number: int, tokens: int = 0) -> list[float]:
    """When requests go out that all want to go at 1000."""
    times: list[float] = []
    for _ in range(number):
        times.append(max(1000.0, pace.ready_at))
        pace.spend(tokens, times[-1])
    return times


def test_without_limits_nothing_waits():
    """Everything may go at once, whatever its tokens."""
    assert set(sent_times(Pace(None, None), 100, 10**9)) == {1000.0}


@given(st.integers(1, 10_000), st.integers(1, 10_000), st.integers(0, 5_000))
def test_no_minute_has_more_than_its_limit(requests, tokens, size):
    """Beyond a second's worth and one request, in any order of the two limits."""
    times = sent_times(Pace(requests, tokens), 200, size)
    for index, start in enumerate(times):
        within = [time for time in times[index:] if time < start + 60 - 1e-6]
        assert len(within) <= requests * 61 / 60 + 1
        assert (len(within) - 1) * size <= tokens * 61 / 60 + 1


def test_the_spacing_is_even():
    """Sixty a minute are one a second, and not sixty and a pause."""
    times = sent_times(Pace(60, None), 20)
    gaps = [after - before for before, after in zip(times[2:], times[3:], strict=False)]
    assert all(abs(gap - 1) < 1e-9 for gap in gaps)


def test_a_pause_is_not_made_up_for():
    """After an idle hour there is a second's worth at once and no more."""
    pace = Pace(600, None)
    pace.spend(0, 0.0)
    at_once = [time for time in sent_times(pace, 50) if time == 1000.0]
    assert len(at_once) in (10, 11)


def test_tokens_are_corrected_by_what_was_used():
    """Fewer than reserved let the next go sooner, more later; no reply gives all back."""
    for reply, used in ((Reply("", "", "stop", 50, 50), 100), (None, 0),
                        (Reply("", "", "stop", 900, 1100), 2000),
                        (Reply("", "", "stop", 0, 0), 1000)):  # fmt: skip
        pace = Pace(None, 600)
        pace.spend(1000, 1000.0)
        pace.correct(1000, reply)
        assert abs(pace.ready_at - (999 + used / 10)) < 1e-6


def test_the_estimate_learns_from_answers():
    """It is the text and what answers have been like, never above max_tokens."""
    pace = Pace(None, 600)
    asked = asked_tokens(turn("x" * 400))
    first = pace.estimate(turn("x" * 400))
    for _ in range(100):
        pace.correct(0, Reply("", "", "stop", 10, 20))
    assert first > pace.estimate(turn("x" * 400)) >= asked + 20
    assert pace.estimate(turn("x" * 400, max_tokens=5)) == asked + 5
