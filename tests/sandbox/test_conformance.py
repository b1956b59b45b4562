"""One suite on every implementation: the attacks, ours and those beside the checkout."""

import asyncio
import resource
import time
import warnings
from pathlib import Path

import pytest

from sandbox import DockerSandbox, LocalSandbox, engine
from sandbox.attack import (
    OUTPUT_LIMIT,
    OWN_CASES,
    TIMEOUT_S,
    Case,
    CaseError,
    DockerWitness,
    attack,
    read_cases,
    verdict,
)
from sandbox.contract import Execution

CONTAINERS = {
    "default": DockerSandbox(max_sessions=4, max_running=4, warm=1),
    "dense": DockerSandbox(max_sessions=8, max_running=8, sessions_per_container=8),
    "attach": DockerSandbox(max_sessions=4, max_running=4, warm=1, transport="attach"),
}
OWN = read_cases(OWN_CASES)
# What a sandbox without walls can be asked without harm to the machine that runs the tests.
HARMLESS = {"time", "output", "inputs"}
SLOW_WITHOUT_THE_IMAGE = {"plot"}


def attacked(settings, cases, witness=None):
    """What each attack came to, and by how many MB this process has grown.

    The machine is nobody's alone: where it may have been too slow, an attack gets a second try,
    and no third.
    """

    async def run(cases):
        sandbox = settings.open()
        try:
            return [outcome async for outcome in attack(sandbox, cases, witness)]
        finally:
            await sandbox.close()

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = asyncio.run(run(cases))
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    for place, outcome in enumerate(outcomes):
        if outcome.faults and all(map(may_be_of_the_clock, outcome.faults)):
            [outcomes[place]] = asyncio.run(run([outcome.case]))
    return outcomes, grown_mb


# What an attack comes to where the machine is slow; all else is a fault of the sandbox.
OF_THE_CLOCK = (
    *("was answered after", "and was timeout", "still running", "the machinery failed"),
    *("its state was lost", "the session answered"),
)


def may_be_of_the_clock(fault):
    """Not where something got out, another session was hurt, or an answer was wrong."""
    return any(what in fault for what in OF_THE_CLOCK)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("cell 1 was answered after 3.8 s", True),
        ("cell 1 should be timeout!, and was timeout", True),
        ("still running: sleep 1000", True),
        ("cell 1 should be error, and was ok", False),
        ("its output should have '42': '41'", False),
        ("it printed BREACH", False),
        ("cell 1 gave 9000 characters", False),
        ("the victim answered '' instead of 'kept kept'", False),
    ],
)
def test_only_what_a_slow_machine_can_do_gets_a_second_try(fault, expected):
    """What got out has failed."""
    assert may_be_of_the_clock(fault) == expected


def held_off(outcomes, cases):
    faults = [f"{o.case.group} {o.case.name}: {'; '.join(o.faults)}" for o in outcomes if o.faults]
    assert not faults, "\n".join(faults)
    assert [outcome.case for outcome in outcomes] == list(cases)


@pytest.mark.parametrize("mode", CONTAINERS)
def test_containers_hold_off_every_attack_of_ours(docker, mode):
    """Answers in time, the victim untouched, nothing left, and no memory of floods on the host."""
    witness = DockerWitness(lambda container: engine.processes_in(docker, container))
    cases = OWN if mode != "attach" else [case for case in OWN if case.group == "protocol"]
    outcomes, grown_mb = attacked(CONTAINERS[mode], cases, witness)
    held_off(outcomes, cases)
    assert grown_mb < 100


@pytest.mark.parametrize("mode", ["default", "dense"])
def test_containers_hold_off_every_attack_of_the_shared_list(docker, data, mode):
    """The same checks on cases that others wrote."""
    path = data.parent / "sandbox" / "attacks.jsonl"
    if not path.is_file():
        pytest.skip(f"there is no {path}")
    cases = read_cases(path)
    witness = DockerWitness(lambda container: engine.processes_in(docker, container))
    outcomes, _ = attacked(CONTAINERS[mode], cases, witness)
    held_off(outcomes, cases)


def test_processes_answer_as_containers_do():
    """The local sandbox has no walls, but the same time, output and language; and it warns."""
    harmless = [case for case in OWN if case.group in HARMLESS]
    cases = [case for case in harmless if case.name not in SLOW_WITHOUT_THE_IMAGE]
    with pytest.warns(UserWarning, match="isolates nothing"):
        outcomes, _ = attacked(LocalSandbox(max_sessions=4, max_running=4), cases)
    held_off(outcomes, cases)


def runs(pid):
    """Whether a process is there and no mere entry of a dead one."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_local_sandbox_leaves_no_process_and_no_folder(tmp_path, monkeypatch):
    """Closed, it is as if it had not been."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    async def run():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sandbox = LocalSandbox(max_sessions=2).open()
        session = await sandbox.open("a", 1)
        pid = (await session.execute("import os; os.getpid()", 5, 100)).text
        await sandbox.close()
        return int(pid)

    pid = asyncio.run(run())
    deadline = time.monotonic() + 5
    while runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not runs(pid)
    assert list(tmp_path.iterdir()) == []


GOOD = '{"name": "a", "group": "time", "cells": ["1"]}'


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"name": "b"}', "group: Field required.*name, group and cells"),
        (GOOD.replace("time", "nogroup"), "group: Input should be 'time'"),
        (GOOD.replace('["1"]', '"1+1"'), "cells: Input should be a valid array"),
        (GOOD.replace('["1"]', "[]"), "cells: "),
        (GOOD.replace("}", ', "expect": ["okk"]}'), "expect.0: Input should be 'ok'"),
        (GOOD.replace("}", ', "expect": ["ok", "ok"]}'), "2 expectations of 1 cells"),
        (GOOD.replace("}", ', "expects": ["ok"]}'), "expects: Unexpected keyword"),
        ("no JSON", "Invalid JSON"),
    ],
)
def test_a_line_that_is_no_case_is_named(tmp_path, line, said):
    """File, line and what it needs: a typo is neither an attack that got through nor one held."""
    path = tmp_path / "cases.jsonl"
    path.write_text(f"{GOOD}\n{line}\n")
    with pytest.raises(CaseError, match=rf"cases.jsonl, line 2: no case, .*{said}"):
        read_cases(path)


@pytest.mark.parametrize(("content", "said"), [(b"", "has no case"), (b"\xff\n", "cannot be read")])
def test_a_file_without_cases_is_refused(tmp_path, content, said):
    """Nothing held off is no proof."""
    path = tmp_path / "cases.jsonl"
    path.write_bytes(content)
    with pytest.raises(CaseError, match=said):
        read_cases(path)


@pytest.mark.parametrize(
    ("case", "execution", "fault"),
    [
        (Case("a", "time", ("",)), Execution("ok", ""), "should be timeout"),
        (Case("a", "output", ("",), ("ok",)), Execution("died", "", 0, 0, True), "was died!"),
        (Case("a", "output", ("",)), Execution("ok", "x" * 9000), "9000 characters"),
        (Case("a", "output", ("",), (), "42"), Execution("ok", "41"), "should have '42'"),
        (Case("a", "isolation", ("",)), Execution("ok", "BREACH"), "printed BREACH"),
        (Case("a", "inputs", ("",)), Execution("died", "", 0, 0, True), "state was lost"),
    ],
)
def test_a_verdict_finds_what_is_not_as_expected(case, execution, fault):
    """Each check can fail."""
    assert any(fault in found for found in verdict(case, [execution]))


def test_the_suite_has_every_group_and_its_limits():
    """Those of the acceptance."""
    groups = {case.group for case in OWN}
    assert groups == {
        *("time", "memory", "processes", "output"),
        *("protocol", "files", "isolation", "inputs"),
    }
    assert (TIMEOUT_S, OUTPUT_LIMIT) == (2.0, 4000)
