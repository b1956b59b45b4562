"""A model's own template: found among its files, rendered as the model knows it, or refused."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from transforms.chat_template import ChatTemplate
from transforms.errors import InputError, UsageError

ROOT = Path(__file__).parents[2]
CHATML = (
    "{%- if tools %}<|im_start|>system\nYou may call:\n{% for tool in tools %}"
    "{{ tool | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
    "{%- for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HARMONY = (
    "{%- macro system() %}Current date: {{ strftime_now('%Y-%m-%d') }}\n"
    "Reasoning: {{ reasoning_effort | default('medium') }}\n"
    "{% if builtin_tools and 'python' in builtin_tools %}# Tools\n\n## python\n{% endif %}"
    "{% endmacro %}<|start|>system<|message|>{{ system() }}<|end|>"
    "{%- for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('No tool was called') }}"
    "{% endif %}<|start|>{{ 'developer' if m.role == 'system' else m.role }}<|message|>"
    "{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
TOKENS = {"eos_token": {"content": "<|im_end|>"}, "unk_token": None}
MESSAGES = [("system", "Be brief."), ("user", "1 + 1?")]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**TOKENS, "chat_template": CHATML}))
    return tmp_path


def test_a_conversation_is_rendered_up_to_the_answer(model):
    """With the model's special tokens, and tools if there are any."""
    template = ChatTemplate.of_model(str(model))
    chat = (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1 + 1?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert template.render(MESSAGES) == chat
    tool = {"type": "function", "function": {"name": "python"}}
    shown = f"<|im_start|>system\nYou may call:\n{json.dumps(tool)}\n<|im_end|>\n"
    assert template.render(MESSAGES, tools=[tool]) == shown + chat
    assert not template.reads_the_date


def test_the_templates_own_arguments_reach_it():
    """Effort and built-in tools of a template in the style of gpt-oss."""
    template = ChatTemplate(HARMONY, today="2025-08-31")
    assert template.render(MESSAGES, reasoning_effort="high", builtin_tools=["python"]) == (
        "<|start|>system<|message|>Current date: 2025-08-31\nReasoning: high\n# Tools\n"
        "\n## python\n<|end|><|start|>developer<|message|>Be brief.<|end|>"
        "<|start|>user<|message|>1 + 1?<|end|><|start|>assistant"
    )
    assert "Reasoning: medium\n<|end|>" in template.render(MESSAGES)
    assert template.reads == {"reasoning_effort", "builtin_tools"}


def test_a_template_that_writes_the_date_must_be_given_one():
    """The day of the run would be in every prompt, and tomorrow every answer be asked for anew."""
    template = ChatTemplate(HARMONY, name="openai/gpt-oss-20b")
    assert template.reads_the_date
    with pytest.raises(InputError, match="template of openai/gpt-oss-20b writes today's date"):
        template.render(MESSAGES)
    optional = ChatTemplate("{{ day if day is defined else strftime_now('%d') }}")
    assert optional.render(MESSAGES, day="7") == "7"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ messages[7].content + 1 }}", "has no element 7"),
        ("{{ messages.__class__.__mro__ }}", "unsafe"),
        ("{% for %}", "Expected an expression"),
    ],
)
def test_a_template_that_fails_says_whose_it_is_and_why(text, said):
    """Its own refusal, a fault in it, or what the sandbox forbids."""
    with pytest.raises(InputError, match=rf"template of org/model cannot .*{said}(?s:.*); change"):
        ChatTemplate(text, name="org/model").render(MESSAGES)


def test_a_template_travels():
    """It is a value: hashable, equal to its copy."""
    template = ChatTemplate(CHATML, (("eos_token", "</s>"),), "org/model", "2025-08-31")
    template.render(MESSAGES)
    assert pickle.loads(pickle.dumps(template)) == template
    assert hash(template) == hash(pickle.loads(pickle.dumps(template)))


def test_the_template_is_looked_for_in_three_files(model):
    """chat_template.jinja, tokenizer_config.json, chat_template.json."""
    (model / "chat_template.json").write_text(json.dumps({"chat_template": "third"}))
    assert ChatTemplate.of_model(str(model)).text == CHATML
    (model / "chat_template.jinja").write_text("first")
    assert ChatTemplate.of_model(str(model)).text == "first"
    (model / "chat_template.jinja").unlink()
    (model / "tokenizer_config.json").unlink()
    assert ChatTemplate.of_model(str(model)).text == "third"


def test_a_model_without_a_template_is_refused(model):
    """And one whose files cannot be read."""
    (model / "tokenizer_config.json").write_text("{")
    with pytest.raises(InputError, match=r"tokenizer_config.json of .* cannot be read: Expecting"):
        ChatTemplate.of_model(str(model))
    (model / "tokenizer_config.json").write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"tokenizer_config.json of .* cannot be read"):
        ChatTemplate.of_model(str(model))
    (model / "tokenizer_config.json").unlink()
    with pytest.raises(UsageError, match="has no chat template; name a model"):
        ChatTemplate.of_model(str(model))


LOOK = """
import sys
from transforms.chat_template import ChatTemplate
from transforms.errors import SdgError
for model in sys.argv[1:]:
    try:
        print(ChatTemplate.of_model(model, "main").text)
    except SdgError as error:
        print(type(error).__name__, error)
"""


def look(*models: str, before: str = "", **variables: str) -> list[str]:
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", before + LOOK, *models],
        env={**environment, **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_a_model_of_the_hub_is_read_from_its_cache(tmp_path):
    """Without a network, what was downloaded counts; what was not is an error that names it."""
    repository = tmp_path / "hub" / "models--org--model"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    (snapshot / "tokenizer_config.json").write_text(json.dumps({"chat_template": "of the hub"}))
    home = {"HF_HOME": str(tmp_path)}
    found, other = look("org/model", "org/other", HF_HUB_OFFLINE="1", **home)
    assert found == "of the hub"
    assert other.startswith("UsageError org/other has no chat template")
    [unreached] = look("no/such/name", **home)
    assert unreached.startswith("InputError cannot get the chat template of no/such/name: ")


def test_a_model_of_the_hub_needs_its_client():
    """A folder does not."""
    [said] = look("org/model", before="import sys; sys.modules['huggingface_hub'] = None")
    assert said.startswith("UsageError the chat template of org/model is on the hub, whose client")
