"""One program and its tests: run in a session of its own, judged from outside.

What is expected never enters the program's session: what it prints or returns is compared here, or
given to a check that runs in another session.
"""

import asyncio
import base64
import contextlib
import dataclasses
import json
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from sandbox import Execution, Sandbox, SandboxError, Session
from transforms.coding import harness
from transforms.coding.cases import CALL, CHECK, STDIN
from transforms.coding.compare import same_output, same_value
from transforms.coding.records import CodeProblem, CodeTest, TrialCounts
from transforms.errors import RunError
from transforms.tir.cells import SharedSandbox, opened

PASSED, FAILED, TIMEOUT, ERROR, NOT_RUN = "passed", "failed", "timeout", "error", "not_run"
MOST_OUTPUT = 1_000_000
_LEAST_OUTPUT = 1 << 16
# A test may take so many times its CPU time by the clock, since others run beside it; where that is
# up and the CPU time is not, it is tried again with more.
_CLOCK, _LAST_CLOCK = 4, 12
_MOST_LOST = 3  # timeouts and deaths of a program, after which no more of its tests are run
_PIECE = 150_000  # characters of a text in one cell
_SETUP_S = 30.0
_TRIES = 3
_WORDS = {"call", "passed", "failed"}  # of a check; any other is that it is broken
_HARNESS = Path(harness.__file__).read_text()


class TrialLost(Exception):
    """Sessions broke under a program again and again: nothing is known of it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What became of one test: one of the words above, and why.

    `is_by_clock` says of a timeout that the CPU time was not used up: perhaps it was not given any.
    """

    verdict: str
    why: str = ""
    is_by_clock: bool = False


class Checkers:
    """Sessions in which checks run: as many as are needed at once, each used again.

    A context manager: it ends them all, before the sandbox is closed.
    """

    def __init__(self, shared: SharedSandbox, seed: int) -> None:
        self._shared = shared
        self._seed = seed
        self._idle: list[Session] = []
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> "Checkers":
        return self

    async def __aexit__(self, *_: object) -> None:
        while self._idle:
            await self._idle.pop().close()

    @contextlib.asynccontextmanager
    async def places(self, number: int) -> AsyncIterator[None]:
        """Places for so many sessions at once, taken together: nobody holds one and waits.

        Raises:
            RunError: there are not as many.
        """
        places, sessions = self._shared.places, self._shared.sandbox.sessions
        if sessions < number:
            raise RunError(
                f"a program and its check need {number} sessions at once, and {sessions} may be "
                "open; raise --sandbox_max_sessions"
            )
        taken = 0
        try:
            async with self._turn:
                for _ in range(number):
                    await places.acquire()
                    taken += 1
            yield
        finally:
            for _ in range(taken):
                places.release()

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[Session]:
        """A session with the harness; one that breaks is not used again."""
        if self._idle:
            session = self._idle.pop()
        else:
            session = await _begun(self._shared.sandbox, "check", self._seed)
        try:
            yield session
        except BaseException:
            await session.close()
            raise
        self._idle.append(session)


@dataclasses.dataclass(frozen=True)
class Trial:
    """A program, the problem whose tests it is held to, and the limits of each test.

    Args:
        name: the solution's id; random numbers in its session are a function of it and `seed`.
        problem: with the tests.
        code: Python.
        seed: of the run.
        timeout_s: CPU time of one test, of a check for each call.
        clock: how many times that it may take by the clock.
    """

    name: str
    problem: CodeProblem
    code: str
    seed: int
    timeout_s: float
    clock: int = _CLOCK

    async def counts(self, sandbox: Sandbox, checkers: Checkers) -> TrialCounts:
        """What became of all tests.

        Raises:
            TrialLost: its session broke, and so did fresh ones.
            RunError: no session can be opened.
        """
        fault = ""
        for _ in range(_TRIES):
            try:
                return counted(await self._results(sandbox, checkers))
            except SandboxError as error:
                fault = str(error)
        raise TrialLost(f"{_TRIES} sessions broke, the last with: {fault}")

    async def _results(self, sandbox: Sandbox, checkers: Checkers) -> list[Result]:
        session = await _begun(sandbox, self.name, self.seed)
        try:
            tests = self.problem.tests
            fault = await self._load(session)
            if fault is not None:
                return [fault] * len(tests)
            results: list[Result] = []
            lost = 0
            for test in tests:
                if lost == _MOST_LOST:
                    results.append(Result(NOT_RUN, "too many timeouts and deaths before"))
                    continue
                result, is_lost = await self._result(session, test, checkers)
                if result.is_by_clock:
                    if is_lost:
                        await self._reload(session)
                    patient = dataclasses.replace(self, clock=_LAST_CLOCK)
                    result, is_lost = await patient._result(session, test, checkers)
                results.append(result)
                lost += is_lost or result.verdict == TIMEOUT
                if is_lost and lost < _MOST_LOST and len(results) < len(tests):
                    await self._reload(session)
            return results
        finally:
            await session.close()

    async def _reload(self, session: Session) -> None:
        await session.execute(_HARNESS, _SETUP_S, _LEAST_OUTPUT)
        await self._load(session)

    async def _load(self, session: Session) -> Result | None:
        """Bring the program in; what is wrong with it, if that can be seen at once."""
        if self.problem.entry_point:
            parts = {name: getattr(self.problem, name) for name in ("entry_point", "preamble")}
            text = json.dumps({**parts, "code": self.code})
            done = await self._put(session, "load_function", text, cpu_s=self.timeout_s)
        else:
            done = await self._put(session, "load_program", self.code)
        return None if done.status == "ok" else _fault(done)

    async def _result(
        self, session: Session, test: CodeTest, checkers: Checkers
    ) -> tuple[Result, bool]:
        """A test's result, and whether the session has lost the program over it."""
        if test.kind == CHECK:
            async with checkers.one() as checker:
                return await self._checked(session, checker, test)
        if test.kind == STDIN:
            return await self._printed(session, test)
        assert test.kind == CALL
        said, done = await self._called(session, harness.encode([json.loads(test.input), {}]))
        if said is None:
            return _fault(done), done.state_lost
        if "raised" in said:
            return Result(ERROR, str(said["said"])), False
        if same_value(str(said["value"]), test.output):
            return Result(PASSED), False
        return Result(FAILED, f"it returned {_shown(str(said['value']))}"), False

    async def _printed(self, session: Session, test: CodeTest) -> tuple[Result, bool]:
        """Of a test with an input, by what the program prints."""
        expected = len(test.output.encode())
        if expected > MOST_OUTPUT:
            return Result(NOT_RUN, "the expected output is too long"), False
        most = min(MOST_OUTPUT, max(_LEAST_OUTPUT, 2 * expected))
        done = await self._put(session, "run_program", test.input, most, self.timeout_s)
        if done.status != "ok" or done.dropped:
            return _fault(done), done.state_lost
        if same_output(done.output, test.output):
            return Result(PASSED), False
        return Result(FAILED, f"it printed {_shown(done.output)}"), False

    async def _called(
        self, session: Session, arguments: str
    ) -> tuple[dict[str, object] | None, Execution]:
        """What the function has returned or raised; None where it did not come to that."""
        done = await self._put(session, "call", arguments, MOST_OUTPUT, self.timeout_s)
        if done.status != "ok" or done.dropped:
            return None, done
        said = _last_json(done)
        return said if said.keys() in ({"value"}, {"raised", "said"}) else None, done

    async def _checked(
        self, session: Session, checker: Session, test: CodeTest
    ) -> tuple[Result, bool]:
        """The program's answers go to the check, and its questions to the program, through us."""
        parts = {"preamble": self.problem.preamble, "entry_point": self.problem.entry_point}
        text = json.dumps({**parts, "check": test.input})
        word = await self._put(checker, "begin_check", text, MOST_OUTPUT)
        left_s = self.clock * self.timeout_s
        while True:
            told = _last_json(word)
            if word.status != "ok" or word.dropped or not told.keys() & _WORDS:
                if word.state_lost:
                    await checker.execute(_HARNESS, _SETUP_S, _LEAST_OUTPUT)
                why = told.get("broken") or word.notice or "it asks for too much"
                return Result(NOT_RUN, f"the check itself is broken: {why}"), False
            if "call" not in told:
                is_passed = told == {"passed": True}
                return Result(PASSED if is_passed else FAILED, str(told.get("failed", ""))), False
            if left_s <= 0:
                return Result(TIMEOUT, "its calls take long together", is_by_clock=True), False
            said, done = await self._called(session, str(told["call"]))
            left_s -= done.duration_s
            if said is None:
                return _fault(done), done.state_lost
            word = await self._put(checker, "go_on", json.dumps(said), MOST_OUTPUT)

    async def _put(
        self,
        session: Session,
        function: str,
        text: str,
        most: int = _LEAST_OUTPUT,
        cpu_s: float | None = None,
    ) -> Execution:
        """Call a function of the harness with a text, however long that is, and a limit."""
        packed = base64.b85encode(zlib.compress(text.encode("utf-8", "surrogatepass"), 1)).decode()
        while len(packed) > _PIECE:
            await session.execute(f"take({packed[:_PIECE]!r})", _SETUP_S, _LEAST_OUTPUT)
            packed = packed[_PIECE:]
        limit = "" if cpu_s is None else f", {cpu_s!r}"
        cell = f"{function}({packed!r}{limit})"
        return await session.execute(cell, self.clock * self.timeout_s, most)


def counted(results: Sequence[Result]) -> TrialCounts:
    """How many tests came to what."""
    number = Counter(result.verdict for result in results)
    faults = (
        f"test {place}: {result.verdict}{f', {result.why}' if result.why else ''}"
        for place, result in enumerate(results, start=1)
        if result.verdict != PASSED
    )
    return TrialCounts(
        tests=len(results),
        passed=number[PASSED],
        failed=number[FAILED],
        timeouts=number[TIMEOUT],
        errors=number[ERROR],
        not_run=number[NOT_RUN],
        first_fault=next(faults, ""),
    )


async def _begun(sandbox: Sandbox, name: str, seed: int) -> Session:
    """A fresh session with the harness in it."""
    session = await opened(sandbox, name, seed)
    try:
        done = await session.execute(_HARNESS, _SETUP_S, _LEAST_OUTPUT)
        if done.status != "ok":
            raise SandboxError(f"the harness could not be loaded: {done.text}")
    except BaseException:
        await session.close()
        raise
    return session


def _last_json(done: Execution) -> dict[str, object]:
    """The object in the last line of a cell's output; an empty one where there is none."""
    try:
        said = json.loads(done.output.rstrip("\n").rpartition("\n")[2])
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _fault(done: Execution) -> Result:
    """What a cell says that did not come to a result."""
    if done.dropped:
        return Result(ERROR, "it printed more than can be looked at")
    if done.status == "timeout":
        return Result(TIMEOUT, done.notice.strip("[]"), is_by_clock=True)
    last = done.output.rstrip().rpartition("\n")[2]
    if last.startswith(harness.OUT_OF_TIME):
        return Result(TIMEOUT, last)
    return Result(ERROR, (done.notice.strip("[]") or last)[:300])


def _shown(text: str) -> str:
    return repr(text if len(text) <= 100 else f"{text[:100]}…")
