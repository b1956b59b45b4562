"""A model as the checks see it: its files, what the small ones say, and how it is to be served."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from beam_sdg.model_check.files import ModelFiles
from transforms.engines.flags import flags_of

_DOCUMENTS = (
    *("config.json", "params.json", "generation_config.json", "tokenizer_config.json"),
    *("chat_template.json", "model.safetensors.index.json", "pytorch_model.bin.index.json"),
)


@dataclasses.dataclass(frozen=True)
class Model:
    """A model and the flags of `vllm serve` that it is to be served with.

    documents: the small JSON files that are there and can be read, by name.
    broken: what is wrong with those that cannot.
    """

    files: ModelFiles
    flags: Mapping[str, str]
    documents: Mapping[str, Mapping[str, Any]]
    broken: Mapping[str, str]

    @property
    def config(self) -> Mapping[str, Any]:
        """config.json, with `--hf-overrides` over it."""
        return _merged(self.documents.get("config.json", {}), self.json_flag("--hf-overrides"))

    @property
    def text_config(self) -> Mapping[str, Any]:
        """The part of the configuration that is about text; all of it where there is no other."""
        inner = self.config.get("text_config")
        return inner if isinstance(inner, dict) else self.config

    @property
    def generation(self) -> Mapping[str, Any]:
        return self.documents.get("generation_config.json", {})

    @property
    def tokenizer(self) -> Mapping[str, Any]:
        return self.documents.get("tokenizer_config.json", {})

    @property
    def gpus(self) -> int:
        """How many GPUs share one copy of the weights."""
        return self.count("--tensor-parallel-size") * self.count("--pipeline-parallel-size")

    def json_flag(self, flag: str) -> Mapping[str, Any]:
        """The object that a flag gives; an empty one where it gives none."""
        try:
            value = json.loads(self.flags.get(flag) or "{}")
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    def count(self, flag: str) -> int:
        """A flag's number; 1 where it is not given."""
        value = self.flags.get(flag, "1")
        return int(value) if value.isdigit() and int(value) else 1


def read_model(files: ModelFiles, args: str) -> Model:
    """Read the small files.

    Raises:
        InputError: one cannot be read at all.
    """
    documents: dict[str, Mapping[str, Any]] = {}
    broken: dict[str, str] = {}
    for name in (name for name in _DOCUMENTS if name in files.sizes):
        try:
            content = json.loads(files.text(name))
        except ValueError as error:
            broken[name] = f"is no JSON: {error}"
            continue
        if isinstance(content, dict):
            documents[name] = content
        else:
            broken[name] = "holds no JSON object"
    return Model(files, flags_of(args), documents, broken)


def whole_number(value: object) -> int | None:
    """A number of a configuration that somebody else wrote; None if it is none."""
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for name, value in over.items():
        inner = merged.get(name)
        both = isinstance(inner, dict) and isinstance(value, dict)
        merged[name] = _merged(inner, value) if both else value  # type: ignore[arg-type]
    return merged
