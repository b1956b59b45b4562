"""What a GPU worker does, at its smallest: Beam's harness, in a process of its own, asks vLLM.

python -m on_a_worker MODEL OUTPUT
"""

import dataclasses
import json
import sys
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_sdg import Answered, Ask, Problem, Structured
from transforms.engines.vllm import Vllm
from transforms.seeding import digest

ON_THE_CPU = (
    "--enforce-eager --max-model-len 1024 --max-num-seqs 8 --dtype float32 "
    "--gpu-memory-utilization 0.2 --no-enable-chunked-prefill --max-num-batched-tokens 4096 "
    """--structured-outputs-config '{"backend": "xgrammar", "disable_any_whitespace": true}'"""
)
HARNESS = ["--direct_running_mode=multi_processing", "--direct_num_workers=1"]


@dataclasses.dataclass(frozen=True, slots=True)
class Opinion:
    is_good: bool


def problem(number: int) -> Problem:
    return Problem(digest(number), f"What is {number} + 1?", "test", str(number), "", "{}")


def variables(record: Problem) -> dict[str, object]:
    return {"new_problem": record.text}


def same(answered: Answered) -> Answered:
    return answered


def line(answered: Answered) -> str:
    """The answer, and the program that this runs in."""
    program = Path(sys.argv[0]).name
    return json.dumps([answered.record.text, answered.value.is_good, program])


def run(model: str, output: str) -> None:
    ask = Ask(
        name="opinion",
        prompt="infinibyte/solution",
        variables=variables,
        reader=Structured(Opinion),
        engine=Vllm(model=model, args=ON_THE_CPU, start_timeout_s=300),
        store=f"{output}/store",
        seed=1,
        keep=same,
    )
    with beam.Pipeline("FnApiRunner", PipelineOptions(HARNESS)) as pipeline:
        asked = pipeline | beam.Create(map(problem, range(4))) | ask
        rows = asked.rows | "Lines" >> beam.Map(line)
        rows | "Rows" >> beam.io.WriteToText(f"{output}/rows", shard_name_template="")
        asked.rejects | beam.io.WriteToText(f"{output}/rejects", shard_name_template="")


if __name__ == "__main__":
    import on_a_worker  # under its own name, so that the harness's process finds its functions

    on_a_worker.run(*sys.argv[1:])
