"""A call to python in every spelling that the harmony format allows, and what is none."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.tir.formats import CODE_FORMATS

HARMONY = CODE_FORMATS["gpt-oss"]
START = "<|start|>assistant"
THOUGHT = "<|channel|>analysis<|message|>I count to=python code.<|end|><|start|>assistant"
UNSTARTED = "<|channel|>analysis<|message|>Hm.<|end|>"
FINAL = "<|channel|>final<|message|>It is 2.<|return|>"

SHAPES = [
    "{to}<|channel|>{channel} {kind}",
    "{to} {kind}",
    "<|channel|>{channel}{to} {kind}",
    "<|channel|>{channel} {kind}{to}",
]
TO = [" to=python", " to=functions.python", " to=python.exec", " to= python "]
KINDS = ["code", "<|constrain|>code", "<|constrain|> code", "<|constrain|>json", "json", ""]
HEADERS = [
    shape.format(to=to, channel=channel, kind=kind)
    for shape, to, channel, kind in itertools.product(SHAPES, TO, ["analysis", "commentary"], KINDS)
]
HEADERS += [
    "to=python<|channel|>analysis<|constrain|>code",
    "<|channel|>analysisto=python code",
    "<|channel|>commentary to=python<|constrain|>json",
    "<|channel|> analysis to=python code",
    "<|channel|>analysis to=python<|constrain|>code",
    " to=functions.python<|channel|>commentary<|constrain|>json",
    "<|channel|>analysis to=pythoncode",
    "<|channel|>analysis code to=python",
]


@pytest.mark.parametrize("header", HEADERS)
def test_every_spelling_is_a_call(header):
    """With a start of its own or behind that of the prompt, behind other messages or at once."""
    body = json.dumps({"code": "print(1)"}) if "json" in header else "print(1)"
    channel = "commentary" if "commentary" in header else "analysis"
    for before, start in itertools.product(("", THOUGHT, UNSTARTED), ("", START)):
        call = f"{start}{header}<|message|>{body}<|call|>"
        text = before + call
        assert HARMONY.call(text) == "print(1)"
        [block] = HARMONY.blocks(text)
        assert (block.is_complete, block.end) == (True, len(text))
        assert text[block.start :] in (call, START + call)
        assert HARMONY.result("1\n", text) == (
            f"<|start|>python to=assistant<|channel|>{channel}<|message|>1<|end|>{START}"
        )


@pytest.mark.parametrize(
    "text",
    [
        FINAL,
        THOUGHT + FINAL,
        THOUGHT.removesuffix("<|end|><|start|>assistant"),
        "<|channel|>commentary to=functions.search<|message|>{}<|call|>",
        "<|channel|>analysis to=browser.open code<|message|>x<|call|>",
        "<|channel|>analysis to=pythonic code<|message|>x<|call|>",
        "<|channel|>analysis to=python code<|call|>",
        "<|channel|>analysis<|message|>a call is `to=python code`<|call|>",
        "<|start|>user to=python<|channel|>analysis<|message|>x<|call|>",
        "<|start|>python to=assistant<|channel|>analysis<|message|>x<|call|>",
        "```python\nprint(1)\n```\n",
        "to=python",
        "",
    ],
)
def test_what_is_no_call(text):
    """Another recipient, another end, no body, another author, no message at all."""
    assert HARMONY.call(text) is None
    assert HARMONY.blocks(text) == []
    assert HARMONY.ended(text) == text


@pytest.mark.parametrize("end", ["<|end|>", "<|return|>", "<|end|><|start|>user<|message|>x"])
def test_a_call_that_ends_as_none_does_is_not_complete(end):
    """It is not run, and filters see that it was not, whatever is behind it."""
    text = f"<|channel|>analysis to=python code<|message|>x{end}"
    assert HARMONY.call(text) is None
    assert HARMONY.ended(text) == text
    invented = "<|start|>python to=assistant<|channel|>analysis<|message|>999<|end|>"
    for whole in (text, text + invented):
        [block] = HARMONY.blocks(whole)
        assert (block.code, block.is_complete, block.output) == ("x", False, None)


def test_a_second_call_at_once_is_a_call():
    """Behind a result the prompt ends with the assistant's start, so the round has none."""
    first = THOUGHT + "<|channel|>analysis to=python code<|message|>x = 1<|call|>"
    second = " to=python<|channel|>commentary<|message|>x<|call|>"
    text = first + HARMONY.result("", first) + second
    text += HARMONY.result("1", second)
    one, two = HARMONY.blocks(text + FINAL)
    assert (one.code, one.output, two.code, two.output) == ("x = 1", "", "x", "1")
    assert text[one.start :].startswith("<|start|>assistant<|channel|>analysis to=python")
    assert text[two.start : two.end] == second
    assert (text + FINAL)[two.result_end :] == FINAL


def test_code_is_taken_from_an_object_only_where_it_may_be_one():
    """A program that is an object is a program where the content type is `code`."""
    written = '{"code": "x"}'
    assert (
        HARMONY.call(f"<|channel|>analysis to=python code<|message|>{written}<|call|>") == written
    )
    assert HARMONY.call(f"<|channel|>analysis to=python<|message|>{written}<|call|>") == "x"
    for program in ("print({1: 2})", '{"code": 1}', '["code"]', '{"code": "x"'):
        header = "<|channel|>commentary to=python <|constrain|>json<|message|>"
        assert HARMONY.call(f"{header}{program}<|call|>") == program


def test_a_call_that_the_server_has_left_open_is_ended():
    """The end is a special token, which it may have kept to itself."""
    text = THOUGHT + HARMONY.written("x")
    assert HARMONY.ended(text.removesuffix("<|call|>")) == text
    assert HARMONY.ended(text) == text
    assert HARMONY.ended(THOUGHT) == THOUGHT


@given(
    st.text("<|>startcalmegnd =python.\n{}")
    | st.lists(
        st.sampled_from(
            [
                "<|start|>",
                "<|channel|>",
                "<|message|>",
                "<|call|>",
                "<|end|>",
                "assistant",
                "analysis",
                " to=python",
                "python",
                " code",
                "x",
            ]
        )
    ).map("".join)
)
def test_no_text_is_too_odd(text):
    """Blocks are in order and within the text."""
    found = HARMONY.blocks(text)
    at = 0
    for block in found:
        assert at <= block.start < block.end <= block.result_end <= len(text)
        at = block.result_end
    assert HARMONY.blocks(HARMONY.ended(text))[: len(found)][:-1] == found[:-1]
