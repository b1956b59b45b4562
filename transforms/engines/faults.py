"""What the stub server does wrong, and the books it keeps about it.

Faults are drawn by the request's key: which requests meet one is known beforehand and the same in
every run. Those that a retry must mend befall a request's first attempt only.
"""

import time
from collections import Counter, deque
from typing import Any, Literal

import pydantic

from transforms import seeding

Fault = Literal["error", "drop", "cut", "slow_body", "html", "truncated", "other_shape", "leak"]


class Faults(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Shares of requests by key, limits, and parameters that are refused.

    error: HTTP 500 at the first attempt.
    drop: the connection is closed before the answer, at the first attempt.
    cut: the connection is closed in the middle of the body, at the first attempt.
    slow_body: the body comes in ten pieces over `slow_body_s`.
    html, truncated, other_shape: a 200 that is no completion, at the first attempt.
    leak: HTTP 400 whose message repeats the request's Authorization header, always.
    tail: this share takes `tail_s` in place of the latency.
    capacity: above so many in service, HTTP 429.
    requests_per_minute: above so many in the last minute, HTTP 429.
    retry_after: the header of a 429, as it is; "" for none.
    refuses: parameters that get HTTP 400, in the `wording` of OpenAI or of pydantic.
    """

    error: float = pydantic.Field(0.0, ge=0, le=1)
    drop: float = pydantic.Field(0.0, ge=0, le=1)
    cut: float = pydantic.Field(0.0, ge=0, le=1)
    slow_body: float = pydantic.Field(0.0, ge=0, le=1)
    slow_body_s: float = pydantic.Field(0.5, ge=0)
    html: float = pydantic.Field(0.0, ge=0, le=1)
    truncated: float = pydantic.Field(0.0, ge=0, le=1)
    other_shape: float = pydantic.Field(0.0, ge=0, le=1)
    leak: float = pydantic.Field(0.0, ge=0, le=1)
    tail: float = pydantic.Field(0.0, ge=0, le=1)
    tail_s: float = pydantic.Field(0.0, ge=0)
    capacity: int | None = pydantic.Field(None, ge=1)
    requests_per_minute: int | None = pydantic.Field(None, ge=1)
    retry_after: str = "1"
    refuses: tuple[str, ...] = ()
    wording: Literal["openai", "pydantic"] = "openai"

    def fate(self, key: str, first: bool) -> Fault | None:
        """What befalls an attempt; at most one thing."""
        shares: dict[Fault, float] = {"leak": self.leak, "slow_body": self.slow_body}
        if first:
            shares |= {"error": self.error, "drop": self.drop, "cut": self.cut, "html": self.html}
            shares |= {"truncated": self.truncated, "other_shape": self.other_shape}
        for fault, share in shares.items():
            if share and seeding.uniform(fault, key) < share:
                return fault
        return None

    def latency_s(self, key: str, usual_s: float) -> float:
        """How long a request is in service."""
        in_tail = self.tail and seeding.uniform("tail", key) < self.tail
        return self.tail_s if in_tail else usual_s

    def refusal(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """The body of the 400 for a parameter that is not taken."""
        refused = [name for name in self.refuses if name in body]
        if not refused:
            return None
        name = refused[0]
        if self.wording == "pydantic":
            fault = {"type": "extra_forbidden", "loc": ["body", name]}
            return {"detail": [{**fault, "msg": "Extra inputs are not permitted", "input": 0}]}
        message = f"Unsupported parameter: '{name}' is not supported with this model."
        return {"error": {"code": "unsupported_parameter", "param": name, "message": message}}


class Books:
    """What a stub has seen: kinds of outcomes, attempts by key, and how busy it was."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._kinds: Counter[str] = Counter()
        self._attempts: Counter[str] = Counter()
        self._minute: deque[float] = deque()
        self._requests = self._in_service = self._most_in_service = 0
        self._busy_s = 0.0
        self._first: float | None = None
        self._last = 0.0

    def is_first(self, key: str) -> bool:
        """Note an attempt that is served; whether it is the key's first."""
        self._attempts[key] += 1
        return self._attempts[key] == 1

    def admits(self) -> bool:
        """Note a request; whether the limits have room for it, so that it is in service now."""
        self._requests += 1
        now, faults = self._touch(), self._faults
        while self._minute and now - self._minute[0] >= 60:
            self._minute.popleft()
        over = faults.capacity is not None and self._in_service >= faults.capacity
        fast = faults.requests_per_minute is not None
        if over or (fast and len(self._minute) >= (faults.requests_per_minute or 0)):
            return False
        if fast:
            self._minute.append(now)
        self._in_service += 1
        self._most_in_service = max(self._most_in_service, self._in_service)
        return True

    def done(self) -> None:
        """One is in service no more."""
        self._touch()
        self._in_service -= 1

    def note(self, kind: str) -> None:
        """Count an outcome."""
        self._kinds[kind] += 1

    def stats(self) -> dict[str, Any]:
        """The books; `capacity_used` is the mean in service, between the times, by the capacity."""
        seconds = self._last - self._first if self._first is not None else 0.0
        capacity = self._faults.capacity
        used = self._busy_s / seconds / capacity if capacity and seconds else None
        return {
            "requests": self._requests,
            "keys": len(self._attempts),
            "kinds": dict(self._kinds),
            "in_service": self._in_service,
            "most_in_service": self._most_in_service,
            "capacity_used": used,
            "first": self._first,
            "last": self._last,
        }

    def _touch(self) -> float:
        now = time.monotonic()
        if self._first is None:
            self._first = self._last = now
        self._busy_s += self._in_service * (now - self._last)
        self._last = now
        return now
