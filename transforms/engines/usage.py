"""How well an engine is used, by what it says of itself while windows of requests are under way.

Everything here is the engine's, whoever asked: several windows and processes may share one.
"""

import asyncio
import contextlib
import dataclasses
import json
import math
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp

_FIRST_S, _LONGEST_S = 0.1, 2.0  # between looks: soon at first, so that a short window has one
_LIMIT = aiohttp.ClientTimeout(total=5.0)
_LINE = re.compile(r"vllm:(\w+?)(?:_total)?(?:\{.*\})? ([-+.\w]+)(?: \d+)?")
_COUNTERS = {
    "prefix_cache_queries": "prefix_tokens",
    "prefix_cache_hits": "prefix_hits",
    "prompt_tokens": "prompt_tokens",
    "generation_tokens": "generated_tokens",
    "num_preemptions": "preemptions",
    "spec_decode_num_draft_tokens": "draft_tokens",
    "spec_decode_num_accepted_tokens": "accepted_tokens",
}
_GAUGES = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
_WANTED = tuple(f"vllm:{name}" for name in (*_GAUGES, *_COUNTERS))


@dataclasses.dataclass(frozen=True, slots=True)
class EngineUsage:
    """An engine, and what it did while one window of requests was under way.

    revision is as given, and commit what the hub had under it, where that is known; args are the
    user's flags. in_flight is the most that one process asks for at once.
    slots: how many requests the engine can run at once: --max-num-seqs times its data-parallel
        replicas.
    seconds: how long it was looked at, from its start if the window started it.
    running, waiting: requests that the engine ran and that it had no room for, as means over these
        seconds; None where no look fell between a window's beginning and its end.
    kv_cache_peak: the fullest that a look has found the cache of keys and values, 0 to 1.
    prefix_tokens, prefix_hits: tokens that were looked up in the prefix cache, and those found.
    draft_tokens, accepted_tokens: of speculative decoding; 0 without it.
    The counts are differences of the engine's own counters. Where it keeps none, all of this is 0.
    """

    engine: str
    model: str
    revision: str = ""
    commit: str = ""
    version: str = ""
    args: str = ""
    in_flight: int = 0
    slots: int = 0
    seconds: float = 0.0
    running: float | None = None
    waiting: float | None = None
    kv_cache_peak: float = 0.0
    prefix_tokens: int = 0
    prefix_hits: int = 0
    prompt_tokens: int = 0
    generated_tokens: int = 0
    preemptions: int = 0
    draft_tokens: int = 0
    accepted_tokens: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """What an engine's metrics said at one moment, over all its replicas."""

    at: float
    replicas: int
    running: float
    waiting: float
    kv_cache: float
    counters: Counter[str]


def look_of(metrics: str, at: float) -> Look | None:
    """A look from vLLM's metrics in Prometheus' text format; None where it has no such metrics.

    Lines of other metrics, and what is no line of one, are passed over.
    """
    gauges: dict[str, list[float]] = {name: [] for name in _GAUGES}
    counters: Counter[str] = Counter()
    for line in metrics.splitlines():
        found = _LINE.fullmatch(line) if line.startswith(_WANTED) else None
        if found is None:
            continue
        name, said = found.groups()
        if not (name in gauges or name in _COUNTERS) or not math.isfinite(value := _number(said)):
            continue
        if name in gauges:
            gauges[name].append(value)
        else:
            counters[_COUNTERS[name]] += int(value)
    running, waiting, kv_cache = (gauges[name] for name in _GAUGES)
    if not running:
        return None
    return Look(at, len(running), sum(running), sum(waiting), max(kv_cache, default=0.0), counters)


def _number(said: str) -> float:
    try:
        return float(said)
    except ValueError:
        return math.nan


class Observation:
    """What has been seen of an engine since it began."""

    def __init__(self) -> None:
        self._looks = 0
        self._replicas = 0
        self._seconds = self._running_s = self._waiting_s = self._kv_cache_peak = 0.0
        self._counters: Counter[str] = Counter()

    def add(self, before: Look | None, look: Look, counted: Counter[str], last: bool) -> None:
        """Note a look: between two of them, requests are taken to have changed evenly."""
        self._replicas = max(self._replicas, look.replicas)
        self._kv_cache_peak = max(self._kv_cache_peak, look.kv_cache)
        self._counters += counted
        if before is not None:
            seconds = look.at - before.at
            self._seconds += seconds
            self._running_s += seconds * (before.running + look.running) / 2
            self._waiting_s += seconds * (before.waiting + look.waiting) / 2
            self._looks += not last

    def usage(self, of: EngineUsage) -> EngineUsage:
        """`of` with what was seen; its slots are those of one replica."""
        told = bool(self._looks and self._seconds)
        counted: dict[str, Any] = dict(self._counters)
        return dataclasses.replace(
            of,
            slots=of.slots * max(1, self._replicas),
            seconds=round(self._seconds, 3),
            running=round(self._running_s / self._seconds, 3) if told else None,
            waiting=round(self._waiting_s / self._seconds, 3) if told else None,
            kv_cache_peak=round(self._kv_cache_peak, 4),
            **counted,
        )


class Meter:
    """Looks at an engine while windows are under way: soon after a beginning, then every 2 s.

    No request waits for it but at a window's beginning and end, 5 s at most, and no failure of it
    is anybody's: what cannot be looked at is not counted.

    Args:
        of: the engine, as far as its settings tell; its slots are those of one replica.
    """

    def __init__(self, of: EngineUsage) -> None:
        self._of = of
        self._url = ""
        self._session: aiohttp.ClientSession | None = None
        self._one_at_a_time = asyncio.Lock()
        self._before: Look | None = None
        self._counters: Counter[str] | None = None
        self._observations: set[Observation] = set()
        self._looking: asyncio.Task[None] | None = None

    async def start(self, url: str, commit: str) -> None:
        """The engine answers at `url` now."""
        self._session = self._session or aiohttp.ClientSession(timeout=_LIMIT)
        self._url = url
        version = await self._version()
        self._of = dataclasses.replace(self._of, version=version, commit=commit)
        await self._look()
        self._keep_looking()

    @contextlib.asynccontextmanager
    async def window(self, note: Callable[[EngineUsage], object]) -> AsyncIterator[None]:
        """Look while a window is under way, then note its usage if the engine was up."""
        if self._url:
            await self._look()
        observation = Observation()
        self._observations.add(observation)
        self._keep_looking()
        try:
            yield
        finally:
            if self._url:
                await self._look(last_of=observation)
                note(observation.usage(self._of))
            self._observations.discard(observation)
            self._keep_looking()

    async def close(self) -> None:
        """Close the connection."""
        self._observations.clear()
        self._keep_looking()
        if self._session is not None:
            await self._session.close()

    def _keep_looking(self) -> None:
        wanted = bool(self._url and self._observations)
        if wanted and self._looking is None:
            self._looking = asyncio.create_task(self._look_on())
        elif not wanted and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look_on(self) -> None:
        pause_s = _FIRST_S
        while True:
            await asyncio.sleep(pause_s)
            await self._look()
            pause_s = min(2 * pause_s, _LONGEST_S)

    async def _look(self, last_of: Observation | None = None) -> None:
        """Tell all observations what is new since the look before."""
        async with self._one_at_a_time:
            metrics = await self._said("/metrics")
            before, self._before = self._before, look_of(metrics, time.monotonic())
            if self._before is None:
                return
            counted = _counted(self._counters, self._before.counters)
            self._counters = self._before.counters
            for observation in self._observations:
                observation.add(before, self._before, counted, last=observation is last_of)

    async def _version(self) -> str:
        with contextlib.suppress(ValueError, LookupError, TypeError):
            return str(json.loads(await self._said("/version"))["version"])
        return ""

    async def _said(self, path: str) -> str:
        """What the engine answers; "" where it does not."""
        assert self._session is not None
        with contextlib.suppress(aiohttp.ClientError, TimeoutError, UnicodeError):
            async with self._session.get(self._url + path) as response:
                return await response.text() if response.status == 200 else ""
        return ""


def _counted(before: Counter[str] | None, now: Counter[str]) -> Counter[str]:
    """What was counted between two looks; an engine that was started again counts from 0."""
    if before is None:
        return Counter()
    return Counter({name: n - before[name] if n >= before[name] else n for name, n in now.items()})
