"""A trace as messages: nothing lost, calls and replies by their ids, reasoning kept apart."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.traces import trace
from transforms.records import SftMessage
from transforms.sft.messages import answer_messages
from transforms.tir.escaping import escaped
from transforms.tir.formats import CODE_FORMATS

TAGGED = [name for name in CODE_FORMATS if name != "gpt-oss"]
WORDS = st.text(alphabet="abc .\n", max_size=12)
CALLS = st.lists(st.tuples(WORDS, st.sampled_from(["print(1)", "x = 2\nx"]), WORDS), max_size=3)


def coded(message: SftMessage) -> list[str]:
    return [json.loads(call.function.arguments)["code"] for call in message.tool_calls]


@given(st.sampled_from(sorted(CODE_FORMATS)), CALLS, WORDS)
@settings(deadline=None)
def test_calls_and_words_are_all_there(name, calls, end):
    """In order; each reply follows its call and has its id."""
    written = CODE_FORMATS[name]
    text, said = "", []
    for before, code, output in calls:
        prose = before + "\n"
        if name == "gpt-oss":
            prose = f"<|channel|>analysis<|message|>{before}<|end|><|start|>assistant"
        call = written.written(code)
        text += prose + call + written.result(output, call)
        said.append(before)
    text += f"<|channel|>final<|message|>{end}" if name == "gpt-oss" else end
    one = trace(text, code_format=name)
    parts = answer_messages(one)
    blocks = written.blocks(text)
    asked = [part for part in parts if part.tool_calls]
    replies = [part for part in parts if part.role == "tool"]
    assert [code for part in asked for code in coded(part)] == [block.code for block in blocks]
    assert [part.content for part in replies] == [escaped(block.output) for block in blocks]
    ids = [call.id for part in asked for call in part.tool_calls]
    assert ids == [part.tool_call_id for part in replies] == [f"call_{n}" for n in range(len(ids))]
    heard = [(part.reasoning_content or part.content) for part in asked]
    assert heard == [before.strip() for before in said]
    rest = [part for part in parts if part.role == "assistant" and not part.tool_calls]
    assert [part.content for part in rest] == ([end.strip()] if end.strip() or not calls else [])


@pytest.mark.parametrize("name", TAGGED)
def test_reasoning_may_go_on_over_a_call(name):
    """Begun by a tag, or by the prompt; then the first tag is one that ends it."""
    written = CODE_FORMATS[name]
    call = written.written("print(1)")
    thought = f"first\n{call}{written.result('1', call)}then\n</think>\nSo \\boxed{{1}}."
    for text in (f"<think>\n{thought}", thought):
        asked, reply, rest = answer_messages(trace(text, code_format=name))
        assert (asked.reasoning_content, asked.content) == ("first", "")
        assert reply == SftMessage("tool", "1", tool_call_id="call_0")
        assert (rest.reasoning_content, rest.content) == ("then", "So \\boxed{1}.")


def test_reasoning_that_was_kept_apart_comes_first():
    assert answer_messages(trace("So 42.", reasoning_content="hm")) == (
        SftMessage("assistant", "So 42.", "hm"),
    )
    both = answer_messages(trace("<think>more</think>42", reasoning_content="hm"))
    assert both == (SftMessage("assistant", "42", "hm\n\nmore"),)


def test_an_open_call_is_words_and_one_without_result_has_no_reply():
    """So nothing of a trace that was cut off is lost."""
    written = CODE_FORMATS["openmath"]
    [one] = answer_messages(trace("a <tool_call>\nprint(", code_format="openmath"))
    assert one == SftMessage("assistant", "a <tool_call>\nprint(")
    [one] = answer_messages(trace("a" + written.written("f()"), code_format="openmath"))
    assert (one.content, coded(one)) == ("a", ["f()"])


def test_a_trace_of_nothing_has_a_message():
    assert answer_messages(trace("")) == (SftMessage("assistant", ""),)


def test_harmony_by_its_channels():
    """Analysis is reasoning; commentary and final are content; a plain text is, too."""
    text = (
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary"
        "<|message|>I will add.<|end|><|start|>assistant<|channel|>final<|message|>42"
    )
    [one] = answer_messages(trace(text, code_format="gpt-oss"))
    assert (one.reasoning_content, one.content) == ("hm", "I will add.\n\n42")
    [plain] = answer_messages(trace("42", code_format="gpt-oss"))
    assert (plain.reasoning_content, plain.content) == ("", "42")
