"""The flags about models: which go together, and what a stage of its own takes over."""

import pytest

from beam_sdg.models import ModelSettings
from transforms.engines.endpoint import Endpoint
from transforms.engines.vllm import Vllm
from transforms.errors import UsageError

URL = "http://localhost:8000/v1"


@pytest.mark.parametrize(
    ("settings", "idle"),
    [
        ({"model": "m", "endpoint": URL, "vllm_args": "-tp 2"}, "--vllm_args"),
        ({"model": "m", "endpoint": URL, "revision": "v2"}, "--revision"),
        ({"model": "m", "requests_per_minute": 5}, "--requests_per_minute"),
        ({"model": "m", "dialect": ("no_seed",)}, "--dialect"),
    ],
)
def test_a_flag_of_another_kind_of_server_is_refused(settings, idle):
    """It would do nothing, and its user would not know."""
    with pytest.raises(UsageError, match=f"{idle} is for models"):
        ModelSettings(**settings).engine(())


def test_without_a_model_its_flags_are_refused():
    """But not those of every run."""
    ModelSettings(in_flight=3, temperature=0.5, price_in=1.0).require_a_model()
    with pytest.raises(UsageError, match="--vllm_args is of no use without a --model"):
        ModelSettings(vllm_args="-tp 2").require_a_model()


def test_a_stages_own_model_has_neither_anothers_revision_nor_its_adapter():
    """All else is taken over."""
    base = ModelSettings(
        model="m", revision="v2", adapter="tuned", vllm_args="-tp 2", temperature=0.5
    )
    own = base.changed("judge", {"model": "n"})
    assert own.engine(()) == Vllm(model="n", args="-tp 2")
    assert own.sampling().temperature == 0.5
    assert own.sampling().adapter is None
    assert base.changed("judge", {"top_p": "0.5"}).engine(()) == Vllm(
        model="m", revision="v2", args="-tp 2"
    )


def test_a_stage_may_have_another_kind_of_server():
    """Then the flags of the others' kind are not its own."""
    here = ModelSettings(model="m", vllm_args="-tp 2", gpus="0")
    there = here.changed("judge", {"endpoint": URL, "model": "n"})
    assert there.engine(()) == Endpoint(url=URL, model="n")
    back = ModelSettings(model="m", endpoint=URL, patience_s=5).changed("judge", {"endpoint": ""})
    assert back.engine(()) == Vllm(model="m")
