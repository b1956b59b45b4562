"""Rows of a dump as posts: what is read, what is refused, and under which licence it is."""

import datetime

import pytest

from transforms.forums.options import PostOptions
from transforms.forums.posts import Budget
from transforms.forums.records import Fault, Name, Note, Post
from transforms.forums.sites import is_posts, site_of, site_of_path
from transforms.forums.stackexchange import (
    comment_of,
    link_of,
    may_tell_of_a_move,
    move_of,
    name_of,
    post_of,
    row_of,
)

MATH = site_of("math")
QUESTION = {
    "Id": "7", "PostTypeId": "1", "CreationDate": "2013-05-02T20:09:32.720", "Score": "3",
    "Title": "Is $1<2$?", "Body": "<p>I think $1&lt;2$.</p>", "Tags": "<algebra><order-theory>",
    "AcceptedAnswerId": "9", "OwnerUserId": "4",
}  # fmt: skip


def post(options: PostOptions | None = None, budget: Budget | None = None, **changes) -> Post:
    row = {name: value for name, value in {**QUESTION, **changes}.items() if value is not None}
    made = post_of(row, MATH, "p", options or PostOptions(), budget or Budget())
    assert isinstance(made, Post)
    return made


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b'  <row Id="1" Body="&lt;p&gt;a&#xA;b" />', {"Id": "1", "Body": "<p>a\nb"}),
        (b'<row Id="1" Body="$a&amp;lt;b$"/>\r', {"Id": "1", "Body": "$a&lt;b$"}),
        (b'\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?>', None),
        (b'<?xml version="1.0"?><posts>', None),
        (b"<posts>", None),
        (b"</comments>", None),
        (b"<posts></posts>", None),
        (b'\xef\xbb\xbf<?xml version="1.0"?><posts> <row Id="1"/>', {"Id": "1"}),
        (b'<posts><row Id="1"/></posts>', {"Id": "1"}),
        (b'  <row Id="1"/> </postlinks>\r', {"Id": "1"}),
        (b'<users><row Id="1"/>', {"Id": "1"}),
        (b'<row Id="1"/></posthistory>', {"Id": "1"}),
        (b"<rows>", "not_xml"),
        (b"</posts>", None),
        (b"   ", None),
        (b'<row Id="1" Body="cut o', "not_xml"),
        (b'<row Id="1" Id="2"/>', "not_xml"),
        (b'<row Id="1" Body="&lol;"/>', "not_xml"),
        (b'<row Id="1" Body="&#x1;"/>', "not_xml"),
        (b'<row Id="1"/><row Id="2"/>', "not_xml"),
        (b'<row Id="1">text</row>', "not_xml"),
        (b'<row Id="1"><row/></row>', "not_xml"),
        (b'<rows Id="1"/>', "not_xml"),
        (b'<!DOCTYPE r [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><row Id="&b;"/>', "not_xml"),
        (b'<!ENTITY x SYSTEM "file:///etc/passwd">', "not_xml"),
        (b"garbage", "not_xml"),
        (b'<row Id="\xff"/>', "not_utf8"),
        (b'<row Body="' + b"x" * 10_100_000 + b'"/>', "line_too_long"),
        (b'<row Body="' + b"x" * 4_000_000 + b'"/>', {"Body": "x" * 4_000_000}),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_line_is_a_row_or_a_fault_or_around_rows(line, found):
    """Entities are XML's five and character references; nothing is declared or fetched."""
    row = row_of(line)
    assert (row.reason if isinstance(row, Fault) else row) == found


def test_a_question_is_its_title_and_its_body():
    """With what the row says of it."""
    assert post() == Post(
        site="math.stackexchange.com",
        kind="question",
        id=7,
        parent=7,
        text="Is $1<2$?\n\nI think $1<2$.",
        images=0,
        score=3,
        owner="4",
        author="",
        posted="2013-05-02",
        licence="CC-BY-SA-3.0",
        place="p",
        title="Is $1<2$?",
        tags=("algebra", "order-theory"),
        accepted=9,
    )
    assert post(Tags="|algebra|order-theory|").tags == ("algebra", "order-theory")
    assert post(LastEditDate="2025-01-02T03:04:05.678").edited == "2025-01-02"
    assert post(OwnerUserId=None, OwnerDisplayName=" user  12 ").author == "user 12"


@pytest.mark.parametrize(
    ("posted", "said", "licence"),
    [
        ("2011-04-07", "", "CC-BY-SA-2.5"),
        ("2011-04-08", "", "CC-BY-SA-3.0"),
        ("2018-05-01", "", "CC-BY-SA-3.0"),
        ("2018-05-02", "", "CC-BY-SA-4.0"),
        ("2009-01-01", "CC BY-SA 4.0", "CC-BY-SA-4.0"),
        ("2009-01-01", "something else", "CC-BY-SA-2.5"),
    ],
)
def test_a_licence_is_that_of_the_day_unless_the_row_names_one(posted, said, licence):
    """Of the three versions that contributions have been under."""
    assert post(CreationDate=f"{posted}T23:59:59.999", ContentLicense=said).licence == licence


@pytest.mark.parametrize(
    ("options", "changes", "reason"),
    [
        ({}, {"CreationDate": "2024-06-30T23:59:59.999"}, ""),
        ({}, {"CreationDate": "2024-07-01T00:00:00.000"}, "too_new"),
        ({"posted_before": "2025-01-01"}, {"CreationDate": "2024-07-01T00:00:00.000"}, ""),
        ({"posted_from": "2013-05-03"}, {}, "too_old"),
        ({"posted_from": "2013-05-02"}, {}, ""),
        ({"min_score": 4}, {}, "low_score"),
        ({"min_score": 3}, {}, ""),
        ({"min_answer_score": 4}, {}, ""),
        ({"min_answer_score": 4}, {"PostTypeId": "2", "ParentId": "1"}, "low_score"),
        ({"min_score": 4}, {"PostTypeId": "2", "ParentId": "1"}, ""),
        ({}, {"ClosedDate": "2014-01-01T00:00:00.000"}, ""),
        ({"closed": False}, {"ClosedDate": "2014-01-01T00:00:00.000"}, "closed"),
        ({"tags": ("algebra", "x")}, {}, ""),
        ({"tags": ("x",)}, {}, "other_tags"),
        ({"tags": ("Algebra",)}, {}, ""),
        ({"tags": ("algebra",)}, {"Tags": "<ALGEBRA>"}, ""),
        ({"without_tags": ("Order-Theory",)}, {}, "other_tags"),
        ({}, {"LastEditDate": "2025-01-01T00:00:00.000"}, ""),
        ({"edited_before": "2024-07-01"}, {"LastEditDate": "2024-07-01T00:00:00.000"}, "edited"),
        ({"edited_before": "2024-07-01"}, {"LastEditDate": "2024-06-30T23:59:59.999"}, ""),
        ({"edited_before": "2024-07-01"}, {}, ""),
        ({"without_tags": ("algebra",)}, {}, "other_tags"),
        ({"without_tags": ("x",)}, {"Tags": None}, ""),
        ({}, {"Body": "<p> </p>"}, "empty_text"),
        ({}, {"Body": None}, "empty_text"),
        ({}, {"Body": "x" * 1_000_000}, "too_long"),
        ({}, {"Body": "x " * 50_000}, "too_long"),
        ({}, {"Body": "<b>" * 1_000}, "nested_too_deeply"),
        ({}, {"Title": None, "Tags": None, "AcceptedAnswerId": None, "Score": "-3"}, ""),
    ],
)
def test_options_refuse_posts_by_name(options, changes, reason):
    """A refused post keeps what says which it is, and the detail in place of its text."""
    made = post(PostOptions(**options), **changes)
    assert made.refused == reason
    assert made.text
    assert made.id == 7


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"PostTypeId": "5"}, "other_post"),
        ({"PostTypeId": None}, "bad_attribute"),
        ({"PostTypeId": "question"}, "bad_attribute"),
        ({"Id": "-7"}, "bad_attribute"),
        ({"Id": "9" * 40}, "bad_attribute"),
        ({"ParentId": None, "PostTypeId": "2"}, "bad_attribute"),
        ({"CreationDate": "yesterday"}, "bad_attribute"),
        ({"CreationDate": None}, "bad_attribute"),
        ({"LastEditDate": "yesterday"}, "bad_attribute"),
        ({"Score": "many"}, "bad_attribute"),
    ],
)
def test_a_row_that_is_no_post_is_a_fault(changes, reason):
    """It names the attribute and what stands there."""
    row = {name: value for name, value in {**QUESTION, **changes}.items() if value is not None}
    made = post_of(row, MATH, "p", PostOptions(), Budget())
    assert isinstance(made, Fault)
    assert made.reason == reason
    assert next(iter(changes)) in made.detail


def test_what_lies_beside_the_posts_is_read_for_what_it_says_of_them():
    """Comments, names, duplicates and moves; other links and other history say nothing."""
    row = {"Id": "1", "PostId": "7", "Text": " $a&b$ ", "CreationDate": "2019-01-01", "UserId": "4"}
    comment = comment_of(row, MATH, "p", PostOptions(), Budget())
    assert isinstance(comment, Post)
    assert (comment.parent, comment.text, comment.owner) == (7, "$a&b$", "4")
    late = comment_of({**row, "CreationDate": "2025-01-01"}, MATH, "p", PostOptions(), Budget())
    assert isinstance(late, Post)
    assert late.refused == "too_new"
    named = name_of({"Id": "-1", "DisplayName": "Community"}, MATH)
    assert named == Name("math.stackexchange.com -1", "Community")
    link = {"PostId": "7", "RelatedPostId": "5", "LinkTypeId": "3"}
    assert link_of(link, MATH) == Note("math.stackexchange.com 7", "duplicate_of", "5")
    assert link_of({**link, "LinkTypeId": "1"}, MATH) is None
    moved = {"PostId": "7", "PostHistoryTypeId": "36", "CreationDate": "2012-01-01T00:00:00"}
    assert move_of(moved, MATH) == Note("math.stackexchange.com 7", "migrated", "2012-01-01")
    assert move_of({**moved, "PostHistoryTypeId": "3"}, MATH) is None
    assert may_tell_of_a_move(b'<row PostHistoryTypeId="35"')
    assert not may_tell_of_a_move(b'<row PostHistoryTypeId="3"')
    bad = [
        name_of({}, MATH),
        link_of({"LinkTypeId": "3"}, MATH),
        comment_of({}, MATH, "p", PostOptions(), Budget()),
    ]
    assert [isinstance(fault, Fault) and fault.reason for fault in bad] == ["bad_attribute"] * 3


@pytest.mark.parametrize(
    ("path", "host", "name", "kind"),
    [
        ("d/coffee.Posts.xml", "coffee.stackexchange.com", "Coffee Stack Exchange", "main"),
        (
            "math.stackexchange.com/Posts.xml",
            "math.stackexchange.com",
            "Math Stack Exchange",
            "main",
        ),
        ("gs://b/mathoverflow.net/Posts.xml", "mathoverflow.net", "MathOverflow", "main"),
        ("mathoverflow.Posts.xml", "mathoverflow.net", "MathOverflow", "main"),
        ("d/stackoverflow.com-Posts.xml", "stackoverflow.com", "Stack Overflow", "main"),
        (
            "math.meta.stackexchange.com/Posts.xml",
            "math.meta.stackexchange.com",
            "Math Meta Stack Exchange",
            "meta",
        ),
    ],
)
def test_the_site_is_told_by_the_path(path, host, name, kind):
    """By what stands before the name of the file, or else by the folder."""
    assert site_of_path(path) == (host, name, kind)


def test_a_path_that_tells_no_site_is_not_guessed_at():
    """Nor is a file taken for one of posts that is none."""
    assert site_of_path("data/Posts.xml") is None
    assert is_posts("data/Posts.xml")
    assert not is_posts("data/Comments.xml")
    assert not is_posts("data/BlogPosts.xml")


def test_the_published_cut_is_the_default():
    """July 2024."""
    assert PostOptions().posted_before == datetime.date(2024, 7, 1)
