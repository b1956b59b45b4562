"""The engines of ours that answered a stage, and how well they were used, for the manifest."""

from collections.abc import Iterable

import pydantic

from transforms.engines.usage import EngineUsage

_LOW = 0.5
_NEARLY_ALL = 0.8
_FULL = 0.9


class Served(pydantic.BaseModel, frozen=True):
    """An engine, and how well it was used while windows of a stage's requests were under way.

    All of it is of the engine, whoever asked it meanwhile. `commit` is the hub's, where known;
    `slots` how many requests it can run at once and `in_flight` how many a process asked for.
    `running` and `waiting` are means over `seconds`, and `utilisation` is running by slots; None
    where windows were too short for a look. `prefix_cache_hit_rate` is the share of prompt tokens
    found in its cache, None if none was looked up; `draft_acceptance` that of drafted tokens.
    """

    engine: str
    version: str
    args: str
    commit: str
    in_flight: int
    slots: int
    seconds: float
    running: float | None
    waiting: float | None
    utilisation: float | None
    prefix_cache_hit_rate: float | None
    kv_cache_peak: float
    tokens_per_s: float | None
    preemptions: int
    draft_acceptance: float | None = None

    def hint(self) -> str:
        """What to change where it is known why the engine was not full; else ""."""
        if self.running is None or self.waiting is None or self.utilisation is None:
            return ""
        if self.utilisation >= _LOW:
            return ""
        ran = f"the engine ran {self.running:.3g} of the {self.slots} requests it has room for"
        if self.in_flight < self.slots and self.running >= _NEARLY_ALL * self.in_flight:
            most = f"no more than {self.in_flight} were in flight"
            return f"{ran}, since {most}: raise --in_flight to {2 * self.slots}"
        if self.waiting > self.running and self.kv_cache_peak >= _FULL:
            full = f"its cache of keys and values was full, so that {self.waiting:.3g} waited"
            return f"{ran}, since {full}: give vLLM more GPUs or a larger --gpu-memory-utilization"
        return ""


def served(usages: Iterable[EngineUsage]) -> tuple[Served, ...]:
    """The engines in a stage's lines; windows weigh by their time, rates by what they are of."""
    by_engine: dict[tuple[str, str, str, str, int, int], list[EngineUsage]] = {}
    for usage in usages:
        key = (
            *(usage.engine, usage.version, usage.args, usage.commit),
            *(usage.in_flight, usage.slots),
        )
        by_engine.setdefault(key, []).append(usage)
    return tuple(_served(by_engine[key]) for key in sorted(by_engine))


def _served(usages: list[EngineUsage]) -> Served:
    one = usages[0]
    looked = [usage for usage in usages if usage.running is not None]
    watched_s = sum(usage.seconds for usage in looked)
    seconds = sum(usage.seconds for usage in usages)
    running = _ratio(sum((usage.running or 0) * usage.seconds for usage in looked), watched_s)
    waiting = _ratio(sum((usage.waiting or 0) * usage.seconds for usage in looked), watched_s)
    return Served(
        engine=one.engine,
        version=one.version,
        args=one.args,
        commit=one.commit,
        in_flight=one.in_flight,
        slots=one.slots,
        seconds=round(seconds, 3),
        running=running,
        waiting=waiting,
        utilisation=None if running is None else _ratio(running, one.slots),
        prefix_cache_hit_rate=_ratio(
            sum(usage.prefix_hits for usage in usages),
            sum(usage.prefix_tokens for usage in usages),
        ),
        kv_cache_peak=max(usage.kv_cache_peak for usage in usages),
        tokens_per_s=_ratio(sum(usage.generated_tokens for usage in usages), seconds),
        preemptions=sum(usage.preemptions for usage in usages),
        draft_acceptance=_ratio(
            sum(usage.accepted_tokens for usage in usages),
            sum(usage.draft_tokens for usage in usages),
        ),
    )


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None
