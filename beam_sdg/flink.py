"""Runs on Flink: one job server and one pool of workers for all pipelines of a run.

Beam would start a job server for each pipeline, which takes seconds, and workers in this process
that any machine may give orders. Here both end with the run, and listen on the loopback alone.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse
import urllib.request
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    JobServerOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
)
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc
from apache_beam.runners.portability.flink_runner import FlinkJarJobServer, FlinkRunner
from apache_beam.runners.worker.sdk_worker import SdkHarness
from apache_beam.utils.subprocess_server import JavaJarServer
from apache_beam.utils.thread_pool_executor import shared_unbounded_instance
from apache_beam.version import __version__ as beam_version

from transforms.errors import RunError, UsageError
from transforms.files import is_remote

_EMBEDDED = ("[local]", "[auto]")
_HERE = ("localhost", "127.0.0.1", "::1")
_STARTS_WITHIN_S = 60.0
_ENDS_WITHIN_S = 10.0
_ANSWERS_WITHIN_S = 10.0
_STATE_CACHE_BYTES = 100 << 20  # as in Beam's own workers
_PR_SET_PDEATHSIG = 1
_MAX_BUNDLE_SIZE = 4096
_MAX_BUNDLE_TIME_MS = 24 * 3600 * 1000  # else Flink 2 ends windows every ten seconds
_SETTINGS = """\
restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: 3
restart-strategy.fixed-delay.delay: 1 s
taskmanager.memory.network.min: 256m
taskmanager.memory.network.max: 256m
taskmanager.network.sort-shuffle.min-buffers: 32
"""

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # as the job server goes


class FlinkTuning(PipelineOptions):
    """Options that Beam's Java runner for Flink has, and its Python half does not list."""

    @classmethod
    def _add_argparse_args(cls, parser: ArgumentParser) -> None:
        parser.add_argument("--max_bundle_size", type=int)
        parser.add_argument("--max_bundle_time_mills", type=int)
        parser.add_argument("--flink_conf_dir")


def is_flink(options: PipelineOptions) -> bool:
    """Whether a run's pipelines are for Flink."""
    return options.view_as(StandardOptions).runner == FlinkRunner.__name__


@contextlib.contextmanager
def on_flink(options: PipelineOptions, work_dir: str) -> Iterator[None]:
    """What the pipelines of a run need on Flink, for as long as it lasts; nothing on others.

    Raises:
        UsageError: before anything is started, where Java, the job server or the cluster is
            missing, or they do not fit together.
        RunError: the job server does not start.
    """
    if not is_flink(options):
        yield
        return
    flink, portable = options.view_as(FlinkRunnerOptions), options.view_as(PortableOptions)
    tuning = options.view_as(FlinkTuning)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_unheard())
        if flink.flink_master not in _EMBEDDED:
            _require_cluster(flink, portable.environment_type)
        if portable.job_endpoint is None:
            stack.enter_context(_job_server(options, work_dir))
        if portable.environment_type in (None, "LOOPBACK"):
            stack.enter_context(_workers(portable))
        size, time_ms = tuning.max_bundle_size, tuning.max_bundle_time_mills
        bundles = {
            "max_bundle_size": size or _MAX_BUNDLE_SIZE,
            "max_bundle_time_mills": time_ms or _MAX_BUNDLE_TIME_MS,
        }
        stack.enter_context(_changed(tuning, **bundles))
        yield


@contextlib.contextmanager
def _changed(options: PipelineOptions, **values: object) -> Iterator[None]:
    """Options with these values, and with those that they had afterwards."""
    before = {name: getattr(options, name) for name in values}
    for name, value in values.items():
        setattr(options, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(options, name, value)


def _require_cluster(flink: FlinkRunnerOptions, environment_type: str | None) -> None:
    """Refuse a cluster that does not answer, is of another version, or cannot reach workers."""
    master = flink.flink_master = FlinkRunner.add_http_scheme(flink.flink_master).rstrip("/")
    host = urllib.parse.urlparse(master).hostname
    if environment_type is None and host not in _HERE:
        raise UsageError(
            f"--flink_master {master}: workers of this process are out of its reach; pass "
            "--environment_type=DOCKER and --environment_config=IMAGE with an image that has "
            "beam-sdg, or --environment_type=LOOPBACK if the cluster is on this machine"
        )
    try:
        with _direct.open(f"{master}/config", timeout=_ANSWERS_WITHIN_S) as response:
            version = str(json.load(response)["flink-version"])
    except (OSError, ValueError, LookupError) as error:
        why = getattr(error, "reason", error)
        raise UsageError(
            f"--flink_master {master}: no Flink answers there ({why}); name the host and port of "
            "its web interface, or [local] for a Flink in this run"
        ) from error
    if not version.startswith(f"{flink.flink_version}."):
        raise UsageError(
            f"--flink_master {master} runs Flink {version}, and the job server is for "
            f"{flink.flink_version}; pass --flink_version={version.rpartition('.')[0]}, which "
            "scripts/flink fetches"
        )


def _jar(flink: FlinkRunnerOptions, cache: str) -> str:
    """The job server's jar: of this Beam, else of any other."""
    if flink.flink_job_server_jar:
        if not Path(flink.flink_job_server_jar).is_file():
            raise UsageError(f"--flink_job_server_jar {flink.flink_job_server_jar} is not a file")
        return flink.flink_job_server_jar
    prefix = "beam-runners-flink-"
    of_version = f"{prefix}{flink.flink_version}-job-server-"
    own = Path(cache, f"{of_version}{beam_version}.jar")
    found = [own] if own.is_file() else sorted(Path(cache).glob(f"{of_version}*.jar"))
    if not found:
        there = {
            path.name.removeprefix(prefix).split("-")[0]
            for path in Path(cache).glob(f"{prefix}*-job-server-*.jar")
        }
        others = f", but one for --flink_version={max(there)}" if there else ""
        raise UsageError(
            f"--runner FlinkRunner: {cache} has no job server for Flink {flink.flink_version}"
            f"{others}; run scripts/flink, which fetches it, or name one with "
            "--flink_job_server_jar"
        )
    return str(found[-1])


@contextlib.contextmanager
def _job_server(options: PipelineOptions, work_dir: str) -> Iterator[None]:
    """A job server that ends with this process, however that ends."""
    flink, server = options.view_as(FlinkRunnerOptions), options.view_as(JobServerOptions)
    tuning, portable = options.view_as(FlinkTuning), options.view_as(PortableOptions)
    jar = _jar(flink, server.jar_cache_dir or JavaJarServer.JAR_CACHE)
    if shutil.which(server.job_server_java_launcher) is None:
        raise UsageError(
            f"--runner FlinkRunner needs Java, and there is no {server.job_server_java_launcher} "
            "here; install it (Debian: default-jre-headless)"
        )
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="beam-sdg-flink-"))
        if tuning.flink_conf_dir is None and "FLINK_CONF_DIR" not in os.environ:
            Path(scratch, "config.yaml").write_text(_SETTINGS)
            stack.enter_context(_changed(tuning, flink_conf_dir=scratch))
        artifacts = server.artifacts_dir or f"{scratch}/artifacts"
        with (
            _changed(flink, flink_job_server_jar=jar),
            _changed(server, artifacts_dir=artifacts),
        ):
            command, address = FlinkJarJobServer(options).subprocess_cmd_and_endpoint()
        log = Path(scratch if is_remote(work_dir) else work_dir, "flink.log")
        stack.enter_context(_running([str(part) for part in command], address, log))
        stack.enter_context(_changed(portable, job_endpoint=address))
        yield


@contextlib.contextmanager
def _running(command: Sequence[str], address: str, log: Path) -> Iterator[None]:
    """A process that listens there, and says what it has to say in a log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as said:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,  # Ctrl-C is meant for this process
            preexec_fn=_die_with_the_run if sys.platform == "linux" else None,
        )
    try:
        _wait_for(process, address, log)
        yield
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_ENDS_WITHIN_S)
        process.kill()
        process.wait()


def _wait_for(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    host, _, port = address.rpartition(":")
    give_up_at = time.monotonic() + _STARTS_WITHIN_S
    while process.poll() is None and time.monotonic() < give_up_at:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return
        time.sleep(0.1)
    lines = log.read_text(errors="replace").strip().splitlines()
    said = lines[-1].strip() if lines else "nothing"
    raise RunError(f"Flink's job server does not start, and says: {said}; {log} has all of it")


def _die_with_the_run() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class _Workers(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Starts workers as threads of this process, which share its client, stops and sandboxes.

    A worker ends when its task manager hangs up, and not by its id, as in Beam's own pool: two task
    managers call their workers the same.
    """

    def StartWorker(self, request: Any, context: object) -> Any:  # noqa: N802  as Beam calls it
        try:
            worker = _Worker(
                request.control_endpoint.url,
                worker_id=request.worker_id,
                state_cache_size=_STATE_CACHE_BYTES,
            )
        except grpc.FutureTimeoutError as error:
            return beam_fn_api_pb2.StartWorkerResponse(error=repr(error))
        threading.Thread(target=worker.run, name="flink-worker", daemon=True).start()
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(self, request: object, context: object) -> Any:  # noqa: N802
        return beam_fn_api_pb2.StopWorkerResponse()


class _Worker(SdkHarness):
    """Tells its task manager what went wrong, and not the user's screen too."""

    def run(self) -> None:
        with contextlib.suppress(grpc.RpcError):  # its task manager has died
            super().run()

    def _execute(self, task: Callable[[], Any], request: Any) -> None:
        def told() -> Any:
            try:
                return task()
            except Exception:  # noqa: BLE001  as Beam does
                said = traceback.format_exc()
                return beam_fn_api_pb2.InstructionResponse(
                    instruction_id=request.instruction_id, error=said
                )

        super()._execute(told, request)


@contextlib.contextmanager
def _workers(portable: PortableOptions) -> Iterator[None]:
    """A pool of workers in this process."""
    server = grpc.server(shared_unbounded_instance())
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(_Workers(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    place = {"environment_type": "EXTERNAL", "environment_config": f"localhost:{port}"}
    try:
        with _changed(portable, **place):
            yield
    finally:
        server.stop(None)


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Let threads of Beam's end without a word when a task manager hangs up on them."""
    before = threading.excepthook

    def heard(ended: threading.ExceptHookArgs) -> None:
        if not isinstance(ended.exc_value, grpc.RpcError):
            before(ended)

    threading.excepthook = heard
    try:
        yield
    finally:
        threading.excepthook = before
