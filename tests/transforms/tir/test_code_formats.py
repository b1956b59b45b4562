"""Calls and results in each format: what was written is read, and nothing else."""

import pickle
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.tir.escaping import escaped, unescaped
from transforms.tir.formats import CODE_FORMATS, rewritten

FENCED, OPENMATH, NEMOTRON, LLAMA, HARMONY = CODE_FORMATS.values()
EVERY = pytest.mark.parametrize("form", CODE_FORMATS.values(), ids=CODE_FORMATS)
TEXTUAL = pytest.mark.parametrize("form", [FENCED, OPENMATH, NEMOTRON], ids=lambda form: form.name)

TAGS = [
    *("```", "```python\n", "```output\n", "```\n", "````", "\\```", "\\", "`", "\n```\n"),
    *("<tool_call>\n", "</tool_call>", "<llm-code>\n", "</llm-code>\n", "</llm-code-output>\n"),
    *("<|python_tag|>", "<|eom_id|>", "<|eot_id|>", "<|start_header_id|>ipython", "<\\|eot_id|>"),
    *("<|start|>assistant", "<|channel|>analysis to=python code<|message|>", "<|call|>", "<|end|>"),
    *("<|start|>python to=assistant", "<|return|>", "<|im_end|>", "<｜end▁of▁sentence｜>", "</s>"),
    *(
        "</think>",
        "[/INST]",
        "<end_of_turn>",
        "<",
        "|",
        "\n",
        "\r\n",
        "\r",
        " ",
        "2",
        "<class 'int'>",
    ),
]
OUTPUTS = st.lists(st.sampled_from(TAGS) | st.text(max_size=5), max_size=12).map("".join)
LINES = ["x = 1", "print('```')", "s = '''", "# a ```python block", "\tif x < 2 | y:", "", "é = []"]
CODES = st.lists(st.sampled_from(LINES), min_size=1).map("\n".join)
PROSE = st.sampled_from(
    [
        "",
        "So:\n",
        "First `x`.\n\n",
        "```text\nx\n```\n",
        "```cpp\nint x;\n```\nSo\n",
        "```\nx\n```\n",
    ]
)
NO_TOKENS = ("<|", "<｜", "</s>", "<s>", "<think>", "</think>", "<end_of_turn>", "[/INST]")


def in_a_message(prose: str) -> str:
    return f"<|channel|>analysis<|message|>{prose}<|end|>" if prose else ""


@EVERY
@given(st.lists(st.tuples(PROSE, CODES, OUTPUTS), min_size=1, max_size=4))
def test_what_was_written_is_read(form, rounds):
    """Whatever an output holds: every call, its output, and where both are."""
    text, spans = "", []
    for before, code, output in rounds:
        prose = in_a_message(before) if form is HARMONY else before
        start = len(text + prose)
        end = start + len(form.written(code))
        text += prose + form.written(code) + form.result(output, text + prose + form.written(code))
        spans.append((start, end, len(text)))
    found = form.blocks(f"{text}So it is 2.")
    assert [block.code for block in found] == [code.removesuffix("\n") for _, code, _ in rounds]
    assert [block.output for block in found] == [out.removesuffix("\n") for _, _, out in rounds]
    assert [(block.start, block.end, block.result_end) for block in found] == spans
    assert all(block.is_complete for block in found)


@EVERY
@given(PROSE, CODES, OUTPUTS)
def test_a_result_alone_is_no_call(form, prose, code, output):
    """Nor does it end with one, nor leave one open; special tokens in it are none."""
    shown = form.result(output, prose + form.written(code))
    assert form.call(shown) is None
    assert form.blocks(shown) == []
    assert form.ended(shown) == shown
    inside = escaped(output)
    assert inside in shown or inside.removesuffix("\n") in shown
    assert not [token for token in NO_TOKENS if token in inside]


@given(OUTPUTS | st.text("<|\\`[]/think>s_toolcaINST\n"))
def test_an_escaped_output_is_the_output_again(output):
    """All of it, backslashes that were there included."""
    assert unescaped(escaped(output)) == output


@pytest.mark.parametrize(
    "output",
    ["", "2", "<class 'int'> < 3 | x", "[1, 2]\n  'a`b``c'", "a\\|b \\\\", "<function f at 0x7f>"],
)
def test_ordinary_outputs_stay_as_they_are(output):
    """Only what may be a tag or a token has a backslash more."""
    assert escaped(output) == output


def test_an_escaped_output_stays_legible():
    """One backslash."""
    assert escaped("a <|im_end|> </tool_call> ```") == r"a <\|im_end|> <\/tool_call> \```"


@EVERY
@given(PROSE, CODES)
def test_a_round_that_ends_with_a_call_is_one(form, prose, code):
    """Also where the server has left the stop string out, or the model the last line break."""
    call = form.written(code)
    assert form.call(prose + call) == code.removesuffix("\n")
    assert form.ended(prose + call) == prose + call
    assert form.call(f"{prose}{call}And") is None
    assert not form.is_paused(prose + call)
    cut = call.removesuffix("\n").removesuffix(form.stop[0].strip())
    assert form.call(prose + cut) is None
    assert form.ended(prose + cut) == prose + call
    assert form.ended(prose + call.removesuffix("\n")) == prose + call


@EVERY
def test_the_stop_string_is_the_end_of_a_call(form):
    """A server that keeps it gives a text of which only a line break may be missing."""
    call = form.written("print(1)")
    assert any(call.rstrip("\n").endswith(stop.rstrip("\r\n")) for stop in form.stop)
    at = min(call.find(stop) + len(stop) for stop in form.stop if stop in call)
    assert form.ended(call[:at]) == call
    assert form.has_special_tokens == ("<|" in form.stop[0])


@TEXTUAL
def test_two_calls_that_are_open_are_not_ended(form):
    """Which of them is meant is not known."""
    begin = form.written("").removesuffix(form.stop[0].strip() + "\n").removesuffix(form.stop[0])
    text = f"{begin}x = 1\n{begin}x = 2\n"
    assert form.ended(text) == text
    assert form.call(text) is None
    assert [block.is_complete for block in form.blocks(text)] == [False]


@EVERY
def test_a_call_that_is_not_complete_goes_to_the_end(form):
    """It has no result."""
    text = form.written("x = 1") + form.result("", form.written("x = 1"))
    whole = text + form.written("y =")
    [_, last] = form.blocks(whole.removesuffix("\n").removesuffix(form.stop[0].strip()))
    assert (last.code, last.is_complete, last.output) == ("y =", False, None)
    assert last.start == len(text)


@EVERY
def test_windows_line_ends_are_line_ends(form):
    """In tags and in code, whose last one belongs to the tag."""
    text = form.written("x = 1\nprint(x)").replace("\n", "\r\n")
    assert form.call(text) == "x = 1\r\nprint(x)"


@pytest.mark.parametrize(
    "text",
    [
        *("```text\nprint(1)\n```\n", "```cpp\nint x;\n```\n", "```\nprint(1)\n```\n", "``` \n"),
        *("````python\nprint(1)\n````\n", "```python3\n1\n```\n", "```py\n1\n```\n", "```python x"),
        *("```markdown\n```python\nprint(1)\n```\n", "````md\n```python\n1\n```\nx\n````\n"),
        *("```output\n1\n```\n", "`python`\n1\n```\n", "```pythonic\n1\n```\n"),
    ],
)
def test_other_fences_are_no_calls(text):
    """A model that was stopped at the end of one is to go on."""
    assert FENCED.call(text) is None
    assert FENCED.blocks(text) == []
    assert FENCED.is_paused(text) == text.endswith("```\n")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("```python\ns = '```'\nprint(s, \"```\")\n```\n", "s = '```'\nprint(s, \"```\")"),
        ("1. So:\n   ```python\n   if x:\n     y()\n   ```\n", "if x:\n  y()"),
        ("So: ```python\nx\n```\n", "x"),
        ("```python  \nx\n```  \n", "x"),
        ("```\nA stray fence, then:\n```python\nx\n```\n", "x"),
        ("```python\n```\n", ""),
        ("```text\n1\n```\n```python\nx\n```\n", "x"),
        ("```python\nx\n````\n", "x"),
    ],
)
def test_fences_as_models_write_them(text, code):
    """Backticks in a line of code, in a list, behind prose, after a fence that is not closed."""
    assert FENCED.call(text) == code
    assert FENCED.ended(text.removesuffix("\n")) == text


def test_a_stop_within_code_ends_no_call():
    """A comment that ends with backticks: the server stops there, and the model goes on."""
    text = "```python\n# as in ```\n"
    assert FENCED.call(text) is None
    assert FENCED.is_paused(FENCED.ended(text))
    assert FENCED.call(f"{text}x = 1\n```\n") == "# as in ```\nx = 1"


@pytest.mark.parametrize("form", [OPENMATH, NEMOTRON, LLAMA], ids=lambda form: form.name)
def test_a_tag_that_prose_mentions_is_no_call(form):
    """The code is behind the last opening tag, and an end without a beginning ends nothing."""
    mention = f"I use {form.begin.strip()} for it:\n"
    assert form.call(mention + form.written("x")) == "x"
    assert form.blocks(form.stop[0]) == []
    assert form.is_paused(f"so {form.stop[0]}") == (form is not LLAMA)


def test_a_tag_may_stand_in_a_line():
    """Without the line breaks that a model was shown."""
    assert OPENMATH.call("So <tool_call>print(1)</tool_call>") == "print(1)"
    assert NEMOTRON.call("<llm-code>print(1)</llm-code>") == "print(1)"
    assert LLAMA.call("<|python_tag|>print(1)<|eot_id|>") == "print(1)"


@pytest.mark.parametrize(
    ("form", "whole"),
    [
        (FENCED, "```python\nprint(1)\n```\n```output\n1\n```\n"),
        (OPENMATH, "<tool_call>\nprint(1)\n</tool_call>\n```output\n1\n```\n"),
        (
            NEMOTRON,
            "<llm-code>\nprint(1)\n</llm-code>\n<llm-code-output>\n1\n</llm-code-output>\n",
        ),
        (
            LLAMA,
            "<|python_tag|>print(1)<|eom_id|><|start_header_id|>ipython<|end_header_id|>\n\n1"
            "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        (
            HARMONY,
            "<|channel|>analysis to=python code<|message|>print(1)<|call|><|start|>python "
            "to=assistant<|channel|>analysis<|message|>1<|end|><|start|>assistant",
        ),
    ],
    ids=list(CODE_FORMATS),
)
def test_the_formats_are_these(form, whole):
    """As the published pipelines have them."""
    assert form.written("print(1)") + form.result("1\n") == whole


@pytest.mark.parametrize(
    ("of", "into"),
    [(FENCED, OPENMATH), (OPENMATH, NEMOTRON), (NEMOTRON, LLAMA), (LLAMA, FENCED)],
    ids=lambda form: form.name,
)
@settings(max_examples=50)
@given(st.lists(st.tuples(CODES, OUTPUTS | st.none()), max_size=3))
def test_a_solution_is_rewritten_and_back(of, into, rounds):
    """Calls and outputs are the same, and so is the text where it is as the format writes it."""
    text = "So:\n"
    for code, output in rounds:
        text += of.written(code) + (of.result(output) if output is not None else "") + "Then\n"
    new = rewritten(text, of, into)
    assert [block.code for block in into.blocks(new)] == [b.code for b in of.blocks(text)]
    assert [block.output for block in into.blocks(new)] == [b.output for b in of.blocks(text)]
    assert rewritten(new, into, of) == text
    assert rewritten(new, into, into) == new


@pytest.mark.parametrize(
    ("text", "of", "into"),
    [
        ("<llm-code>\ns = '''\n```\n'''\n</llm-code>\n", NEMOTRON, FENCED),
        ("```python\ns = '</tool_call>'\n```\n", FENCED, OPENMATH),
        ("```python\nx =", FENCED, OPENMATH),
        ("A <tool_call>x</tool_call> is a call.", FENCED, OPENMATH),
        ("```python\nx\n```\n", FENCED, HARMONY),
    ],
)
def test_what_would_not_read_the_same_is_not_rewritten(text, of, into):
    """Code or prose that holds the other's tags, a call without an end, messages."""
    with pytest.raises(ValueError, match=r"not every call|cannot be rewritten"):
        rewritten(text, of, into)


@EVERY
def test_a_format_travels(form):
    """Pickled, also after it was used."""
    form.blocks(form.written("x"))
    assert pickle.loads(pickle.dumps(form)) == form


@EVERY
@pytest.mark.parametrize(
    "part", ["```\n", "```python\n", "```t\n", "<tool_call>", "</tool_call>", "<|start|>", "x "]
)
def test_the_cost_grows_with_the_length_only(form, part):
    """A megabyte takes no minutes."""
    started = time.process_time()
    form.call(form.ended(part * (1_000_000 // len(part))))
    form.result(part * (1_000_000 // len(part)))
    assert time.process_time() - started < 10
