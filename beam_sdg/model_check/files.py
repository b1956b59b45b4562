"""The files of a model, in a folder or on the Hugging Face hub."""

import contextlib
import dataclasses
import functools
import json
import logging
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from beam_sdg.sources.files import one_line
from transforms.errors import InputError, UsageError

_LFS_POINTER = b"version https://git-lfs"
_LONGEST_HEADER = 100_000_000  # bytes; the format's own limit
_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_TALKATIVE = ("huggingface_hub", "httpx", "httpx2")


class ModelFiles(Protocol):
    """What the checks look at; names of files are relative and have / between their parts."""

    @property
    def is_local(self) -> bool:
        """Whether the weights can be looked into."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Name -> bytes, of every file."""

    @property
    def unfinished(self) -> tuple[str, ...]:
        """What an interrupted download has left."""

    @property
    def elements(self) -> Mapping[str, int]:
        """Type of number -> how many of them the weights have; empty where that is not known."""

    def text(self, name: str) -> str:
        """The content of a small file.

        Raises:
            InputError: it cannot be read.
        """

    def fault(self, name: str) -> str:
        """What is wrong with a file of weights or of a tokenizer; "" if nothing that is seen."""


@dataclasses.dataclass(frozen=True)
class LocalFiles:
    """A model in a folder, laid out as on the hub."""

    folder: Path

    is_local = True

    @functools.cached_property
    def sizes(self) -> Mapping[str, int]:
        found = sorted(self.folder.rglob("*"))
        names = {path.relative_to(self.folder): path for path in found if path.is_file()}
        return {
            name.as_posix(): path.stat().st_size
            for name, path in names.items()
            if not any(part.startswith(".") for part in name.parts)
        }

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Those of `hf download --local-dir`, and those of the cache, if this is a part of it."""
        found = set(self.folder.rglob("*.incomplete"))
        if self.folder.resolve().parent.name == "snapshots":
            found |= set((self.folder.resolve().parents[1] / "blobs").glob("*.incomplete"))
        return tuple(sorted(map(str, found)))

    @functools.cached_property
    def elements(self) -> Mapping[str, int]:
        counted: Counter[str] = Counter()
        for name in self.sizes:
            if name.endswith(".safetensors") and not self.fault(name):
                for tensor in _tensors(_header(self.folder / name)):
                    counted[tensor["dtype"]] += math.prod(tensor["shape"])
        return counted

    def text(self, name: str) -> str:
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"{self.folder / name} cannot be read: {one_line(error)}; copy or download it again"
            ) from error

    def fault(self, name: str) -> str:
        path, size = self.folder / name, self.sizes[name]
        if size == 0:
            return "is empty"
        with path.open("rb") as content:
            if content.read(len(_LFS_POINTER)) == _LFS_POINTER:
                return "is a git-lfs pointer and not the file itself: git lfs pull"
        if not name.endswith(".safetensors"):
            return ""
        try:
            header = _header(path)
            ends = [tensor["data_offsets"][1] for tensor in _tensors(header)]
        except (ValueError, KeyError, TypeError, IndexError):
            return "has no header that can be read: it is damaged"
        whole = 8 + _header_length(path) + max(ends, default=0)
        if size < whole:
            return f"is cut off: {size:,} of {whole:,} bytes"
        return f"is {size - whole:,} bytes longer than its header says" if size > whole else ""


def _header_length(path: Path) -> int:
    with path.open("rb") as content:
        return int.from_bytes(content.read(8), "little")


def _header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: name -> dtype, shape and data_offsets.

    Raises:
        ValueError: it is damaged.
    """
    length = _header_length(path)
    if length > min(_LONGEST_HEADER, path.stat().st_size):
        raise ValueError("longer than its file")
    with path.open("rb") as content:
        content.seek(8)
        header = json.loads(content.read(length))
    if not isinstance(header, dict):
        raise ValueError("no object")
    return header


def _tensors(header: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [value for name, value in header.items() if name != "__metadata__"]


@dataclasses.dataclass(frozen=True)
class HubFiles:
    """A model on the hub at one commit: names and sizes; only small files are downloaded."""

    name: str
    commit: str
    sizes: Mapping[str, int]
    elements: Mapping[str, int]

    is_local = False
    unfinished = ()

    def text(self, name: str) -> str:
        import huggingface_hub

        with _explained(self.name, self.commit):
            path = huggingface_hub.hf_hub_download(self.name, name, revision=self.commit)
        return Path(path).read_text(encoding="utf-8", errors="replace")

    def fault(self, name: str) -> str:
        return "is empty" if self.sizes[name] == 0 else ""


def model_files(model: str, revision: str) -> ModelFiles:
    """The files of a model, as vLLM would find them: in a folder of that name, or on the hub.

    Where HF_HUB_OFFLINE is set, those of the hub's cache.

    Raises:
        UsageError: the hub's client is not installed, or a revision of a folder is asked for.
        InputError: there is no such model, or no access to it.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        if revision:
            raise UsageError(f"--revision {revision}: {model} is a folder; leave the flag out")
        return LocalFiles(folder)
    if folder.exists() or not _NAME.fullmatch(model):
        raise InputError(f"{model} is no folder of a model; give the folder, or ORGANISATION/NAME")
    return _on_the_hub(model, revision or None)


def _on_the_hub(model: str, revision: str | None) -> ModelFiles:
    try:
        import huggingface_hub
        from huggingface_hub import constants, errors
        from huggingface_hub.utils import disable_progress_bars
    except ImportError as error:
        raise UsageError(
            f"{model} is looked at with the hub's client, which is not installed; "
            "pip install 'beam-sdg[hub]', or give a folder"
        ) from error
    disable_progress_bars()
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    if constants.HF_HUB_OFFLINE:
        try:
            found = huggingface_hub.snapshot_download(
                model, revision=revision, local_files_only=True
            )
        except errors.LocalEntryNotFoundError as error:
            raise InputError(
                f"{model} is not in the hub's cache, {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE "
                "is set; unset it, or copy the cache of a machine with a network"
            ) from error
        return LocalFiles(Path(found))
    with _explained(model, revision):
        info = huggingface_hub.HfApi().model_info(model, revision=revision, files_metadata=True)
    return HubFiles(
        name=model,
        commit=str(info.sha),
        sizes={file.rfilename: file.size or 0 for file in info.siblings or ()},
        elements=dict(info.safetensors.parameters) if info.safetensors else {},
    )


@contextlib.contextmanager
def _explained(model: str, revision: str | None) -> Iterator[None]:
    """Errors of the hub and of the network in one line, each with its mend."""
    from huggingface_hub import constants, errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise InputError(
            f"{model} is gated; accept its terms at https://huggingface.co/{model}, then set "
            "HF_TOKEN to a token of that account"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"the hub has no model {model}, or it is private; check the name, or set HF_TOKEN to a "
            "token that may read it"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise InputError(
            f"the model {model} has no revision {revision!r}; name a branch, a tag or a commit"
        ) from error
    except (errors.HfHubHTTPError, errors.HTTPError, errors.HFValidationError, OSError) as error:
        raise InputError(
            f"cannot look at {model} on {constants.ENDPOINT}: {one_line(error)}; check the name "
            "and the network, or give a folder"
        ) from error
