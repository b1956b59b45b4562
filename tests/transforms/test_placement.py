"""Where steps run on a cluster: only the inference step asks for an accelerator."""

import pytest

from tests.placed import ACCELERATOR, asked, hinted
from transforms.engines.rehearsal import Rehearsal
from transforms.engines.vllm import Vllm


def test_only_the_inference_step_asks_for_the_accelerator():
    """The shuffle before it, votes and sinks are left to workers without one."""
    pipeline = asked(Vllm(model="m", accelerator=ACCELERATOR), "--runner=FnApiRunner")
    steps = hinted(pipeline.to_runner_api())
    with_it = {name for name, hints in steps.items() if hints}
    assert all("/Infer/" in name for name in with_it)
    assert any(name.endswith("/BeamML_RunInference") for name in with_it)
    assert {hint for hints in steps.values() for hint in hints} == {ACCELERATOR}


@pytest.mark.parametrize("engine", [Vllm(model="m"), Rehearsal()])
def test_others_ask_for_nothing(engine):
    """A model that is served elsewhere, or nowhere in particular, is asked from any worker."""
    assert not any(hinted(asked(engine, "--runner=FnApiRunner").to_runner_api()).values())
