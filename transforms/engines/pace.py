"""Limits per minute, kept by even spacing: when the next request may go.

Each request moves the time of the next by its own share of a minute, and so do its tokens. They
are reserved by an estimate before it is sent and corrected by the usage in its reply.
"""

import math

from transforms.engines.engine import Reply, Turn, asked_tokens

_BURST_S = 1.0  # what may be caught up at once after a pause
_FIRST_GUESS = 1000.0  # completion tokens of an answer, before there is one
_LEARNING_RATE = 0.05


class Pace:
    """When the next request may go; None is no limit."""

    def __init__(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        self._request_s = 60 / requests_per_minute if requests_per_minute else 0.0
        self._token_s = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._next_request = self._next_token = -math.inf
        self._completion = _FIRST_GUESS

    @property
    def ready_at(self) -> float:
        """The earliest time of the next request."""
        return max(self._next_request, self._next_token)

    def estimate(self, turn: Turn) -> int:
        """The tokens that a turn will probably use: its text, and what answers have been like."""
        if not self._token_s:
            return 0
        return asked_tokens(turn) + int(min(self._completion, turn.sampling.max_tokens or math.inf))

    def spend(self, tokens: int, now: float) -> None:
        """A request goes out now, with so many tokens reserved."""
        earliest = now - _BURST_S
        self._next_request = max(self._next_request, earliest) + self._request_s
        self._next_token = max(self._next_token, earliest) + tokens * self._token_s

    def correct(self, reserved: int, reply: Reply | None) -> None:
        """Replace what was reserved by what was used; without a reply nothing was.

        A reply without usage leaves the estimate as it is.
        """
        used = reply.prompt_tokens + reply.completion_tokens if reply else 0
        if reply and not used:
            return
        self._next_token += (used - reserved) * self._token_s
        if reply:
            self._completion += _LEARNING_RATE * (reply.completion_tokens - self._completion)
