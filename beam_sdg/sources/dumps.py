"""Dumps of Stack Exchange as threads: their files, read by ranges of lines, a row in each line.

coffee.Posts.xml          coffee.Comments.xml and so on lie beside it
mathoverflow.net/Posts.xml             Comments.xml, Users.xml, PostLinks.xml, PostHistory.xml
"""

import dataclasses
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import pydantic
from apache_beam.coders import BytesCoder
from apache_beam.io.filebasedsource import ReadAllFiles
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.range_trackers import OffsetRangeTracker
from apache_beam.io.textio import _TextSource

from beam_sdg.sources.files import content_hash, matching
from beam_sdg.sources.lines import bad_row
from beam_sdg.sources.problems import Place, row_reject
from transforms.errors import InputError
from transforms.forums.join import (
    JoinThreads,
    NameAuthors,
    PlaceComments,
    keyed_by_thread,
    posts_in,
)
from transforms.forums.options import PostOptions
from transforms.forums.posts import Budget
from transforms.forums.records import COMMENT, Fault, Name, Note, Post
from transforms.forums.sites import Site, is_posts, site_of, site_of_path
from transforms.forums.stackexchange import (
    COMMENTS,
    HISTORY,
    LINKS,
    POSTS,
    USERS,
    comment_of,
    link_of,
    may_tell_of_a_move,
    move_of,
    name_of,
    post_of,
    row_of,
)
from transforms.outcome import SourceOutcome
from transforms.records import Reject, Thread

STACKEXCHANGE = "stackexchange"
READ = "read"
RANGE_BYTES = 8 << 20
_BUFFER = 1 << 18
_END_BYTES = 1 << 12
_BEGINS = re.compile(rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>)?\s*(<!--.*?-->\s*)*<posts\b", re.DOTALL)


class DumpFile(NamedTuple):
    """A file of a dump: what it holds, by the name that it has in every dump."""

    path: str
    holds: str
    site: Site


class DumpSource(pydantic.BaseModel, frozen=True, extra="forbid"):
    """The dumps whose files of posts match a pattern; `site` is for paths that do not say."""

    pattern: str
    site: str = ""

    def resolve(self) -> "DumpSource":
        """Itself.

        Raises:
            InputError: as `posts`.
        """
        self.posts()
        return self

    def posts(self) -> list[DumpFile]:
        """The files with posts, sorted by path.

        Raises:
            InputError: there is none, nothing says of which site one is, or one holds no posts.
        """
        paths = [file.path for file in matching(self.pattern) if is_posts(file.path)]
        if not paths:
            raise InputError(
                f"no file matches {self.pattern} that is called Posts.xml; unpack the dump and "
                "name that file of it, or all of several with *"
            )
        found = []
        for path in paths:
            site = site_of_path(path) or (site_of(self.site) if self.site else None)
            if site is None:
                raise InputError(
                    f"{path} does not say of which site it is; call its folder by the site, as in "
                    "math.stackexchange.com/Posts.xml, or name the site with --site"
                )
            _require_dump(path)
            found.append(DumpFile(path, POSTS, site))
        return found

    def files(self, options: PostOptions) -> list[DumpFile]:
        """The files to read: the posts, and what the options need of what lies beside them.

        Raises:
            InputError: as `posts`; or moved questions are refused, and nothing says which.
        """
        needed = [USERS, LINKS, *([COMMENTS] if options.comments else [])]
        found = []
        for posts in self.posts():
            found.append(posts)
            for name in needed:
                if FileSystems.exists(_beside(posts, name)):
                    found.append(DumpFile(_beside(posts, name), name, posts.site))
            if not options.migrated:
                history = _beside(posts, HISTORY)
                if not FileSystems.exists(history):
                    raise InputError(
                        f"no {history}, which says what questions have moved between sites; put "
                        "it there, or leave out --migrated false"
                    )
                found.append(DumpFile(history, HISTORY, posts.site))
        return found

    def settings(self, options: PostOptions) -> dict[str, Any]:
        """What decides its rows: files and their content."""
        files = [(file, matching(file.path)) for file in self.files(options)]
        content = [
            [_label(file), file.site.host, *map(content_hash, matched)] for file, matched in files
        ]
        return {"name": STACKEXCHANGE, "content": content}


def warn_of_missing_ends(files: Iterable[DumpFile]) -> None:
    """Warn of files that were cut off; in a run, each has a reject, too."""
    for file in files:
        if _is_cut_off(file):
            said = f"{file.path} is cut off; rows are missing; fetch or unpack it anew"
            warnings.warn(said, stacklevel=2)


@dataclasses.dataclass(eq=False)
class ReadDumps(beam.PTransform):
    """Read dumps of Stack Exchange: parse rows, turn HTML into text, join questions and answers.

    Out:  `rows`, `Thread` records without an id; `rejects`, rows that are of no use and posts that
          are refused, by reason, and for a file that was cut off one more (`cut_off`); `counts`,
          the number of rows `read`: of posts and comments, less those that have gone into a thread
          with another, and of what is in other files the rejects.
    Cost: files are read in ranges of 8 MiB, each by any worker. One shuffle of the posts; one more
          where there are comments, and where there are names one more, and one of posts' numbers.
    Once: a retry reads the same ranges.
    """

    stage: str
    files: tuple[DumpFile, ...]
    options: PostOptions
    budget: Budget

    def expand(self, begin: beam.pvalue.PBegin) -> SourceOutcome:
        read = begin | "ReadPosts" >> ReadPosts(self.stage, self.files, self.options, self.budget)
        posts, rejects = read.posts, [read.rejects]
        if self._have(USERS):
            posts = (posts, read.names) | "NameAuthors" >> NameAuthors()
        if self._have(COMMENTS):
            placed = posts | "PlaceComments" >> PlaceComments(self.stage)
            keyed = placed.rows
            rejects.append(placed.rejects)
        else:
            keyed = posts | "KeyByThread" >> beam.Map(keyed_by_thread)
        joined = (keyed, read.notes) | "Join" >> JoinThreads(self.stage, self.options, self.budget)
        joined_into_one = joined.rows | "LessJoined" >> beam.Map(_less_joined)
        summed = joined_into_one | "SumJoined" >> beam.CombinePerKey(sum)
        counts = (read.counts, summed) | "MergeCounts" >> beam.Flatten()
        merged = (*rejects, joined.rejects) | "MergeRejects" >> beam.Flatten()
        return SourceOutcome(joined.rows, merged, counts)

    def _have(self, holds: str) -> bool:
        return any(file.holds == holds for file in self.files)


class Parsed(NamedTuple):
    """What the lines of dumps hold; `counts` says of how many posts, comments and faulty rows."""

    posts: beam.PCollection
    names: beam.PCollection
    notes: beam.PCollection
    rejects: beam.PCollection
    counts: beam.PCollection


@dataclasses.dataclass(eq=False)
class ReadPosts(beam.PTransform):
    """Read the files of dumps, line by line, as posts, names and notes.

    Out:  `posts`, the refused ones among them, without their text; `names` and `notes`; `rejects`,
          lines that are of no use, refused posts and missing ends.
    Cost: files are read in ranges of 8 MiB, each by any worker. No shuffle of what is in them.
    Once: a retry reads the same ranges.
    """

    stage: str
    files: tuple[DumpFile, ...]
    options: PostOptions
    budget: Budget

    def expand(self, begin: beam.pvalue.PBegin) -> Parsed:
        by_path = {file.path: file for file in self.files}
        paths = begin | "Files" >> beam.Create(list(by_path))
        ends = paths | "Ends" >> beam.FlatMap(_ends, self.stage, by_path)
        lines = paths | "Lines" >> ReadAllFiles(
            True, CompressionTypes.UNCOMPRESSED, RANGE_BYTES, 0, _Lines, with_filename=True
        )
        read = lines | "Rows" >> beam.FlatMap(
            _read, self.stage, by_path, self.options, self.budget
        ).with_outputs("names", "notes", "rejects", "read", main="posts")
        counts = (
            read.read | "CountRows" >> beam.CombinePerKey(sum),
            ends | "OneEnd" >> beam.Map(_one_read) | "CountEnds" >> beam.CombinePerKey(sum),
        ) | "MergeCounts" >> beam.Flatten()
        rejects = (read.rejects, ends) | "MergeRejects" >> beam.Flatten()
        return Parsed(read.posts, read.names, read.notes, rejects, counts)


class _Lines(_TextSource):
    """Beam's source of the lines of a file, as (the byte where it begins, line)."""

    def __init__(self, path: str) -> None:
        super().__init__(
            path,
            min_bundle_size=0,
            compression_type=CompressionTypes.UNCOMPRESSED,
            strip_trailing_newlines=True,
            coder=BytesCoder(),
            buffer_size=_BUFFER,
            validate=False,
        )

    def read_records(
        self, file_name: str, range_tracker: OffsetRangeTracker
    ) -> Iterator[tuple[int, bytes]]:
        lines = super().read_records(file_name, range_tracker)  # type: ignore[no-untyped-call]
        for line in lines:
            yield range_tracker.last_record_start, line


def _read(
    placed: tuple[str, tuple[int, bytes]],
    stage: str,
    files: dict[str, DumpFile],
    options: PostOptions,
    budget: Budget,
) -> Iterator[Any]:
    """What a line holds: a post, or tagged a name, a note or a reject; and that it was read."""
    path, (offset, line) = placed
    file = files[path]
    if file.holds == HISTORY and not may_tell_of_a_move(line):
        return
    place = Place(file.site.host, _label(file), f"byte {offset}")
    row = row_of(line)
    if row is None:
        return
    counted = beam.pvalue.TaggedOutput("read", (READ, 1))
    if file.holds in (POSTS, COMMENTS):
        yield counted
    item = row if isinstance(row, Fault) else _item(row, file, place, options, budget)
    if isinstance(item, Fault):
        if file.holds not in (POSTS, COMMENTS):
            yield counted
        reject = row_reject(bad_row(*item, line), place, stage, *item)
        yield beam.pvalue.TaggedOutput("rejects", reject)
    elif isinstance(item, Name):
        yield beam.pvalue.TaggedOutput("names", item)
    elif isinstance(item, Note):
        yield beam.pvalue.TaggedOutput("notes", item)
    elif isinstance(item, Post):
        if item.refused:
            reject = row_reject(row, place, stage, item.refused, item.text)
            yield beam.pvalue.TaggedOutput("rejects", reject)
        if not item.refused or item.kind != COMMENT:
            yield item


def _item(
    row: Any, file: DumpFile, place: Place, options: PostOptions, budget: Budget
) -> Post | Name | Note | Fault | None:
    """What a row holds, by the file that it is in."""
    where = f"{place.file}, {place.position}"
    if file.holds == POSTS:
        return post_of(row, file.site, where, options, budget)
    if file.holds == COMMENTS:
        return comment_of(row, file.site, where, options, budget)
    of = {USERS: name_of, LINKS: link_of, HISTORY: move_of}[file.holds]
    return of(row, file.site)


def _ends(path: str, stage: str, files: dict[str, DumpFile]) -> Iterator[Reject]:
    """A reject if the file has no end tag, in place of the rows that are missing."""
    file = files[path]
    if _is_cut_off(file):
        size, tail = _end_of(path)
        place = Place(file.site.host, _label(file), f"byte {size}")
        fault = "the file ends without its end tag, and rows are missing; fetch or unpack it anew"
        yield row_reject(bad_row("cut_off", fault, tail), place, stage, "cut_off", fault)


def _is_cut_off(file: DumpFile) -> bool:
    """Whether the end tag of all rows is missing."""
    _, tail = _end_of(file.path)
    return f"</{file.holds.removesuffix('.xml').lower()}>".encode() not in tail


def _end_of(path: str) -> tuple[int, bytes]:
    """The size of a file, and its last bytes."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as content:
        size = content.seek(0, os.SEEK_END) or content.tell()
        content.seek(max(0, size - _END_BYTES))
        return size, content.read()


def _require_dump(path: str) -> None:
    """Refuse a file that is called as one with posts is, and holds something else."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as content:
        head = content.read(_END_BYTES)
    if not head.strip():
        raise InputError(f"{path} is empty; unpack the dump anew")
    if not _BEGINS.match(head):
        raise InputError(
            f"{path} is no dump of Stack Exchange: it does not begin with <posts>; unpack the "
            "dump, and name its Posts.xml"
        )


def _less_joined(thread: Thread) -> tuple[str, int]:
    return READ, 1 - posts_in(thread)


def _one_read(element: object) -> tuple[str, int]:
    return READ, 1


def _label(file: DumpFile) -> str:
    """How rejects call a file: with its folder, which says of which dump it is."""
    return "/".join(file.path.replace("\\", "/").split("/")[-2:])


def _beside(posts: DumpFile, name: str) -> str:
    return posts.path.removesuffix(POSTS) + name
