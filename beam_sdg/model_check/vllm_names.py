"""What the vLLM of this environment knows, read from its source: an import takes half a minute."""

import ast
import dataclasses
import functools
import importlib.metadata
import importlib.util
import re
from pathlib import Path

_WRITING = ("TEXT_GENERATION", "MULTIMODAL", "TRANSFORMERS_SUPPORTED", "TRANSFORMERS_BACKEND")


@dataclasses.dataclass(frozen=True)
class VllmNames:
    """Names in vLLM's registries.

    architectures: those of models that write text, and `others`, which embed or score it.
    dropped: architectures that it knew, and the last version that did.
    """

    version: str
    architectures: frozenset[str]
    others: frozenset[str]
    dropped: dict[str, str]
    tool_parsers: frozenset[str]
    reasoning_parsers: frozenset[str]


@functools.cache
def installed_names() -> VllmNames | None:
    """The names of the vLLM that is installed; None where there is none, or one laid out anew."""
    spec = importlib.util.find_spec("vllm")
    if spec is None or not spec.submodule_search_locations:
        return None
    root = Path(next(iter(spec.submodule_search_locations)))
    try:
        models = _tables(root / "model_executor" / "models" / "registry.py")
        tools = _tables(root / "tool_parsers" / "__init__.py")
        reasoning = _tables(root / "reasoning" / "__init__.py")
        version = importlib.metadata.version("vllm")
    except (OSError, SyntaxError, importlib.metadata.PackageNotFoundError):
        return None
    writing = {key for name in _WRITING for key in models.get(f"_{name}_MODELS", ())}
    if not writing:
        return None
    every = {key for keys in models.values() for key in keys}
    dropped = models.get("_PREVIOUSLY_SUPPORTED_MODELS", {})
    return VllmNames(
        version=version,
        architectures=frozenset(writing),
        others=frozenset(every - writing - dropped.keys()),
        dropped=dropped,
        tool_parsers=frozenset(tools.get("_TOOL_PARSERS_TO_REGISTER", ())),
        reasoning_parsers=frozenset(reasoning.get("_REASONING_PARSERS_TO_REGISTER", ())),
    )


def _tables(path: Path) -> dict[str, dict[str, str]]:
    """The tables of a module: name -> key -> value, where that is a text."""
    tables = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            [name] = re.findall(r"\w+", ast.unparse(node.targets[0]))[:1]
            tables[name] = {
                str(key.value): str(getattr(value, "value", ""))
                for key, value in zip(node.value.keys, node.value.values, strict=True)
                if isinstance(key, ast.Constant)
            }
    return tables
