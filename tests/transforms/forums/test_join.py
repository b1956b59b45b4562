"""Posts put together: the order is by rule, however they come in, and who wrote what stays."""

import json
import random
from typing import Any

import pytest

from transforms.codec import canonical_json
from transforms.forums.join import (
    _alone,
    _authors,
    _by_owner,
    _by_user,
    _joined,
    _named,
    _placed,
    posts_in,
)
from transforms.forums.options import PostOptions
from transforms.forums.posts import Budget
from transforms.forums.records import Name, Note, Post
from transforms.records import Reject, Thread

SITE = "math.stackexchange.com"


def post(kind: str, number: int, parent: int, **more) -> Post:
    known = {"score": 0, "owner": "", "author": "", "posted": "2015-01-01", "images": 0}
    known |= {"licence": "CC-BY-SA-3.0", "place": f"p{kind}{number}", "text": f"{kind} {number}"}
    return Post(site=SITE, kind=kind, id=number, parent=parent, **{**known, **more})


POSTS = [
    post("question", 1, 1, accepted=5, images=1),
    post("answer", 2, 1, score=3),
    post("answer", 3, 1, score=7, licence="CC-BY-SA-4.0"),
    post("answer", 4, 1, score=3, edited="2025-03-04"),
    post("answer", 5, 1, score=-2, images=2),
    post("comment", 9, 1),
    post("comment", 8, 3),
    post("comment", 7, 3),
]
ORDER = ["q/1", "a/5", "a/3", "q/1#comment7_3", "q/1#comment8_3", "a/2", "a/4", "q/1#comment9_1"]


def grouped(pairs: list[tuple[str, Any]]) -> dict[str, list[Any]]:
    """What a shuffle does."""
    groups: dict[str, list[Any]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def joined(items: list[Post | Note], tokens: int = 24_000, **options) -> list[Thread | Reject]:
    return list(_joined(("k", items), "threads", PostOptions(**options), Budget(tokens)))


def test_the_order_is_accepted_score_id_and_comments_after_what_they_are_on():
    """However the shuffle hands them over."""
    rng = random.Random(0)
    found = set()
    for _ in range(50):
        [thread] = joined(rng.sample(POSTS, len(POSTS)))
        found.add(canonical_json([thread.post, thread.discussion, thread.extra]))
        assert isinstance(thread, Thread)
        assert [who.url for who in thread.attributions] == [
            f"https://{SITE}/{url}" for url in ORDER
        ]
        assert posts_in(thread) == len(POSTS)
    assert len(found) == 1
    assert thread.discussion.startswith(
        "Post 1:\n(accepted answer, score -2)\nanswer 5\n\n"
        "Post 2:\n(answer, score 7)\nanswer 3\n\nPost 3:\n(a comment on the answer above)\n"
    )


@pytest.mark.parametrize("tokens", [1, 8, 16, 30, 60, 24_000])
def test_only_posts_that_are_shown_are_attributed_and_licensed(tokens):
    """The question always is; what was left out is counted."""
    [thread] = joined(POSTS, tokens)
    assert isinstance(thread, Thread)
    shown = thread.discussion.count("Post ")
    known = json.loads(thread.extra)
    assert (known["posts"], known["posts_left_out"]) == (shown, len(POSTS) - 1 - shown)
    assert [who.url.split("/", 3)[3] for who in thread.attributions] == ORDER[: shown + 1]
    has_newer = shown >= 2
    assert thread.licence == ("CC-BY-SA-3.0 AND CC-BY-SA-4.0" if has_newer else "CC-BY-SA-3.0")
    assert known["edited"] == ("2025-03-04" if shown >= 6 else "")
    assert known["images"] == 1 + 2 * (shown >= 1)
    assert posts_in(thread) == len(POSTS)


def test_what_a_refused_question_takes_with_it_is_said_of_each():
    """The question itself was a reject when it was read, or is one for a note."""
    refused = post("question", 1, 1, refused="closed")
    rejects = joined([refused, *POSTS[1:]])
    assert [row.reason for row in rejects if isinstance(row, Reject)] == ["post_refused"] * 7
    note = Note(f"{SITE} 1", "duplicate_of", "77")
    rejects = joined([*POSTS, note], duplicates=False)
    reasons = [row.reason for row in rejects if isinstance(row, Reject)]
    assert reasons == ["duplicate_question", *["post_refused"] * 7]
    details = [row.detail for row in rejects if isinstance(row, Reject)]
    assert "pcomment9: this comment is on question 1, which is refused" in details
    assert "pcomment8: the question of post 3, which this comment is on, is refused" in details
    [thread] = joined([*POSTS, note])
    assert isinstance(thread, Thread)
    assert json.loads(thread.extra)["duplicate_of"] == [77]
    assert joined([note]) == []
    orphans = [row for row in joined([POSTS[2], POSTS[6]]) if isinstance(row, Reject)]
    assert [(row.reason, row.detail) for row in orphans] == [
        ("orphan", "panswer3: post 1, which this answer is on, is not in the dump"),
        (
            "orphan",
            "pcomment8: the question of post 3, which this comment is on, is not in the dump",
        ),
    ]


def test_authors_are_named_without_the_posts_of_anybody_together():
    """A name wins over what the row says; nothing with a text is grouped by its owner."""
    posts = [post("answer", n, 1, owner="4", author="old", text="x" * 9_999) for n in (2, 3, 3)]
    posts += [post("comment", 2, 1, owner="5", author="own"), post("answer", 4, 1, author="alone")]
    owned = [
        *(pair for one in posts for pair in _by_owner(one)),
        _by_user(Name(f"{SITE} 4", "Ann")),
    ]
    groups = grouped(owned)
    assert {owner: len(items) for owner, items in groups.items()} == {
        f"{SITE} 4": 4,
        f"{SITE} 5": 1,
    }
    assert not any(isinstance(item, Post) for items in groups.values() for item in items)
    authors = [pair for group in groups.items() for pair in _authors(group)]
    alone = grouped([*map(_alone, posts), *authors])
    found = [one for group in alone.items() for one in _named(group)]
    named = [(one.kind, one.id, one.author) for one in found]
    assert sorted(named) == [
        ("answer", 2, "Ann"), ("answer", 3, "Ann"), ("answer", 3, "Ann"), ("answer", 4, "alone"),
        ("comment", 2, "own"),
    ]  # fmt: skip


def test_threads_of_comments_are_found_by_key():
    """A comment goes where its post is."""
    answer, comment = POSTS[2], POSTS[6]
    placed = list(_placed(("k", [comment, answer]), "threads"))
    assert placed == [(f"{SITE} 1", answer), (f"{SITE} 1", comment)]
    [orphan] = _placed(("k", [comment]), "threads")
    assert isinstance(orphan, Reject)
    assert (orphan.reason, orphan.detail[:3]) == ("orphan", "pco")
