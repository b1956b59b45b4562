"""What a sandbox is: settings that travel, the sandbox they open, its sessions, their executions.

A session is one interpreter with its variables and files; cells run in it one after the other. What
a cell does wrong is in its `Execution`. What breaks around it is a `SandboxError`: the session is
gone, and the caller goes on in a fresh one. It is never the code's fault, so never a wrong answer.
"""

import dataclasses
from typing import Literal, Protocol

Status = Literal["ok", "error", "timeout", "died"]

# A cell may take this much longer than its limit: what it gets to end by itself once interrupted,
# and what killing it and starting afresh may take on a busy machine.
GRACE_S, SLACK_S = 0.5, 1.0
# A cell of more characters is answered with an error, unread: no model writes such a one.
MAX_CODE = 200_000


class SandboxError(Exception):
    """The machinery failed, not the code: try again in a fresh session."""


class SandboxDown(SandboxError):
    """No session can be opened now, and trying again will not help."""


@dataclasses.dataclass(frozen=True, slots=True)
class Execution:
    """What became of one cell.

    status: ok; error, where it raised; timeout, where the time was up; died, where its interpreter
        ended or had to be ended.
    output: what it printed, standard output and error as one, and the value of its last expression;
        a traceback where it raised. Always a valid string. Where it was more than the limit, head
        and tail with a line between them that says how much is not shown.
    dropped: the bytes that are not shown.
    duration_s: by the sandbox's clock.
    state_lost: the interpreter is a new one: no variable of an earlier cell is there; files are.
    notice: what the sandbox has to say about it, for the model to read; "" where all went well.
    """

    status: Status
    output: str
    dropped: int = 0
    duration_s: float = dataclasses.field(default=0.0, compare=False)
    state_lost: bool = False
    notice: str = ""

    @property
    def text(self) -> str:
        """What a model is shown: the output, then the notice; never empty."""
        return "\n".join(filter(None, (self.output.rstrip("\n"), self.notice))) or "[no output]"


class Session(Protocol):
    """One interpreter; a second `execute` waits for the first."""

    async def execute(self, code: str, timeout_s: float, output_limit: int) -> Execution:
        """Run a cell: at most `timeout_s`, and at most `output_limit` bytes of output are kept.

        The time starts when the cell does, not while it waits for its turn among all that may run
        at once. A cancelled call ends the session.

        Raises:
            SandboxError: the session is gone; open another.
        """
        ...

    async def close(self) -> None:
        """End all that the session started, and throw its files away."""
        ...


class Sandbox(Protocol):
    """An open sandbox; all methods run on one event loop."""

    @property
    def sessions(self) -> int:
        """How many sessions may be open at once; memory decides."""
        ...

    @property
    def running(self) -> int:
        """How many cells run at once, over all sessions; cores decide."""
        ...

    async def ready(self) -> None:
        """Look whether sessions can be opened here; quick where that is known.

        Raises:
            SandboxDown: nothing here can run Python; the message says what is missing.
        """
        ...

    async def open(self, name: str, seed: int) -> Session:
        """A fresh session; waits while all are taken.

        Random numbers in it are a function of (`seed`, `name`): give a run's seed and a sample's
        id. After a session that was lost, the same again.

        Raises:
            SandboxDown: nothing here can run Python; the message says what is missing.
            SandboxError: the session could not be opened this time.
        """
        ...

    async def close(self) -> None:
        """End all sessions and leave nothing behind."""
        ...


class SandboxSettings(Protocol):
    """Settings of a sandbox: frozen, hashable, and cheap to pickle."""

    @property
    def isolated(self) -> bool:
        """Whether code that wants out is kept in."""
        ...

    def identity(self) -> str:
        """What decides what code prints, beside the code: part of every answer's key."""
        ...

    def open(self) -> Sandbox:
        """A sandbox with these settings, on the running event loop, without waiting."""
        ...
