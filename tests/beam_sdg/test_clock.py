"""A clock that jumps by hours while a run goes on changes nothing: intervals are monotonic."""

import ast
import itertools
import sys
import threading
import time
import types
from pathlib import Path

import pytest

from beam_sdg.claims import SharedClaims
from beam_sdg.cli import main
from beam_sdg.trace import _turns
from tests.planned import files_of
from transforms.engines.engine import Attempted, Failure, Reply
from transforms.engines.stops import Stops
from transforms.engines.store import AnswerStore
from transforms.errors import Stopped

ROOT = Path(__file__).parents[2]
PACKAGES = ("beam_sdg", "transforms", "sandbox", "prompts")
HOURS = (0, 5, -7, 24, -48)
# Facts about an answer, the date of a server without one of its own, the date for a template.
READ_THE_CLOCK = {
    "transforms/engines/store.py",
    "transforms/engines/wire.py",
    "beam_sdg/model_check/template.py",
}


@pytest.fixture
def jumping_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of day, by hours another at every look of ours; Beam pickles the true one."""
    looks = itertools.cycle(HOURS)
    jumping = types.SimpleNamespace(**vars(time))
    jumping.time = lambda: time.time() + 3600 * next(looks)
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in PACKAGES and getattr(module, "time", None) is time:
            monkeypatch.setattr(module, "time", jumping)


def reads_the_clock(path: Path) -> bool:
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    names = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "date.today"}
    return any(ast.unparse(call.func).removeprefix("datetime.") in names for call in calls)


def test_nothing_measures_by_the_time_of_day():
    """Who looks at it keeps a date, and compares it with nothing of its own."""
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    found = {str(path.relative_to(ROOT)) for path in paths if reads_the_clock(path)}
    assert found == READ_THE_CLOCK


def test_a_run_under_a_jumping_clock_makes_the_same_data(tmp_path, stub, request):
    """With limits per minute, a deadline that is far away, and a panel: within seconds."""
    url = stub({"correctable": 0.1})
    flags = ["infinibyte", "--num_records=20", "--model=m", f"--endpoint={url}"]
    flags += ["--requests_per_minute=3000", "--tokens_per_minute=10000000", "--deadline=1h"]
    assert main([*flags, f"--output={tmp_path / 'calm'}"]) == 0
    request.getfixturevalue("jumping_clock")
    began = time.monotonic()
    assert main([*flags, f"--output={tmp_path / 'jumping'}"]) == 0
    assert time.monotonic() < began + 120
    assert files_of(tmp_path / "jumping") == files_of(tmp_path / "calm")


def test_a_deadline_is_kept_under_a_jumping_clock(tmp_path, stub, jumping_clock):
    """Neither at once nor hours later."""
    url = stub({"latency_s": 1.0})
    flags = ["infinibyte", "--num_records=40", "--model=m", "--in_flight=1", f"--endpoint={url}"]
    began = time.monotonic()
    assert main([*flags, "--deadline=6s", f"--output={tmp_path / 'out'}"]) == Stopped.exit_code
    assert 6 <= time.monotonic() - began < 90
    report = (tmp_path / "out" / "report.txt").read_text()
    assert "stopped by --deadline 6s" in report
    answers = (tmp_path / "out" / ".work" / "store").rglob("[0-9][0-9]/*.jsonl")
    assert sum(path.read_text().count("\n") for path in answers) <= 7


def test_a_claim_is_dead_by_the_time_that_was_watched(tmp_path, jumping_clock):
    """One that beats is left alone for long; one that does not, taken over soon."""
    done: list[str] = []
    units = {str(tmp_path / "unit"): "unit"}
    watching = SharedClaims(2, 2, dead_after_s=1.0)

    def work(name: str, seconds: float) -> None:
        time.sleep(seconds)
        done.append(name)

    holding = threading.Thread(
        target=SharedClaims(1, 2, dead_after_s=1.0).work_through,
        args=(units, lambda unit: bool(done), lambda unit, _: work("first", 2.5), lambda _: None),
    )
    holding.start()
    time.sleep(0.3)
    watching.work_through(
        units, lambda unit: bool(done), lambda unit, _: work("second", 0), lambda _: None
    )
    holding.join()
    assert done == ["first"]
    silent = tmp_path / "silent.claim-1"
    silent.write_text("held 0000000001 1 nowhere\n")
    began = time.monotonic()
    watching.work_through(
        {str(tmp_path / "silent"): "silent"},
        lambda unit: "second" in done,
        lambda unit, _: work("second", 0),
        lambda _: None,
    )
    assert 1.0 <= time.monotonic() - began < 10


def test_a_worker_hears_of_a_stop_under_a_jumping_clock(tmp_path, jumping_clock):
    """It looks every two seconds, whatever the time of day."""
    store = str(tmp_path / "store")
    worker, main_process = Stops(store, watch=True), Stops(store)
    assert worker.why == ""
    main_process.stop("a limit")
    main_process.tell()
    time.sleep(2.2)
    assert worker.why == "a limit"


def test_an_answer_is_shown_though_the_clock_was_set_back_after_a_refusal(tmp_path, monkeypatch):
    """What a key was answered came after it was refused, whatever the dates say."""
    store, record, key = AnswerStore(str(tmp_path), "ask"), "0005" + "0" * 28, "a" * 32
    for at, outcome in ((2e9, Failure("timed_out", "")), (1e9, Reply("late", "", "stop", 1, 1))):
        monkeypatch.setattr(time, "time", lambda at=at: at)
        with store.window([]) as window:
            window.append(5, key, Attempted(outcome, 1, 0.0), record=record, sample=0)
    row = {"id": record, "call": {"ask": "ask", "keys": [key]}}
    [turn] = _turns(str(tmp_path), "ask", [row])
    assert turn["reply"]["text"] == "late"
