"""What a server's faults cost: three asks of 1,000 records in turn through Beam, fault by fault.

    python benchmarks/faults.py [--records N] [NAME…]

The raw client is bare aiohttp against a fresh server with the same faults: a record's three
requests one after the other, no barrier between stages, what fails sent again at once. It is told
the capacity of a server that has one. Rates are answers a second, from the server's first request
to its last. The accepted ids must be those that the rehearsal plans, or the program fails.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import json
import logging
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

import prompts
from beam_sdg import Ask, AskInTurn, Endpoint, Rehearsal, Structured
from transforms.codec import canonical_json
from transforms.engines.completions import body_of
from transforms.engines.engine import KEY_HEADER, PROMPT_HEADER, Message, Sampling, Turn
from transforms.engines.rehearsal import CORRECTABLE, GOOD
from transforms.records import Answered, NewProblemEvals, Problem
from transforms.seeding import digest, sampling_seed

ROOT = Path(__file__).parents[1]
STAGES = ("first", "second", "third")
PROMPT = "infinibyte/evals"
READER = Structured(NewProblemEvals)
REHEARSAL = Rehearsal(failing=0.01)
IN_FLIGHT = 64


@dataclasses.dataclass(frozen=True)
class Case:
    """Faults of a server; `latency_s` is of an answer without one."""

    name: str
    faults: dict[str, Any]
    latency_s: float = 0.05


CASES = (
    Case("none", {}),
    Case("error", {"error": 0.05}),
    Case("capacity", {"capacity": 32, "retry_after": "1"}, latency_s=0.1),
    Case("dropped", {"drop": 0.03, "cut": 0.02}),
    Case("stragglers", {"tail": 0.01, "tail_s": 2.0}),
    Case("slow_body", {"slow_body": 0.2, "slow_body_s": 0.5}),
    Case("garbage", {"html": 0.02, "truncated": 0.02, "other_shape": 0.01}),
)


def problems(number: int) -> list[Problem]:
    numbers = map(str, range(number))
    return [Problem(digest(n), f"What is {n} + 1?", "benchmark", n, "", "{}") for n in numbers]


def variables(record: Problem) -> dict[str, object]:
    return {"problem_a": "A", "combination_type": "obfuscation", "new_problem": record.text}


def keep(answered: Answered) -> Problem:
    return answered.record


def seed_of(stage: str, record: Problem) -> int:
    return sampling_seed(0, stage, record.id, 0)


def planned(records: list[Problem]) -> list[str]:
    """The ids that pass all stages."""
    return sorted(
        record.id
        for record in records
        if all(
            REHEARSAL.fate(PROMPT, seed_of(stage, record)) in (GOOD, CORRECTABLE)
            for stage in STAGES
        )
    )


def accepted(url: str, records: list[Problem], folder: Path, **settings: Any) -> list[str]:
    """The ids that come out of three asks in one pipeline."""
    engine = Endpoint(**{"url": url, "model": "m", "in_flight": IN_FLIGHT, **settings})
    out = folder / "accepted"
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        asks = tuple(
            Ask(
                name=stage, prompt=PROMPT, variables=variables, reader=READER, engine=engine,
                store=str(folder / "store"), seed=0, keep=keep,
            )
            for stage in STAGES
        )  # fmt: skip
        outcomes = pipeline | beam.Create(records) | AskInTurn(asks)
        ids = outcomes[-1].rows | beam.Map(lambda record: record.id)
        _ = ids | beam.io.WriteToText(str(out), shard_name_template="")
    return sorted(out.read_text().split())


Sent = tuple[bytes, dict[str, str]]


def sent(records: list[Problem]) -> list[list[Sent]]:
    """The bodies and headers of each record's requests."""
    schema = READER.schema()
    return [[_sent(stage, record, schema) for stage in STAGES] for record in records]


def _sent(stage: str, record: Problem, schema: dict[str, Any] | None) -> Sent:
    shown = {**variables(record), "answer_schema": canonical_json(schema)}
    messages = tuple(Message(role, text) for role, text in prompts.render(PROMPT, shown))
    key, seed = digest(stage, record.id), seed_of(stage, record)
    body = body_of("m", Turn(key, PROMPT, messages, Sampling(), seed, READER.constraint()))
    return json.dumps(body).encode(), {KEY_HEADER: key, PROMPT_HEADER: PROMPT}


async def raw(url: str, records: list[list[Sent]], in_flight: int) -> None:
    """The same requests by aiohttp alone."""
    left = iter(records)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def is_answered(body: bytes, headers: dict[str, str]) -> bool:
            while True:
                with contextlib.suppress(aiohttp.ClientError, ValueError, LookupError):
                    post = session.post(f"{url}/chat/completions", data=body, headers=headers)
                    async with post as response:
                        content = await response.read()
                    if response.status == 400:
                        return False
                    json.loads(content)["choices"][0]["message"]["content"]
                    return True

        async def worker() -> None:
            for requests in left:
                for body, headers in requests:
                    if not await is_answered(body, headers):
                        break

        await asyncio.gather(*(worker() for _ in range(in_flight)))


@contextlib.contextmanager
def server(case: Case) -> Iterator[str]:
    """The URL of a stub of its own process."""
    rehearsal = REHEARSAL.model_copy(update={"latency_s": case.latency_s})
    command = [sys.executable, "-m", "transforms.engines.stub"]
    command += ["--rehearsal", rehearsal.model_dump_json(), "--faults", json.dumps(case.faults)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def stats_of(url: str) -> dict[str, Any]:
    """What the server at `url` has seen."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/stats") as response:
        return json.load(response)


def rate(stats: dict[str, Any]) -> float:
    return stats["keys"] / (stats["last"] - stats["first"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of cases; all by default")
    flags = parser.parse_args()
    logging.disable(logging.WARNING)
    records = problems(flags.records)
    bodies = sent(records)
    print(
        f"{'fault':12} {'requests':>8} {'retries':>8} {'seconds':>8} {'rate /s':>8} "
        f"{'raw /s':>8} {'ratio':>6} {'capacity used':>14}"
    )
    for case in CASES:
        if flags.names and case.name not in flags.names:
            continue
        with server(case) as url:
            asyncio.run(raw(url, bodies, case.faults.get("capacity", IN_FLIGHT)))
            raw_rate = rate(stats_of(url))
        with server(case) as url, tempfile.TemporaryDirectory() as folder:
            assert accepted(url, records, Path(folder)) == planned(records), case.name
            stats = stats_of(url)
        used = stats["capacity_used"]
        print(
            f"{case.name:12} {stats['requests']:8} {stats['requests'] - stats['keys']:8} "
            f"{stats['last'] - stats['first']:8.1f} {rate(stats):8.0f} {raw_rate:8.0f} "
            f"{rate(stats) / raw_rate:6.2f} {f'{used:.0%}' if used else '':>14}",
            flush=True,
        )


if __name__ == "__main__":
    main()
