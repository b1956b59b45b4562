"""Sessions that break under programs: tried again in fresh ones, never a wrong answer."""

import dataclasses
import warnings

import pytest

from sandbox import Execution, LocalSandbox, SandboxError
from tests.transforms.coding.test_trial import CALLED, CHECKED, RIGHT, solution
from transforms.coding.execute import Executing, executed
from transforms.coding.records import CodeSolution
from transforms.errors import RunError
from transforms.records import Reject


@dataclasses.dataclass(frozen=True)
class Breaking:
    """The local sandbox, of which the first `times` sessions break at a cell, or fail it."""

    times: int
    sessions: int = 8
    at: int = 3
    fails: bool = False
    isolated = False

    def identity(self) -> str:
        return f"breaking {self.times}"

    def open(self) -> "_Breaking":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _Breaking(LocalSandbox().open(), self)


class _Breaking:
    def __init__(self, pool, settings: Breaking) -> None:
        self._pool, self._settings = pool, settings
        self._left, self.sessions = settings.times, settings.sessions

    def __getattr__(self, name: str):
        return getattr(self._pool, name)

    async def open(self, name: str, seed: int):
        session = await self._pool.open(name, seed)
        if name == "check" or not self._left:
            return session
        self._left -= 1
        return _BreakingSession(session, self._settings)


class _BreakingSession:
    def __init__(self, session, settings: Breaking) -> None:
        self._session, self._settings, self._cells = session, settings, 0
        self.close = session.close

    async def execute(self, *arguments):
        self._cells += 1
        if self._cells == self._settings.at:
            if self._settings.fails:
                return Execution("error", "OSError: no space left")
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


@pytest.mark.parametrize(("at", "said"), [(4, "the harness could not"), (5, "and then not again")])
@pytest.mark.parametrize("times", [2, 3])
def test_a_reload_that_fails_is_no_verdict(at, said, times):
    """What a program's death has cost its session is brought back, or it is tried again."""
    code = "import os\ndef add(a, b):\n    return a + b if a > 1 else os._exit(1)\n"
    window = [(CALLED, [solution(CALLED, 0, code)])]
    breaking = Breaking(times, at=at, fails=True)
    [found] = executed(window, "execute", Executing(breaking, timeout_s=5.0))
    if times == 3:
        assert isinstance(found, Reject) and found.reason == "sandbox_failed"
        assert said in found.detail
    else:
        assert isinstance(found, CodeSolution) and found.verdict == "incorrect"
        assert (found.counts.passed, found.counts.errors) == (1, 1)


def test_a_check_needs_a_session_beside_its_program():
    """With one alone it would wait for itself."""
    window = [(CHECKED, [solution(CHECKED, 0, RIGHT)])]
    with pytest.raises(RunError, match="need 2 sessions at once, and 1 may be open"):
        executed(window, "execute", Executing(Breaking(0, sessions=1)))
