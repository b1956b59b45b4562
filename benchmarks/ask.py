"""What `Ask` adds to a bare client: requests a second, heavy tail, and CPU a request.

    python benchmarks/ask.py

Each line compares, in one run and against one server, a bare aiohttp client with the whole verb:
rendering, shuffle, answer store, reading. The bare client sends the same bytes.
"""

import asyncio
import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_sdg import Ask, Endpoint, Structured
from transforms.engines.completions import body_of
from transforms.engines.engine import Message, Sampling, Turn
from transforms.records import NewProblemEvals, Problem
from transforms.seeding import digest

WORDS = [
    "Each",
    "of",
    "the",
    "workers",
    "of",
    "a",
    "mill",
    "carries",
    "sacks",
    "up",
    "a",
    "stair",
    "of",
    "many",
    "steps.",
]
RUNS = 2


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    requests: int
    in_flight: int
    latency_s: float
    every: int = 0  # each so-many-th request takes tail_s instead
    tail_s: float = 0.0


CASES = (
    Case("64 in flight, 50 ms", 16_000, 64, 0.05),
    Case("256 in flight, 200 ms", 16_000, 256, 0.2),
    Case("64 in flight, 0.1 s, every 50th 3 s", 3_000, 64, 0.1, every=50, tail_s=3.0),
)


def problem(number: int) -> Problem:
    text = " ".join([str(number), *WORDS * 16])
    return Problem(digest(number), text, "benchmark", str(number), "", "{}")


def variables(record: Problem) -> dict[str, object]:
    return {"problem_a": "A", "combination_type": "obfuscation", "new_problem": record.text}


def keep(answered):
    return answered


def measured(work, url: str, case: Case) -> tuple[float, float]:
    """(seconds, CPU seconds) of working through a case."""
    began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    work(url, case)
    now = resource.getrusage(resource.RUSAGE_SELF)
    cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return time.perf_counter() - began, cpu


def bare(url: str, case: Case) -> None:
    """The same requests by aiohttp alone."""
    reader = Structured(NewProblemEvals)
    message = Message("user", problem(0).text + json.dumps(reader.schema()))
    turn = Turn("", "", (message,), Sampling(), 1, reader.constraint())
    body = json.dumps(body_of("m", turn)).encode()

    async def client() -> None:
        numbers = iter(range(case.requests))
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def worker() -> None:
                for _ in numbers:
                    async with session.post(f"{url}/chat/completions", data=body) as response:
                        json.loads(await response.read())["choices"][0]["message"]["content"]

            await asyncio.gather(*(worker() for _ in range(case.in_flight)))

    asyncio.run(client())


def asked(url: str, case: Case) -> None:
    """The same requests through the verb, into an answer store of its own."""
    with tempfile.TemporaryDirectory() as store:
        ask = Ask(
            name="evals",
            prompt="infinibyte/evals",
            variables=variables,
            reader=Structured(NewProblemEvals),
            engine=Endpoint(url=url, model="m", in_flight=case.in_flight),
            store=store,
            seed=0,
            keep=keep,
        )
        options = PipelineOptions(["--runner=FnApiRunner"])
        with beam.Pipeline(options=options) as pipeline:
            problems = pipeline | beam.Create(range(case.requests)) | beam.Map(problem)
            answered = problems | ask
            _ = answered.rows | beam.combiners.Count.Globally() | beam.Map(expect, case.requests)


def expect(number: int, wanted: int) -> None:
    assert number == wanted, f"{number} answers, not {wanted}"


def main() -> None:
    print(
        f"{'case':38} {'bare /s':>8} {'Ask /s':>8} {'ratio':>6} {'time':>6} {'CPU ms/request':>20}"
    )
    for case in CASES:
        server = [sys.executable, str(Path(__file__).with_name("fast_stub.py"))]
        server += [str(case.latency_s), str(case.every), str(case.tail_s)]
        with subprocess.Popen(server, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            url = process.stdout.readline().strip()
            bare(url, dataclasses.replace(case, requests=200))  # warm the server up
            _, start_cpu = measured(asked, url, dataclasses.replace(case, requests=1))
            figures = [(measured(bare, url, case), measured(asked, url, case)) for _ in range(RUNS)]
            process.terminate()
        (bare_s, bare_cpu), (ask_s, ask_cpu) = (min(runs) for runs in zip(*figures, strict=True))
        n = case.requests
        cpu_ms = 1000 * (ask_cpu - start_cpu) / n
        print(
            f"{case.name:38} {n / bare_s:8.0f} {n / ask_s:8.0f} {bare_s / ask_s:6.2f} "
            f"{ask_s / bare_s:5.2f}x {1000 * bare_cpu / n:13.2f} → {cpu_ms:.2f}",
            flush=True,
        )
    print(f"CPU is without a pipeline's own start, {start_cpu:.2f} s; rates and times are with it.")


if __name__ == "__main__":
    main()
