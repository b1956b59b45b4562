"""The live panel, looked at through a pseudo-terminal, and the plain lines without one."""

import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path

import pytest

from beam_sdg.models import ModelSettings
from beam_sdg.panel import Row, _Phase, cost, duration
from beam_sdg.recipes.recipe import Context
from beam_sdg.stages import Stage
from transforms.engines.engine import Attempted, Failure, Reply
from transforms.engines.progress import Progress, forget_progress, progress_of, under_way
from transforms.reading import Text
from transforms.records import Problem

ROOT = Path(__file__).parents[2]


def seen_in_a_terminal(*arguments: object, columns: int) -> tuple[int, str]:
    """The exit code of a command and every byte that it wrote to a terminal."""
    parent, child = pty.openpty()
    ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "beam_sdg", *map(str, arguments)]
    with subprocess.Popen(
        command, stdin=child, stdout=child, stderr=child, env=environment, cwd="/"
    ) as process:
        os.close(child)
        text, end = b"", time.monotonic() + 120
        while time.monotonic() < end:
            if select.select([parent], [], [], 0.1)[0]:
                try:
                    read = os.read(parent, 65536)
                except OSError:  # the other side has closed
                    break
                text += read
            elif process.poll() is not None:
                break
        code = process.wait(timeout=30)
    os.close(parent)
    return code, text.decode()


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_shows_a_live_panel(tmp_path, columns):
    """Rows that count up in place, with rate, tokens, cost, rejects and time left."""
    code, text = seen_in_a_terminal(
        "infinibyte", f"--output={tmp_path / 'out'}", "--num_records=24", "--in_flight=2",
        "--rehearsal=latency_s=0.12,malformed=0.1", "--price_in=3", "--price_out=15",
        columns=columns,
    )  # fmt: skip
    assert code == 0, text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    for title in ("flight", "in/out", "cost", "rejects", "left"):
        assert title in plain
    counts = [int(n) for n in re.findall(r"problem_candidates +(\d+)/24", plain)]
    assert len(set(counts)) >= 3
    assert counts == sorted(counts)
    assert re.search(
        r"problem_candidates +\d+/24 +[1-4] +\d+\.\d +[\d.]+k?/[\d.]+k? +\$0\.\d\d", plain
    )
    assert re.search(r"\d+ s", plain)
    assert "\x1b[1A" in text  # the table is redrawn in place
    assert "problem_candidates: " in plain
    assert "24 rows" not in plain.splitlines()[-1]


def test_without_a_terminal_there_are_plain_lines(beam_sdg_command, tmp_path):
    """A line when a phase begins and one for each finished stage; no control characters."""
    done = beam_sdg_command(
        "infinibyte", f"--output={tmp_path / 'out'}", "--rehearsal=malformed=0.3"
    )
    assert "\x1b" not in done.stderr + done.stdout
    lines = done.stderr.splitlines()
    assert "running problem_candidates, best_problem, evals, solution with rehearsal" in lines
    assert any(re.fullmatch(r"evals: \d rows(, rejects: \d malformed_answer)?", s) for s in lines)


def test_progress_counts_what_came_back():
    """Answers with their tokens, failures and retries; rows and rejects make up what is done."""
    progress = Progress()
    progress.add(Attempted(Reply("yes", "", "stop", 100, 20), attempts=3))
    progress.add(Attempted(Failure("request_refused", "HTTP 400"), attempts=1))
    progress.finish(None, asked=False)
    progress.finish("request_refused", asked=True)
    with progress.asking():
        assert progress.in_flight == 0
        with under_way():
            assert progress.in_flight == 1
    with under_way():
        assert progress.in_flight == 0
    assert (progress.done, progress.asked) == (2, 1)
    assert (progress.answered, progress.failed, progress.retries) == (1, 1, 2)
    assert (progress.prompt_tokens, progress.completion_tokens) == (100, 20)


def test_a_line_holds_all_that_the_panel_shows():
    """Done, total, rate, tokens, cost, rejects, time left."""
    progress = Progress(rows=50, in_flight=8, prompt_tokens=2_000_000, completion_tokens=12_300)
    progress.finish("malformed_answer", asked=True)
    models = ModelSettings(price_in=1.0, price_out=10.0)
    assert Row("evals", 1051, progress, 10.0, models).line() == (
        "evals: 51 of 1,051 done, 8 in flight, 10.0/s, 2.0M/12.3k tokens in/out, $2.12, "
        "1 rejects, 1 min 40 s left"
    )
    assert Row("evals", None, progress, 0.0, ModelSettings()).line() == (
        "evals: 51 done, 8 in flight, 0.0/s, 2.0M/12.3k tokens in/out, 1 rejects"
    )


def test_asks_about_the_same_rows_have_the_same_total():
    """Of three asks the last two take what the first keeps, whatever one of them rejects.

    What takes other rows has another, or none where nobody knows how many these are.
    """
    context = Context()

    def ask(name: str, after: str, samples: int) -> Stage:
        return context.ask(
            name, after=after, prompt="tir/novelty", variables=str, reader=Text(), keep=str,
            row_type=Problem, samples=samples,
        )  # fmt: skip

    forget_progress()  # of runs before this test
    stages = [ask("first", "problems", 2), ask("left", "first", 3), ask("right", "first", 5)]
    stages += [ask("beside", "other", 2), ask("unknown", "elsewhere", 2)]
    progress_of("first").finish("malformed_answer", asked=True)
    progress_of("left").finish("malformed_answer", asked=True)
    try:
        models = {stage.name: ModelSettings() for stage in stages}
        rows = _Phase(stages, {"problems": 10, "other": 4}).rows(models)
        assert [row.cells()[1] for row in rows] == ["1/20", "1/57", "0/95", "0/8", "0"]
    finally:
        forget_progress()


def test_cost_is_unknown_without_a_price():
    """None, not zero; a price of one side is enough."""
    assert cost(ModelSettings(), 10, 10) is None
    assert cost(ModelSettings(price_out=2.0), 10**6, 10**6) == 2.0


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0 s"), (59.4, "59 s"), (61, "1 min 01 s"), (7260, "2 h 01 min")]
)
def test_a_duration_is_short(seconds, shown):
    """The two units that matter."""
    assert duration(seconds) == shown
