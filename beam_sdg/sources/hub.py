"""Datasets of the Hugging Face hub, streamed by the `datasets` library.

hf://ORG/NAME[@REVISION][#CONFIG][:SPLIT]    on the hub
hf:///FOLDER[#CONFIG][:SPLIT]                in a local folder, laid out as on the hub
"""

import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pydantic

from beam_sdg.sources.files import local_hash, one_line
from transforms.errors import InputError, UsageError
from transforms.seeding import digest

SCHEME = "hf://"
_SHUFFLE_BUFFER = 1_000  # rows; the published recipe's, which is the library's own
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FORMS = f"{SCHEME}ORG/NAME[@REVISION][#CONFIG][:SPLIT] or {SCHEME}/FOLDER[#CONFIG][:SPLIT]"
_WRITTEN = re.compile(
    rf"{SCHEME}(?:(?P<folder>/[^#:]+)|(?P<name>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>[^#:]+))?)"
    r"(?:#(?P<config>[^:]+))?(?::(?P<split>[\w.-]+))?"
)
_TALKATIVE = ("datasets", "huggingface_hub", "httpx", "httpx2", "fsspec")


class Dataset(pydantic.BaseModel, frozen=True, extra="forbid"):
    """One split of a dataset; what is None is the hub's default, or the first split."""

    place: str
    revision: str | None = None
    config: str | None = None
    split: str | None = None

    @classmethod
    def parse(cls, written: str) -> "Dataset":
        """The dataset that `hf://…` names.

        Raises:
            UsageError: it is not of that form.
        """
        found = _WRITTEN.fullmatch(written)
        if found is None:
            raise UsageError(f"{written!r} names no dataset; write {_FORMS}")
        parts = found.groupdict()
        place = parts.pop("folder") or parts["name"]
        return cls(place=place, **{part: parts[part] for part in ("revision", "config", "split")})

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{SCHEME}{self.place}{revision}{self._chosen}"

    @property
    def name(self) -> str:
        """ORG/NAME, or the folder's name."""
        return Path(self.place).name if self._is_local else self.place

    @property
    def label(self) -> str:
        """How rejects call it: its name, config and split, wherever and whenever it was read."""
        return f"{self.name}{self._chosen}"

    @property
    def _chosen(self) -> str:
        config = f"#{self.config}" if self.config else ""
        split = f":{self.split}" if self.split else ""
        return f"{config}{split}"

    @property
    def _is_local(self) -> bool:
        return self.place.startswith("/")

    @property
    def _is_pinned(self) -> bool:
        commit = self._is_local or _COMMIT.fullmatch(self.revision or "")
        return bool(commit and self.split)

    def pinned(self) -> "Dataset":
        """This dataset with its commit and its split settled; asks the hub.

        Raises:
            UsageError: the library is missing.
            InputError: there is no such dataset, revision, config or split, or no access to it.
        """
        commit = None if self._is_local else self._commit()
        splits = list(self._splits(commit))
        if self.split and self.split not in splits:
            raise InputError(f"{self} has no split {self.split!r}; it has {', '.join(splits)}")
        return self.model_copy(update={"revision": commit, "split": self.split or splits[0]})

    def identity(self) -> str:
        """What changes with its content: the commit, or a hash of the folder's files.

        Raises:
            UsageError, InputError: as `pinned`.
        """
        pinned = self if self._is_pinned else self.pinned()
        if not self._is_local:
            return str(pinned)
        folder = Path(self.place)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        visible = [path for path in files if not _is_hidden(path.relative_to(folder))]
        hashes = ([str(path.relative_to(folder)), local_hash(path)] for path in visible)
        return digest(*(part for pair in hashes for part in pair), pinned.config, pinned.split)

    def rows(self, shuffle_seed: int | None = None) -> Iterator[dict[str, Any]]:
        """Its rows, streamed: as they lie, or shuffled through a buffer.

        The shuffle is the library's own: of the order of files, and of rows within a buffer of
        1,000, which is what it reads ahead. Of several Parquet files it takes 5 seconds to stop.

        Raises:
            UsageError, InputError: as `pinned`; also if a file cannot be read.
        """
        pinned = self if self._is_pinned else self.pinned()
        stream = pinned._splits(pinned.revision)[pinned.split]
        if stream.features:
            stream = stream.decode(False)  # pictures and sounds stay bytes
        if shuffle_seed is not None:
            stream = stream.shuffle(seed=shuffle_seed, buffer_size=_SHUFFLE_BUFFER)
        with self._explained("read"):
            yield from stream

    def _splits(self, commit: str | None) -> Any:
        """Split -> stream, in the dataset's order."""
        library = _library()
        where = {"path": self.place, "revision": commit}
        with self._explained("open"):
            try:
                builder = library.load_dataset_builder(**where, name=self.config)
            except ValueError:
                configs = library.get_dataset_config_names(**where)
                if self.config in configs:
                    raise
                raise InputError(self._without_config(configs)) from None
            return builder.as_streaming_dataset()

    def _without_config(self, configs: list[str]) -> str:
        names = ", ".join(configs)
        if self.config is None:
            return f"{self} has several configs ({names}); name one as {self}#{configs[0]}"
        return f"{self} has no config {self.config!r}; it has {names}"

    def _commit(self) -> str:
        """The commit that the revision stands for now."""
        if self.revision and _COMMIT.fullmatch(self.revision):
            return self.revision
        _library()
        import huggingface_hub
        from huggingface_hub import errors

        with self._explained("look up"):
            try:
                found = huggingface_hub.HfApi().dataset_info(self.place, revision=self.revision)
            except errors.GatedRepoError as error:
                raise self._gated() from error
            except errors.RepositoryNotFoundError as error:
                raise InputError(
                    f"the hub has no dataset {self.place}, or it is private; check the name, or "
                    "set HF_TOKEN to a token that may read it"
                ) from error
            except errors.RevisionNotFoundError as error:
                raise InputError(
                    f"{SCHEME}{self.place} has no revision {self.revision!r}; name a branch, a "
                    "tag or a commit"
                ) from error
        return str(found.sha)

    def _gated(self) -> InputError:
        return InputError(
            f"{SCHEME}{self.place} is gated; accept its terms at https://huggingface.co/datasets/"
            f"{self.place}, then set HF_TOKEN to a token of that account"
        )

    @contextlib.contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        """Errors of the library and of the network, which have no type in common, in one line."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            said = one_line(error)
            if "gated dataset" in said:
                raise self._gated() from error
            mend = "check the folder" if self._is_local else "check the name and the network"
            raise InputError(f"cannot {verb} {self}: {said}; {mend}") from error


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _library() -> ModuleType:
    """The `datasets` library, silenced: its bars and its retries would be on stderr."""
    try:
        import datasets
    except ImportError as error:
        raise UsageError(
            f"{SCHEME} is read with the datasets library, which is not installed; "
            "pip install 'beam-sdg[datasets]'"
        ) from error
    import huggingface_hub

    datasets.disable_progress_bars()
    huggingface_hub.utils.disable_progress_bars()
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    return datasets
