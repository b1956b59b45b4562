"""What ends a run before its end: a limit of its own, Ctrl-C, or the scheduler's SIGTERM."""

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any

import pydantic

from beam_sdg.models import ModelSettings
from transforms.engines.engine import estimated_tokens
from transforms.engines.progress import is_asking
from transforms.engines.stops import Limits, Price, Spent, Stops, begin
from transforms.engines.store import AnswerStore
from transforms.errors import UsageError

_UNITS_S = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_FINISHING = (
    b"\nbeam-sdg: sending nothing more, finishing what is with a model; once more stops at once\n"
)
_TELL_AGAIN_S = 1.0
_TOLD_WITHIN_S = 2.0


class StopSettings(pydantic.BaseModel, frozen=True, extra="forbid"):
    """The flags about when a run ends by itself, with what it has."""

    max_tokens_total: int | None = pydantic.Field(
        None, ge=1, description="stop before more tokens than that are spent, in and out"
    )
    max_cost: float | None = pydantic.Field(
        None, gt=0, description="stop before more US dollars than that are spent, by the prices"
    )
    deadline: str | None = pydantic.Field(
        None, description="send nothing more after this long, such as 7h30m"
    )
    max_failures: float | None = pydantic.Field(
        None,
        ge=0,
        lt=1,
        description="stop when more than this share of a stage's last 200 samples are rejects, "
        "once there are 100",
    )

    @pydantic.field_validator("deadline")
    @classmethod
    def _is_duration(cls, deadline: str | None) -> str | None:
        if deadline is not None and not _DURATION.fullmatch(deadline):
            raise ValueError("write days, hours, minutes and seconds, as in 1d, 7h30m or 90s")
        return deadline

    @property
    def deadline_s(self) -> float | None:
        """The seconds until the deadline."""
        if self.deadline is None:
            return None
        parts = re.findall(r"([\d.]+)([dhms])", self.deadline)
        return sum(float(number) * _UNITS_S[unit] for number, unit in parts)

    @property
    def of_one_process(self) -> list[str]:
        """The limits that are set and counted where requests are sent."""
        names = ("max_tokens_total", "max_cost", "max_failures")
        return [name for name in names if getattr(self, name) is not None]


def check_limits(
    settings: StopSettings, models: Mapping[str, ModelSettings], asks_here: bool, is_alone: bool
) -> None:
    """Refuse a limit that could not be kept.

    Raises:
        UsageError: one on cost, and a stage without prices; or one that several must count.
    """
    if not asks_here and (limits := settings.of_one_process):
        raise UsageError(
            f"--{limits[0]} is counted in the process that sends requests, and here those are "
            "workers; leave it out, or set a --deadline"
        )
    if not is_alone and (limits := settings.of_one_process):
        raise UsageError(
            f"--{limits[0]} is counted in one process, and --shard has several; leave it out, or "
            "set a --deadline"
        )
    for stage, of_stage in models.items():
        priced = of_stage.price_in is not None and of_stage.price_out is not None
        if settings.max_cost is not None and not priced:
            raise UsageError(
                f"--max_cost {settings.max_cost:g}: {stage} has no price; pass --price_in and "
                f"--price_out, or --set {stage}.price_in=… and {stage}.price_out=…"
            )


def stops_for(settings: StopSettings, store: str, models: Mapping[str, ModelSettings]) -> Stops:
    """The stops of a run that begins, which has spent what the answers of its stages have cost."""
    prices = {
        stage: Price(of_stage.price_in or 0.0, of_stage.price_out or 0.0)
        for stage, of_stage in models.items()
    }
    limits = Limits(settings.max_tokens_total, settings.max_cost, settings.max_failures, prices)
    spent = _spent(store, prices) if limits.are_of_spending else Spent()
    return begin(Stops(store, limits, spent))


def _spent(store: str, prices: Mapping[str, Price]) -> Spent:
    total = Spent()
    for stage, price in prices.items():
        for line in AnswerStore(store, stage).attempts():
            for used in (_told(line), _charged(line)):
                total.add(Spent(sum(used), price.of(*used)))
    return total


def _told(line: Mapping[str, Any]) -> tuple[int, int]:
    """The tokens that a server has told of, in and out."""
    reply = line.get("reply")
    if not isinstance(reply, dict):
        return 0, 0
    return int(reply.get("prompt_tokens", 0)), int(reply.get("completion_tokens", 0))


def _charged(line: Mapping[str, Any]) -> tuple[int, int]:
    """The tokens that count as spent beside them; estimated for an answer of an older version."""
    match line:
        case {"charged": [int(asked), int(answered)]}:
            return asked, answered
        case {"reply": {**reply}} if not any(_told(line)):
            answer = f"{reply.get('text', '')}{reply.get('reasoning', '')}"
            return estimated_tokens(str(line.get("sent", ""))), estimated_tokens(answer)
    return 0, 0


class _Telling:
    """Telling the workers in other processes of a stop, for as long as that takes."""

    def __init__(self, stops: Stops) -> None:
        self._stops = stops
        self._thread = threading.Thread(target=self._tell, name="stop", daemon=True)
        self._trouble, self._is_lost = "it takes too long", False

    def begin(self) -> None:
        """Begin, unless it has begun; not here, for a handler of signals interrupts what is."""
        if self._thread.ident is None:
            try:
                self._thread.start()
            except RuntimeError as error:  # no thread is to be had
                self._trouble, self._is_lost = str(error), True

    def end(self) -> None:
        """Wait a little, and where the workers do not know by then, say so."""
        if self._thread.ident is not None:
            self._thread.join(_TOLD_WITHIN_S)
        if self._is_lost or self._thread.is_alive():
            sys.stderr.write(
                f"beam-sdg: workers were not told to stop: {self._stops.file} cannot be written "
                f"({self._trouble}); end those that still run\n"
            )

    def _tell(self) -> None:
        while True:
            try:
                return self._stops.tell()
            except OSError as error:
                self._trouble = error.strerror or str(error)
                time.sleep(_TELL_AGAIN_S)


@contextlib.contextmanager
def stoppable(stops: Stops, settings: StopSettings, tell: bool) -> Iterator[None]:
    """While a run goes on: its deadline, and the signals that ask it to stop.

    The first signal while a stage asks stops the sending; any other interrupts. With `tell`,
    workers in other processes learn of it.
    """
    telling = _Telling(stops)
    heard: list[int] = []

    def stop(why: str) -> None:
        stops.stop(why)
        if tell:
            telling.begin()

    def signalled(number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if heard or not (tell or is_asking()):
            raise KeyboardInterrupt(name)
        heard.append(number)
        os.write(sys.stderr.fileno(), _FINISHING)  # print may be at work in this very thread
        stop(name)

    stops.clear()
    timer = threading.Timer(settings.deadline_s or 0, stop, [f"--deadline {settings.deadline}"])
    timer.daemon = True
    is_main = threading.current_thread() is threading.main_thread()  # no other may have handlers
    before = {number: signal.signal(number, signalled) for number in _SIGNALS if is_main}
    if settings.deadline_s is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
        telling.end()
