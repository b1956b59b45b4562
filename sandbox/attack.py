"""Attacks on a sandbox, and what must hold after each: the conformance suite.

A case is a line of JSON: `name`, `group`, `cells` (run in order in one session, 2 s each, 4,000
bytes of output), and, in ours, `expect`: for each cell its status, or `status!` where the state
must be lost, or `*`; and `contains`, a text that the last output must have. After every case:

* each answer came within its time limit, the grace and a second, and is a valid string;
* the session answers `40+2` with `42`;
* a session opened before, the victim, still has its variable and its file;
* once the session is closed, nothing that it started is left;
* another session can be opened, and serves.
"""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal, Protocol

import pydantic

from sandbox.contract import GRACE_S, SLACK_S, Execution, Sandbox, SandboxError, Session
from sandbox.pool import PooledSession

OWN_CASES = Path(__file__).with_name("attacks.jsonl")
TIMEOUT_S, OUTPUT_LIMIT = 2.0, 4000
GONE_WITHIN_S = 5.0
# Texts that an attack on isolation prints only where it has got through.
BREACHES = ("CONNECTED", "LEAK", "RAISED", "CROSS-SESSION", "BREACH")

Group = Literal["time", "memory", "processes", "output", "protocol", "files", "isolation", "inputs"]
Expected = Literal["ok", "error", "timeout", "died", "ok!", "error!", "timeout!", "died!", "*"]

VICTIM = """
import os, socket
secret = 'kept'
open('victim.txt', 'w').write('kept')
_listening = []
for family, address in ((socket.AF_UNIX, '\\0victim'), (socket.AF_INET, ('127.0.0.1', 5555))):
    try:
        _listening.append(socket.socket(family))
        _listening[-1].bind(address)
        _listening[-1].listen()
    except OSError:
        pass
"""
VICTIM_STATE = "print(secret, open('victim.txt').read())"


@dataclasses.dataclass(frozen=True)
class Case:
    """One attack."""

    __pydantic_config__ = pydantic.ConfigDict(extra="forbid")

    name: str
    group: Group
    cells: Annotated[tuple[str, ...], pydantic.Field(min_length=1)]
    expect: tuple[Expected, ...] = ()
    contains: str = ""

    def __post_init__(self) -> None:
        if len(self.expect) > len(self.cells):
            raise ValueError(f"{len(self.expect)} expectations of {len(self.cells)} cells")


_CASE = pydantic.TypeAdapter(Case)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one attack came to: no fault where all that must hold held."""

    case: Case
    executions: tuple[Execution, ...]
    faults: tuple[str, ...]


class CaseError(Exception):
    """A list of cases that cannot be read."""


def read_cases(path: Path) -> list[Case]:
    """The cases of a file.

    Raises:
        CaseError: the file cannot be read, a line is not a case, or there is none.
    """
    cases = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CaseError(f"{path} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        try:
            cases.append(_CASE.validate_json(line))
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise CaseError(
                f"{path}, line {number}: no case, {where and f'{where}: '}{first['msg']}; it needs "
                "name, group and cells, and may have expect and contains"
            ) from error
    if not cases:
        raise CaseError(f"{path} has no case; a line of it is one")
    return cases


class Witness(Protocol):
    """Sees from outside what a session's processes are."""

    async def left_of(self, session: Session, victim: Session) -> Sequence[str]:
        """What a closed session has left running."""
        ...


async def attack(
    sandbox: Sandbox, cases: Iterable[Case], witness: Witness | None = None
) -> AsyncIterator[Outcome]:
    """Run the cases one after the other, each in a session of its own beside a victim.

    Raises:
        SandboxError: the sandbox itself failed.
    """
    victim = await sandbox.open("victim", 1)
    await _victim_settles(victim)
    try:
        for case in cases:
            faults: list[str] = []
            executions: list[Execution] = []
            try:
                session = await sandbox.open(case.name, 2)
                try:
                    await _run(session, case, executions, faults)
                finally:
                    await session.close()
                if witness is not None:
                    await _nothing_left(witness, session, victim, faults)
            except SandboxError as error:
                faults.append(f"the machinery failed: {error}")
            try:
                answer = await _ask(victim, VICTIM_STATE)
            except SandboxError as error:
                answer = str(error)
            _same(faults, "the victim", answer, "kept kept")
            if answer != "kept kept":
                await victim.close()
                victim = await sandbox.open("victim", 1)
                await _victim_settles(victim)
            yield Outcome(case, tuple(executions), tuple(faults))
        fresh = await sandbox.open("after all", 3)
        if await _ask(fresh, "6*7") != "42":
            raise SandboxError("after all attacks, a fresh session does not serve")
        await fresh.close()
    finally:
        await victim.close()


async def _run(
    session: Session, case: Case, executions: list[Execution], faults: list[str]
) -> None:
    for cell in case.cells:
        before = time.monotonic()
        executions.append(await session.execute(cell, TIMEOUT_S, OUTPUT_LIMIT))
        took_s = time.monotonic() - before
        if took_s > TIMEOUT_S + GRACE_S + SLACK_S:
            faults.append(f"cell {len(executions)} was answered after {took_s:.1f} s")
    last = (await _ask(session, "40+2")).splitlines()[-1]  # after what a child may still print
    _same(faults, "the session", last, "42")
    faults += verdict(case, executions)


def verdict(case: Case, executions: Sequence[Execution]) -> list[str]:
    """What was expected of a case's answers and is not so."""
    faults = []
    for number, execution in enumerate(executions, 1):
        if len(execution.output.encode()) > OUTPUT_LIMIT + 100:
            faults.append(f"cell {number} gave {len(execution.output)} characters")
    for number, (wanted, execution) in enumerate(zip(case.expect, executions, strict=False), 1):
        got = execution.status + "!" * execution.state_lost
        if wanted not in ("*", got):
            faults.append(f"cell {number} should be {wanted}, and was {got}")
    if case.contains not in executions[-1].output:
        faults.append(f"its output should have {case.contains!r}: {executions[-1].output[-200:]!r}")
    if case.group == "time" and not case.expect and executions[-1].status != "timeout":
        faults.append(f"should be timeout, and was {executions[-1].status}")
    if case.group in ("inputs", "isolation") and any(one.state_lost for one in executions):
        faults.append("its state was lost")
    if case.group == "isolation":
        faults += [
            f"it printed {breach}"
            for breach in BREACHES
            if any(breach in execution.output for execution in executions)
        ]
    return faults


async def _victim_settles(victim: Session) -> None:
    done = await victim.execute(VICTIM, 10, OUTPUT_LIMIT)
    if done.status != "ok":
        raise SandboxError(f"the victim could not settle: {done.text}")


async def _ask(session: Session, code: str) -> str:
    """What a harmless cell answers; on a machine under attack it may take its time."""
    return (await session.execute(code, 10, OUTPUT_LIMIT)).text


def _same(faults: list[str], who: str, got: str, wanted: str) -> None:
    if got != wanted:
        faults.append(f"{who} answered {got[-300:]!r} instead of {wanted!r}")


async def _nothing_left(
    witness: Witness, session: Session, victim: Session, faults: list[str]
) -> None:
    deadline = time.monotonic() + GONE_WITHIN_S
    left: Sequence[str] = await witness.left_of(session, victim)
    while left and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
        left = await witness.left_of(session, victim)
    if left:
        faults.append(f"still running: {', '.join(left)[:300]}")


class DockerWitness:
    """Asks the Docker engine what runs in a container."""

    def __init__(self, processes_in: Callable[[str], Sequence[str]]) -> None:
        self._processes_in = processes_in

    async def left_of(self, session: Session, victim: Session) -> Sequence[str]:
        assert isinstance(session, PooledSession) and isinstance(victim, PooledSession)
        processes = await asyncio.to_thread(self._processes_in, session.box.id)
        return processes[2:] if session.box is victim.box else processes
