"""What an engine says of itself, and what is made of it."""

import asyncio
import json
import logging
import socket

import pytest
from aiohttp import web

from transforms.engines.store import AnswerStore
from transforms.engines.usage import EngineUsage, Meter, look_of

# As vLLM 0.32 says it, but for the second replica, the drafts and what is cut.
METRICS = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="/tmp/a model"} 4.0
vllm:num_requests_running{engine="1",model_name="/tmp/a model"} 3.0
vllm:num_requests_waiting{engine="0",model_name="/tmp/a model"} 0.0
vllm:num_requests_waiting{engine="1",model_name="/tmp/a model"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="m",reason="capacity"} 9.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.0017091930167256741
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.25
vllm:prefix_cache_queries_total{engine="0",model_name="m"} 6006.0
vllm:prefix_cache_queries_total{engine="1",model_name="m"} 4.0
vllm:prefix_cache_queries_created{engine="0",model_name="m"} 1.7952920860136447e+09
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 4.608e+03
vllm:num_preemptions_total{engine="0",model_name="m"} 1.0
vllm:prompt_tokens_total{engine="0",model_name="m"} 6006.0
vllm:prompt_tokens_by_source_total{engine="0",model_name="m",source="local"} 6006.0
vllm:generation_tokens_total{engine="0",model_name="m"} NaN
vllm:generation_tokens_total{engine="1",model_name="m"} 990.0
vllm:spec_decode_num_draft_tokens_total{engine="0",model_name="m"} 8.0
vllm:spec_decode_num_accepted_tokens_total{engine="0",model_name="m"} 6.0
vllm:num_requests_running{engine="2" and here it was cut
"""
ENGINE = EngineUsage(engine="vLLM", model="m", slots=8)


def test_a_look_sums_the_replicas():
    """Of the metrics that are wanted, and no others; what is no number is passed over."""
    look = look_of(METRICS, 1.0)
    assert look is not None
    assert (look.replicas, look.running, look.waiting, look.kv_cache) == (2, 7.0, 2.0, 0.25)
    assert look.counters == {
        "prefix_tokens": 6010, "prefix_hits": 4608, "prompt_tokens": 6006, "preemptions": 1,
        "generated_tokens": 990, "draft_tokens": 8, "accepted_tokens": 6,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["", "<html>no</html>", "other:num_requests_running 3.0\n"])
def test_without_vllms_metrics_there_is_no_look(text):
    """Rather than an engine that does nothing."""
    assert look_of(text, 1.0) is None


class Told:
    """A server whose metrics a test sets."""

    def __init__(self) -> None:
        self.running = 0
        self.tokens = 0
        self.metrics_fail = False
        self.version_body = json.dumps({"version": "1.2.3"})

    async def start(self) -> tuple[str, web.AppRunner]:
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/version", self._version)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}", runner

    async def _metrics(self, request: web.Request) -> web.Response:
        if self.metrics_fail:
            raise web.HTTPInternalServerError
        return web.Response(
            text=f"vllm:num_requests_running 0{self.running}\n"
            f"vllm:prefix_cache_queries_total {self.tokens}\n"
            f"vllm:prefix_cache_hits_total {self.tokens // 2}\n"
        )

    async def _version(self, request: web.Request) -> web.Response:
        return web.Response(text=self.version_body)


def metered(work, told: Told | None = None) -> list[EngineUsage]:
    """What is noted while `work(meter, told, url, note)` goes on."""
    noted: list[EngineUsage] = []
    server = told or Told()

    async def run() -> None:
        url, runner = await server.start()
        meter = Meter(ENGINE)
        try:
            await work(meter, server, url, noted.append)
        finally:
            await meter.close()
            await runner.cleanup()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())
    return noted


def test_a_window_has_what_was_counted_in_it():
    """From the engine's start on where it is the first, and not what was between two windows."""

    async def work(meter, told, url, note):
        told.tokens = 1000
        async with meter.window(note):
            await meter.start(url, "abc")
            told.running, told.tokens = 4, 1100
            await asyncio.sleep(0.5)
            told.running = 0
        told.tokens = 5000
        async with meter.window(note):
            told.tokens = 5010

    first, second = metered(work)
    assert (first.version, first.commit, first.slots) == ("1.2.3", "abc", 8)
    assert (first.prefix_tokens, first.prefix_hits) == (100, 50)
    assert 0.4 < first.seconds < 5
    assert first.running is not None
    assert 2 <= first.running <= 4
    assert (second.prefix_tokens, second.running) == (10, None)


def test_windows_at_once_each_have_all_of_their_time():
    """The engine is the same for both, whoever asked."""

    async def work(meter, told, url, note):
        await meter.start(url, "")
        async with meter.window(note):
            told.tokens += 10
            async with meter.window(note):
                told.tokens += 20
            told.tokens += 40

    inner, outer = metered(work)
    assert (inner.prefix_tokens, outer.prefix_tokens) == (20, 70)


def test_an_engine_that_was_started_again_counts_from_nothing():
    """Its counters are smaller then; what it had counted before is not lost, nor is it doubled."""

    async def work(meter, told, url, note):
        told.tokens = 1000
        await meter.start(url, "")
        async with meter.window(note):
            told.tokens = 1200
            await asyncio.sleep(0.2)
            told.metrics_fail = True
            await asyncio.sleep(0.3)
            told.metrics_fail, told.tokens = False, 30

    [usage] = metered(work)
    assert usage.prefix_tokens == 230


def test_without_metrics_the_engine_is_known_all_the_same():
    """And nothing is made up."""
    told = Told()
    told.metrics_fail, told.version_body = True, "no JSON"

    async def work(meter, told, url, note):
        await meter.start(url, "")
        async with meter.window(note):
            await asyncio.sleep(0.2)

    assert metered(work, told) == [ENGINE]


def test_an_engine_that_is_gone_harms_nobody():
    """Nor does one that was never started, of which nothing is noted."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{found.getsockname()[1]}"

    async def work(meter, told, _, note):
        async with meter.window(note):
            pass
        await meter.start(url, "")
        async with meter.window(note):
            pass

    assert metered(work) == [ENGINE]


def test_a_window_that_fails_is_noted_too():
    """Its answers were paid for."""

    async def work(meter, told, url, note):
        await meter.start(url, "")
        with pytest.raises(KeyError):
            async with meter.window(note):
                told.tokens = 7
                raise KeyError

    assert metered(work)[0].prefix_tokens == 7


def test_the_store_keeps_usages_beside_the_answers(tmp_path):
    """Each in a file of its own; torn and foreign lines are none."""
    store = AnswerStore(str(tmp_path), "evals")
    usages = [EngineUsage(engine="vLLM", model="m", running=number) for number in (1.5, None)]
    for usage in usages:
        with store.window([3]) as window:
            window.note(usage)
    (tmp_path / "evals" / "engines" / "000002.jsonl").write_text('{"engine":"vL')
    (tmp_path / "evals" / "engines" / "000003.jsonl").write_text('{"new":1}\n[1]\n')
    assert list(store.engines()) == usages
    assert list(store.attempts()) == []


def test_a_usage_that_cannot_be_kept_ends_no_run(tmp_path, caplog):
    """The answers can do without."""
    (tmp_path / "evals").write_text("a file in the folder's place")
    with AnswerStore(str(tmp_path), "evals").window([]) as window:
        caplog.set_level(logging.WARNING)
        window.note(ENGINE)
    assert "cannot note" in caplog.text
