"""Threads: what becomes of the rows of forums and of the files of a dump, in a run."""

import json
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_sdg.recipes.recipe import Context, RecipeConfig
from beam_sdg.runs import Run
from beam_sdg.shards import read_shard
from beam_sdg.sources import dumps
from beam_sdg.sources.thread_rows import ThreadSource
from beam_sdg.sources.threads import ThreadsConfig, parsed, read_rows, read_threads
from beam_sdg.stages import StageManifest
from transforms.errors import InputError, UsageError
from transforms.forums.posts import Budget
from transforms.records import Reject, Thread


class Config(RecipeConfig, ThreadsConfig):
    """A recipe's configuration with threads."""


class Read:
    """What a run has read of some threads."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        stage = read_threads(Context(), Config(**settings))
        options = PipelineOptions(["--runner=FnApiRunner"])
        run = Run((stage,), str(folder / "work"), seed=0, num_shards=2, options=options)
        self.manifest: StageManifest = run.execute()[0]
        paths = run.shards_of("threads", "rows"), run.shards_of("threads", "rejects")
        self.threads = [row for path in paths[0] for row in read_shard(path, Thread)]
        self.rejects = [row for path in paths[1] for row in read_shard(path, Reject)]

    def of(self, source: str) -> dict[str, Thread]:
        """The threads of a source by the ids that they have there."""
        return {row.source_id: row for row in self.threads if row.source == source}


def replies(row: Thread) -> int:
    return json.loads(row.extra)["posts"]


def shown(rows: Iterable[Thread]) -> str:
    """Threads as people compare them."""
    parts = []
    for row in sorted(rows, key=lambda row: row.source_id):
        parts += [f"=== {row.source} {row.source_id}, {row.licence}", row.extra]
        parts += [
            f"{who.author} | {who.url} | {who.posted} | {who.licence}" for who in row.attributions
        ]
        parts += ["--- post", row.post, "--- discussion", row.discussion, ""]
    return "\n".join(parts)


NESTED = '[quote="Ann"]so [quote=Bob]that $0$[/quote] $1$?[/quote]\nNo, $2$.'
AOPS: list[Any] = [
    {
        "id": 7,
        "license": "MIT",
        "original_question": "Find $x$ if $x^2=4$.\n[quote]kept in a first post[/quote]",
        "original_answers": [NESTED, "[quote]gone[/quote]", "an [quote] unclosed one: $x=-2$", " "],
        "rewritten_question": "not ours",
        "url": "https://forum.example/7",
    },
    {"id": 8, "original_question": "Nobody replied.", "original_answers": None},
    {
        "id": 9,
        "original_question": "A long one.",
        "original_answers": ["short", "word " * 15_000, "short again"],
    },
    {"id": 10, "original_question": "Said twice.", "original_answers": ["short"]},
    {"id": 10, "original_question": "Said twice.", "original_answers": ["short"]},
    {"id": 11, "original_question": "word " * 15_000, "original_answers": []},
    {"id": 12, "original_question": None, "original_answers": []},
    {"id": 13, "original_question": "x", "original_answers": 5},
    {"id": 14, "original_question": "x", "original_answers": ["a", None]},
    {"id": 15, "original_question": "x", "original_answers": ["\ud800"]},
]
AOPS_REJECTS = Counter(
    {"duplicate": 1, "too_long": 1, "missing_text": 1, "bad_replies": 3, "not_json": 1}
)


def element(**attributes: Any) -> bytes:
    """A row of a dump."""
    written = {name: str(value) for name, value in attributes.items()}
    return b"  " + ElementTree.tostring(ElementTree.Element("row", written))


def question(number: int, body: str = "<p>Is it?</p>", posted: str = "2013-05-01", **more) -> bytes:
    known = {"Id": number, "PostTypeId": 1, "CreationDate": f"{posted}T10:00:00.000", "Score": 1}
    return element(**known, Body=body, Title=f"Question {number}", Tags="<algebra>", **more)


def answer(
    number: int,
    to: int,
    body: str = "<p>Yes.</p>",
    posted: str = "2013-05-02",
    score: int = 1,
    **more,
) -> bytes:
    known = {"Id": number, "PostTypeId": 2, "ParentId": to, "Score": score}
    return element(**known, CreationDate=f"{posted}T10:00:00.000", Body=body, **more)


def comment(number: int, on: int, user: int = 1, posted: str = "2013-05-03") -> bytes:
    known = {"Id": number, "PostId": on, "Score": 0, "Text": f"Comment {number}: $a<b$ & so on"}
    return element(**known, CreationDate=f"{posted}T10:00:00.000", UserId=user)


def write(path: Path, name: str, rows: list[bytes], end: bool = True) -> None:
    """A file of a dump; without its end where it was cut off."""
    lines = [b'\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?>', b"<%s>" % name.encode(), *rows]
    path.write_bytes(b"\n".join([*lines, *([b"</%s>\n" % name.encode()] if end else [])]))


BODY = r"""<p>Let $a&lt;b$ and<br>
$$\begin{align} x &amp;= 1 \\
  y &amp;&gt; 2 \end{align}$$ as in <a href="/q/10">this one</a>.</p>
<blockquote><p>Every $n$ is <em>odd</em>.</p></blockquote>
<ol><li>first</li><li>second<ul><li>inner</li></ul></li></ol>
<table><thead><tr><th>n</th><th>$n^2$</th></tr></thead><tbody><tr><td>2</td><td>4</td></tr></tbody></table>
<pre><code>if a &lt; b:
    print("$no math$")
</code></pre>
<p><img src="https://i.example/1.png" alt="a triangle"> Is it?</p>
"""
POSTS = [
    question(1, BODY, AcceptedAnswerId=3, OwnerUserId=1),
    answer(2, 1, score=5, OwnerUserId=2, body="<p>High score.</p>"),
    answer(3, 1, score=-1, OwnerUserId=3, body="<p>Accepted.</p>"),
    answer(4, 1, score=5, OwnerDisplayName="user4", body="<p>The same score, later.</p>"),
    answer(5, 1, posted="2024-07-01"),
    answer(6, 1, body="x" * 1_000_000),
    question(10, posted="2010-01-01", OwnerUserId=1),
    answer(11, 10, posted="2019-01-01", OwnerUserId=9),
    question(20, posted="2024-07-02"),
    answer(21, 20),
    question(30),
    answer(31, 30),
    question(40),
    answer(50, 999),
    element(Id=60, PostTypeId=5, Body="", CreationDate="2013-05-01T10:00:00.000"),
    b'  <row Id="61" PostTypeId="1" Body="&lol;" />',
    b'  <row Id="62" PostTypeId="1" Body="\xff" />',
    b'  <row Id="63" PostTypeId="1" Body="never closed',
    question(70, "<p>x</p>" * 200_000),
    question(71, "<b>" * 1_000),
    element(Id=72, PostTypeId=1, Body="<p>no date</p>"),
    question(80),
    question(80),
    question(90, ClosedDate="2014-01-01T00:00:00.000"),
]
COMMENTS = [
    comment(1, on=1),
    comment(2, on=2, user=2),
    comment(3, on=2, user=7),
    comment(4, on=20),
    comment(5, on=21),
    comment(6, on=888),
    comment(7, on=1, posted="2024-08-01"),
    b'  <row Id="8" PostId="1" Text="cut of',
]
DUMP_REJECTS = Counter(
    too_new=3,  # answer 5, question 20, comment 7
    too_long=2,  # answer 6, question 70
    nested_too_deeply=1,
    bad_attribute=2,  # question 72, a user
    post_refused=4,  # answers 21 and 31, comments 4 and 5
    duplicate_question=1,
    migrated=1,
    orphan=2,  # answer 50, comment 6
    other_post=1,
    not_xml=3,  # 61, 63, comment 8
    not_utf8=1,
    duplicate=1,  # 80 again
    closed=1,
    cut_off=1,
)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    """Everything above, in one run."""
    folder = tmp_path_factory.mktemp("forums")
    lines = [*map(json.dumps, AOPS), "{cut off"]
    (folder / "aops.jsonl").write_text("\n".join(lines))
    dump = folder / "mathoverflow.net"
    dump.mkdir()
    write(dump / "Posts.xml", "posts", POSTS)
    write(dump / "Comments.xml", "comments", COMMENTS, end=False)
    users = [
        element(Id=1, DisplayName="Ann"),
        element(Id=2, DisplayName="Bob <3"),
        element(Name="x"),
    ]
    write(dump / "Users.xml", "users", users)
    links = [
        element(PostId=30, RelatedPostId=1, LinkTypeId=3),
        element(PostId=10, RelatedPostId=1, LinkTypeId=1),
    ]
    write(dump / "PostLinks.xml", "postlinks", links)
    moved = {"PostId": 40, "CreationDate": "2013-06-01T00:00:00.000", "Text": ""}
    history = [element(PostHistoryTypeId=36, **moved), element(PostHistoryTypeId=2, **moved)]
    write(dump / "PostHistory.xml", "posthistory", history)
    named = (f"aops={folder / 'aops.jsonl'}", f"stackexchange={dump / 'Posts.xml'}")
    with pytest.warns(UserWarning, match="Comments.xml is cut off"):
        return Read(folder, threads=named, closed=False, duplicates=False, migrated=False)


def test_every_row_and_every_post_is_in_a_thread_or_a_reject(read):
    """The rejects are the planned ones by reason, and what was read adds up."""
    assert Counter(row.reason for row in read.rejects) == AOPS_REJECTS + DUMP_REJECTS
    assert sorted(read.of("aops")) == ["10", "7", "8", "9"]
    assert sorted(read.of("mathoverflow.net")) == ["1", "10", "80"]
    assert read.manifest.rows_in == len(read.threads) + len(read.rejects)
    assert read.manifest.rows == len(read.threads)
    posts = len(POSTS) + len(COMMENTS)
    joined = 3 + 1 + 3  # answers of question 1, of question 10, and comments
    beside = 2  # the user, and the end that is missing
    assert read.manifest.rows_in == len(AOPS) + 1 + posts - joined + beside


def test_a_reject_says_where_its_row_is(read):
    """The file, the byte and the fault; and as much of the row as a reject keeps."""
    details = [row.detail for row in read.rejects]
    where = "mathoverflow.net/Posts.xml, byte "
    assert len({row.id for row in read.rejects}) == len(details)
    assert any(said.startswith(where) and said.endswith("not in the dump") for said in details)
    assert any("Comments.xml" in said and "end tag" in said for said in details)
    assert max(len(row.row) for row in read.rejects) <= 10_000


def test_threads_are_rendered_as_before(read, golden):
    """Quotes, code, tables, LaTeX, the order of answers, licences and attribution."""
    golden("forums/threads.txt", shown(read.of("mathoverflow.net").values()))
    aops = read.of("aops")
    golden("forums/aops.txt", shown([aops[number] for number in ("10", "7", "8", "9")]))
    assert len({row.id for row in read.threads}) == 7


def test_a_real_dump_is_read_as_an_independent_count_says(data, tmp_path, monkeypatch):
    """Ranges of 20 KB; the other count parses the document whole, by another library."""
    monkeypatch.setattr(dumps, "RANGE_BYTES", 20_000)
    path = data / "stackexchange" / "coffee.Posts.xml"
    example = data / "aops" / "example.jsonl"
    named = (f"stackexchange={path}", f"forum={example}")
    found = Read(tmp_path, threads=named, min_score=1, deduplicate_threads=False)

    rows = [dict(row.attrib) for row in ElementTree.parse(path).getroot()]
    questions = {row["Id"]: row for row in rows if row["PostTypeId"] == "1"}
    answers = defaultdict(list)
    for row in rows:
        if row["PostTypeId"] == "2":
            answers[row["ParentId"]].append(row)
    taken = {number for number, row in questions.items() if int(row["Score"]) >= 1}
    refused = [row for number in questions.keys() - taken for row in answers[number]]
    threads = found.of("coffee.stackexchange.com")
    assert threads.keys() == taken
    assert Counter(row.reason for row in found.rejects) == {
        "low_score": len(questions) - len(taken),
        "post_refused": len(refused),
        "other_post": sum(row["PostTypeId"] not in "12" for row in rows),
    }
    images = 0
    for number, thread in threads.items():
        accepted = questions[number].get("AcceptedAnswerId")
        ordered = sorted(answers[number], key=lambda row: (-int(row["Score"]), int(row["Id"])))
        ordered.sort(key=lambda row: row["Id"] != accepted)
        urls = [f"https://coffee.stackexchange.com/a/{row['Id']}" for row in ordered]
        assert [who.url for who in thread.attributions[1:]] == urls
        assert replies(thread) == len(urls) == json.loads(thread.extra)["answers"]
        assert thread.post.startswith(questions[number]["Title"])
        assert {who.licence for who in thread.attributions} == {thread.licence} == {"CC-BY-SA-3.0"}
        assert all(who.author and who.posted for who in thread.attributions)
        bodies = [row["Body"] for row in [questions[number], *answers[number]]]
        images += sum(body.count("<img ") for body in bodies)
    assert sum(json.loads(row.extra)["images"] for row in threads.values()) == images > 0
    assert found.manifest.rows_in == len(rows) - sum(len(answers[number]) for number in taken) + 10

    given = [json.loads(line) for line in example.read_text().splitlines()]
    prepared = {row.post: row.discussion for row in threads_of(found, "forum")}
    assert prepared == {row["forum_post"]: row["forum_discussions"] for row in given}


def threads_of(found: Read, source: str) -> list[Thread]:
    return [row for row in found.threads if row.source == source]


def test_what_is_drawn_is_a_part_of_what_is_read(data, tmp_path):
    """The rest is left out, and counted so."""
    named = (f"forum={data / 'aops' / 'example.jsonl'}",)
    found = Read(tmp_path, threads=named, num_threads=4)
    assert (found.manifest.rows_in, found.manifest.rows, found.manifest.not_sampled) == (10, 4, 6)


@pytest.mark.parametrize(
    ("written", "error", "said"),
    [
        ("Posts.xml", InputError, "no file matches Posts.xml that is called"),
        ("no-site/Posts.xml", InputError, "does not say of which site it is.*--site"),
        ("empty.com/Posts.xml", InputError, "empty.com/Posts.xml is empty; unpack the dump anew"),
        ("page.com/Posts.xml", InputError, "is no dump of Stack Exchange: .*with <posts>; "),
        ("packed.com/Posts.xml", InputError, "is no dump of Stack Exchange: .*with <posts>; "),
    ],
)
def test_a_dump_that_cannot_be_read_is_an_error_at_once(
    tmp_path, monkeypatch, written, error, said
):
    """Before anything is run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "no-site").mkdir()
    write(tmp_path / "no-site" / "Posts.xml", "posts", POSTS[:1])
    for folder, content in (
        ("empty.com", b" \n"),
        ("page.com", b"<!DOCTYPE html>\n<html><p>see &lt;posts></p></html>\n"),
        ("packed.com", b"7z\xbc\xaf\x27\x1c\x00\x04"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "Posts.xml").write_bytes(content)
    with pytest.raises(error, match=said):
        Config(threads=(f"stackexchange={written}",)).thread_sources()


def test_a_file_that_was_cut_off_is_warned_of(tmp_path):
    """The posts or what lies beside them; what is whole is not."""
    folder = tmp_path / "coffee.stackexchange.com"
    folder.mkdir()
    write(folder / "Posts.xml", "posts", POSTS[:1], end=False)
    write(folder / "Comments.xml", "comments", [], end=False)
    write(folder / "Users.xml", "users", [])
    with pytest.warns(UserWarning) as warned:
        read_threads(Context(), Config(threads=(f"stackexchange={folder}/Posts.xml",)))
    cut = "is cut off; rows are missing; fetch or unpack it anew"
    said = sorted({str(one.message) for one in warned})
    assert said == [f"{folder}/{name} {cut}" for name in ("Comments.xml", "Posts.xml")]


def test_a_site_can_be_named_and_history_must_be_there_if_it_is_asked(tmp_path):
    """`--site` is for paths that do not say."""
    write(tmp_path / "Posts.xml", "posts", POSTS[:1])
    config = Config(threads=(f"stackexchange={tmp_path}/*.xml",), site="math", migrated=False)
    with pytest.raises(InputError, match=r"no .*PostHistory.xml, which says"):
        read_threads(Context(), config)
    files = config.thread_sources()[0].posts()
    assert [file.site.name for file in files] == ["Math Stack Exchange"]


def test_formats_have_names():
    """One that has none is prepared already; an unknown one is an error."""
    assert parsed("x.jsonl").name == "forum"
    assert parsed("aops").pattern.startswith("hf://DeepStudentLlama/AoPS-Instruct")
    for written, said in (
        ("reddit=x.jsonl", "known: aops, forum, stackexchange"),
        ("stackexchange", "write --threads stackexchange=FILE"),
        ("forum", "write --threads forum=FILE"),
    ):
        with pytest.raises(UsageError, match=said):
            parsed(written)
    with pytest.raises(UsageError, match="--threads is missing"):
        Config().thread_sources()


def test_a_dataset_of_the_hub_is_read_until_it_has_given_enough(tmp_path):
    """Shuffled by the seed; without a limit, all of it as it lies."""
    pytest.importorskip("datasets")
    rows = [{"original_question": f"Is {n} odd?", "original_answers": ["?"]} for n in range(20)]
    rows[7]["original_question"] = " "
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = parsed(f"aops=hf://{tmp_path}").resolve()
    assert isinstance(source, ThreadSource)
    every = list(read_rows((source, ""), "threads", Budget(), None))
    assert [row.reason for row in every if isinstance(row, Reject)] == ["empty_text"]
    some = list(read_rows((source, ""), "threads", Budget(), (5, 1)))
    threads = [row.post for row in some if isinstance(row, Thread)]
    assert len(set(threads)) == 5
    assert threads != [row["original_question"] for row in rows[:5]]
