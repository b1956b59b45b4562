"""How far a process has got with its asks: counters that a reporter may read while it works.

They are for people who watch. What is counted for the record comes from published rows and from
the answer store.
"""

import collections
import contextlib
import dataclasses
from collections.abc import Iterator

from transforms.engines.engine import Attempted, Failure


@dataclasses.dataclass
class Progress:
    """The counters of one ask.

    rows and rejects are of samples that are done; recalled counts turns that the store had an
    answer for; answered and failed, those that an engine was asked for.
    """

    rows: int = 0
    rejects: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    in_flight: int = 0
    recalled: int = 0
    answered: int = 0
    failed: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def done(self) -> int:
        """Samples that need nothing more from this ask."""
        return self.rows + self.rejects.total()

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """While a turn is with the engine."""
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    def add(self, attempted: Attempted) -> None:
        """Count a turn that came back."""
        self.retries += attempted.attempts - 1
        if isinstance(attempted.result, Failure):
            self.failed += 1
            return
        self.answered += 1
        self.prompt_tokens += attempted.result.prompt_tokens
        self.completion_tokens += attempted.result.completion_tokens

    def reject(self, reason: str) -> None:
        """Count a sample that could not be used."""
        self.rejects[reason] += 1


_progress: dict[str, Progress] = {}


def progress_of(ask: str) -> Progress:
    """This process's counters of an ask, by its name."""
    return _progress.setdefault(ask, Progress())


def forget_progress() -> None:
    """Begin to count anew: for a process that runs one pipeline after the other."""
    _progress.clear()
