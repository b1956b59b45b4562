"""What the configuration says: architecture, parallelism, context and the sampling it asks for."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from beam_sdg.model_check.finding import Finding
from beam_sdg.model_check.model import Model, whole_number
from beam_sdg.model_check.vllm_names import VllmNames

_LENGTHS = (
    *("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length"),
    *("max_sequence_length", "max_seq_length", "seq_len"),
)
_SCALED_ALREADY = (
    *("default", "su", "longrope", "llama3", "yarn", "deepseek_yarn"),
    "deepseek_llama_scaling",
)
_WITHOUT_A_LENGTH = 2048  # tokens; what vLLM takes
_SUFFIXES = {"": 1, "k": 10**3, "m": 10**6, "K": 2**10, "M": 2**20}
_SAMPLING = (
    *("temperature", "top_p", "top_k", "min_p", "repetition_penalty"),
    *("presence_penalty", "frequency_penalty"),
)


def check_architecture(model: Model, known: VllmNames | None) -> Iterator[Finding]:
    """Whether the installed vLLM has the architecture in its registry."""
    named = model.config.get("architectures")
    if not named or not isinstance(named, list):
        if "config.json" in model.documents:
            yield Finding("missing", "architecture", "config.json names none (architectures)")
        return
    name = str(named[0])
    if known is None:
        text = f"{name}; there is no vLLM in this environment to say whether it knows it"
        yield Finding("not seen", "architecture", text)
    elif name in known.architectures:
        yield Finding("ok", "architecture", f"{name}, which vLLM {known.version} knows")
    elif name in known.dropped:
        text = f"{name}, which vLLM {known.version} no longer serves; {known.dropped[name]} did"
        yield Finding("wrong", "architecture", text)
    elif name in known.others:
        text = f"{name}, which vLLM {known.version} knows, but not as a model that writes text"
        yield Finding("wrong", "architecture", text)
    else:
        text = f"vLLM {known.version} does not know {name}; it will try it through Transformers"
        own = "auto_map" in model.config and "--trust-remote-code" not in model.flags
        code = ", and the model's own code needs --trust-remote-code" if own else ""
        yield Finding("warning", "architecture", text + code)


def check_parallelism(model: Model) -> Iterator[Finding]:
    """The attention heads must be shared out evenly among the GPUs."""
    heads = whole_number(model.text_config.get("num_attention_heads"))
    parts = model.count("--tensor-parallel-size")
    if parts == 1 or not heads:
        return
    if heads % parts == 0:
        text = f"{heads} attention heads can be divided by --tensor-parallel-size {parts}"
        yield Finding("ok", "parallelism", text)
    else:
        fitting = ", ".join(str(size) for size in range(2, heads + 1) if heads % size == 0)
        text = f"{heads} attention heads cannot be divided by --tensor-parallel-size {parts}"
        yield Finding("wrong", "parallelism", f"{text}, but by {fitting}")


def check_context(model: Model) -> Iterator[Finding]:
    """The model's context, by vLLM's own rule, and the one that is asked for."""
    if "config.json" not in model.documents:
        return
    longest, asked = context_length(model), _asked_length(model.flags.get("--max-model-len", ""))
    if longest is None:
        text = f"config.json says no length; vLLM takes {asked or _WITHOUT_A_LENGTH:,} tokens"
        yield Finding("warning", "context", text)
    elif asked is None:
        text = f"{longest:,} tokens, prompt and answer together; --max-model-len lowers it"
        yield Finding("ok", "context", text)
    elif asked <= longest:
        text = f"{asked:,} tokens by --max-model-len, of the model's {longest:,}"
        yield Finding("ok", "context", text)
    else:
        text = f"--max-model-len {asked:,} is more than the model's {longest:,} tokens"
        allowed = os.environ.get("VLLM_ALLOW_LONG_MAX_MODEL_LEN") == "1"
        does = "answers beyond may be noise" if allowed else "vLLM refuses it"
        yield Finding("warning" if allowed else "wrong", "context", f"{text}: {does}")


def context_length(model: Model) -> int | None:
    """The tokens that a model's configuration allows, as vLLM 0.32 derives them."""
    config = model.text_config
    lengths = [n for name in _LENGTHS if (n := whole_number(config.get(name))) is not None]
    if not lengths:
        return None
    longest = whole_number(config.get("model_max_length")) or min(lengths)
    of_tokenizer = model.tokenizer.get("model_max_length")
    if isinstance(of_tokenizer, int | float):
        longest = min(longest, int(of_tokenizer))
    if "gemma3" in str(model.config.get("model_type")):
        return longest  # scaled already, whatever its rope says
    ropes = _ropes(config.get("rope_parameters") or config.get("rope_scaling"))
    kinds = {str(rope.get("rope_type", rope.get("type", "default"))) for rope in ropes}
    if "longrope" in kinds and "--max-model-len" not in model.flags:
        return whole_number(config.get("original_max_position_embeddings")) or longest
    for rope in ropes:
        kind = str(rope.get("rope_type", rope.get("type", "default")))
        if kind not in _SCALED_ALREADY and isinstance(rope.get("factor"), int | float):
            return int(longest * rope["factor"])
    return longest


def _ropes(parameters: Any) -> Sequence[Mapping[str, Any]]:
    """Settings of rotary positions: one for all layers, or one for each type of layer."""
    if not isinstance(parameters, dict):
        return []
    inner = [value for value in parameters.values() if isinstance(value, dict)]
    return inner or [parameters]


def _asked_length(written: str) -> int | None:
    """A length as `vllm serve` reads it: 32768, 32k or 32K; None for auto and -1."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmKM]?)", written)
    return int(float(found[1]) * _SUFFIXES[found[2]]) if found else None


def check_sampling(model: Model) -> Iterator[Finding]:
    """What generation_config.json sets for every request that does not say otherwise."""
    source = model.flags.get("--generation-config", "auto")
    if source == "vllm":
        text = "generation_config.json is left aside, by --generation-config vllm: temperature 1"
        yield Finding("ok", "sampling", text)
        return
    if source != "auto":
        yield Finding("not seen", "sampling", f"its defaults are in {source}")
        return
    defaults = {**model.generation, **model.json_flag("--override-generation-config")}
    found = {name: value for name in _SAMPLING if (value := defaults.get(name)) is not None}
    shown = ", ".join(f"{name} {value}" for name, value in found.items())
    if found:
        text = (
            f"{shown} by generation_config.json, unless a flag such as --temperature says otherwise"
        )
        yield Finding("ok", "sampling", text)
    elif "generation_config.json" not in model.broken:
        yield Finding("ok", "sampling", "no defaults of the model's own; vLLM's are temperature 1")
    if limit := whole_number(defaults.get("max_new_tokens")):
        text = f"generation_config.json ends every answer after {limit:,} tokens"
        yield Finding("warning", "sampling", f"{text}; --generation-config vllm leaves it aside")
