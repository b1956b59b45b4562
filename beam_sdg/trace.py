"""One row's way through a run: what each stage made of it, what the model was told and answered."""

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow.parquet as pq
import rich.console
import rich.markup
import rich.rule
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from beam_sdg.publish import RunManifest
from beam_sdg.shards import column_values, shard_of, shard_path
from beam_sdg.stages import StageManifest
from transforms.codec import canonical_json
from transforms.engines.store import AnswerStore
from transforms.errors import InputError
from transforms.files import files_below
from transforms.records import lineage

SHOWN_CHARACTERS = 1500
_CALLS = ("call", "calls", "judge_calls")
_POINTERS = ("id", "draft_id")


@dataclasses.dataclass(frozen=True)
class Station:
    """What one stage made of a row: its rows or rejects, and the turns of its conversations."""

    stage: str
    rows: list[dict[str, Any]]
    rejects: list[dict[str, Any]]
    turns: list[dict[str, Any]]


def way_of(manifest: RunManifest, work_dir: str, row_id: str) -> list[Station]:
    """The stations of a row, in the order of the stages.

    `row_id` is the id of a row, of a reject or of a problem; ids that a row holds, such as those of
    the problems it was made from and of the votes on it, are followed to their sources, and theirs.

    Raises:
        InputError: no stage has a row of this id.
    """
    found = {stage.stage: _found(stage, work_dir, {row_id}) for stage in manifest.stages}
    followed: set[str] = {row_id}
    while held := _held(found.values(), row_id) - followed:
        followed |= held
        for stage in manifest.stages:
            if not any(found[stage.stage]):
                found[stage.stage] = _found(stage, work_dir, held)
    if not any(any(kinds) for kinds in found.values()):
        raise InputError(
            f"no stage has a row {row_id}; ids are in the column id of data and rejects, and are "
            "not what a source calls its own rows (source_id)"
        )
    store = f"{work_dir}/store"
    return [
        Station(stage, rows, rejects, list(_turns(store, stage, [*rows, *rejects])))
        for stage, (rows, rejects) in found.items()
        if rows or rejects
    ]


def samples_of(manifest: RunManifest, work_dir: str, row_id: str) -> list[str]:
    """The ids of the samples of a row, those that came furthest first."""
    furthest: dict[str, int] = {}
    of_row = re.compile(rf"{re.escape(row_id)}-\d+")
    for number, stage in enumerate(manifest.stages):
        for kind in ("rows", "rejects"):
            for path in _shards(f"{_folder(stage, work_dir)}/{kind}", {row_id}):
                ids = column_values(path, "id")
                furthest.update({one: number for one in ids if of_row.fullmatch(one)})
    return sorted(furthest, key=lambda one: (-furthest[one], one))


def print_way(console: rich.console.Console, way: Sequence[Station], most: int | None) -> None:
    """Print a row's way: each station's turns and what it added to the row.

    Of each text the first `most` characters are shown, or all.
    """
    seen: set[str] = set()
    for station in way:
        console.print(rich.rule.Rule(station.stage, align="left"))
        for turn in station.turns:
            for role, text in turn.get("sent", ()):
                _print_text(console, f"→ {role}", text, most)
            _print_outcome(console, turn, most)
        for row in station.rows:
            for name, value in _without_calls(row).items():
                shown = _shown(value)
                if value is not None and shown not in seen:
                    _print_text(console, name, shown, most)
                seen.add(shown)
        for reject in station.rejects:
            _print_text(console, f"✗ {reject['reason']}", reject["detail"], most)


def _found(stage: StageManifest, work_dir: str, ids: set[str]) -> tuple[list[Any], list[Any]]:
    folder = _folder(stage, work_dir)
    rows, rejects = (list(_with_ids(f"{folder}/{kind}", ids)) for kind in ("rows", "rejects"))
    return rows, rejects


def _folder(stage: StageManifest, work_dir: str) -> str:
    return f"{work_dir}/stages/{stage.stage}/{stage.fingerprint}"


def _with_ids(prefix: str, ids: set[str]) -> Iterator[dict[str, Any]]:
    for path in _shards(prefix, ids):
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            yield from pq.read_table(file, filters=[("id", "in", sorted(ids))]).to_pylist()


def _shards(prefix: str, ids: set[str]) -> Iterator[str]:
    """The files that rows of these ids are in; each is in one."""
    folder, _, kind = prefix.rpartition("/")
    of_kind = re.compile(rf"{kind}-\d+-of-(\d+)\.parquet")
    named = (of_kind.fullmatch(file.name) for file in files_below(folder))
    first = next(filter(None, named), None)
    if first is None:
        raise InputError(
            f"{prefix}-….parquet is missing; without the work folder only data/ and the "
            "report tell of rows"
        )
    num_shards = int(first[1])
    for shard in sorted({shard_of(name, num_shards) for name in ids}):
        yield shard_path(prefix, shard, num_shards)


def _held(found: Iterable[tuple[list[Any], list[Any]]], row_id: str) -> set[str]:
    """The ids in rows that were found, and of what they are samples of."""
    ids = {name for rows, _ in found for row in rows for name in _ids(row)}
    return {name for one in (row_id, *ids) for name in lineage(one)}


def _ids(value: Any) -> Iterator[str]:
    """All that stands under the names `id`, `draft_id` and `vote_ids` within a row."""
    if isinstance(value, dict):
        yield from (value[name] for name in _POINTERS if isinstance(value.get(name), str))
        yield from value.get("vote_ids") or ()
        for item in value.values():
            yield from _ids(item)


def _turns(store: str, stage: str, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The turns whose answers made these rows or rejects."""
    for row in rows:
        lines = AnswerStore(store, stage).transcript(row["id"])
        # An answer came after any refusal of the same request, whatever the clock said.
        lines.sort(key=lambda line: "failure" not in line)
        answered = {line["key"]: line for line in lines}
        yield from (answered[key] for key in _keys(row, stage) if key in answered)


def _keys(value: Any, stage: str) -> list[str]:
    """The keys of a stage's answers, wherever a row keeps its calls; or those of a reject."""
    if isinstance(value, list):
        return [key for item in value for key in _keys(item, stage)]
    if not isinstance(value, dict):
        return []
    if "keys" in value and stage in (value.get("ask"), value.get("stage")):
        return list(value["keys"])
    return [key for item in value.values() for key in _keys(item, stage)]


def _print_outcome(console: rich.console.Console, turn: dict[str, Any], most: int | None) -> None:
    facts = f"{turn.get('model', '')}, {turn.get('latency_s', 0):.2f} s"
    if "failure" in turn:
        failure = turn["failure"]
        _print_text(console, f"✗ {failure['reason']} ({facts})", failure["detail"], most)
        return
    reply = turn["reply"]
    tokens = f"{reply['prompt_tokens']} + {reply['completion_tokens']} tokens"
    if reply["reasoning"]:
        _print_text(console, "← reasoning", reply["reasoning"], most)
    _print_text(console, f"← {reply['finish_reason']} ({tokens}, {facts})", reply["text"], most)


def _print_text(console: rich.console.Console, title: str, text: str, most: int | None) -> None:
    cut = text if most is None else text[:most]
    console.print(f"[bold]{rich.markup.escape(title)}[/bold]")
    console.print(cut, markup=False)
    if len(cut) < len(text):
        console.print(f"… {len(text) - len(cut):,} more characters", style="dim")


def _without_calls(value: Any) -> Any:
    """A row without its calls, whose turns are shown in full."""
    if not isinstance(value, dict):
        return value
    return {name: _without_calls(item) for name, item in value.items() if name not in _CALLS}


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (dict, list)):
        return json.dumps(json.loads(canonical_json(value)), indent=2, ensure_ascii=False)
    return str(value)
