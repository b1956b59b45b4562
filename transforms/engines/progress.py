"""How far a process has got with its asks: counters that a reporter may read while it works.

They are for people who watch. What is counted for the record comes from published rows and from
the answer store.
"""

import collections
import contextlib
import contextvars
import dataclasses
from collections.abc import Iterator

from transforms.engines.engine import Attempted, Failure


@dataclasses.dataclass
class Progress:
    """The counters of one ask.

    rows and rejects are of samples that are done, and asked is how many of them took an engine;
    recalled counts turns that the store had an answer for; answered and failed,
    those that an engine was asked for; in_flight, those that it holds now.
    """

    rows: int = 0
    asked: int = 0
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
        """While a turn is the transport's, which says by `under_way` when the engine has it."""
        token = _asking.set(self)
        try:
            yield
        finally:
            _asking.reset(token)

    def finish(self, reason: str | None, asked: bool) -> None:
        """Count a sample that is done: a row, or a reject for a reason."""
        self.asked += asked
        if reason is None:
            self.rows += 1
        else:
            self.rejects[reason] += 1

    def add(self, attempted: Attempted) -> None:
        """Count a turn that came back."""
        self.retries += attempted.attempts - 1
        if isinstance(attempted.result, Failure):
            self.failed += 1
            return
        self.answered += 1
        self.prompt_tokens += attempted.result.prompt_tokens
        self.completion_tokens += attempted.result.completion_tokens


_progress: dict[str, Progress] = {}
_pipelines: list[object] = []
_asking: contextvars.ContextVar[Progress | None] = contextvars.ContextVar("asking", default=None)


@contextlib.contextmanager
def under_way() -> Iterator[None]:
    """While an engine holds the request of this task's turn."""
    progress = _asking.get()
    if progress is None:
        yield
        return
    progress.in_flight += 1
    try:
        yield
    finally:
        progress.in_flight -= 1


def progress_of(ask: str) -> Progress:
    """This process's counters of an ask, by its name."""
    return _progress.setdefault(ask, Progress())


@contextlib.contextmanager
def asking() -> Iterator[None]:
    """While a pipeline of this process asks: also when no engine holds a request of it."""
    pipeline = object()
    _pipelines.append(pipeline)
    try:
        yield
    finally:
        _pipelines.remove(pipeline)


def is_asking() -> bool:
    """Whether a pipeline of this process asks: its requests may wait, or its code may run."""
    return bool(_pipelines)


def forget_progress() -> None:
    """Begin to count anew: for a process that runs one pipeline after the other."""
    _progress.clear()
