"""One program and its tests: run in a session of its own, judged from outside.

What is expected never enters the program's session: what it prints or returns is compared here, or
given to a check that runs in another session.
"""

import base64
import contextlib
import dataclasses
import json
import operator
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from sandbox import Execution, Sandbox, SandboxError, Session
from transforms.codec import well_formed
from transforms.coding import harness
from transforms.coding.cases import CALL, CHECK, STDIN
from transforms.coding.compare import same_output, same_value
from transforms.coding.records import CodeProblem, CodeTest, TrialCounts
from transforms.errors import RunError
from transforms.tir.cells import SharedSandbox, opened

PASSED, FAILED, TIMEOUT, ERROR = "passed", "failed", "timeout", "error"
NOT_RUN, UNJUDGED = "not_run", "unjudged"
MOST_OUTPUT = 1_000_000
_LEAST_OUTPUT = 1 << 16
# A test may take so many times its CPU time by the clock, since others run beside it; where that is
# up and the CPU time is not, it is tried again with more.
_CLOCK, _LAST_CLOCK = 4, 12
_MOST_LOST = 3  # timeouts and deaths of a program, after which no more of its tests are run
_PIECE = 150_000  # characters of a text in one cell
_SETUP_S = 30.0
_TRIES = 3
_WORDS = {"call", "passed", "failed", "broken"}  # of a check
_HARNESS = Path(harness.__file__).read_text()


class TrialLost(Exception):
    """Sessions broke under a program again and again: nothing is known of it."""


class Squeezed(Exception):
    """A program ended as where others take memory, files or CPU time: try it alone."""


class _CheckBroke(Exception):
    """A check's session gave no word; `result` is what that is if it does so again."""

    def __init__(self, result: "Result") -> None:
        super().__init__(result.why)
        self.result = result


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
            async with self._shared.turn:
                for _ in range(number):
                    await places.acquire()
                    taken += 1
            yield
        finally:
            for _ in range(taken):
                places.release()

    @contextlib.asynccontextmanager
    async def one(self, is_fresh: bool = False) -> AsyncIterator[Session]:
        """A session with the harness, perhaps a fresh one; one that breaks is not used again."""
        session = self._idle.pop() if self._idle else None
        if session is not None and is_fresh:
            await session.close()
        if session is None or is_fresh:
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
        is_alone: whether nobody shares memory and files with its session, so that what it lacks is
            its own fault.
        is_last: whether nothing else runs at all, and it is not tried again.
        clock: how many times its CPU time a test may take by the clock.
    """

    name: str
    problem: CodeProblem
    code: str
    seed: int
    timeout_s: float
    is_alone: bool = False
    is_last: bool = False
    clock: int = _CLOCK

    async def counts(self, sandbox: Sandbox, checkers: Checkers) -> TrialCounts:
        """What became of all tests.

        Raises:
            TrialLost: its session broke, and so did fresh ones; or it was given no CPU time.
            Squeezed: perhaps others had what it needed.
            RunError: no session can be opened.
        """
        fault = ""
        for _ in range(_TRIES):
            try:
                results = await self._results(sandbox, checkers)
            except SandboxError as error:
                fault = str(error)
            else:
                return counted(results, [test.is_shown for test in self.problem.tests])
        raise TrialLost(f"{_TRIES} sessions broke, the last with: {fault}")

    @property
    def _patient(self) -> "Trial":
        return dataclasses.replace(self, clock=_LAST_CLOCK)

    async def _results(self, sandbox: Sandbox, checkers: Checkers) -> list[Result]:
        session = await _begun(sandbox, self.name, self.seed)
        try:
            tests = self.problem.tests
            fault = await self._loaded(session)
            if fault is not None:
                return [fault] * len(tests)
            results: list[Result] = []
            lost = 0
            for test in tests:
                if lost == _MOST_LOST:
                    results.append(Result(NOT_RUN, "too many timeouts and deaths before"))
                    continue
                result, is_lost = await self._result(session, test, checkers)
                if result.is_by_clock and not self.is_last:
                    if is_lost:
                        await self._reload(session)
                    result, is_lost = await self._patient._result(session, test, checkers)
                self._refuse_by_clock(result)
                results.append(result)
                lost += is_lost or result.verdict == TIMEOUT
                if is_lost and lost < _MOST_LOST and len(results) < len(tests):
                    await self._reload(session)
            return results
        finally:
            await session.close()

    async def _reload(self, session: Session) -> None:
        """Bring back what a session has lost; it was there before, so it is not the program's."""
        await _begin(session)
        fault = await self._loaded(session)
        if fault is not None:
            raise SandboxError(f"the program could be loaded, and then not again: {fault.why}")

    async def _loaded(self, session: Session) -> Result | None:
        """Bring the program in; what is wrong with it, if that can be seen at once."""
        fault = await self._load(session)
        if fault is not None and fault.is_by_clock and not self.is_last:
            await _begin(session)
            fault = await self._patient._load(session)
        self._refuse_by_clock(fault)
        return fault

    def _refuse_by_clock(self, fault: Result | None) -> None:
        """Make sure that a program had its CPU time, or is tried where it will have it."""
        if fault is None or not fault.is_by_clock:
            return
        if not self.is_last:
            raise Squeezed(fault.why)
        raise TrialLost(
            "much time has passed, also where nothing else ran, and its CPU time has not"
        )

    async def _load(self, session: Session) -> Result | None:
        if self.problem.entry_point:
            parts = {name: getattr(self.problem, name) for name in ("entry_point", "preamble")}
            text = json.dumps({**parts, "code": self.code})
            done = await self._put(session, "load_function", text, cpu_s=self.timeout_s)
        else:
            done = await self._put(session, "load_program", self.code)
        return None if done.status == "ok" else self._fault(done)

    async def _result(
        self, session: Session, test: CodeTest, checkers: Checkers
    ) -> tuple[Result, bool]:
        """A test's result, and whether the session has lost the program over it."""
        if test.kind == CHECK:
            try:
                async with checkers.one() as checker:
                    return await self._checked(session, checker, test)
            except _CheckBroke:
                pass
            try:
                async with checkers.one(is_fresh=True) as checker:
                    return await self._patient._checked(session, checker, test)
            except _CheckBroke as again:
                return again.result, False
        if test.kind == STDIN:
            return await self._printed(session, test)
        assert test.kind == CALL
        said, done = await self._called(session, harness.encode([json.loads(test.input), {}]))
        if said is None:
            return self._fault(done), done.state_lost
        if "raised" in said:
            return Result(ERROR, str(said["said"])), False
        if same_value(str(said["value"]), test.output):
            return Result(PASSED), False
        return Result(FAILED, f"it returned {_shown(str(said['value']))}"), False

    async def _printed(self, session: Session, test: CodeTest) -> tuple[Result, bool]:
        """Of a test with an input, by what the program prints."""
        expected = len(test.output.encode())
        if expected > MOST_OUTPUT:
            return Result(UNJUDGED, "the expected output is too long"), False
        most = min(MOST_OUTPUT, max(_LEAST_OUTPUT, 2 * expected))
        done = await self._put(session, "run_program", test.input, most, self.timeout_s)
        if done.status != "ok" or done.dropped:
            return self._fault(done), done.state_lost
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
        """The program's answers go to the check, and its questions to the program, through us.

        A check that breaks before it has had an answer judges no program. Afterwards an answer may
        have broken it: then the program has not passed.

        Raises:
            _CheckBroke: its session gave no word.
        """
        parts = {"preamble": self.problem.preamble, "entry_point": self.problem.entry_point}
        text = json.dumps({**parts, "check": test.input})
        word = await self._put(checker, "begin_check", text, MOST_OUTPUT)
        left_s = self.clock * self.timeout_s
        answers = 0
        while True:
            told = _last_json(word)
            if word.status != "ok" or word.dropped or not told.keys() & _WORDS:
                raise _CheckBroke(_broken_by(answers, word))
            if told.get("broken") == harness.DIED:
                raise _CheckBroke(_broken_by(answers, word))
            if "broken" in told:
                return Result(UNJUDGED, f"the check itself is broken: {told['broken']}"), False
            if "call" not in told and not answers:
                says = str(told.get("failed", "it passes whatever there is"))
                return Result(UNJUDGED, f"the check asks the program nothing: {says}"), False
            if "call" not in told:
                is_passed = told == {"passed": True}
                return Result(PASSED if is_passed else FAILED, str(told.get("failed", ""))), False
            if left_s <= 0:
                is_by_clock = self.clock < _LAST_CLOCK and not self.is_last
                return Result(TIMEOUT, "its calls take long together", is_by_clock), False
            said, done = await self._called(session, str(told["call"]))
            left_s -= done.duration_s
            if said is None:
                return self._fault(done), done.state_lost
            answers += 1
            word = await self._put(checker, "go_on", json.dumps(said), MOST_OUTPUT)

    def _fault(self, done: Execution) -> Result:
        """What a cell says that did not come to a result.

        Raises:
            Squeezed: it may be the fault of others.
        """
        if done.dropped:
            return Result(ERROR, "it printed more than can be looked at")
        if done.status == "timeout":
            return Result(TIMEOUT, done.notice.strip("[]"), is_by_clock=True)
        last = done.output.rstrip().rpartition("\n")[2]
        if last.startswith(harness.OUT_OF_TIME):
            return Result(TIMEOUT, last)
        why = (done.notice.strip("[]") or last)[:300]
        is_killed = "SIGKILL" in done.notice or last.startswith(harness.KILLED)
        if not self.is_alone and (is_killed or last.startswith(harness.NO_ROOM)):
            raise Squeezed(why)
        return Result(ERROR, why)

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
            taken = await session.execute(f"take({packed[:_PIECE]!r})", _SETUP_S, _LEAST_OUTPUT)
            if taken.status != "ok":
                raise SandboxError(f"a text could not be brought in: {taken.text}")
            packed = packed[_PIECE:]
        limit = "" if cpu_s is None else f", {cpu_s!r}"
        cell = f"{function}({packed!r}{limit})"
        return await session.execute(cell, self.clock * self.timeout_s, most)


def counted(results: Sequence[Result], shown: Sequence[bool] = ()) -> TrialCounts:
    """How many tests came to what; of each, whether the question shows it.

    The first fault is that of a test that was judged, if there is one.
    """
    number = Counter(result.verdict for result in results)
    faults = [
        (result.verdict == UNJUDGED, place, result)
        for place, result in enumerate(results, start=1)
        if result.verdict != PASSED
    ]
    fault = ""
    if faults:
        _, place, result = min(faults, key=operator.itemgetter(0, 1))
        why = f", {result.why}" if result.why else ""
        fault = well_formed(f"test {place}: {result.verdict}{why}")
    return TrialCounts(
        tests=len(results),
        passed=number[PASSED],
        failed=number[FAILED],
        timeouts=number[TIMEOUT],
        errors=number[ERROR],
        not_run=number[NOT_RUN],
        unjudged=number[UNJUDGED],
        shown=sum(
            is_shown and result.verdict == PASSED
            for result, is_shown in zip(results, shown, strict=False)
        ),
        first_fault=fault,
    )


def _broken_by(answers: int, word: Execution) -> Result:
    """What it is where a check broke, after so many answers of the program."""
    why = word.notice.strip("[]") or harness.DIED
    if not answers:
        return Result(UNJUDGED, f"the check itself is broken: {why}")
    verdict = TIMEOUT if word.status == "timeout" else FAILED
    return Result(verdict, f"the check broke over its answer: {why}")


async def _begun(sandbox: Sandbox, name: str, seed: int) -> Session:
    """A fresh session with the harness in it."""
    session = await opened(sandbox, name, seed)
    try:
        await _begin(session)
    except BaseException:
        await session.close()
        raise
    return session


async def _begin(session: Session) -> None:
    """Bring the harness into a session.

    Raises:
        SandboxError: it cannot be brought in.
    """
    done = await session.execute(_HARNESS, _SETUP_S, _LEAST_OUTPUT)
    if done.status != "ok":
        raise SandboxError(f"the harness could not be loaded: {done.text}")


def _last_json(done: Execution) -> dict[str, object]:
    """The object in the last line of a cell's output; an empty one where there is none."""
    try:
        said = json.loads(done.output.rstrip("\n").rpartition("\n")[2])
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _shown(text: str) -> str:
    return repr(text if len(text) <= 100 else f"{text[:100]}…")
