"""What servers say about parameters that they do not take, and what must not be mistaken for it."""

import json

import pytest

from transforms.engines.dialect import Dialect, refused_parameter

BODY = {
    "model": "m", "messages": [], "max_tokens": 9, "seed": 1, "temperature": 0.5, "top_p": 0.9,
    "stop": ["x"], "response_format": {},
}  # fmt: skip


def openai(message: str, code: str | None = None, param: str | None = None) -> bytes:
    return json.dumps({"error": {"message": message, "code": code, "param": param}}).encode()


VLLM = "[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs are not permitted', 'input': 1}]"  # noqa: E501
SAID = [
    (openai("Use 'max_completion_tokens' instead.", "unsupported_parameter", "max_tokens"), "max_tokens"),  # noqa: E501
    (openai("Only the default (1) value is supported.", "unsupported_value", "temperature"), "temperature"),  # noqa: E501
    (openai("no", "unknown_parameter", "response_format.json_schema"), "response_format"),
    (openai("Unsupported parameter: 'top_p' is not supported with this model."), "top_p"),
    (openai("Unrecognized request argument supplied: seed"), "seed"),
    (openai("Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."), "response_format"),  # noqa: E501
    (openai("This response_format type is unavailable now"), "response_format"),
    (openai("property 'seed' is unsupported"), "seed"),
    (openai("The model does not support temperature."), "temperature"),
    (json.dumps({"object": "error", "message": VLLM, "code": 400}).encode(), "seed"),
    (json.dumps({"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}).encode(), "seed"),  # noqa: E501
    (json.dumps({"message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "response_format", "strict"], "msg": "Extra inputs are not permitted"}]}}).encode(), "response_format"),  # noqa: E501
    (json.dumps({"detail": [{"loc": ["body", "stop"], "msg": "extra fields not permitted", "type": "value_error.extra"}]}).encode(), "stop"),  # noqa: E501
    (openai("litellm: 'temperature' does not support 0.6 with this model. Only the default (1) value is supported."), "temperature"),  # noqa: E501
    (openai("'json_schema' no", "unsupported_value", "response_format.type"), "response_format"),
    (b'{"message": "Unsupported parameter(s): `seed`"}', "seed"),
    (b'json: unknown field "seed"', "seed"),
    (b"Unknown field: temperature", "temperature"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "parameter"), SAID)
def test_a_refused_parameter_is_recognised(content, parameter):
    """By code, in pydantic's words or in a sentence; and only if it was sent."""
    assert refused_parameter(400, BODY, content) == parameter
    assert refused_parameter(400, {"model", "messages"}, content) is None


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 4096 tokens; reduce max_tokens or the messages",
        "max_tokens is too large: 99999",
        "temperature must be between 0 and 2",
        "temperature is not supported above 2",
        "temperature is not supported with values above 2",
        "'temperature' does not support 3 with this model.",
        "'max_tokens' is not supported: must be below 4096",
        "Unsupported value: 'max_tokens' does not support 9999",
        "stop is not allowed to be longer than 4",
        "seed must be less than 2147483647",
        "Invalid value for 'stop': too long",
        "Unknown field: tools",
        "unsupported field: seed_everything",
        "Invalid schema for response_format 'answer': 'required' is required to be supplied",
        "the model does not support images",
        "Your prompt was flagged: 'the seed was not found and the top_p of it'",
    ],
)
def test_another_refusal_is_not_taken_for_one(message):
    """Limits, contexts, schemas and content stay failures of their request."""
    for code in ("invalid_request_error", "unsupported_value"):
        for param in ("temperature", "max_tokens", "seed"):
            assert refused_parameter(400, BODY, openai(message, code, param)) is None


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"null", b'{"error": null}', b"[" * 9999])
def test_any_body_is_read(content):
    """What is no JSON, or no object, says nothing."""
    assert refused_parameter(400, BODY, content) is None


def test_nothing_is_changed_before_something_is_known():
    """The body goes out as it is."""
    assert Dialect(()).spoken(BODY) is BODY


def test_what_is_learned_is_left_out_from_then_on():
    """Each refusal adds to what is known; the body given is never changed."""
    dialect = Dialect(("no_seed",))
    assert dialect.learns_from(400, BODY, openai("Unknown field: max_tokens"))
    assert dialect.learns_from(422, BODY, openai("Unknown field: response_format"))
    assert not dialect.learns_from(500, BODY, openai("Unknown field: seed"))
    for name in ("temperature", "top_p", "stop"):  # without it, other answers
        assert not dialect.learns_from(400, BODY, openai(f"Unknown field: {name}"))
    assert dialect.spoken(BODY) == {
        "model": "m", "messages": [], "max_completion_tokens": 9, "temperature": 0.5,
        "top_p": 0.9, "stop": ["x"],
    }  # fmt: skip
    assert "seed" in BODY


def test_a_name_that_nobody_takes_ends_the_learning():
    """After the renaming, a refusal of the new name is a failure and no loop."""
    dialect = Dialect(("max_completion_tokens",))
    sent = dialect.spoken(BODY)
    assert not dialect.learns_from(400, sent, openai("Unknown field: max_completion_tokens"))
