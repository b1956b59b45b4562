"""The dataset card: what `datasets` and the hub read of a dataset, and what people should.

Nothing in it depends on the clock or on what was asked twice: equal data has an equal card.
"""

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
import yaml

from beam_sdg.columns import Column, columns_of
from beam_sdg.publish import Asked, DataFile
from beam_sdg.report.figures import Figures
from beam_sdg.report.shown import counted
from beam_sdg.report.tables import tables
from transforms.codec import arrow_schema
from transforms.records import Reject
from transforms.seeding import digest

REHEARSED = "rehearsal"
_FLAGS = {"chat_template_kwargs": "chat_template_args"}  # of settings that the API calls otherwise
_NO_FLAG = ("logprobs",)  # set in Python only
_LEDGER = ("asked", "tokens", "engines", "cost")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
# Identifiers of licences that the hub knows, of those that datasets commonly have.
_LICENCES = {
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "mpl-2.0", "unlicense"),
    *("cc0-1.0", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0"),
    *("cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "odc-by", "odbl", "pddl"),
    *("gpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0"),
}
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def card(figures: Figures) -> str:
    """The card as Markdown with a YAML header."""
    manifest = figures.manifest
    header = yaml.safe_dump(_header(figures), sort_keys=False, allow_unicode=True, width=1_000)
    return _TEMPLATES.get_template("card.md.jinja").render(
        header=header,
        manifest=manifest,
        rows=counted(figures.data.rows),
        rejected=counted(figures.rejected) if figures.rejected else "",
        tables=[table for table in tables(figures) if table.key not in _LEDGER],
        licences=figures.data.licences,
        columns=figures.columns,
        splits=[*manifest.splits],
        prompts=[stage for stage in manifest.stages if "prompt_hash" in stage.settings],
        command=_command(figures),
        cell=_cell,
    )


def _header(figures: Figures) -> dict[str, Any]:
    """What machines read: licences, size, and which files are which split of which config.

    `datasets` keeps what it has loaded by the folder's own name and this header: the description
    makes it one of these files alone, and others of the same names are not taken for them.
    """
    configs = {"default": ([*figures.manifest.splits], "data", figures.columns)}
    if figures.rejected:
        reject = columns_of(arrow_schema(Reject))
        configs["rejects"] = (["rejects"], "rejects", reject)
    header: dict[str, Any] = {
        "pretty_name": figures.manifest.recipe,
        "license": _licence_names(figures),
        "task_categories": ["text-generation"],
        "tags": ["synthetic", "reasoning", figures.manifest.recipe],
        "size_categories": [_size(figures.data.rows)],
        "configs": [
            {
                "config_name": name,
                "description": f"files {_hash_of(figures.manifest.files_in(folder))}",
                "data_files": [{"split": split, "path": f"{folder}/{split}-*"} for split in splits],
            }
            for name, (splits, folder, _) in configs.items()
        ],
    }
    if figures.manifest.format == "jsonl":  # Parquet files say it themselves
        header["dataset_info"] = [
            {"config_name": name, "features": _features(columns)}
            for name, (_, _, columns) in configs.items()
        ]
    return header


def _hash_of(files: Iterable[DataFile]) -> str:
    return digest(*(f"{file.path} {file.sha256}" for file in files))


def _features(columns: Iterable[Column]) -> list[dict[str, Any]]:
    return [column.feature() for column in columns]


def _licence_names(figures: Figures) -> list[str]:
    said = {one.lower() for each in figures.data.licences for one in each.split(" AND ")}
    return sorted({name if name in _LICENCES else "other" for name in said}) or ["other"]


def _size(rows: int) -> str:
    return next((name for most, name in _SIZES if rows < most), "n>1M")


def _command(figures: Figures) -> list[str]:
    """The command that makes these rows again, a flag an element; servers are left to name."""
    manifest = figures.manifest
    written = {name: _written(value) for name, value in manifest.settings.items()}
    flags = [f"--{name}={value}" for name, value in written.items() if value]
    if manifest.prompts:
        flags.append(f"--prompts={manifest.prompts}")
    shards = f"--num_shards={len(manifest.paths('rejects'))}"
    every = (f"--seed={manifest.seed}", shards, *flags, *_model_flags(manifest.asks))
    return [f"beam-sdg {manifest.command or manifest.recipe}", *map(shlex.quote, every)]


def _model_flags(asks: Mapping[str, Asked]) -> Iterator[str]:
    """How each stage asked: what all have in common as flags, a stage's own by `--set`."""
    settings = {
        stage: {
            "model": asked.model,
            **_served_by(asked),
            **{
                _FLAGS.get(name, name): json.dumps(value) if name == "stop" else value
                for name, value in asked.sampling.items()
                if name not in _NO_FLAG
            },
        }
        for stage, asked in asks.items()
        if asked.model != REHEARSED
    }
    items = [{(name, _written(value)) for name, value in of.items()} for of in settings.values()]
    common = set.intersection(*items) if len(items) == len(asks) and items else set()
    yield from (f"--{name}={value}" for name, value in sorted(common))
    for stage, of_stage in zip(settings, items, strict=True):
        yield from (f"--set={stage}.{name}={value}" for name, value in sorted(of_stage - common))


def _served_by(asked: Asked) -> dict[str, str]:
    """Where answers come from that are stored as the same model's."""
    place = {"revision": asked.revision} if asked.revision else {"endpoint": "http://HOST:PORT/v1"}
    return place if asked.api == "chat" else {**place, "api": asked.api}


def _written(value: Any) -> str:
    """A setting as its flag takes it."""
    if isinstance(value, Mapping):
        return ",".join(f"{name}={_written(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ",".join(map(_written, value))
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _cell(text: str) -> str:
    """`text` as it looks in a cell of a Markdown table, where it means nothing."""
    for mark in "\\|<*`[":
        text = text.replace(mark, f"\\{mark}")
    return text
