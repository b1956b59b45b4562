"""What comes back: answers, refusals, truncations and what is none of them."""

import json
from typing import Any

import pytest

from transforms.engines.completions import message_of, reply_of
from transforms.engines.engine import Reply


def body(finish_reason: str | None, **message: Any) -> bytes:
    choice = {"message": message, "finish_reason": finish_reason}
    return json.dumps({"choices": [choice], "usage": {"completion_tokens": 3}}).encode()


def test_a_refusal_is_told_from_an_answer():
    """OpenAI's field of it, where there is no content; else the content counts."""
    refused = reply_of(body("stop", content=None, refusal="I will not."))
    assert refused == Reply("I will not.", "", "refusal", 0, 3)
    assert reply_of(body("stop", content="4", refusal=None)).finish_reason == "stop"
    assert reply_of(body("stop", content="4", refusal="no")) == Reply("4", "", "stop", 0, 3)
    assert reply_of(body("content_filter", content="")).finish_reason == "content_filter"


def test_all_tokens_spent_on_reasoning_is_a_length_without_text():
    """With the reasoning in its field, or in a think tag that was never closed."""
    by_field = reply_of(body("length", content=None, reasoning_content="hm"))
    by_tag = reply_of(body("length", content="<think>hm"))
    assert by_field == by_tag == Reply("", "hm", "length", 0, 3)


def test_an_empty_answer_stays_one():
    """finish_reason stop and no text: reading says what that is."""
    assert reply_of(body("stop", content="")) == Reply("", "", "stop", 0, 3)
    assert reply_of(body(None, content=None)) == Reply("", "", "stop", 0, 3)


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"null", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"message": 1}]}',
     b'{"choices": [{"message": {"content": 4}}]}', b'{"choices": [{"message": {"content": [4]}}]}',
     b'{"choices": [{"message": {"content": 0}}]}',
     b'{"choices": [{"message": {"content": "a", "reasoning": {"a": 1}}}]}',
     b'{"choices": [{"message": {"content": "a"}, "finish_reason": 3}]}',
     b'{"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": Infinity}}',
     b'{"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": NaN}}',
     b'{"error": {"message": "x"}}', b"[" * 99999],
)  # fmt: skip
def test_what_is_no_completion_says_how_it_begins(content):
    """Whatever it is, the error is a ValueError on one line."""
    with pytest.raises(ValueError, match="^not a completion: "):
        reply_of(content)


@pytest.mark.parametrize(
    ("content", "text", "reasoning"),
    [
        ('{"problem": "strip </think> tags"}', '{"problem": "strip </think> tags"}', ""),
        ('<think>hm</think>{"a": "</think>"}', '{"a": "</think>"}', "hm"),
        (' <think>"{}"</think> 4', "4", '"{}"'),
        ('hm</think>\n{"a": 4}', '{"a": 4}', "hm"),
        ("a <think> b", "a <think> b", ""),
    ],
)
def test_think_tags_are_told_from_a_text_about_them(content, text, reasoning):
    """What begins with one is split at its end; where it is in the prompt, what is no JSON."""
    assert reply_of(body("stop", content=content)) == Reply(text, reasoning, "stop", 0, 3)


def test_a_content_in_parts_is_joined():
    """The parts of text, in order; others say nothing that is read."""
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    assert reply_of(body("stop", content=parts)).text == "ab"
    assert reply_of(body("stop", content=[])).text == ""
    assert reply_of(body("stop", content="4", reasoning=parts)).reasoning == "ab"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"error": {"message": "a\\nb"}}', "a b"),
        (b'{"error": "a"}', "a"),
        (b'{"message": "a"}', "a"),
        (b'{"detail": "a"}', "{'detail': 'a'}"),
        (b" a ", "a"),
        (b"", "no message"),
        (b"x" * 999, "x" * 300),
    ],
)
def test_a_servers_words_fit_on_a_line(content, message):
    """Wherever in the body they are."""
    assert message_of(content) == message


def test_cached_and_reasoning_tokens_are_kept_where_they_are_told():
    """By their places in the usage; absent or null, they are none."""
    choice = {"message": {"content": "yes"}, "finish_reason": "stop"}
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    reply = reply_of(json.dumps({"choices": [choice], "usage": usage}).encode())
    assert (reply.cached_tokens, reply.reasoning_tokens) == (8, 5)
    bare = {"prompt_tokens": 9, "completion_tokens": 7, "prompt_tokens_details": None}
    reply = reply_of(json.dumps({"choices": [choice], "usage": bare}).encode())
    assert (reply.cached_tokens, reply.reasoning_tokens) == (0, 0)
