"""Threads of forums: the flags that say which, and the stage that reads them.

config = …  # a RecipeConfig and a ThreadsConfig
stages = [read_threads(context, config), …]  # its rows are `Thread` records
"""

import dataclasses
import functools
import re
from collections.abc import Iterator, Sequence

import apache_beam as beam
import pydantic

from beam_sdg.recipes.recipe import Context
from beam_sdg.sources.dumps import (
    STACKEXCHANGE,
    DumpFile,
    DumpSource,
    ReadDumps,
    warn_of_missing_ends,
)
from beam_sdg.sources.files import matching
from beam_sdg.sources.hub import SCHEME, Dataset
from beam_sdg.sources.problems import Place
from beam_sdg.sources.read import Counted, parts_of
from beam_sdg.sources.rows import rows_of
from beam_sdg.sources.thread_rows import THREAD_FORMATS, ThreadSource, thread_of
from beam_sdg.stages import Stage, StageManifest
from beam_sdg.template_flags import pinned
from transforms.errors import RowsLost, UsageError
from transforms.forums.options import PostOptions
from transforms.forums.posts import PUBLISHED_TOKENS, Budget
from transforms.identify import THREAD, Identify, SampleProblems
from transforms.outcome import SourceOutcome, SplitRejects
from transforms.records import Reject, Thread
from transforms.sft.lengths import Lengths

_FORMATS = (*THREAD_FORMATS, STACKEXCHANGE)
AnySource = ThreadSource | DumpSource


class ThreadsConfig(PostOptions):
    """The flags of recipes that begin with threads; those of `PostOptions` are of dumps."""

    threads: tuple[str, ...] = pydantic.Field(
        (),
        description="FORMAT=FILE or a glob; several, separated by commas; formats: "
        + ", ".join(_FORMATS),
    )
    num_threads: int | None = pydantic.Field(
        None, ge=1, description="threads that are read, drawn by the seed (default: all)"
    )
    thread_tokens: int = pydantic.Field(
        PUBLISHED_TOKENS, ge=1, description="most tokens of a first post, and of its replies"
    )
    thread_tokenizer: str = pydantic.Field(
        "",
        description="folder, or NAME[@REVISION] on the hub, of the model whose tokens these are "
        "(default: an estimate)",
    )
    thread_licence: str | None = pydantic.Field(
        None, description="licence of threads whose rows name none"
    )
    deduplicate_threads: bool = pydantic.Field(True, description="reject equal threads")

    def budget(self) -> Budget:
        """How long first posts and discussions may be.

        Raises:
            UsageError, InputError: there is no such tokenizer, or the package for it is missing.
        """
        name = self.thread_tokenizer
        budget = Budget(self.thread_tokens, Lengths(*pinned(name)) if name else Lengths())
        budget.of("")
        return budget

    def post_options(self) -> PostOptions:
        """Which posts of dumps are taken."""
        return PostOptions(**self.model_dump(include=set(PostOptions.model_fields)))

    def thread_sources(self, sample: str = "") -> tuple[AnySource, ...]:
        """The threads, their files and columns looked at; `sample` is for where none are given.

        Raises:
            UsageError: a format is unknown, or a dataset of the hub needs the extra `datasets`.
            InputError: a file, a dataset or a column is missing.
        """
        given = self.threads or ((sample,) if sample else ())
        if not given:
            raise UsageError("--threads is missing; name a file, as in --threads forum=FILE")
        found = (parsed(text, self.thread_licence, self.site) for text in given)
        return tuple(source.resolve() for source in found)


def parsed(written: str, licence: str | None = None, site: str = "") -> AnySource:
    """The source that FORMAT=PATTERN or FORMAT names; PATTERN alone is of the format `forum`.

    Raises:
        UsageError: an unknown format, or one that is not published on the hub.
    """
    name, named, pattern = written.partition("=")
    if name == STACKEXCHANGE and named:
        return DumpSource(pattern=pattern, site=site)
    if name == STACKEXCHANGE:
        raise UsageError(f"{name} is not read from the hub; write --threads {name}=FILE")
    if name in THREAD_FORMATS and not named:
        published = THREAD_FORMATS[name].published
        if published is None:
            raise UsageError(f"{name} is not read from the hub; write --threads {name}=FILE")
        pattern = published
    elif name not in THREAD_FORMATS:
        if re.fullmatch(r"\w+=.*", written) and not matching(written):
            known = ", ".join(_FORMATS)
            raise UsageError(f"unknown format {name!r} in {written!r}; known: {known}")
        name, pattern = "forum", written
    if pattern.startswith(SCHEME):
        Dataset.parse(pattern)
    columns = THREAD_FORMATS[name]
    if licence:
        columns = columns.model_copy(update={"licence": licence})
    return ThreadSource(name=name, pattern=pattern, format=columns)


def read_threads(
    context: Context, config: ThreadsConfig, name: str = "threads", sample: str = ""
) -> Stage:
    """The stage that reads the threads; `sample` is what is read where no `--threads` are given.

    Raises:
        UsageError, InputError: as `ThreadsConfig.budget` and `ThreadsConfig.thread_sources`.
    """
    sources, budget, options = config.thread_sources(sample), config.budget(), config.post_options()
    rows = tuple(source for source in sources if isinstance(source, ThreadSource))
    dumps = tuple(source for source in sources if isinstance(source, DumpSource))
    files = tuple(file for dump in dumps for file in dump.files(options))
    warn_of_missing_ends(files)
    return Stage(
        name=name,
        transform=ReadThreads(
            name,
            rows,
            files,
            budget,
            options,
            config.deduplicate_threads,
            config.num_threads,
            context.seed,
        ),
        row_type=Thread,
        settings={
            "sources": [source.settings() for source in rows],
            "dumps": [dump.settings(options) for dump in dumps],
            "options": options.model_dump(mode="json") if dumps else {},
            "tokens": budget.tokens,
            "tokenizer": budget.lengths.content_hash(),
            "deduplicate": config.deduplicate_threads,
            "max_records": config.num_threads,
            "seed": context.seed,
        },
        verify=functools.partial(_verify_draw, config.num_threads),
    )


@dataclasses.dataclass(eq=False)
class ReadThreads(beam.PTransform):
    """Read threads: parse, clean, cut to a budget, identify, deduplicate, sample.

    Out:  `rows`, at most `max_records` threads; `rejects`, rows and posts that are in no thread, by
          reason, and duplicates; `counts`, the numbers of rows `read` and of `usable` threads, from
          which the rows are drawn. Of posts that have become one thread one is counted.
    Cost: a file of rows is read by one worker, a dump as `ReadDumps` says. One shuffle to identify,
          one to sample.
    Once: a retry reads the same rows, of the hub too, since its commit is pinned.
    From: OpenMathReasoning, which prepares forum discussions so.
    """

    stage: str
    sources: tuple[ThreadSource, ...]
    dumps: tuple[DumpFile, ...]
    budget: Budget
    options: PostOptions
    deduplicate: bool
    max_records: int | None
    seed: int

    def expand(self, begin: beam.pvalue.PBegin) -> SourceOutcome:
        read = [begin | "Rows" >> ReadRows(self.stage, self.sources, self.budget, self._limit)]
        if self.dumps:
            dumps = ReadDumps(self.stage, self.dumps, self.options, self.budget)
            read.append(begin | "Dumps" >> dumps)
        threads, rejects, counts = (
            tuple(collections) | f"Merge_{name}" >> beam.Flatten()
            for name, collections in zip(
                SourceOutcome._fields, zip(*read, strict=True), strict=True
            )
        )
        identified = threads | "Identify" >> Identify(self.stage, THREAD, self.deduplicate)
        rows = identified.rows | "Sample" >> SampleProblems(self.max_records, self.seed)
        merged = (rejects, identified.rejects) | "MergeRejects" >> beam.Flatten()
        usable = identified.rows | "CountUsable" >> Counted("usable")
        summed = (counts, usable) | "MergeCounts" >> beam.Flatten() | beam.CombinePerKey(sum)
        return SourceOutcome(rows, merged, summed)

    @property
    def _limit(self) -> tuple[int, int] | None:
        return None if self.max_records is None else (self.max_records, self.seed)


@dataclasses.dataclass(eq=False)
class ReadRows(beam.PTransform):
    """Read threads of which each is a row.

    Out:  `rows`, `Thread` records without an id; `rejects`; `counts`, the number of rows `read`.
    Cost: a file is read by one worker. So is a dataset of the hub, and with a `limit`, (most rows,
          seed), only until it has given so many threads, in the order of a shuffle by the seed.
    Once: a retry reads the same rows.
    """

    stage: str
    sources: tuple[ThreadSource, ...]
    budget: Budget
    limit: tuple[int, int] | None

    def expand(self, begin: beam.pvalue.PBegin) -> SourceOutcome:
        read = (
            begin
            | "Sources" >> beam.Create(self.sources)
            | "Parts" >> beam.FlatMap(parts_of)
            | "SpreadParts" >> beam.Reshuffle()
            | "Read" >> beam.FlatMap(read_rows, self.stage, self.budget, self.limit)
        )
        parsed = read | "SplitParsed" >> SplitRejects()
        return SourceOutcome(parsed.rows, parsed.rejects, read | "CountRead" >> Counted("read"))


def read_rows(
    part: tuple[ThreadSource, str], stage: str, budget: Budget, limit: tuple[int, int] | None
) -> Iterator[Thread | Reject]:
    """Each row of a file or dataset as a thread or a reject.

    Of a dataset of the hub with a `limit`, (most rows, seed): shuffled, until so many are threads.
    """
    source, path = part
    if source.dataset is None:
        label = source.label(path)
        rows = rows_of(path)
    else:
        label = source.dataset.label
        stream = source.dataset.rows(limit[1] if limit else None)
        rows = ((f"row {number}", row) for number, row in enumerate(stream, start=1))
    usable = 0
    for position, row in rows:
        item = thread_of(row, source.format, Place(source.name, label, position), stage, budget)
        yield item
        usable += isinstance(item, Thread)
        if limit and source.dataset is not None and usable == limit[0]:
            return


def _verify_draw(most: int | None, inputs: Sequence[StageManifest], made: StageManifest) -> None:
    """Only what is beyond the limit may be left out."""
    usable = made.rows + made.not_sampled
    if made.rows != (usable if most is None else min(most, usable)):
        raise RowsLost(f"{made.stage} drew {made.rows} of {usable} threads")
