"""Where the steps of a pipeline with two asks are to run, as Beam would tell a cluster.

python -m placed FLAG…      prints it as JSON, of the program that the flags' runner would get
"""

import json
import sys
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from transforms.ask import Ask, AskInTurn
from transforms.engines.engine import Engine
from transforms.engines.vllm import Vllm
from transforms.reading import Text
from transforms.records import Answered, Problem

ACCELERATOR = "type:nvidia-h100-80gb;count:8;install-nvidia-driver"


def variables(record: Problem) -> dict[str, object]:
    return {"new_problem": record.text}


def keep(answered: Answered) -> Problem:
    return answered.record


def asked(engine: Engine, *flags: str) -> beam.Pipeline:
    """A pipeline with two asks in turn, and a step after them."""
    asks = tuple(
        Ask(name, "infinibyte/solution", variables, Text(), engine, "", 0, keep)
        for name in ("one", "two")
    )
    pipeline = beam.Pipeline(options=PipelineOptions(flags))
    outcomes = pipeline | beam.Create([]) | AskInTurn(asks)
    _ = outcomes[-1].rows | "Vote" >> beam.combiners.Count.Globally()
    return pipeline


def hinted(proto: Any) -> dict[str, list[str]]:
    """The accelerators that steps ask for, by the steps' names."""
    found: dict[str, list[str]] = {}
    for step in proto.components.transforms.values():
        if step.spec.urn.startswith("beam:transform:pardo"):
            environment = proto.components.environments[step.environment_id]
            hints = environment.resource_hints.values()
            found[step.unique_name] = [hint.decode() for hint in hints]
    return found


if __name__ == "__main__":
    told = asked(Vllm(model="m", accelerator=ACCELERATOR), *sys.argv[1:])
    told.run()
    proto = told.runner.proto_pipeline
    payloads = [one.payload.decode() for one in proto.components.environments.values()]
    sys.stdout.write(json.dumps({"hints": hinted(proto), "environments": payloads}) + "\n")
