"""Sampling: what is asked for is sent by the names that servers know, and nothing else is."""

import pytest

from beam_sdg.models import ModelSettings
from transforms.engines.completions import body_of
from transforms.engines.engine import Message, Sampling, Turn


def body(sampling: Sampling) -> dict:
    return body_of("m", Turn("k", "p", (Message("user", "hi"),), sampling, 7, None))


def test_what_is_not_chosen_is_left_to_the_server():
    """The body then has the messages, the model and the seed."""
    assert set(body(Sampling())) == {"model", "messages", "seed"}


@pytest.mark.parametrize(
    ("setting", "value", "name", "sent"),
    [
        ("temperature", 0.0, "temperature", 0.0),
        ("top_p", 0.95, "top_p", 0.95),
        ("top_k", 20, "top_k", 20),
        ("min_p", 0.05, "min_p", 0.05),
        ("repetition_penalty", 1.05, "repetition_penalty", 1.05),
        ("reasoning_effort", "high", "reasoning_effort", "high"),
        (
            "chat_template_args",
            {"enable_thinking": "false", "budget": "3", "style": "terse"},
            "chat_template_kwargs",
            {"enable_thinking": False, "budget": 3, "style": "terse"},
        ),
    ],
)
def test_a_flag_is_sent_under_its_name_in_the_api(setting, value, name, sent):
    """Also a zero, which is no default; a template's arguments are typed as JSON has them."""
    made = body(ModelSettings(model="m", **{setting: value}).sampling())
    assert made[name] == sent
    assert set(made) == {"model", "messages", "seed", name}
