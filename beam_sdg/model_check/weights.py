"""Whether all files are there and whole, and what the weights are and take."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from beam_sdg.model_check.finding import Finding
from beam_sdg.model_check.model import Model

TOKENIZERS = (
    *("tokenizer.json", "tokenizer.model", "tekken.json", "vocab.json", "vocab.txt"),
    *("spiece.model", "tiktoken.model", "qwen.tiktoken", "sentencepiece.bpe.model"),
)
_NUMBERED = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\..+)")
_SHARDED_STATE = re.compile(r"model-(?:rank-(\d+)|pp-\d+-tp-\d+)-part-\d+\.safetensors")
_NO_WEIGHTS = ("training_args.bin", "optimizer.bin", "scheduler.bin")
_BYTES = {
    **{"F64": 8.0, "I64": 8.0, "F32": 4.0, "I32": 4.0, "F16": 2.0, "BF16": 2.0, "I16": 2.0},
    **{"F8_E4M3": 1.0, "F8_E5M2": 1.0, "F8_E8M0": 1.0, "I8": 1.0, "U8": 1.0, "BOOL": 1.0},
}
_PARAMETERS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
_PACKED = ("I64", "I32", "U8", "I8", "F4", "F6_E2M3", "F6_E3M2")
_SERVED = {"float32": 4, "float": 4, "bfloat16": 2, "float16": 2, "half": 2}
_MOST_NAMED = 3


def check_files(model: Model) -> Iterator[Finding]:
    """config.json, the tokenizer, and what a download has left."""
    sizes = model.files.sizes
    for name, fault in model.broken.items():
        yield Finding("wrong", "files", f"{name} {fault}")
    if "config.json" not in sizes:
        yield _without_config(model)
    found = [name for name in TOKENIZERS if name in sizes]
    for name in found:
        if fault := model.files.fault(name):
            yield Finding("wrong", "files", f"{name} {fault}")
    if not found and "--tokenizer" in model.flags:
        text = f"the tokenizer is {model.flags['--tokenizer']}, by --tokenizer"
        yield Finding("not seen", "files", text)
    elif not found:
        text = f"no tokenizer: none of {', '.join(TOKENIZERS[:3])} and the like is there"
        yield Finding("missing", "files", text)
    elif "config.json" in model.documents:
        yield Finding("ok", "files", f"config.json and {', '.join(found)}")
    if unfinished := model.files.unfinished:
        text = f"an interrupted download has left {_some(unfinished)}; run hf download again"
        yield Finding("warning", "files", text)


def _without_config(model: Model) -> Finding:
    if "params.json" in model.files.sizes:
        text = "params.json in place of config.json: Mistral's own format, not looked into here"
        return Finding("not seen", "files", text)
    if "adapter_config.json" in model.files.sizes:
        text = "no config.json but adapter_config.json: this is a LoRA adapter, and needs its model"
        return Finding("missing", "files", text)
    return Finding("missing", "files", "no config.json; hf download MODEL brings it")


def check_weights(model: Model) -> Iterator[Finding]:
    """Every file of the weights: there, not empty, and as long as its header says."""
    kind, names = weight_files(model)
    if not names:
        text = "none: neither *.safetensors nor *.bin is there; hf download MODEL brings them"
        yield Finding("missing", "weights", text)
        return
    expected = _expected(model, names)
    absent = [name for name in expected if name not in model.files.sizes]
    if absent:
        are = "is" if len(absent) == 1 else "are"
        text = f"{len(absent)} of {len(expected)} files {are} not there: {_some(absent)}"
        yield Finding("missing", "weights", text)
    faults = {name: fault for name in names if (fault := model.files.fault(name))}
    for name, fault in faults.items():
        yield Finding("wrong", "weights", f"{name} {fault}")
    if not absent and not faults:
        yield _all_there(model, kind, names)
    if kind == "sharded state":
        yield from _check_sharded_state(model, names)


class Weights(NamedTuple):
    """The files that vLLM would load, and of which kind they are."""

    kind: Literal["safetensors", "sharded state", "pickles"]
    names: Sequence[str]


def weight_files(model: Model) -> Weights:
    """The files of the weights: safetensors where there are any, for vLLM prefers them."""
    top = [name for name in model.files.sizes if "/" not in name]
    tensors = [name for name in top if name.endswith(".safetensors")]
    if sharded := [name for name in tensors if _SHARDED_STATE.fullmatch(name)]:
        return Weights("sharded state", sharded)
    if whole := [name for name in tensors if not name.startswith("consolidated")]:
        return Weights("safetensors", whole)
    if tensors:
        return Weights("safetensors", tensors)
    pickles = [n for n in top if n.endswith((".bin", ".pt")) and n not in _NO_WEIGHTS]
    return Weights("pickles", pickles)


def _expected(model: Model, names: Sequence[str]) -> Sequence[str]:
    """The files that an index names, or the numbers in files' names: 00001-of-00004."""
    for index in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        placed = model.documents.get(index, {}).get("weight_map")
        ending = ".safetensors" if "safetensors" in index else ".bin"
        if isinstance(placed, dict) and any(name.endswith(ending) for name in names):
            return sorted({str(name) for name in placed.values()})
    numbered = [found for name in names if (found := _NUMBERED.fullmatch(name))]
    expected = {
        f"{found[1]}-{number:05}-of-{found[3]}{found[4]}"
        for found in numbered
        for number in range(1, int(found[3]) + 1)
    }
    return sorted({*names, *expected})


def _all_there(model: Model, kind: str, names: Sequence[str]) -> Finding:
    files = f"{len(names)} file{'s' * (len(names) != 1)}"
    if kind == "pickles":
        text = f"{files} (*.bin), all there; what is in a pickle is not looked at"
        return Finding("not seen", "weights", text)
    if model.files.is_local:
        return Finding("ok", "weights", f"{files}, each as long as its header says")
    return Finding("ok", "weights", f"{files} on the hub, none empty; not downloaded")


def _check_sharded_state(model: Model, names: Sequence[str]) -> Iterator[Finding]:
    """Sharded state is of one number of GPUs, and vLLM must be told of it."""
    ranks = {found[1] for name in names if (found := _SHARDED_STATE.fullmatch(name)) and found[1]}
    needed = {"--load-format": "sharded_state"}
    if ranks:
        needed["--tensor-parallel-size"] = str(len(ranks))
    given = {"--tensor-parallel-size": "1", **model.flags}
    if all(given.get(flag, "").endswith(value) for flag, value in needed.items()):
        return
    flags = " ".join(f"{flag} {value}" for flag, value in needed.items())
    yield Finding("wrong", "weights", f'they are sharded state: give --vllm_args "{flags}"')


def check_memory(model: Model) -> Iterator[Finding]:
    """Parameters, bytes, type and quantization, and the GPU memory that the weights take."""
    _, names = weight_files(model)
    size = sum(model.files.sizes[name] for name in names)
    if not size:
        return
    parameters, served = _parameters(model), _served_bytes(model, size)
    share = f", {_gib(served / model.gpus)} on each of {model.gpus}" if model.gpus > 1 else ""
    text = ", ".join(filter(None, (parameters, _gib(size), _types(model), _quantization(model))))
    memory = f"on GPUs {_gib(served)} for the weights alone{share}, and the KV cache on top"
    yield Finding("ok", "size", f"{text}; {memory}")


def _quantization(model: Model) -> str:
    """How the weights are quantized, or will be as they are loaded; "" if not at all."""
    stored = model.config.get("quantization_config")
    if isinstance(stored, dict):
        return f"quantized: {stored.get('quant_method', 'by a method it does not name')}"
    given = model.flags.get("--quantization", "")
    return f"quantized as it is loaded: {given}" if given else ""


def _parameters(model: Model) -> str:
    elements = model.files.elements
    counted = sum(number for kind, number in elements.items() if kind in _PARAMETERS)
    packed = sum(number for kind, number in elements.items() if kind in _PACKED)
    if not counted or packed > counted / 100:  # one number holds several parameters
        return ""
    for size, unit in ((1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if counted >= size:
            return f"{counted / size:.3g} {unit} parameters"
    return f"{counted} parameters"


def _types(model: Model) -> str:
    stored = model.files.elements
    bits = sorted(stored, key=lambda kind: -_BYTES.get(kind, 1.0) * stored[kind])
    configured = model.text_config.get("dtype") or model.text_config.get("torch_dtype")
    return "+".join(bits) if bits else str(configured or "")


def _served_bytes(model: Model, size: int) -> float:
    """The weights' bytes as vLLM holds them: in --dtype, or as configured, with float32 halved."""
    elements: Mapping[str, int] = model.files.elements
    if not elements or _quantization(model) or set(elements) - {"F32", "F16", "BF16"}:
        return size
    dtype = model.flags.get("--dtype", "auto")
    if dtype == "auto":
        configured = model.text_config.get("dtype") or model.text_config.get("torch_dtype")
        dtype = "bfloat16" if configured in (None, "float32") else str(configured)
    return sum(elements.values()) * _SERVED.get(dtype, 2)


def _gib(size: float) -> str:
    gib = size / 2**30
    return f"{gib:,.1f} GiB" if gib >= 0.1 else f"{size / 2**20:,.1f} MiB"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
