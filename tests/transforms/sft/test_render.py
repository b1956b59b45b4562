"""Rows rendered by templates written here: as models have them, and as none should be."""

import json

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.traces import trace
from transforms.chat_template import ChatTemplate
from transforms.codec import arrow_schema, from_row, to_row
from transforms.errors import InputError
from transforms.records import Reject, SftExample, SftMessage, Trace
from transforms.sft.render import RenderTraces, SftFormat, example_of

ASKS = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
TURN = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
CHATML = "{% for m in messages %}" + TURN + "{% endfor %}" + ASKS
# As Qwen's: reasoning is taken out of the content, and written by the template.
THINKS = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{% set content = m.content %}"
    "{% set thought = m.reasoning_content | default('') %}{% if '</think>' in content %}"
    "{% set thought = content.split('</think>')[0].split('<think>')[-1] %}"
    "{% set content = content.split('</think>')[-1] %}{% endif %}"
    "<|im_start|>assistant\n<think>\n{{ thought.strip() }}\n</think>\n\n{{ content.strip() }}"
    "<|im_end|>\n{% else %}" + TURN + "{% endif %}{% endfor %}" + ASKS
)
# As gpt-oss's: effort, built-in tools, reasoning by another name.
HARMONY = (
    "<|start|>system<|message|>Reasoning: {{ reasoning_effort | default('medium') }}\n"
    "{% if builtin_tools and 'python' in builtin_tools %}# Tools\n\n## python\n{% endif %}<|end|>"
    "{% for m in messages %}{% if m.role == 'assistant' %}{% if '<|channel|>' in m.content %}"
    "{{ raise_exception('no channels in content, please') }}{% endif %}{% if m.thinking %}"
    "<|start|>assistant<|channel|>analysis<|message|>{{ m.thinking }}<|end|>{% endif %}"
    "<|start|>assistant<|channel|>final<|message|>{{ m.content }}<|return|>{% else %}"
    "<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
# As DeepSeek's: of an answer, only what follows the reasoning is written.
DROPS = CHATML.replace("{{ m.content }}", "{{ m.content.split('</think>')[-1] }}")
REFUSES = "{{ raise_exception('Conversation roles must alternate') }}"
REWRITES = "{{ messages | length }} messages\n" + CHATML
TRUNCATES = CHATML.replace("{{ m.content }}", "{{ m.content[:30] }}")
THOUGHT = "Twice twenty-one."
LONG = "There are, as one can see, exactly \\boxed{42}."


def made(one: Trace, template: str | None = CHATML, **fields: object) -> SftExample | Reject:
    chat = None if template is None else ChatTemplate(template)
    return example_of(one, "render", SftFormat(template=chat, **fields))


def texts(one: Trace, template: str | None = CHATML, **fields: object) -> tuple[str, str]:
    row = made(one, template, **fields)
    assert isinstance(row, SftExample), row
    return row.input, row.output


def test_the_output_is_what_follows_the_prompt():
    """With the template's own end of turn; both together are the whole conversation."""
    one = trace(LONG)
    before, output = texts(one)
    assert before == "<|im_start|>user\nHow many are there?<|im_end|>\n<|im_start|>assistant\n"
    assert output == f"{LONG}<|im_end|>\n"
    messages = [("user", one.problem), ("assistant", LONG)]
    assert before + output == ChatTemplate(CHATML).rendered(messages)


def test_without_a_template_the_input_is_the_problem_or_if_asked_for_the_prompt():
    """Without what a template would write around it, and without the system's part."""
    one = trace(LONG)
    assert texts(one, None, prompt="math/judge", variables=judged) == (one.problem, LONG)
    shown, output = texts(one, None, prompt="math/judge", variables=judged, shows_prompt=True)
    assert output == LONG
    [(_, system), (_, user)] = SftFormat("math/judge", variables=judged).messages(one)
    assert shown == user and one.problem in user and system not in shown


def judged(one: Trace) -> dict[str, object]:
    return {"problem": one.problem, "expected_answer": "42", "predicted_answer": "41"}


def test_the_templates_arguments_reach_prompt_and_answer():
    """Effort and built-in tools are in the input, and the answer's reasoning is in the output."""
    one = trace(LONG, reasoning_content=THOUGHT)
    for effort in ("high", "medium", "low"):
        kwargs = {"reasoning_effort": effort, "builtin_tools": ["python"]}
        before, output = texts(one, HARMONY, chat_template_kwargs=kwargs)
        assert before == (
            f"<|start|>system<|message|>Reasoning: {effort}\n# Tools\n\n## python\n<|end|>"
            f"<|start|>user<|message|>{one.problem}<|end|><|start|>assistant"
        )
        assert output == (
            f"<|channel|>analysis<|message|>{THOUGHT}<|end|>"
            f"<|start|>assistant<|channel|>final<|message|>{LONG}<|return|>"
        )
    assert "python" not in texts(one, HARMONY)[0]


@pytest.mark.parametrize(
    ("template", "one", "reason", "said"),
    [
        (REFUSES, trace(LONG), "template_refuses", "roles must alternate"),
        (HARMONY, trace("<|channel|>final<|message|>42"), "template_refuses", "no channels"),
        (REWRITES, trace(LONG), "template_rewrites_prompt", "'1 messages"),
        (CHATML, trace(LONG, reasoning_content=THOUGHT), "template_drops_reasoning", ""),
        (DROPS, trace(f"<think>\n{THOUGHT}\n</think>\n\n{LONG}"), "template_drops_reasoning", ""),
        (TRUNCATES, trace(LONG), "template_drops_solution", ""),
        (TRUNCATES, trace(LONG, finish_reason="length"), "template_drops_solution", ""),
        ("{{ messages[9].content.x }}", trace(LONG), "template_refuses", "no element 9"),
        (CHATML, trace(LONG, code_format="perl"), "unknown_code_format", "'perl'"),
    ],
)
def test_what_a_template_cannot_render_is_a_reject(template, one, reason, said):
    """Of that row alone, with the template's own words and the trace as it came."""
    reject = made(one, template)
    assert isinstance(reject, Reject)
    assert (reject.stage, reject.reason, reject.id) == ("render", reason, one.id)
    assert said in reject.detail
    assert json.loads(reject.row) == to_row(one)


def test_a_template_without_a_date_ends_the_run():
    """That is a matter of the settings, and not of a row."""
    with pytest.raises(InputError, match="writes today's date"):
        made(trace(), "{{ strftime_now('%Y') }}" + CHATML)
    dated = ChatTemplate("{{ strftime_now('%Y') }}" + CHATML, today="2025-08-31")
    row = example_of(trace(), "render", SftFormat(template=dated))
    assert isinstance(row, SftExample) and row.input.startswith("2025<|im_start|>")


def test_reasoning_within_the_text_or_apart_is_rendered_alike():
    """Where the template takes it out of the text."""
    apart = texts(trace(LONG, reasoning_content=THOUGHT), THINKS)
    assert apart == texts(trace(f"<think>\n{THOUGHT}\n</think>\n\n{LONG}"), THINKS)
    assert apart[1] == f"<think>\n{THOUGHT}\n</think>\n\n{LONG}<|im_end|>\n"


@pytest.mark.parametrize(
    ("one", "output"),
    [
        (trace("There are", finish_reason="length"), "<think>\n\n</think>\n\nThere are"),
        (trace("m", finish_reason="length"), "<think>\n\n</think>\n\nm"),
        (
            trace("im_end", reasoning_content="im_end", finish_reason="length"),
            "<think>\nim_end\n</think>\n\nim_end",
        ),
        (trace("", reasoning_content="Twice", finish_reason="length"), "<think>\nTwice"),
        (
            trace("<think>\nhm</think>\nSo", finish_reason="length"),
            "<think>\nhm\n</think>\n\nSo",
        ),
    ],
)
def test_a_truncated_trace_never_gets_an_end_token(one, output):
    """Whatever the template adds behind its last words, and with assistant_end or without."""
    assert texts(one, THINKS)[1] == output
    bare = trace("There", finish_reason="length")
    assert texts(bare, CHATML, assistant_end="<|return|>")[1] == "There"
    assert texts(bare, None, assistant_end="</s>")[1] == "There"


@given(st.text(alphabet="ab <|im_end>\n", min_size=1, max_size=20), st.sampled_from(["", "ab"]))
@settings(deadline=None)
def test_truncated_is_the_whole_without_its_end(text, thought):
    """What is cut off at the end is the template's alone."""
    whole = made(trace(text, reasoning_content=thought), THINKS)
    cut = made(trace(text, reasoning_content=thought, finish_reason="length"), THINKS)
    if isinstance(whole, SftExample) and text.strip():
        assert isinstance(cut, SftExample)
        assert whole.output.startswith(cut.output.rstrip())
        assert whole.output[len(cut.output.rstrip()) :].strip() == "<|im_end|>"


def test_an_end_of_ones_own():
    """It is taken literally; reasoning that is kept apart then has no place."""
    python = "<|channel|>analysis to=python code<|message|>1<|call|>"
    one = trace(python, code_format="gpt-oss")
    assert texts(one, HARMONY, assistant_end="<|return|>")[1] == f"{python}<|return|>"
    reject = made(trace(LONG, reasoning_content="hm"), HARMONY, assistant_end="<|return|>")
    assert isinstance(reject, Reject) and reject.reason == "no_place_for_reasoning"


def test_without_a_template_texts_are_bare():
    """The problem, and the generation behind its reasoning."""
    assert texts(trace(LONG), None) == ("How many are there?", LONG)
    apart = trace(LONG, reasoning_content=THOUGHT)
    assert texts(apart, None)[1] == f"<think>\n{THOUGHT}\n</think>\n\n{LONG}"
    cut = trace("", reasoning_content=THOUGHT, finish_reason="length")
    assert texts(cut, None)[1] == f"<think>\n{THOUGHT}"


def variables(one: Trace) -> dict[str, object]:
    return {"problem": one.problem, "hint": one.extra}


def test_the_prompt_is_a_template_of_ours(tmp_path):
    """By name and folder, with variables of the trace; a system message takes its own's place."""
    (tmp_path / "ask.jinja").write_text(
        "{% block system %}Be brief.{% endblock %}"
        "{% block user %}{{ problem }} {{ hint }}{% endblock %}"
    )
    ask = {"prompt": "ask", "folders": (str(tmp_path),), "variables": variables}
    one = trace(LONG, extra='{"a":1}')
    system, user = "<|im_start|>system\nBe brief.<|im_end|>\n", 'How many are there? {"a":1}'
    rest = f"<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"
    assert texts(one, **ask)[0] == system + rest
    other = texts(one, **ask, system_message="Think.")[0]
    assert other == system.replace("Be brief.", "Think.") + rest
    assert texts(one, **ask, system_message="")[0] == rest
    row = made(one, **ask, metadata={"a": 2, "effort": "high"})
    assert isinstance(row, SftExample)
    assert json.loads(row.extra) == {"a": 1}
    assert json.loads(row.metadata) == {"a": 2, "effort": "high"}
    assert row.messages == (
        SftMessage("system", "Be brief."),
        SftMessage("user", user),
        SftMessage("assistant", LONG),
    )


def test_the_published_columns_come_first():
    """A row has a schema, and can be kept and read back."""
    row = made(trace(LONG, majority_votes=3, total_votes=4))
    assert isinstance(row, SftExample)
    names = arrow_schema(SftExample).names
    assert names[:4] == ["expected_answer", "input", "output", "messages"]
    assert from_row(SftExample, to_row(row)) == row
    assert (row.split, row.majority_votes, row.total_votes) == ("train", 3, 4)


def test_the_verb_accounts_for_every_trace():
    """In a pipeline, with a template that refuses some."""
    refuses = ChatTemplate(
        "{% if '7' in messages[-1].content %}{{ raise_exception('7') }}{% endif %}" + CHATML
    )
    traces = [trace(str(number), number) for number in range(20)]
    with beam.Pipeline("FnApiRunner", options=PipelineOptions([])) as pipeline:
        render = RenderTraces("render", SftFormat(template=refuses))
        out = pipeline | beam.Create(traces) | render
        kept = [t.id for t in traces if "7" not in t.generation]
        lost = [(t.id, "template_refuses") for t in traces if "7" in t.generation]
        assert_that(out.rows | beam.Map(lambda row: row.id), equal_to(kept), "Rows")
        reasons = out.rejects | beam.Map(lambda reject: (reject.id, reject.reason))
        assert_that(reasons, equal_to(lost), "Rejects")
