"""A look at a model before a run: real folders, damaged in each way, and a hub on loopback."""

import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest

from beam_sdg.cli import main
from beam_sdg.model_check import check_model, print_findings
from beam_sdg.model_check.formats import REASONING_FORMATS, TOOL_FORMATS, fitting
from beam_sdg.model_check.vllm_names import VllmNames, installed_names
from transforms.errors import InputError, UsageError

ROOT = Path(__file__).parents[2]

CHATML = (
    "{%- if tools %}<|im_start|>system\n<tools>{% for tool in tools %}{{ tool | tojson }}"
    '{% endfor %}</tools>\nCall as <tool_call>{"name": …}</tool_call><|im_end|>\n{% endif %}'
    "{%- for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
REASONS = CHATML + "{% if enable_thinking is false %}<think>\n\n</think>{% endif %}"
ALWAYS_REASONS = CHATML + "{% if add_generation_prompt %}<think>\n{% endif %}{# </think> #}"
HARMONY = (
    "<|start|>system<|message|>Reasoning: {{ reasoning_effort or 'medium' }}"
    "{% if builtin_tools and 'python' in builtin_tools %} python{% endif %}<|end|>"
    "{% for m in messages %}<|start|>{{ m.role }}{% if m.role == 'assistant' %}<|channel|>final"
    "{% endif %}<|message|>{{ m.content }}"
    "{{ '<|return|>' if m.role == 'assistant' and loop.last else '<|end|>' }}{% endfor %}"
    "{% if tools %}{{ tools | tojson }}{% endif %}"
)
INSTRUCT = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% elif m.role == 'user' %}"
    "[INST]{{ m.content }}[/INST]{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[TOOL_CALLS]{% endif %}"
)
OPEN_ENDED = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}"

TENSORS = {"embed": [64, 32], "head": [32, 64]}


def save_safetensors(path: Path, tensors: dict[str, list[int]], dtype: str = "F32") -> None:
    """A file of zeros, as the format has it: length of the header, header, numbers."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end, width = 0, {"F32": 4, "BF16": 2, "U8": 1}[dtype]
    for name, shape in tensors.items():
        start, end = end, end + width * shape[0] * shape[1]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    written = json.dumps(header).encode()
    path.write_bytes(len(written).to_bytes(8, "little") + written + bytes(end))


def change(path: Path, **values: Any) -> None:
    """Set entries of a JSON file; None takes one out."""
    changed = {**(json.loads(path.read_text()) if path.exists() else {}), **values}
    path.write_text(json.dumps({k: v for k, v in changed.items() if v is not None}))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A whole model in two shards."""
    folder = tmp_path / "model"
    folder.mkdir()
    shards = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    for shard, name in zip(shards, TENSORS, strict=True):
        save_safetensors(folder / shard, {name: TENSORS[name]})
    change(
        folder / "model.safetensors.index.json",
        metadata={"total_size": 16384},
        weight_map=dict(zip(TENSORS, shards, strict=True)),
    )
    change(
        folder / "config.json",
        architectures=["Qwen2ForCausalLM"],
        model_type="qwen2",
        num_attention_heads=8,
        max_position_embeddings=4096,
        torch_dtype="bfloat16",
    )
    change(folder / "tokenizer_config.json", eos_token="<|im_end|>", chat_template=CHATML)
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|return|>", "<|user|>"]
    added = [{"id": number, "content": token} for number, token in enumerate(tokens)]
    change(folder / "tokenizer.json", added_tokens=added, model={"type": "BPE"})
    change(folder / "generation_config.json", eos_token_id=[2, 0], temperature=0.6, top_p=0.95)
    return folder


@pytest.fixture(autouse=True)
def no_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same here as where vLLM is not installed."""
    monkeypatch.setattr("beam_sdg.model_check.installed_names", lambda: None)


def said(folder: Path, about: str, args: str = "") -> list[tuple[str, str]]:
    findings = check_model(str(folder), args=args)
    return [(finding.level, finding.text) for finding in findings if finding.about == about]


def the_one(folder: Path, about: str, args: str = "") -> tuple[str, str]:
    [line] = said(folder, about, args)
    return line


def test_a_whole_model_has_nothing_in_the_way(model):
    """Every line is ok, but for what could not be looked at."""
    findings = check_model(str(model))
    assert {finding.level for finding in findings if finding.about != "architecture"} == {"ok"}
    assert [finding.about for finding in findings] == [
        *("files", "weights", "size", "architecture", "context", "template", "end of turn"),
        *("tools", "reasoning", "sampling"),
    ]
    assert the_one(model, "weights") == ("ok", "2 files, each as long as its header says")


SHARD = "model-00002-of-00002.safetensors"


def cut(folder: Path) -> None:
    content = (folder / SHARD).read_bytes()
    (folder / SHARD).write_bytes(content[:-100])


def longer(folder: Path) -> None:
    (folder / SHARD).write_bytes((folder / SHARD).read_bytes() + b"more")


def pointer(folder: Path) -> None:
    (folder / SHARD).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    )


@pytest.mark.parametrize(
    ("damage", "level", "parts"),
    [
        (cut, "wrong", [SHARD, "is cut off: ", "bytes"]),
        (pointer, "wrong", [SHARD, "git-lfs pointer", "git lfs pull"]),
        (lambda f: (f / SHARD).unlink(), "missing", ["1 of 2 files is not there", SHARD]),
        (lambda f: (f / SHARD).write_bytes(b""), "wrong", [SHARD, "is empty"]),
        (lambda f: (f / SHARD).write_bytes(b"x" * 99), "wrong", [SHARD, "no header"]),
        (lambda f: (f / SHARD).write_bytes(b"\4\0\0\0\0\0\0\0nope"), "wrong", ["no header"]),
        (lambda f: (f / SHARD).write_bytes(b"\2\0\0\0\0\0\0\0[]"), "wrong", ["no header"]),
        (longer, "wrong", [SHARD, "4 bytes longer"]),
    ],
)
def test_damaged_weights_are_found(model, damage, level, parts):
    """A download that was cut off, a pointer, a missing shard; the line names the file."""
    damage(model)
    found, text = the_one(model, "weights")
    assert found == level
    assert all(part in text for part in parts), text


def test_a_shard_that_its_number_promises_is_missed_without_an_index(model):
    """The index may be missing too."""
    (model / "model.safetensors.index.json").unlink()
    assert the_one(model, "weights")[0] == "ok"
    (model / SHARD).unlink()
    assert the_one(model, "weights") == ("missing", f"1 of 2 files is not there: {SHARD}")


def test_no_weights_at_all_and_pickles(model):
    """The one is in the way; of the other it is said that they were not looked into."""
    for path in model.glob("model-*"):
        path.unlink()
    (model / "model.safetensors.index.json").unlink()
    assert the_one(model, "weights")[0] == "missing"
    (model / "pytorch_model.bin").write_bytes(b"PK")
    level, text = the_one(model, "weights")
    assert (level, "pickle" in text) == ("not seen", True)


def test_what_an_interrupted_download_left_is_a_warning(model):
    """In the folder, and in the cache whose snapshot the folder is."""
    left = model / ".cache" / "huggingface" / "download" / "x.incomplete"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"")
    assert said(model, "files")[-1][0] == "warning"
    assert str(left) in said(model, "files")[-1][1]
    left.unlink()
    snapshot = model.parent / "models--a--b" / "snapshots" / "0"
    snapshot.parent.mkdir(parents=True)
    model.rename(snapshot)
    blob = snapshot.parents[1] / "blobs" / "abc.incomplete"
    blob.parent.mkdir()
    blob.write_bytes(b"")
    assert str(blob) in said(snapshot, "files")[-1][1]


def test_small_files_that_are_missing_or_broken_are_named(model):
    """config.json, a tokenizer; JSON that was cut off."""
    (model / "generation_config.json").write_text('{"temperature"')
    assert ("wrong", "generation_config.json is no JSON") in [
        (level, text.split(":")[0]) for level, text in said(model, "files")
    ]
    (model / "generation_config.json").unlink()
    (model / "tokenizer.json").unlink()
    assert the_one(model, "files")[0] == "missing"
    assert the_one(model, "files", "--tokenizer org/other")[0] == "not seen"
    (model / "config.json").unlink()
    assert [level for level, _ in said(model, "files")] == ["missing", "missing"]
    (model / "adapter_config.json").write_text("{}")
    assert "LoRA adapter" in said(model, "files")[0][1]


def test_the_size_is_what_the_headers_say(model):
    """Parameters, bytes and type as stored; memory as vLLM will hold it, on so many GPUs."""
    _, text = the_one(model, "size")
    assert text.startswith("4.1 thousand parameters, 0.0 MiB, F32; on GPUs 0.0 MiB")
    save_safetensors(model / SHARD, {"head": [4096, 4096]}, "BF16")
    save_safetensors(model / "model-00001-of-00002.safetensors", {"embed": [4096, 4096]}, "F32")
    _, text = the_one(model, "size", "--tensor-parallel-size 2")
    assert text.startswith("33.6 million parameters, 96.0 MiB, F32+BF16; on GPUs 64.0 MiB")
    assert "32.0 MiB on each of 2" in text
    assert "on GPUs 0.1 GiB" in the_one(model, "size", "--dtype float32")[1]
    change(model / "config.json", quantization_config={"quant_method": "gptq"})
    save_safetensors(model / SHARD, {"head": [4096, 4096]}, "U8")
    _, text = the_one(model, "size")
    assert text.startswith("80.0 MiB, F32+U8, quantized: gptq; on GPUs 80.0 MiB")


def test_sharded_state_needs_its_flags(model):
    """It is of one number of GPUs, which the files' names say."""
    for path in model.glob("model-*"):
        path.unlink()
    for rank in range(2):
        save_safetensors(model / f"model-rank-{rank}-part-0.safetensors", TENSORS)
    (model / "model.safetensors.index.json").unlink()
    flags = "--load-format sharded_state --tensor-parallel-size 2"
    assert said(model, "weights")[-1] == (
        "wrong",
        f'they are sharded state: give --vllm_args "{flags}"',
    )
    assert [level for level, _ in said(model, "weights", flags)] == ["ok"]


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        ("--tensor-parallel-size 4", "ok"),
        ("--tensor-parallel-size=3", "wrong"),
        ("-tp 16", "wrong"),
        ("-tp=8", "ok"),
        ("--tensor_parallel_size 3", "wrong"),
    ],
)
def test_tensor_parallelism_divides_the_heads(model, flags, level):
    """Eight heads."""
    found, text = the_one(model, "parallelism", flags)
    assert found == level
    assert "8 attention heads" in text
    assert not said(model, "parallelism")


@pytest.mark.parametrize(
    ("config", "flags", "level", "tokens"),
    [
        ({}, "", "ok", "4,096 tokens, prompt"),
        ({}, "--max-model-len 2k", "ok", "2,000 tokens by --max-model-len, of the model's 4,096"),
        ({}, "--max-model-len 8K", "wrong", "8,192 is more than the model's 4,096"),
        ({}, "--max-model-len auto", "ok", "4,096 tokens, prompt"),
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, "", "ok", "16,384 tokens"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "", "ok", "4,096 tokens"),
        ({"rope_parameters": {"full": {"rope_type": "dynamic", "factor": 2}}}, "", "ok", "8,192"),
        (
            {
                "rope_scaling": {"rope_type": "longrope"},
                "original_max_position_embeddings": 512,
            },
            "",
            "ok",
            "512 tokens",
        ),
        ({"max_position_embeddings": None, "n_positions": 1024}, "", "ok", "1,024 tokens"),
        ({"max_position_embeddings": None}, "", "warning", "vLLM takes 2,048 tokens"),
        (
            {},
            """--hf-overrides '{"max_position_embeddings": 9000}' --max-model-len 8192""",
            "ok",
            "8,192 tokens by --max-model-len, of the model's 9,000",
        ),
        (
            {"max_position_embeddings": None, "text_config": {"max_position_embeddings": 77}},
            "",
            "ok",
            "77 tokens",
        ),
    ],
)
def test_the_context_is_what_vllm_derives(model, config, flags, level, tokens):
    """Its own rule: some ways of scaling multiply the length, others have done so already."""
    change(model / "config.json", **config)
    found, text = the_one(model, "context", flags)
    assert found == level
    assert tokens in text


def test_the_tokenizer_may_shorten_the_context(model):
    """A model_max_length below the model's wins; the huge one that means none does not."""
    change(model / "tokenizer_config.json", model_max_length=1e30)
    assert the_one(model, "context")[1].startswith("4,096")
    change(model / "tokenizer_config.json", model_max_length=1024)
    assert the_one(model, "context")[1].startswith("1,024")


def test_a_longer_context_is_a_warning_where_vllm_was_told_to_take_it(model, monkeypatch):
    """By its environment variable."""
    monkeypatch.setenv("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "1")
    assert the_one(model, "context", "--max-model-len 5000")[0] == "warning"


@pytest.mark.parametrize(
    ("template", "tools", "reasoning", "reads"),
    [
        (CHATML, "hermes", None, ""),
        (REASONS, "hermes", "qwen3", "enable_thinking"),
        (ALWAYS_REASONS, "hermes", "deepseek_r1", ""),
        (HARMONY, "openai", "openai_gptoss", "builtin_tools"),
        (INSTRUCT, "mistral", None, ""),
    ],
)
def test_formats_are_known_by_their_marks(model, template, tools, reasoning, reads):
    """A template in the style of each family; what it reads can be set by a flag."""
    change(model / "tokenizer_config.json", chat_template=template)
    level, text = the_one(model, "tools")
    assert (level, f"--tool-call-parser {tools}" in text) == ("ok", True)
    level, text = the_one(model, "reasoning")
    expected = f"--reasoning-parser {reasoning}" if reasoning else "no marks"
    assert (level, expected in text) == ("ok", True)
    arguments = said(model, "arguments")
    assert bool(arguments) == bool(reads)
    assert all(f"reads {reads}: --chat_template_args" in text for _, text in arguments)
    assert bool(said(model, "effort")) == ("reasoning_effort" in template)


def test_a_parser_that_does_not_fit_is_a_warning(model):
    """One that reads the same is not."""
    change(model / "tokenizer_config.json", chat_template=REASONS)
    assert the_one(model, "tools", "--tool-call-parser hermes")[0] == "ok"
    assert the_one(model, "tools", "--tool-call-parser qwen3_json")[0] == "ok"
    assert the_one(model, "tools", "--tool-call-parser mistral")[0] == "warning"
    assert the_one(model, "reasoning", "--reasoning-parser deepseek_r1")[0] == "ok"
    assert the_one(model, "reasoning", "--reasoning-parser openai_gptoss")[0] == "warning"


def test_tools_that_a_template_does_not_show_cannot_be_offered(model):
    """And a format without marks is said to be unknown."""
    change(model / "tokenizer_config.json", chat_template=OPEN_ENDED)
    assert "takes none" in the_one(model, "tools")[1]
    shown = OPEN_ENDED + "{{ tools | tojson }}"
    change(model / "tokenizer_config.json", chat_template=shown)
    assert the_one(model, "tools")[0] == "not seen"


@pytest.mark.parametrize(
    ("template", "level", "part"),
    [
        (INSTRUCT, "warning", "refuses system messages, which our prompts have: System role not"),
        ("{% for m in messages[-1:] %}{{ m.content }}{% endfor %}", "warning", "leaves system"),
        ("{% for m in messages %}\n{{ m.content", "wrong", "tokenizer_config.json, line 2: "),
        ("{{ messages[0].content.nope.nope }}", "wrong", "cannot render a user's message"),
        ("{% generation %}{{ messages }}{% endgeneration %}", "ok", "takes system messages"),
        (None, "warning", 'only texts can be completed; --vllm_args "--chat-template FILE"'),
    ],
)
def test_what_a_template_takes_is_tried(model, template, level, part):
    """It is rendered as vLLM would."""
    change(model / "tokenizer_config.json", chat_template=template)
    found, text = the_one(model, "template")
    assert found == level
    assert part in text


def test_a_template_cannot_do_what_a_sandbox_forbids(model):
    """It came with the model, so it is not trusted."""
    attack = "{{ messages.append.__self__.__class__.__mro__[1].__subclasses__() }}"
    change(model / "tokenizer_config.json", chat_template=attack)
    level, text = the_one(model, "template")
    assert (level, "unsafe" in text) == ("wrong", True)


def test_the_template_is_looked_for_where_vllm_looks(model, tmp_path):
    """A flag, then chat_template.jinja, then tokenizer_config.json (one of several by its name)."""
    named = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": CHATML}]
    change(model / "tokenizer_config.json", chat_template=named)
    assert the_one(model, "template")[1].startswith("tokenizer_config.json takes")
    (model / "chat_template.jinja").write_text(HARMONY)
    assert the_one(model, "template")[1].startswith("chat_template.jinja takes")
    other = tmp_path / "mine.jinja"
    other.write_text(CHATML)
    assert the_one(model, "template", f"--chat-template {other}")[1].startswith(str(other))
    assert the_one(model, "template", "--chat-template nope.jinja")[0] == "missing"
    (model / "chat_template.jinja").unlink()
    change(model / "tokenizer_config.json", chat_template=None)
    change(model / "chat_template.json", chat_template=CHATML)
    assert the_one(model, "template")[1].startswith("chat_template.json takes")


def test_the_end_of_a_turn_is_compared_with_the_eos_tokens(model):
    """The classic fault: a base model's eos under a chat template, and answers that run on."""
    assert the_one(model, "end of turn")[0] == "ok"
    change(model / "tokenizer_config.json", eos_token="<|endoftext|>")
    assert the_one(model, "end of turn")[0] == "ok"  # by generation_config's ids
    change(model / "generation_config.json", eos_token_id=0)
    level, text = the_one(model, "end of turn")
    assert level == "warning"
    assert "ends an answer with <|im_end|>, but the model's eos is <|endoftext|>" in text
    change(model / "generation_config.json", eos_token_id=[0, 99])
    assert the_one(model, "end of turn") == (
        "not seen",
        "the eos ids 99 have no text in the files looked at",
    )
    (model / "generation_config.json").unlink()
    change(model / "config.json", eos_token_id=2)
    assert the_one(model, "end of turn")[0] == "ok"


@pytest.mark.parametrize(("template", "end"), [(HARMONY, 3), (OPEN_ENDED, 4)])
def test_an_answer_may_end_otherwise_than_a_turn(model, template, end):
    """The last of a chat has a mark of its own; or only the next turn's beginning ends it."""
    change(model / "tokenizer_config.json", chat_template=template, eos_token="<|endoftext|>")
    change(model / "generation_config.json", eos_token_id=end)
    assert the_one(model, "end of turn")[0] == "ok"


def test_the_sampling_that_the_model_brings_is_told(model):
    """It is applied unless vLLM is told otherwise."""
    level, text = the_one(model, "sampling")
    assert (level, text.startswith("temperature 0.6, top_p 0.95 by generation")) == ("ok", True)
    override = """--override-generation-config '{"temperature": 0.0}'"""
    assert the_one(model, "sampling", override)[1].startswith("temperature 0.0, top_p 0.95")
    assert "left aside" in the_one(model, "sampling", "--generation-config vllm")[1]
    assert the_one(model, "sampling", "--generation-config /other")[0] == "not seen"
    change(model / "generation_config.json", temperature=None, top_p=None, max_new_tokens=50)
    assert [level for level, _ in said(model, "sampling")] == ["ok", "warning"]
    assert "after 50 tokens" in said(model, "sampling")[1][1]


NAMES = VllmNames(
    version="0.32.0",
    architectures=frozenset({"Qwen2ForCausalLM"}),
    others=frozenset({"BertModel"}),
    dropped={"MPTForCausalLM": "0.28.0"},
    tool_parsers=frozenset({"hermes"}),
    reasoning_parsers=frozenset({"qwen3"}),
)


@pytest.mark.parametrize(
    ("architectures", "level", "part"),
    [
        (["Qwen2ForCausalLM"], "ok", "which vLLM 0.32.0 knows"),
        (["BertModel"], "wrong", "not as a model that writes text"),
        (["MPTForCausalLM"], "wrong", "0.28.0 did"),
        (["NewForCausalLM"], "warning", "--trust-remote-code"),
        (None, "missing", "names none"),
    ],
)
def test_the_architecture_is_looked_up(model, monkeypatch, architectures, level, part):
    """In the registry of the vLLM that is installed."""
    assert the_one(model, "architecture")[0] == "not seen"
    monkeypatch.setattr("beam_sdg.model_check.installed_names", lambda: NAMES)
    change(model / "config.json", architectures=architectures, auto_map={"AutoConfig": "x.Y"})
    found, text = the_one(model, "architecture")
    assert found == level
    assert part in text
    assert the_one(model, "tools", "--tool-call-parser nope")[0] == "wrong"
    plugin = "--tool-call-parser nope --tool-parser-plugin mine.py"
    assert the_one(model, "tools", plugin)[0] == "warning"


def test_every_name_of_a_parser_is_one_of_the_installed_vllm():
    """Each parser and its equals; and the registry is read without importing it."""
    names = installed_names()
    if names is None:
        pytest.skip("vLLM is not installed")
    assert {"Qwen2ForCausalLM", "LlamaForCausalLM", "GptOssForCausalLM"} <= names.architectures
    assert names.dropped
    for formats, known in (
        (TOOL_FORMATS, names.tool_parsers),
        (REASONING_FORMATS, names.reasoning_parsers),
    ):
        assert {name for one in formats for name in (one.parser, *one.equal)} <= known
    assert "vllm" not in sys.modules


def test_the_registry_is_read_from_source(tmp_path, monkeypatch):
    """Tables of names, whatever else the modules do; a layout that is not known gives nothing."""
    package = tmp_path / "vllm"
    files = {
        "__init__.py": "raise RuntimeError('imported')",
        "model_executor/models/registry.py": "import torch\n"
        "_TEXT_GENERATION_MODELS = {'A': ('a', 'A'), **OTHER}\n"
        "_EMBEDDING_MODELS = {'E': ('e', 'E')}\n_PREVIOUSLY_SUPPORTED_MODELS = {'P': '0.1'}\n"
        "_VLLM_MODELS = {**_TEXT_GENERATION_MODELS}",
        "tool_parsers/__init__.py": "_TOOL_PARSERS_TO_REGISTER = {'t': ('m', 'T')}",
        "reasoning/__init__.py": "_REASONING_PARSERS_TO_REGISTER = {'r': ('m', 'R')}",
    }
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    meta = tmp_path / "vllm-9.9.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 9.9\n")
    monkeypatch.syspath_prepend(tmp_path)
    installed_names.cache_clear()
    one = frozenset
    assert installed_names() == VllmNames(
        "9.9", one({"A"}), one({"E"}), {"P": "0.1"}, one({"t"}), one({"r"})
    )
    (package / "model_executor/models/registry.py").write_text("moved = 1")
    installed_names.cache_clear()
    assert installed_names() is None
    installed_names.cache_clear()


def test_no_format_hides_another():
    """Of the marks of each, put into a template alone, it is the first that fits."""
    for formats in (TOOL_FORMATS, REASONING_FORMATS):
        for one in formats:
            reads = frozenset({one.reads} - {""})
            found = fitting(formats, " ".join(one.marks), reads, one.model_type)
            assert found is not None
            assert found.parser == one.parser


def test_wrong_flags_and_places_are_one_line(model, tmp_path):
    """Each names the mend."""
    with pytest.raises(UsageError, match="--revision v1: .* is a folder; leave the flag out"):
        check_model(str(model), revision="v1")
    with pytest.raises(UsageError, match="--vllm_args: --port is set by this program"):
        check_model(str(model), args="--port 1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no model; it has neither config.json nor"):
        check_model(str(tmp_path / "empty"))
    for name in (str(model / "config.json"), "/no/such/folder", "a/b/c", "a b"):
        with pytest.raises(InputError, match="is no folder of a model; give the folder, or ORG"):
            check_model(name)


def test_without_the_hubs_client_the_error_says_how_to_install_it(monkeypatch):
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r"pip install 'beam-sdg\[hub\]'"):
        check_model("org/model")


def test_the_command_prints_a_line_for_each_and_fails_where_a_run_would(model, beam_sdg_command):
    """Exit code 0 with warnings, 3 where something is missing, 2 for bad usage."""
    change(model / "tokenizer_config.json", chat_template=INSTRUCT, eos_token="</s>")
    command = ("model", "check", str(model))
    done = beam_sdg_command(*command, "--vllm_args=--max-model-len 2048 -tp 2")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    form = r"(ok|warning|not seen) +[a-z]+( of turn)? +\S.*"
    assert all(re.fullmatch(form, line) for line in lines), lines
    assert any(line.startswith("warning  template") for line in lines)
    (model / SHARD).unlink()
    done = beam_sdg_command(*command)
    assert done.returncode == 3
    assert f"missing  weights      1 of 2 files is not there: {SHARD}" in done.stdout.splitlines()
    [line] = done.stderr.splitlines()
    assert line.endswith("cannot be served as it is; mend what is missing or wrong above")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "model takes check and a model: beam-sdg model check MODEL"),
        (("load", "x"), "model takes check and a model: beam-sdg model check MODEL"),
        (("check",), "required: MODEL; beam-sdg model check --help lists the flags"),
        (("check", "x", "--nope"), "unrecognized arguments: --nope; beam-sdg model check --help"),
    ],
)
def test_bad_usage_of_the_command_is_one_line(capsys, arguments, message):
    """With the exit code of usage."""
    assert main(["model", *arguments]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line


class Hub(http.server.ThreadingHTTPServer):
    """What the hub answers about one model, `org/model`, which is a folder.

    `org/gated` can be listed and not read; anything else is unknown.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.folder = folder
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(http.server.BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path)
        self.server.asked.append(path)
        found = re.fullmatch(r"/api/models/org/(model|gated)(?:/revision/(.+))?", path)
        if found and found[2] in (None, "main", "c" * 40):
            self._send(200, json.dumps(self._described(found[1])))
        elif found:
            self._send(404, "{}", X_Error_Code="RevisionNotFound")
        elif path.startswith("/org/gated/"):
            self._send(401, "{}", X_Error_Code="GatedRepo")
        elif path.startswith(f"/org/model/resolve/{'c' * 40}/"):
            self._serve(self.server.folder / path.rpartition("/")[2])
        else:
            self._send(401, "{}", X_Error_Code="RepoNotFound")

    do_HEAD = do_GET

    def _described(self, name: str) -> dict[str, Any]:
        files = sorted(self.server.folder.iterdir())
        siblings = [{"rfilename": path.name, "size": path.stat().st_size} for path in files]
        counted = {"parameters": {"BF16": 7_615_616_512}, "total": 7_615_616_512}
        return {
            **{"id": f"org/{name}", "sha": "c" * 40, "siblings": siblings},
            **{"safetensors": counted, "gated": "auto" if name == "gated" else False},
        }

    def _serve(self, path: Path) -> None:
        data = path.read_bytes()
        tag = f'"{hashlib.sha1(data).hexdigest()}"'
        self._send(200, data, ETag=tag, X_Repo_Commit="c" * 40)

    def _send(self, status: int, body: str | bytes, **headers: str) -> None:
        data = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in {**headers, "Content_Length": str(len(data))}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def hub(model: Path) -> Iterator[Hub]:
    pytest.importorskip("huggingface_hub")
    server = Hub(model)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


LOOK = """
import json, sys
from beam_sdg.model_check import check_model
from transforms.errors import SdgError

for written in sys.argv[1:]:
    name, _, revision = written.partition("@")
    try:
        findings = check_model(name, revision)
        print(json.dumps([" ".join((f.level, f.about, f.text)) for f in findings]))
    except SdgError as error:
        print(json.dumps(f"{type(error).__name__} {error}"))
"""
COMMIT = "c" * 40


@pytest.fixture
def look(tmp_path: Path) -> Callable[..., list[Any]]:
    """What is said of models in a process of its own, whose hub is at a URL."""

    def look(url: str, *models: str, **variables: str) -> list[Any]:
        environment = {name: os.environ[name] for name in os.environ if not name.startswith("HF_")}
        settings = {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "home"), **variables}
        done = subprocess.run(
            [sys.executable, "-c", LOOK, *models],
            env={**environment, **settings},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return [json.loads(line) for line in done.stdout.splitlines()]

    return look


def test_a_model_of_the_hub_is_looked_at_without_its_weights(hub, look):
    """Names, sizes and small files at one commit; what was not downloaded is not called whole."""
    [lines] = look(hub.url, "org/model")
    assert "ok weights 2 files on the hub, none empty; not downloaded" in lines
    [size] = [line for line in lines if line.startswith("ok size")]
    assert "7.62 billion parameters" in size
    assert "on GPUs 14.2 GiB for the weights alone" in size
    assert "ok end of turn <|im_end|>, which ends an answer in vLLM too" in lines
    read = {path.rpartition("/")[2] for path in hub.asked if "/resolve/" in path}
    assert read == {
        *("config.json", "generation_config.json", "tokenizer_config.json"),
        "model.safetensors.index.json",
    }
    (hub.folder / SHARD).unlink()
    [lines] = look(hub.url, "org/model@main")
    assert f"missing weights 1 of 2 files is not there: {SHARD}" in lines


def test_what_the_hub_refuses_is_one_line_that_says_the_mend(hub, look):
    """A name, a revision, terms that were not accepted, a network that is not there."""
    closed, gated, revision = look(hub.url, "org/closed", "org/gated", "org/model@v9")
    assert closed == (
        "InputError the hub has no model org/closed, or it is private; check the name, or set "
        "HF_TOKEN to a token that may read it"
    )
    assert gated == (
        "InputError org/gated is gated; accept its terms at https://huggingface.co/org/gated, then "
        "set HF_TOKEN to a token of that account"
    )
    assert revision == (
        "InputError the model org/model has no revision 'v9'; name a branch, a tag or a commit"
    )
    [unreached] = look("http://127.0.0.1:9", "org/model")
    assert unreached.startswith("InputError cannot look at org/model on http://127.0.0.1:9: ")


def test_offline_the_hubs_cache_is_looked_at(hub, look):
    """What is not in it is missing; a model that is not in it at all is an error."""
    look(hub.url, f"org/model@{COMMIT}")
    cached, other = look(
        "http://127.0.0.1:9", f"org/model@{COMMIT}", "org/other", HF_HUB_OFFLINE="1"
    )
    assert any(line.startswith("missing weights none: neither *.safe") for line in cached)
    assert "ok template tokenizer_config.json takes system messages" in cached
    assert other.startswith("InputError org/other is not in the hub's cache, ")


def test_findings_are_plain_where_nobody_watches(model, capsys):
    """No colour, no line broken."""
    import rich.console

    print_findings(rich.console.Console(), str(model), check_model(str(model)))
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert len(shown.splitlines()) == len(check_model(str(model)))
