"""vLLM on the machines that run the pipeline: an engine that is started, kept full and ended.

The process `vllm serve` is a keeper's: it starts with the first request that has no stored answer,
is shared by all processes of the machine, and ends with the last of them. Requests go the same way
as to any endpoint, so one bad request costs one element, and a crash sends again what it took.
"""

import asyncio
import concurrent.futures
import contextlib
import os
import shlex
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from transforms.engines.completions import Api
from transforms.engines.endpoint import Endpoint, identity_of
from transforms.engines.engine import Attempted, Turn
from transforms.engines.flags import deciding, flags_of, refused, shown
from transforms.engines.hold import Hold, held
from transforms.engines.keeper import Kept
from transforms.engines.stops import waiting
from transforms.engines.transport import EndpointTransport
from transforms.engines.usage import EngineUsage, Meter
from transforms.errors import EngineDown

T = TypeVar("T")

MAX_NUM_SEQS = 256  # vLLM's own default differs by device; ours is passed, so that it is known
_NO_KEY = "BEAM_SDG_NO_KEY"
_BALANCED_ELSEWHERE = ("-external-lb", "-hybrid-lb", "-parallel-rank")
_LOOK_EVERY_S = 0.5
_RANK_HEADER = "X-data-parallel-rank"  # vLLM gives the request to that replica


class Vllm(pydantic.BaseModel, frozen=True, extra="forbid", hide_input_in_errors=True):
    """A model and how vLLM serves it.

    model: its name on the hub, or a folder.
    revision: a branch, tag or commit of the hub's model.
    args: any flags of `vllm serve`, as on its command line. With `--data-parallel-size` all samples
        of a prompt go to the same replica, whose prefix cache has it.
    gpus: which GPUs it gets, such as 0,1, counted within those that are visible; "" is all of them.
        Engines that have one in common follow one another; only apart do they run side by side.
    api: chat completions, or text completions of the prompt as it is, for a model without a chat
        template.
    in_flight: requests under way at once; twice `--max-num-seqs` for each replica by default, so
        that the engine always has the next one at hand.
    timeout_s: the longest one answer may take.
    start_timeout_s: the longest the engine may take to load.
    restarts: how often in a row it is started again after a crash.
    accelerator: what its workers must have on a cluster, as Beam's resource hint of that name, such
        as type:nvidia-h100-80gb;count:8;install-nvidia-driver.
    """

    model: str
    revision: str = ""
    args: str = ""
    gpus: str = pydantic.Field("", pattern=r"^(\d+(,\d+)*)?$")
    in_flight: int = pydantic.Field(0, ge=0)
    timeout_s: float = pydantic.Field(4 * 3600.0, gt=0)
    start_timeout_s: float = pydantic.Field(1800.0, gt=0)
    restarts: int = pydantic.Field(2, ge=0)
    accelerator: str = ""
    api: Api = "chat"

    @pydantic.field_validator("args")
    @classmethod
    def _are_flags(cls, args: str) -> str:
        try:
            fault = refused(args)
        except ValueError as error:
            raise ValueError(f"{error}; write the flags as on a command line") from error
        if fault:
            raise ValueError(fault)
        return args

    @pydantic.model_validator(mode="after")
    def _keeps_the_engine_full(self) -> "Vllm":
        if not self.in_flight:
            object.__setattr__(self, "in_flight", 2 * self.max_num_seqs() * self.replicas())
        return self

    def max_num_seqs(self) -> int:
        """The most sequences that one replica works on at once."""
        return self._number("--max-num-seqs", MAX_NUM_SEQS)

    def replicas(self) -> int:
        """How many copies of the model vLLM spreads requests over; 1 where something else does."""
        if any(flag.endswith(_BALANCED_ELSEWHERE) for flag in flags_of(self.args)):
            return 1
        return self._number("--data-parallel-size", 1)

    def _number(self, flag: str, default: int) -> int:
        value = flags_of(self.args).get(flag, "")
        return int(value) if value.isdigit() else default

    def identity(self) -> str:
        """The model, and the flags that decide its answers: the same wherever it is served."""
        model = f"{self.model}@{self.revision}" if self.revision else self.model
        return identity_of(model, self.api, deciding(self.args))

    def resource_hints(self) -> dict[str, str]:
        """The accelerator, for the inference step alone."""
        return {"accelerator": self.accelerator} if self.accelerator else {}

    def open(self) -> "VllmTransport":
        """A transport that starts the engine with its first request.

        Raises:
            EngineDown: there is no vLLM in this environment.
        """
        return VllmTransport(self)

    def described(self) -> EngineUsage:
        """What is known of the engine before it starts."""
        return EngineUsage(
            engine="vLLM",
            model=self.model,
            revision=self.revision,
            args=shown(self.args),
            in_flight=self.in_flight,
            slots=self.max_num_seqs(),
        )

    def commit(self) -> str:
        """The hub's commit that this machine has of the model; "" of a folder or where unknown."""
        if Path(self.model).exists():
            return ""
        try:
            import huggingface_hub
        except ImportError:
            return ""
        found = None
        with contextlib.suppress(ValueError):  # no name of a model on the hub
            revision = self.revision or None
            found = huggingface_hub.try_to_load_from_cache(
                self.model, "config.json", revision=revision
            )
        return Path(found).parent.name if isinstance(found, str) else ""

    def kept(self) -> Kept:
        """What its keeper is told."""
        flags = shlex.split(self.args)
        if not {"--max-num-seqs", "--config"} & flags_of(self.args).keys():
            flags += ["--max-num-seqs", str(MAX_NUM_SEQS)]
        if self.revision:
            flags += ["--revision", self.revision]
        flags.append("--enable-prompt-tokens-details")  # what came from the prefix cache
        flags.append("--disable-uvicorn-access-log")  # a line for each request
        flags += ["--host", "127.0.0.1", "--port", "{port}"]
        command = [*_program(), "serve", self.model]
        environment = {"VLLM_HOST_IP": "127.0.0.1", "VLLM_NO_USAGE_STATS": "1", "VLLM_API_KEY": ""}
        # Else it goes with the engine's folder. PyTorch sets it in processes that import it.
        compiled = Path(tempfile.gettempdir()) / f"torchinductor-{os.getuid()}"
        return Kept(
            engine=f"vllm serve {self.model} {shown(self.args)}".strip(),
            command=(*command, *flags),
            health="/health",
            environment=tuple(environment.items()),
            defaults=(("TORCHINDUCTOR_CACHE_DIR", str(compiled)),),
            start_timeout_s=self.start_timeout_s,
            restarts=self.restarts,
        )


class VllmTransport:
    """Requests to an engine that is started with the first of them, and again once it was lost.

    Args:
        settings: of the engine.
    """

    def __init__(self, settings: Vllm) -> None:
        self._settings = settings
        self._kept = settings.kept()
        self._meter = Meter(settings.described())
        self._serving: asyncio.Task[_Served] | None = None

    async def complete(self, turn: Turn) -> Attempted:
        """As an endpoint does; where the engine crashes, the turn waits until it is back.

        Raises:
            EngineDown: it cannot be started, or crashes too often; the next turn tries anew.
            Withheld: the run is stopped while the turn waits.
        """
        async with waiting():
            served = await self._started()
        return await served.complete(turn)

    def meter(self) -> Meter:
        """It looks at the engine from its start on."""
        return self._meter

    async def close(self) -> None:
        """Close the connections; the engine stays warm until the process ends."""
        if self._serving is not None:
            self._serving.cancel()
            await _closed(self._serving)
        await self._meter.close()

    async def _started(self) -> "_Served":
        before = self._serving
        if before is None or _is_lost(before):
            self._serving = asyncio.create_task(self._serve(before))
        assert self._serving is not None
        return await asyncio.shield(self._serving)  # all who wait for it get the same

    async def _serve(self, before: "asyncio.Task[_Served] | None") -> "_Served":
        if before is not None:
            await _closed(before)
        hold = await _in_a_thread(lambda: held(self._kept, self._settings.gpus))
        commit = await _in_a_thread(self._settings.commit)
        await self._meter.start(hold.url, commit)
        return _Served(hold, self._connected(hold.url))

    def _connected(self, url: str) -> EndpointTransport:
        settings = self._settings
        endpoint = Endpoint(
            url=f"{url}/v1",
            model=settings.model,
            key_env=_NO_KEY,
            in_flight=settings.in_flight,
            timeout_s=settings.timeout_s,
            api=settings.api,
        )
        replicas = settings.replicas()
        ranks = [{_RANK_HEADER: str(rank)} for rank in range(replicas)] if replicas > 1 else [{}]
        return endpoint.open(ranks)


class _Served:
    """An engine that is up, and the requests to it, until it is over.

    Args:
        hold: of the engine.
        endpoint: where it listens.
    """

    def __init__(self, hold: Hold, endpoint: EndpointTransport) -> None:
        self._hold = hold
        self._endpoint = endpoint
        self._loop = asyncio.get_running_loop()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._failure: EngineDown | None = None
        hold.when_over(self._is_over)

    def is_lost(self) -> bool:
        """Whether it is over, so that another one is needed."""
        return self._hold.is_over()

    async def complete(self, turn: Turn) -> Attempted:
        """The turn's answer, asked for again after a crash.

        Raises:
            EngineDown: the engine is given up, or nothing that it is asked succeeds.
        """
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            while True:
                crashes = self._hold.crashes()
                try:
                    return await self._endpoint.complete(turn)
                except EngineDown:
                    if not self._hold.is_starting() and self._hold.crashes() == crashes:
                        raise
                async with waiting():
                    while self._hold.is_starting():  # longer than an endpoint waits
                        await asyncio.sleep(_LOOK_EVERY_S)
        except asyncio.CancelledError:
            if self._failure is None:
                raise
            task.uncancel()
            raise self._failure from None
        finally:
            self._under_way.discard(task)

    async def close(self) -> None:
        """Close the connections."""
        self._hold.forget(self._is_over)
        await self._endpoint.close()

    def _is_over(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._give_up)

    def _give_up(self) -> None:
        """Let every request fail with the engine's own words."""
        self._failure = self._hold.failure()
        for task in self._under_way:
            task.cancel()


def _is_lost(serving: asyncio.Task[_Served]) -> bool:
    if not serving.done():
        return False
    return _has_failed(serving) or serving.result().is_lost()


async def _closed(serving: asyncio.Task[_Served]) -> None:
    if serving.done() and not _has_failed(serving):
        await serving.result().close()


def _has_failed(serving: asyncio.Task[_Served]) -> bool:
    return serving.cancelled() or serving.exception() is not None


async def _in_a_thread(call: Callable[[], T]) -> T:
    """As asyncio.to_thread, but the process may end while it goes on."""
    outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=run, name="engine-start", daemon=True).start()
    return await asyncio.wrap_future(outcome)


def _program() -> list[str]:
    """`vllm` of this environment, or the one on the path.

    Raises:
        EngineDown: there is none.
    """
    beside = Path(sys.executable).with_name("vllm")
    found = str(beside) if beside.exists() else shutil.which("vllm")
    if found is None:
        raise EngineDown(
            "there is no vLLM in this environment: pip install 'beam-sdg[vllm]', or serve the "
            "model elsewhere and give its URL as --endpoint"
        )
    return [found]
