"""Rows of Stack Exchange's dumps as posts: parsed, held to the options, their HTML as text.

<row Id="15" PostTypeId="2" ParentId="12" CreationDate="2015-01-27T20:09:32.720" Score="4"
     Body="&lt;p&gt;Grind it…" OwnerUserId="8" ContentLicense="CC BY-SA 3.0" />
"""

import dataclasses
import datetime
import re
from collections.abc import Iterable, Mapping

from lxml import etree

from transforms.forums.html import text_of
from transforms.forums.options import PostOptions
from transforms.forums.posts import Budget
from transforms.forums.records import (
    ANSWER,
    COMMENT,
    DUPLICATE_OF,
    MIGRATED,
    QUESTION,
    Fault,
    Name,
    Note,
    Post,
)
from transforms.forums.sites import Site

Row = Mapping[str, str]
POSTS, COMMENTS, USERS, LINKS, HISTORY = (
    ("Posts.xml", "Comments.xml", "Users.xml", "PostLinks.xml", "PostHistory.xml")
)  # fmt: skip
LONGEST_LINE = 4 << 20  # bytes; a site takes 30,000 characters
_DECLARATION = re.compile(rb"<\?xml[^>]*\?>\s*")
_ROOTS = (b"posts", b"comments", b"users", b"postlinks", b"posthistory")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_KINDS = {"1": QUESTION, "2": ANSWER}
_IS_DUPLICATE = "3"
_HAS_MOVED = frozenset(("17", "35", "36"))
_HISTORY_OF_MOVES = re.compile(rb'PostHistoryTypeId="(?:17|35|36)"')
_TAG = re.compile(r"[^<>|\s]+")
_CC = re.compile(r"CC BY-SA (\d\.\d)")
# Since when Stack Exchange's contributions have been under each version of CC BY-SA.
_VERSIONS = (("2018-05-02", "4.0"), ("2011-04-08", "3.0"), ("", "2.5"))


def row_of(line: bytes) -> Row | Fault | None:
    """The attributes of the row in a line; None of a line that is only around rows.

    The tags around all rows may stand in the line of the first one and the last one.

    A line is parsed as a document of its own, which begins with its row: there is no place in it
    for a declaration of entities, and those that are not XML's own are faults.

    Faults: `line_too_long`, `not_utf8`, `not_xml`.
    """
    if len(line) > LONGEST_LINE:
        return Fault("line_too_long", f"it has {len(line):,} bytes, {LONGEST_LINE:,} at most")
    line = _without_root(line.removeprefix(_BYTE_ORDER_MARK).strip())
    if not line:
        return None
    try:
        line.decode()
        if not line.startswith(b"<row"):
            return Fault("not_xml", "not a row: it does not begin with <row")
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
        row = etree.fromstring(line, parser)
    except UnicodeDecodeError as error:
        return Fault("not_utf8", f"not UTF-8: {error.reason}, {error.start} bytes on")
    except etree.XMLSyntaxError as error:
        return Fault("not_xml", f"not XML: {(error.msg or 'it is empty').splitlines()[0]}")
    if row.tag != "row" or len(row) or (row.text or "").strip():
        return Fault("not_xml", "not a row: <row …/> with attributes and nothing in it is wanted")
    return {str(name): str(value) for name, value in row.attrib.items()}


def _without_root(line: bytes) -> bytes:
    if declaration := _DECLARATION.match(line):
        line = line[declaration.end() :]
    for root in _ROOTS:
        line = line.removeprefix(b"<%s>" % root).removesuffix(b"</%s>" % root)
    return line.strip()


def post_of(row: Row, site: Site, place: str, options: PostOptions, budget: Budget) -> Post | Fault:
    """The post in a row of Posts.xml, which may be a refused one.

    Faults, of rows that are no question and no answer: `other_post`, `bad_attribute`.
    Refused: `too_new`, `too_old`, `edited`, `low_score`, `closed`, `other_tags`, and the faults of
    its body.
    """
    kind = _KINDS.get(row.get("PostTypeId", ""))
    if kind is None and row.get("PostTypeId", "").isdecimal():
        said = f"PostTypeId {row['PostTypeId']} is of no question and no answer"
        return Fault("other_post", said)
    if kind is None:
        return _bad(row, "PostTypeId")
    known = _known(row, site, place, kind, "Id" if kind == QUESTION else "ParentId")
    if isinstance(known, Fault):
        return known
    if kind == QUESTION:
        accepted = row.get("AcceptedAnswerId", "0")
        known = dataclasses.replace(
            known,
            title=row.get("Title", "").strip(),
            tags=tuple(_TAG.findall(row.get("Tags", ""))),
            accepted=int(accepted) if _is_id(accepted) else 0,
            closed=row.get("ClosedDate", "")[:10],
        )
    refusal = _refusal(known, options)
    if refusal is not None:
        return _refused(known, refusal)
    return _with_text(known, row.get("Body", ""), site, budget)


def comment_of(
    row: Row, site: Site, place: str, options: PostOptions, budget: Budget
) -> Post | Fault:
    """The comment in a row of Comments.xml; refused and faulty as `post_of` says."""
    known = _known(row, site, place, COMMENT, "PostId")
    if isinstance(known, Fault):
        return known
    text = row.get("Text", "").strip()
    if refusal := _refusal(known, options) or _unfit(text, budget):
        return _refused(known, refusal)
    return dataclasses.replace(known, text=text)


def name_of(row: Row, site: Site) -> Name | Fault:
    """The user in a row of Users.xml. Faults: `bad_attribute`."""
    if not _is_id(row.get("Id", "").removeprefix("-")):
        return _bad(row, "Id")
    return Name(f"{site.host} {row['Id']}", " ".join(row.get("DisplayName", "").split()))


def link_of(row: Row, site: Site) -> Note | Fault | None:
    """What a row of PostLinks.xml calls a duplicate; None of others. Faults: `bad_attribute`."""
    if row.get("LinkTypeId") != _IS_DUPLICATE:
        return None
    for name in ("PostId", "RelatedPostId"):
        if not _is_id(row.get(name, "")):
            return _bad(row, name)
    return Note(f"{site.host} {int(row['PostId'])}", DUPLICATE_OF, row["RelatedPostId"])


def move_of(row: Row, site: Site) -> Note | Fault | None:
    """The move that a row of PostHistory.xml tells of; None of others. Faults: `bad_attribute`."""
    if row.get("PostHistoryTypeId") not in _HAS_MOVED:
        return None
    if not _is_id(row.get("PostId", "")):
        return _bad(row, "PostId")
    return Note(f"{site.host} {int(row['PostId'])}", MIGRATED, row.get("CreationDate", "")[:10])


def may_tell_of_a_move(line: bytes) -> bool:
    """Whether a line of PostHistory.xml, most of which are texts of posts, is worth parsing."""
    return _HISTORY_OF_MOVES.search(line) is not None


def licence_of(row: Row, posted: str) -> str:
    """The licence that a row names, or that all contributions of its day are under."""
    named = _CC.fullmatch(row.get("ContentLicense", "").strip())
    version = named[1] if named else next(v for since, v in _VERSIONS if posted >= since)
    return f"CC-BY-SA-{version}"


def _known(row: Row, site: Site, place: str, kind: str, parent: str) -> Post | Fault:
    """What is known of a post without its text."""
    for name in ("Id", parent):
        if not _is_id(row.get(name, "")):
            return _bad(row, name)
    posted = row.get("CreationDate", "")[:10]
    edited = row.get("LastEditDate", "")[:10]
    score = row.get("Score", "0")
    if not _is_date(posted):
        return _bad(row, "CreationDate")
    if edited and not _is_date(edited):
        return _bad(row, "LastEditDate")
    if not re.fullmatch(r"-?\d{1,9}", score, re.ASCII):
        return _bad(row, "Score")
    of_comment = kind == COMMENT
    owner = row.get("UserId" if of_comment else "OwnerUserId", "")
    author = row.get("UserDisplayName" if of_comment else "OwnerDisplayName", "")
    return Post(
        site=site.host,
        kind=kind,
        id=int(row["Id"]),
        parent=int(row[parent]),
        text="",
        images=0,
        score=int(score),
        owner=owner,
        author=" ".join(author.split()),
        posted=posted,
        licence=licence_of(row, posted),
        place=place,
        edited=edited,
    )


def _refusal(post: Post, options: PostOptions) -> Fault | None:
    """Why the options refuse a post, if they do."""
    if post.posted >= options.posted_before.isoformat():
        return Fault("too_new", f"it is of {post.posted}, {options.posted_before} is too late")
    if options.posted_from is not None and post.posted < options.posted_from.isoformat():
        return Fault("too_old", f"it is of {post.posted}, before {options.posted_from}")
    if options.edited_before is not None and post.edited >= options.edited_before.isoformat():
        said = f"it was last edited on {post.edited}, {options.edited_before} is too late"
        return Fault("edited", said)
    least = {QUESTION: options.min_score, ANSWER: options.min_answer_score}.get(post.kind)
    if least is not None and post.score < least:
        return Fault("low_score", f"its score is {post.score}, {least} at least")
    if post.kind != QUESTION:
        return None
    if post.closed and not options.closed:
        return Fault("closed", f"the question was closed on {post.closed}")
    tags = _folded(post.tags)
    if options.tags and not _folded(options.tags) & tags:
        return Fault("other_tags", f"its tags are {', '.join(post.tags)}; none of them is wanted")
    if unwanted := sorted(_folded(options.without_tags) & tags):
        return Fault("other_tags", f"its tag {unwanted[0]} is not wanted")
    return None


def _with_text(post: Post, body: str, site: Site, budget: Budget) -> Post:
    rendered = text_of(body, site.url)
    if isinstance(rendered, Fault):
        return _refused(post, rendered)
    text = "\n\n".join(part for part in (post.title, rendered.text) if part)
    if unfit := _unfit(rendered.text and text, budget):
        return _refused(post, unfit)
    return dataclasses.replace(post, text=text, images=rendered.images)


def _unfit(text: str, budget: Budget) -> Fault | None:
    if not text:
        return Fault("empty_text", "it has no text")
    if not budget.holds(text):
        return Fault("too_long", f"it alone is over the budget of {budget.tokens} tokens")
    return None


def _refused(post: Post, fault: Fault) -> Post:
    """A post of which only the reason is left, with its detail in place of the text."""
    return dataclasses.replace(post, text=fault.detail, refused=fault.reason)


def _bad(row: Row, name: str) -> Fault:
    written = repr(row[name][:60]) if name in row else "missing"
    return Fault("bad_attribute", f"its {name} is {written}")


def _folded(tags: Iterable[str]) -> set[str]:
    return {tag.casefold() for tag in tags}


def _is_date(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 16
