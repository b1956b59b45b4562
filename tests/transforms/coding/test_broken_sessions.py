"""Sessions that break under programs: tried again in fresh ones, never a wrong answer."""

import dataclasses
import warnings

import pytest

from sandbox import LocalSandbox, SandboxError
from tests.transforms.coding.test_trial import CHECKED, RIGHT, solution
from transforms.coding.execute import Executing, executed
from transforms.coding.records import CodeSolution
from transforms.errors import RunError
from transforms.records import Reject


@dataclasses.dataclass(frozen=True)
class Breaking:
    """The local sandbox, of which the first `times` sessions break at their third cell."""

    times: int
    sessions: int = 8
    isolated = False

    def identity(self) -> str:
        return f"breaking {self.times}"

    def open(self) -> "_Breaking":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _Breaking(LocalSandbox().open(), self.times, self.sessions)


class _Breaking:
    def __init__(self, pool, left: int, sessions: int) -> None:
        self._pool, self._left, self.sessions = pool, left, sessions

    def __getattr__(self, name: str):
        return getattr(self._pool, name)

    async def open(self, name: str, seed: int):
        session = await self._pool.open(name, seed)
        if name == "check" or not self._left:
            return session
        self._left -= 1
        return _BreakingSession(session)


class _BreakingSession:
    def __init__(self, session) -> None:
        self._session, self._cells = session, 0
        self.close = session.close

    async def execute(self, *arguments):
        self._cells += 1
        if self._cells == 3:
            raise SandboxError("the container is gone")
        return await self._session.execute(*arguments)


@pytest.mark.parametrize(("times", "is_lost"), [(0, False), (2, False), (3, True)])
def test_a_session_that_breaks_is_no_verdict(times, is_lost):
    """Twice it is tried again; then it is a reject that says what is known: nothing."""
    window = [(CHECKED, [solution(CHECKED, 0, RIGHT)])]
    [found] = executed(window, "execute", Executing(Breaking(times), timeout_s=5.0))
    if is_lost:
        assert isinstance(found, Reject) and found.reason == "sandbox_failed"
        assert "the container is gone" in found.detail
    else:
        assert isinstance(found, CodeSolution) and found.verdict == "correct"


def test_a_check_needs_a_session_beside_its_program():
    """With one alone it would wait for itself."""
    window = [(CHECKED, [solution(CHECKED, 0, RIGHT)])]
    with pytest.raises(RunError, match="need 2 sessions at once, and 1 may be open"):
        executed(window, "execute", Executing(Breaking(0, sessions=1)))
