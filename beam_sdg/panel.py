"""What a user sees while a run goes on: a live panel, or plain lines where there is no terminal."""

import collections
import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

import rich.console
import rich.live
import rich.table

from beam_sdg.models import ModelSettings
from beam_sdg.runs import Watcher
from beam_sdg.stages import Stage, StageManifest
from transforms.engines.progress import Progress, forget_progress, progress_of

LINE_EVERY_S = 10.0
RATE_OVER_S = 15.0
TITLES = ("stage", "done", "in\nflight", "/s", "tokens\nin/out", "cost", "rejects", "left")
Prices = Mapping[str, ModelSettings]


class Panel(Watcher):
    """Shows how far each asked stage of the running phase is.

    On a terminal a table that is redrawn and vanishes with its phase; elsewhere a line per stage
    every ten seconds. Either way a line stays for each stage that is done.
    """

    def __init__(self, console: rich.console.Console, models: Prices) -> None:
        self._console = console
        self._models = models
        self._phase: _Phase | None = None
        self._lock = threading.Lock()
        self._stop = threading.Event()

    @contextlib.contextmanager
    def shown(self) -> Iterator["Panel"]:
        """While a run goes on."""
        if self._console.is_terminal:
            live = rich.live.Live(
                console=self._console,
                get_renderable=self._table,
                refresh_per_second=4,
                transient=True,
                redirect_stdout=False,
            )
            with live:
                yield self
            return
        reporter = threading.Thread(target=self._print_lines, name="panel", daemon=True)
        reporter.start()
        try:
            yield self
        finally:
            self._stop.set()
            reporter.join()

    def began(self, stages: Sequence[Stage], there: Mapping[str, int]) -> None:
        """A phase began."""
        forget_progress()
        with self._lock:
            self._phase = _Phase(stages, there)
        asked = [stage for stage in stages if stage.engine]
        with_model = f" with {asked[0].engine.model}" if asked and asked[0].engine else ""
        names = ", ".join(stage.name for stage in stages)
        self._console.print(f"running {names}{with_model}")

    def published(self, manifest: StageManifest) -> None:
        """A stage is done: its line stays."""
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in manifest.rejects.items())
        rejected = f", rejects: {reasons}" if reasons else ""
        self._console.print(f"{manifest.stage}: {manifest.rows:,} rows{rejected}")
        with self._lock:
            if self._phase:
                self._phase.done(manifest.stage)

    def waits(self, holders: str) -> None:
        """Other processes have all that is left of the phase."""
        self._console.print(f"waiting for {holders}")

    def _print_lines(self) -> None:
        while not self._stop.wait(LINE_EVERY_S):
            for row in self._rows():
                self._console.print(row.line())

    def _rows(self) -> list["Row"]:
        with self._lock:
            return self._phase.rows(self._models) if self._phase else []

    def _table(self) -> rich.table.Table:
        priced = any(cost(models, 0, 0) is not None for models in self._models.values())
        titles = [title for title in TITLES if priced or title != "cost"]
        table = rich.table.Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for number, title in enumerate(titles):
            table.add_column(title, justify="left" if number == 0 else "right", no_wrap=True)
        for row in self._rows():
            cells = zip(TITLES, row.cells(), strict=True)
            table.add_row(*(cell for title, cell in cells if title in titles))
        return table


class Row:
    """One asked stage at one moment."""

    def __init__(
        self, name: str, total: int | None, progress: Progress, rate: float, models: ModelSettings
    ) -> None:
        self._name = name
        self._total = total
        self._progress = progress
        self._rate = rate
        self._models = models

    def cells(self) -> tuple[str, ...]:
        """Its cells, in the order of the panel's columns."""
        at = self._progress
        return (
            self._name,
            f"{at.done:,}" + ("" if self._total is None else f"/{self._total:,}"),
            f"{at.in_flight:,}",
            f"{self._rate:.1f}",
            f"{_short(at.prompt_tokens)}/{_short(at.completion_tokens)}",
            self._cost(),
            f"{at.rejects.total():,}",
            self._left(),
        )

    def line(self) -> str:
        """All of it on one plain line."""
        name, done, in_flight, rate, tokens, cost, rejects, left = self.cells()
        done = done.replace("/", " of ")
        spent = f", {cost}" if cost != "–" else ""
        wait = f", {left} left" if left != "–" else ""
        return (
            f"{name}: {done} done, {in_flight} in flight, {rate}/s, {tokens} tokens in/out"
            f"{spent}, {rejects} rejects{wait}"
        )

    def _cost(self) -> str:
        spent = cost(self._models, self._progress.prompt_tokens, self._progress.completion_tokens)
        return "–" if spent is None else f"${spent:,.2f}"

    def _left(self) -> str:
        if self._total is None or not self._rate:
            return "–"
        return duration((self._total - self._progress.done) / self._rate)


class _Phase:
    """The asked stages of the running phase, and their recent rates."""

    def __init__(self, stages: Sequence[Stage], there: Mapping[str, int]) -> None:
        self._asks = [stage for stage in stages if stage.ask]
        self._there = there
        self._finished: set[str] = set()
        self._seen: dict[str, collections.deque[tuple[float, int]]] = {
            stage.name: collections.deque([(time.monotonic(), 0)]) for stage in self._asks
        }

    def done(self, stage: str) -> None:
        self._finished.add(stage)

    def rows(self, models: Prices) -> list[Row]:
        rows: list[Row] = []
        coming: dict[str, int | None] = {**self._there}
        for stage in self._asks:
            assert stage.ask is not None
            progress = progress_of(stage.name)
            taken = coming.get(stage.inputs[0])
            total = None if taken is None else taken * stage.ask.samples
            if stage.name not in self._finished:
                rate = self._rate(stage.name, progress.asked)
                rows.append(Row(stage.name, total, progress, rate, models[stage.name]))
            coming[stage.name] = None if total is None else total - progress.rejects.total()
        return rows

    def _rate(self, stage: str, done: int) -> float:
        """Samples a second that a model was asked about, over the last seconds."""
        now, seen = time.monotonic(), self._seen[stage]
        seen.append((now, done))
        while len(seen) > 2 and now - seen[1][0] > RATE_OVER_S:
            seen.popleft()
        since, before = seen[0]
        return (done - before) / (now - since) if now > since else 0.0


def cost(models: ModelSettings, prompt_tokens: int, completion_tokens: int) -> float | None:
    """US dollars for so many tokens; None where no price was given."""
    if models.price_in is None and models.price_out is None:
        return None
    prices = (models.price_in or 0.0, models.price_out or 0.0)
    return (prompt_tokens * prices[0] + completion_tokens * prices[1]) / 1e6


def duration(seconds: float) -> str:
    """Seconds, minutes and seconds, or hours and minutes: what one wants to know."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _short(number: int) -> str:
    """A count of tokens in about four characters."""
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return str(number)
