"""Looking before leaping: a few rows through every stage, or what a run would ask.

Both run the recipe's own stages. A preview asks the real model and keeps its answers, which then
serve the full run; a dry run asks a rehearsed one and keeps nothing.
"""

import dataclasses
import tempfile
import warnings
from collections.abc import Mapping, Sequence

import rich.box
import rich.console
import rich.table
import rich.text

from beam_sdg.launch import Launch
from beam_sdg.models import ModelSettings
from beam_sdg.options import Invocation, in_process
from beam_sdg.panel import cost
from beam_sdg.publish import write_manifest
from beam_sdg.python_flags import SandboxConfig
from beam_sdg.shards import column_values
from beam_sdg.stages import Drawn, Needed, OneOfSeveral, Several, Stage, StageManifest
from beam_sdg.stopping import StopSettings
from beam_sdg.trace import SHOWN_CHARACTERS, print_way, samples_of, way_of
from transforms.ask import Ask
from transforms.engines.store import AnswerStore
from transforms.errors import Stopped, UsageError
from transforms.files import relative

PREVIEWED_ROWS = 10
TRIED_ROWS = 3
UNKNOWN = "?"
Coming = tuple[int | None, bool]


def preview(
    invocation: Invocation, console: rich.console.Console, progress: rich.console.Console
) -> None:
    """Make the first ten rows and print their way through every stage.

    Nothing is published; `beam-sdg show` finds the rows until there is a dataset.

    Raises:
        SdgError: as for a run.
    """
    small = _of_rows(invocation, PREVIEWED_ROWS)
    launch = Launch.prepared(small)
    work_dir = launch.run.work_dir
    with launch.held(), launch.stoppable():
        manifest = launch.manifest(launch.execute(progress)).model_copy(
            update={"store": relative(launch.context.store, work_dir)}
        )
        write_manifest(manifest, work_dir)
    ids = _ids(launch)
    for number, row_id in enumerate(ids, start=1):
        console.rule(f"row {number} of {len(ids)}: {row_id}")
        samples = samples_of(manifest, work_dir, row_id)
        if samples:
            console.print(f"{len(samples)} samples, of which {samples[0]} came furthest:")
        way = way_of(manifest, work_dir, samples[0] if samples else row_id)
        asked = [station for station in way if station.turns]
        print_way(console, asked or way, SHOWN_CHARACTERS)
    console.rule()
    shown = launch.output if not invocation.run.work_dir else work_dir
    again = " The full run will not ask again for these answers." if launch.models else ""
    console.print(f"{len(ids)} rows; the whole of one: beam-sdg show {shown} ID.{again}")
    if manifest.stopped:
        raise Stopped(f"the preview was {manifest.why_partial}, and the same command goes on")


def dry_run(invocation: Invocation, console: rich.console.Console) -> None:
    """Print the stages, an estimate of calls, tokens and cost, and each stage's first prompt.

    Sources are read and a few rows are rehearsed in a temporary folder; no model is asked and
    nothing is kept. What the output would refuse is a warning, since a plan needs no output of its
    own. Prompts of later stages are made from rehearsed answers, so their length is a
    guess; and so are the rounds of solutions with Python.

    Raises:
        SdgError: what a run would fail with before it asks anything.
    """
    wanted = Launch.prepared(invocation)
    with tempfile.TemporaryDirectory() as folder:
        rehearsed = Launch.prepared(_rehearsed(_of_rows(invocation, TRIED_ROWS), folder))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stages = rehearsed.execute(rich.console.Console(quiet=True))
        per_row = {stage.stage: rows_per_row(stage) for stage in stages}
        read = rows_there(rehearsed.run.stages, stages)
        sent = {
            stage.stage: [
                line for line in AnswerStore(rehearsed.context.store, stage.stage).attempts()
            ]
            for stage in stages
        }
    console.print(_plan(wanted, sent, per_row, read))
    asks = [stage.ask for stage in wanted.run.stages if stage.ask]
    if any(ask.sampling.max_tokens is None for ask in asks):
        console.print("Tokens out and cost are known where --max_tokens bounds an answer.")
    unseen = [stage.name for stage in wanted.run.stages if stage.ask and not sent[stage.name]]
    if unseen:
        console.print(
            f"{UNKNOWN}: it depends on how many rows come to {', '.join(unseen)}, and no rehearsed "
            "one did; beam-sdg preview tells more"
        )
    for stage in wanted.run.stages:
        if not stage.ask or not sent[stage.name]:
            continue
        first = min(sent[stage.name], key=lambda line: line["at"])
        console.rule(f"first prompt of {stage.name} ({stage.ask.prompt})", align="left")
        for role, text in first["sent"]:
            console.print(f"[bold]→ {role}[/bold]")
            console.print(text, markup=False)
    console.print("Nothing was asked or written.")
    if refusal := wanted.refusal():
        console.print(f"warning: without --dry_run: {refusal}", markup=False)


def rows_per_row(stage: StageManifest) -> float | None:
    """The rows that one made on average where it fans out or selects, else the samples of each.

    None where no row that it took, or all that it selected from, tells how many there will be.
    """
    if stage.made_from is not None:
        return stage.rows / stage.made_from if stage.made_from else None
    if stage.not_sampled and stage.inputs:
        return stage.rows / stage.rows_in or None  # of those that it selects
    return stage.samples if stage.rows_in or stage.samples > 1 else None


def rows_there(stages: Sequence[Stage], made: Sequence[StageManifest]) -> dict[str, int]:
    """The usable rows of each source that a trial has read to its end.

    Of datasets of the hub it reads no more than it takes.
    """
    there = {}
    for stage, manifest in zip(stages, made, strict=True):
        limit = stage.settings.get("max_records", "unknown")
        sources = getattr(stage.transform, "sources", ())
        is_of_files = all(getattr(source, "dataset", None) is None for source in sources)
        if not stage.inputs and (limit is None or (limit != "unknown" and is_of_files)):
            there[stage.name] = manifest.rows + manifest.not_sampled
    return there


def rows_to_come(
    stages: Sequence[Stage],
    per_row: Mapping[str, float | None],
    num_records: int,
    read: Mapping[str, int] | None = None,
) -> dict[str, Coming]:
    """The most rows of each stage, and whether that is known or only about so many.

    Samples of a product make `num_records` at most, and so do sources with no limit of their own;
    none makes more than it was `read` to have. Of what depends on rows of which `per_row` says
    nothing, nobody knows how many there are: None.
    """
    found: dict[str, Coming] = {}
    before: dict[str, Coming] = {}  # what a stage took that makes several of each
    for stage in stages:
        taken: Coming
        if not stage.inputs:
            limits = stage.settings.get("max_records", num_records), (read or {}).get(stage.name)
            most = min((limit for limit in limits if limit is not None), default=None)
            taken = most, most is not None
        elif isinstance(stage.takes, Drawn):
            taken = num_records, True
        elif stage.takes.of:
            taken_apart = {} if stage.takes.parts else before
            taken = _sum([taken_apart.get(name, found[name]) for name in stage.takes.of])
        else:
            taken = found[stage.inputs[0]]
        if isinstance(stage.makes, Several):
            before[stage.name] = taken
        rows, is_known = taken
        selects = isinstance(stage.takes, Needed)
        is_guess = selects or isinstance(stage.makes, Several | OneOfSeveral)
        share = per_row.get(stage.name, 1.0)
        if isinstance(stage.takes, Drawn):
            share = 1.0
        elif isinstance(stage.makes, Several) and stage.makes.most is not None:
            share, is_guess = stage.makes.most, False
        elif share is None and not is_guess:
            share = 1.0
        made = None if rows is None or share is None else round(rows * share)
        limit = stage.settings.get("max_records") if selects else None
        if limit is not None:
            made = limit if rows is None or not is_known else min(rows, limit)
            is_known, is_guess = True, False
        found[stage.name] = made, is_known and not is_guess
    return found


def _sum(each: Sequence[Coming]) -> Coming:
    known = [rows for rows, _ in each if rows is not None]
    return sum(known) if len(known) == len(each) else None, all(is_sure for _, is_sure in each)


def _plan(
    launch: Launch,
    sent: dict[str, list[dict]],
    per_row: Mapping[str, float | None],
    read: Mapping[str, int],
) -> rich.table.Table:
    config = launch.invocation.config
    coming = rows_to_come(launch.run.stages, per_row, config.num_records, read)
    rows, is_sure = coming[launch.run.stages[-1].name]
    made = "rows" if rows is None else f"{'at most' if is_sure else 'about'} {rows:,} rows"
    table = rich.table.Table(
        title=f"{launch.invocation.recipe.name}: {made} into {launch.output}",
        title_justify="left",
        box=rich.box.SIMPLE_HEAD,
    )
    for title in ("stage", "model", "calls", "tokens in", "tokens out", "cost"):
        left = title in ("stage", "model")
        table.add_column(
            title,
            justify="left" if left else "right",
            no_wrap=title != "model",
            overflow="fold",
            min_width=10 if title == "model" else None,
        )
    for stage in launch.run.stages:
        if stage.ask is None:
            if "." not in stage.name:  # a step is not worth a line
                table.add_row(stage.name)
            continue
        cells = _cells(stage.ask, launch.models[stage.name], coming[stage.name], sent[stage.name])
        table.add_row(stage.name, stage.ask.engine.model, *cells)
    return table


def _cells(
    ask: Ask, models: ModelSettings, coming: Coming, sent: Sequence[dict]
) -> tuple[str, str, str, str]:
    """Calls, tokens in and out, and cost; what no rehearsed row tells is `UNKNOWN`."""
    calls, is_known = coming
    each, most = _mean_tokens(sent), ask.sampling.max_tokens
    tokens_in = None if calls is None or each is None else calls * each
    tokens_out = None if calls is None or not most else calls * most
    is_priced = bool(most) and cost(models, 0, 0) is not None
    spent = cost(models, tokens_in or 0, tokens_out or 0)
    is_unknown = tokens_in is None or tokens_out is None
    about = "" if is_known and ask.python is None else "~ "  # nobody knows its rounds
    bound = about or "≤ "
    return (
        UNKNOWN if calls is None else f"{'' if is_known else about}{calls:,}",
        UNKNOWN if tokens_in is None else f"{about}{tokens_in:,}",
        "–" if not most else UNKNOWN if tokens_out is None else f"{bound}{tokens_out:,}",
        "–" if not is_priced else UNKNOWN if is_unknown else f"{bound}${spent:,.2f}",
    )


def _mean_tokens(lines: Sequence[dict]) -> int | None:
    """About how many tokens a conversation sends, what is sent again with each turn included."""
    conversations = sum(line["turn"] == 1 for line in lines)
    tokens = sum(line["reply"]["prompt_tokens"] for line in lines if "reply" in line)
    return round(tokens / conversations) if conversations else None


def _of_rows(invocation: Invocation, rows: int) -> Invocation:
    if invocation.run.stages:
        raise UsageError("--stages is for whole runs; leave it out to look at all stages")
    if invocation.run.shard:
        raise UsageError("--shard is for whole runs; leave it out to look at what they will make")
    return dataclasses.replace(invocation, config=invocation.config.of_rows(rows))


def _rehearsed(invocation: Invocation, folder: str) -> Invocation:
    run = invocation.run.model_copy(update={"output": folder, "work_dir": None, "num_shards": 1})
    config = invocation.config
    if isinstance(config, SandboxConfig):  # what is rehearsed is ours, and needs no walls
        config = config.without_walls()
    return dataclasses.replace(
        invocation,
        run=run,
        models=ModelSettings(),
        stops=StopSettings(),
        stage_settings={},
        config=config,
        beam=in_process(),
    )


def _ids(launch: Launch) -> list[str]:
    """The ids of the rows that the first asked stage took, or that were read, in their order."""
    asked = [stage for stage in launch.run.stages if stage.ask]
    before = asked[0].inputs[0] if asked else launch.run.stages[0].name
    paths = launch.run.shards_of(before, "rows")
    return [row_id for path in paths for row_id in column_values(path, "id")]
