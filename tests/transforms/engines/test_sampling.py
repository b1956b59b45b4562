"""Sampling: what is asked for is sent by the names that servers know, and nothing else is."""

import json

import pytest

from beam_sdg.models import ModelSettings
from transforms.constraint import Constraint
from transforms.engines.completions import Api, body_of, reply_of
from transforms.engines.engine import Message, Sampling, Turn
from transforms.errors import UsageError
from transforms.reading import Choice, Grammar, Pattern
from transforms.records import TokenLogprob

HI = (Message("system", "Be brief."), Message("user", "hi"))


def body(sampling: Sampling, constraint: Constraint | None = None, api: Api = "chat") -> dict:
    return body_of("m", Turn("k", "p", HI, sampling, 7, constraint), api)


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
        ("stop", "</code>", "stop", ["</code>"]),
        ("stop", '["END", "\\n\\n"]', "stop", ["END", "\n\n"]),
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


def test_an_adapter_answers_under_its_own_name():
    """And each request may have another."""
    assert body(Sampling(adapter="judge"))["model"] == "judge"
    assert "adapter" not in body(Sampling(adapter="judge"))


@pytest.mark.parametrize("stops", ["[1]", '["a"', '["a", ""]'])
def test_a_list_of_stops_that_is_none_is_refused(stops):
    """In one line."""
    with pytest.raises(UsageError, match="--stop .*list"):
        ModelSettings(model="m", stop=stops).sampling()


@pytest.mark.parametrize(
    ("reader", "sent"),
    [
        (Choice(("yes", "no")), {"choice": ["yes", "no"]}),
        (Pattern("[a-d]"), {"regex": "[a-d]"}),
        (Grammar('root ::= "a"'), {"grammar": 'root ::= "a"'}),
    ],
)
def test_a_form_that_is_no_schema_goes_to_vllm_in_its_words(reader, sent):
    """OpenAI's API has none for it."""
    made = body(Sampling(), reader.constraint())
    assert made["structured_outputs"] == sent
    assert "response_format" not in made


def test_text_is_sent_without_roles():
    """As the prompt says it, one message below the other."""
    made = body(Sampling(logprobs=2), api="text")
    assert made == {"model": "m", "prompt": "Be brief.\n\nhi", "seed": 7, "logprobs": 2}


def test_logprobs_are_read_from_either_api():
    """What was drawn, and what could have been."""
    drawn = {"token": "a", "logprob": -0.5}
    top = [drawn, {"token": "b", "logprob": -1.5}]
    chat = {
        "message": {"content": "a"},
        "logprobs": {"content": [{**drawn, "top_logprobs": top}]},
    }
    text = {
        "text": "a",
        "logprobs": {
            "tokens": ["a"],
            "token_logprobs": [-0.5],
            "top_logprobs": [{"a": -0.5, "b": -1.5}],
        },
    }
    expected = (TokenLogprob("a", -0.5, (("a", -0.5), ("b", -1.5))),)
    for choice in (chat, text):
        reply = reply_of(json.dumps({"choices": [choice]}).encode())
        assert (reply.text, reply.logprobs) == ("a", expected)
    assert body(Sampling(logprobs=1))["top_logprobs"] == 1
