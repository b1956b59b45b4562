"""What servers say of a request that is longer than the model's context."""

import json

import pytest

from transforms.engines.context import Overflow, overflow_of


@pytest.mark.parametrize(
    ("said", "overflow"),
    [
        (
            "This model's maximum context length is 1024 tokens. However, your prompt contains at "
            "least 1025 input tokens, which exceeds this limit even without any output tokens.",
            Overflow(1024, 1025),
        ),
        (
            "This model's maximum context length is 1024 tokens. However, your prompt contains "
            "15050 characters (more than 13312 characters, which is the upper bound for 1024 input "
            "tokens). Please reduce the length of the input prompt.",
            Overflow(1024, 1025),
        ),
        (
            "max_tokens=5000 cannot be greater than max_model_len=1024. Please request fewer "
            "output tokens.",
            Overflow(1024, None),
        ),
        (
            "'max_tokens' or 'max_completion_tokens' is too large: 900. This model's maximum "
            "context length is 1024 tokens and your request has 300 input tokens (900 > 1024 - "
            "300).",
            Overflow(1024, 300),
        ),
        (
            "This model's maximum context length is 16384 tokens. However, you requested 18000 "
            "tokens (8000 in the messages, 10000 in the completion).",
            Overflow(16384, 8000),
        ),
        (
            "This model's maximum context length is 8192 tokens. However, your messages resulted "
            "in 9001 tokens. Please reduce the length of the messages.",
            Overflow(8192, 9001),
        ),
        (
            "The input (61709 tokens) is longer than the model's context length (40960 tokens).",
            Overflow(40960, 61709),
        ),
        (
            "Requested token count exceeds the model's maximum context length of 8192 tokens. You "
            "requested a total of 8200 tokens: 1200 tokens from the input messages and 7000 tokens "
            "for the completion.",
            Overflow(8192, 1200),
        ),
        (
            "The decoder prompt (length 1030) is longer than the maximum model length of 1024.",
            Overflow(1024, 1030),
        ),
        ("temperature must be non-negative, got -3.0.", None),
    ],
)
def test_the_counts_are_read(said, overflow):
    """In the words of each server, and of no other refusal."""
    content = json.dumps({"error": {"message": said}}).encode()
    assert overflow_of(400, content) == overflow
    assert overflow_of(500, content) is None
