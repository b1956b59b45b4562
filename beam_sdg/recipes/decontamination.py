"""Decontamination as a part of recipes: records that a benchmark has too are labelled or removed.

    problems ─ .similar ─ .suspects ─ .pairs ─ decontaminate ─ .labels ─┬─ .clean
         └──────────────────────────────────────────────────────────────┘

The stage and its method are those of NVIDIA's OpenMathReasoning; its parts `retrieve_similar` and
`check_contamination` are the steps up to `.pairs` and the question.
"""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pydantic

from beam_sdg.recipes.recipe import Context
from beam_sdg.shards import read_shard, whole_file
from beam_sdg.sources.benchmarks import ALL_PUBLISHED, PUBLISHED, BenchmarkSources
from beam_sdg.sources.files import local_hash
from beam_sdg.stages import Every, Needed, Several, Stage
from beam_sdg.template_flags import pinned
from transforms.codec import canonical_json
from transforms.decontamination import checking
from transforms.decontamination.embedding import PUBLISHED_MODEL, EmbeddingModel
from transforms.decontamination.labels import (
    CONTAMINATED,
    UNCHECKED,
    ApplyLabels,
    LabelSimilar,
    Put,
    evidence,
    into_extra,
    unchanged,
)
from transforms.decontamination.records import (
    ContaminationLabel,
    Finding,
    PairVote,
    Similar,
    SimilarPair,
)
from transforms.decontamination.reference import NEIGHBOURS, MatchSettings
from transforms.decontamination.similar import FindSimilar
from transforms.engines.rehearsal import Rehearsal
from transforms.errors import UsageError
from transforms.records import Problem
from transforms.seeding import digest

NAME = "decontaminate"
LABELS = f"{NAME}.labels"
NO_BENCHMARKS = ("none",)


class DecontaminationConfig(MatchSettings):
    """The flags of recipes that compare what they make with benchmarks: a mixin."""

    benchmarks: tuple[str, ...] = pydantic.Field(
        (),
        description=f"what rows are compared with: {ALL_PUBLISHED}, or some of "
        f"{', '.join(PUBLISHED)}; NAME=FILE, or hf://…; several, separated by commas; or none",
    )
    embedding_model: str = pydantic.Field(
        PUBLISHED_MODEL,
        description="folder, or NAME[@REVISION] on the hub, of the sentence-transformers model "
        "that finds neighbours",
    )
    check_contamination: bool = pydantic.Field(
        True,
        description="ask a model about what is similar; without, neighbours are contaminated, "
        "and texts that differ in brackets alone",
    )
    check_both_ways: bool = pydantic.Field(
        False, description="ask about each pair a second time, swapped; one yes is enough"
    )
    remove_contaminated: bool = pydantic.Field(
        False, description="reject contaminated rows; without, they are labelled"
    )


def require_benchmarks(context: Context, config: DecontaminationConfig, asked: str) -> None:
    """See that it was said what to compare with, or that nothing is to be compared.

    Rows of which the stage `asked` only rehearses are nobody's training data.

    Raises:
        UsageError: nothing was said.
    """
    if not config.benchmarks and not isinstance(context.engine_of(asked), Rehearsal):
        raise UsageError(
            "--benchmarks is missing: forums discuss the problems of benchmarks, and a model that "
            "learned these is measured by nothing; write --benchmarks published, or NAME=FILE, or "
            "--benchmarks none to compare with nothing"
        )


def decontaminate(
    context: Context,
    after: str,
    config: DecontaminationConfig,
    row_type: type = Problem,
    put: Put | None = None,
) -> Iterator[Stage]:
    """The stages that compare the rows of the stage `after` with benchmarks.

    The last one has them under their ids, of type `row_type`: what `put` makes of a row and its
    label. Without it, a row gets its label into its `extra`, or where contaminated ones are
    removed, the others stay as they came. `LABELS` has the labels. There are no stages where no
    benchmarks are named, or `none`.

    Raises:
        UsageError, InputError: a benchmark or the embedding model cannot be had.
    """
    if config.benchmarks in ((), NO_BENCHMARKS):
        return
    benchmarks = BenchmarkSources.parse(config.benchmarks)
    settings = MatchSettings(**config.model_dump(include=set(MatchSettings.model_fields)))
    model, content = EmbeddingModel(), ""
    if NEIGHBOURS in config.contamination_methods:
        model, content = _embedding_model(config.embedding_model)
    yield Stage(
        name=f"{NAME}.similar",
        transform=FindSimilar(benchmarks, settings, model),
        row_type=Similar,
        settings={
            **settings.model_dump(),
            "benchmarks": benchmarks.counts(),
            "benchmarks_hash": benchmarks.content,
            "embedding_model": content,
        },
        inputs=(after,),
    )
    labelled: tuple[str, ...] = (f"{NAME}.similar",)
    if config.check_contamination:
        yield from _checked(context, config.check_both_ways)
        labelled = (f"{NAME}.similar", NAME)
    yield Stage(
        name=LABELS,
        transform=LabelSimilar(config.check_both_ways, config.check_contamination),
        row_type=ContaminationLabel,
        settings={
            "both_ways": config.check_both_ways,
            "checked": config.check_contamination,
        },
        inputs=labelled,
        takes=Every(f"{NAME}.similar"),
        tell=functools.partial(found_in, benchmarks, settings.contamination_methods),
        reports=functools.partial(write_pairs, tuple(benchmarks.counts())),
    )
    put = put or (unchanged if config.remove_contaminated else into_extra)
    yield Stage(
        name=f"{NAME}.clean",
        transform=ApplyLabels(f"{NAME}.clean", config.remove_contaminated, put),
        row_type=row_type,
        settings={"remove": config.remove_contaminated, "put": put.__qualname__},
        inputs=(after, LABELS),
        takes=Every(after),
    )


def found_in(
    benchmarks: BenchmarkSources, methods: Sequence[str], paths: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Of each benchmark: its rows, those that some record has, and such records by method.

    `unchecked` are the records of which nobody could say; they are in no other number.
    """
    told = {
        name: {"rows": rows, "found": 0, **dict.fromkeys(methods, 0), UNCHECKED: 0}
        for name, rows in benchmarks.counts().items()
    }
    found: set[tuple[str, str]] = set()
    for label in (one for path in paths for one in read_shard(path, ContaminationLabel)):
        best = {finding.match.benchmark: finding.match for finding in reversed(evidence(label))}
        for name, match in best.items():
            told[name][UNCHECKED if label.verdict == UNCHECKED else match.method] += 1
        if label.verdict == CONTAMINATED:
            found |= {(one.match.benchmark, one.match.row) for one in evidence(label)}
    for name, _ in found:
        told[name]["found"] += 1
    return told


def write_pairs(benchmarks: Sequence[str], paths: Sequence[str], folder: str) -> None:
    """Write each benchmark's rows beside what is like them: contamination/BENCHMARK.jsonl.

    All pairs, those that were found to differ too, in the order of the records; of a benchmark that
    nothing is like, an empty file.
    """
    with contextlib.ExitStack() as stack:
        files = {
            name: stack.enter_context(
                whole_file(f"{folder}/contamination/{quote(name, safe='')}.jsonl")
            )
            for name in benchmarks
        }
        for label in (one for path in paths for one in read_shard(path, ContaminationLabel)):
            for finding in label.findings:
                line = canonical_json(_pair(label, finding)).encode() + b"\n"
                files[finding.match.benchmark].write(line)


def _pair(label: ContaminationLabel, finding: Finding) -> dict[str, Any]:
    match = finding.match
    return {
        "row": match.row,
        "text": match.text,
        "id": label.id,
        "problem": label.text,
        "method": match.method,
        "score": match.score,
        "is_certain": match.is_certain,
        "votes": finding.votes,
        "verdict": label.verdict,
    }


def _checked(context: Context, both_ways: bool) -> Iterator[Stage]:
    """A model says of each similar pair whether both are the same problem."""
    yield Stage(
        name=f"{NAME}.suspects",
        transform=checking.SelectSuspects(),
        row_type=Similar,
        settings={},
        inputs=(f"{NAME}.similar",),
        takes=Needed(),
    )
    yield Stage(
        name=f"{NAME}.pairs",
        transform=checking.PairSuspects(both_ways),
        row_type=SimilarPair,
        settings={"both_ways": both_ways},
        inputs=(f"{NAME}.suspects",),
        makes=Several(),
    )
    yield context.ask(
        NAME,
        after=f"{NAME}.pairs",
        prompt=checking.PROMPT,
        variables=checking.variables_of,
        reader=checking.READER,
        keep=checking.vote_of,
        row_type=PairVote,
        greedy=True,
    )


def _embedding_model(written: str) -> tuple[EmbeddingModel, str]:
    """The model, and what decides its vectors: the hub's commit, or a hash of the folder's files.

    Raises:
        UsageError: the packages for it are not installed.
        InputError: there is no such model.
    """
    EmbeddingModel().check()
    name, revision = pinned(written)
    if revision:
        return EmbeddingModel(name, revision), f"{name}@{revision}"
    folder = Path(name).expanduser()
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    parts = [part for path in files for part in (str(path.relative_to(folder)), local_hash(path))]
    return EmbeddingModel(str(folder)), digest(*parts)
