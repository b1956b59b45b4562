"""Where steps run on a cluster: only the inference step asks for an accelerator."""

from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from transforms.ask import Ask, AskInTurn
from transforms.engines.engine import Engine
from transforms.engines.rehearsal import Rehearsal
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


def hinted(proto: Any) -> dict[str, set[str]]:
    """The accelerators that steps ask for, by the steps' names."""
    found: dict[str, set[str]] = {}
    for step in proto.components.transforms.values():
        if step.spec.urn.startswith("beam:transform:pardo"):
            environment = proto.components.environments[step.environment_id]
            hints = environment.resource_hints.values()
            found[step.unique_name] = {hint.decode() for hint in hints}
    return found


def assert_inference_alone(steps: dict[str, set[str]]) -> None:
    with_it = {name for name, hints in steps.items() if hints}
    assert with_it
    assert all("/Infer/" in name for name in with_it)
    assert any(name.endswith("/BeamML_RunInference") for name in with_it)
    assert {hint for hints in steps.values() for hint in hints} == {ACCELERATOR}


def test_only_the_inference_step_asks_for_the_accelerator():
    """The shuffle before it, votes and sinks are left to workers without one."""
    pipeline = asked(Vllm(model="m", accelerator=ACCELERATOR), "--runner=FnApiRunner")
    assert_inference_alone(hinted(pipeline.to_runner_api()))


def test_dataflow_is_told_so(dataflow, tmp_path):
    """In the program that its runner would send."""
    folders = (f"--{name}_location=gs://bucket/{name}" for name in ("temp", "staging"))
    pipeline = asked(
        Vllm(model="m", accelerator=ACCELERATOR),
        *("--runner=DataflowRunner", "--dry_run=True", "--no_auth", "--project=project"),
        *("--region=us-central1", "--sdk_container_image=registry/worker:1", *folders),
    )
    pipeline.run()
    proto = pipeline.runner.proto_pipeline
    assert_inference_alone(hinted(proto))
    environments = proto.components.environments.values()
    assert {b"registry/worker:1" in one.payload for one in environments} == {True}


@pytest.mark.parametrize("engine", [Vllm(model="m"), Rehearsal()])
def test_others_ask_for_nothing(engine):
    """A model that is served elsewhere, or nowhere in particular, is asked from any worker."""
    assert not any(hinted(asked(engine, "--runner=FnApiRunner").to_runner_api()).values())
