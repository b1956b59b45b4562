"""The posts of Stack Exchange as threads: authors named, comments and answers put to questions."""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from transforms.codec import canonical_json, to_json
from transforms.forums.options import PostOptions
from transforms.forums.posts import Budget, discussion_of
from transforms.forums.records import (
    ANSWER,
    COMMENT,
    DUPLICATE_OF,
    MIGRATED,
    QUESTION,
    Name,
    Note,
    Post,
)
from transforms.forums.sites import site_of
from transforms.grouping import Group
from transforms.outcome import Outcome, SplitRejects
from transforms.records import Attribution, Reject, Thread
from transforms.seeding import digest

SHOWN = 10_000  # characters of a post that a reject keeps


@dataclasses.dataclass(eq=False)
class NameAuthors(beam.PTransform):
    """Give posts the names of their authors.

    In:   (`Post`s, `Name`s).
    Out:  the posts; an author that nobody names keeps the name that the post has.
    Cost: one shuffle of what the posts of each user are called by, since one user has 100,000 and
          more; and one of the posts, each of which is alone there.
    Once: a pure function of posts and names.
    """

    def expand(self, posts_and_names: tuple[beam.PCollection, ...]) -> beam.PCollection:
        posts, names = posts_and_names
        owners = (
            posts | "KeyByOwner" >> beam.FlatMap(_by_owner),
            names | "KeyByUser" >> beam.Map(_by_user),
        )
        authors = owners | "GroupOwners" >> Group() | "NameEach" >> beam.FlatMap(_authors)
        keyed = (posts | "KeyAlone" >> beam.Map(_alone), authors)
        return keyed | "GroupAlone" >> Group() | "Name" >> beam.FlatMap(_named)


@dataclasses.dataclass(eq=False)
class PlaceComments(beam.PTransform):
    """Find out of which thread each comment is.

    In:   `Post` records.
    Out:  `rows`, (key of the thread, post); `rejects`, comments on a post that is not there
          (`orphan`), or on a refused one (`post_refused`), and posts that are there twice
          (`duplicate`).
    Cost: one shuffle; the comments on a post in memory.
    Once: a pure function of the posts.
    """

    stage: str

    def expand(self, posts: beam.PCollection) -> Outcome:
        return (
            posts
            | "KeyByPost" >> beam.Map(_by_post)
            | "GroupPosts" >> Group()
            | "Place" >> beam.FlatMap(_placed, self.stage)
            | "Split" >> SplitRejects()
        )


@dataclasses.dataclass(eq=False)
class JoinThreads(beam.PTransform):
    """Put the posts of a thread together, in the order in which they are of use.

    In:   ((key of the thread, `Post`) pairs, `Note`s); refused posts are among them.
    Out:  `rows`, `Thread` records without an id: the question is the post, and the discussion is
          the accepted answer, then the others by score and id, each followed by its comments, then
          those on the question, each with a line before it that says what it is. `extra` has
          what else is known, and in `posts` and `posts_left_out` how many the budget had room for.
          `rejects`: answers without a question (`orphan`), or with a refused one (`post_refused`),
          questions that the options refuse for a note (`duplicate_question`, `migrated`), and posts
          that are there twice (`duplicate`).
    Cost: one shuffle; a thread in memory.
    Once: a pure function of posts and notes, whatever their order.
    From: Nemotron-Math-v2, which makes such threads and does not say how.
    """

    stage: str
    options: PostOptions
    budget: Budget

    def expand(self, posts_and_notes: tuple[beam.PCollection, ...]) -> Outcome:
        posts, notes = posts_and_notes
        keyed = (posts, notes | "KeyByThread" >> beam.Map(_by_thread))
        return (
            keyed
            | "GroupThreads" >> Group()
            | "Join" >> beam.FlatMap(_joined, self.stage, self.options, self.budget)
            | "Split" >> SplitRejects()
        )


def keyed_by_thread(post: Post) -> tuple[str, Post]:
    """(key of its thread, post) of a question or an answer."""
    return post.thread, post


def refusal_of(post: Post, stage: str, reason: str, fault: str) -> Reject:
    """A post as a reject that says where its row was."""
    row = to_json(post)[:SHOWN]
    return Reject(stage, reason, f"{post.place}: {fault}", digest("row", post.place), row, reply="")


def _alone(post: Post) -> tuple[str, Post]:
    return f"{post.site} {post.kind} {post.id}", post


def _by_owner(post: Post) -> Iterator[tuple[str, str]]:
    """(the owner, the key that `_alone` gives the post), if anybody knows whose it is."""
    if post.owner:
        yield f"{post.site} {post.owner}", _alone(post)[0]


def _by_user(name: Name) -> tuple[str, Name]:
    return name.owner, name


def _by_thread(note: Note) -> tuple[str, Note]:
    return note.thread, note


def _by_post(post: Post) -> tuple[str, Post]:
    return (post.thread if post.kind == COMMENT else post.key), post


def _authors(owned: tuple[str, Iterable[str | Name]]) -> Iterator[tuple[str, str]]:
    """(key, name) of each of a user's posts: what is grouped is gone through twice, not kept."""
    _, items = owned
    name = min((item.name for item in items if isinstance(item, Name)), default="")
    if name:
        for item in items:
            if not isinstance(item, Name):
                yield item, name


def _named(grouped: tuple[str, Iterable[Post | str]]) -> Iterator[Post]:
    """A post with its author's name; it is there more than once if its row is."""
    items = list(grouped[1])
    name = min((item for item in items if isinstance(item, str)), default="")
    for item in items:
        if isinstance(item, Post):
            yield dataclasses.replace(item, author=name or item.author)


def _placed(grouped: tuple[str, Iterable[Post]], stage: str) -> Iterator[tuple[str, Post] | Reject]:
    posts, repeated = _once(grouped[1])
    yield from _repeats(repeated, stage)
    on = next((post for post in posts if post.kind != COMMENT), None)
    for post in posts:
        if post.kind != COMMENT:
            yield post.thread, post
        elif on is not None and not on.refused:
            yield on.thread, post
        elif not post.refused:
            yield _without_it(post, on, stage)


def _joined(
    grouped: tuple[str, Iterable[Post | Note]], stage: str, options: PostOptions, budget: Budget
) -> Iterator[Thread | Reject]:
    items = list(grouped[1])
    posts, repeated = _once(item for item in items if isinstance(item, Post))
    notes = sorted(item for item in items if isinstance(item, Note))
    yield from _repeats(repeated, stage)
    question = next((post for post in posts if post.kind == QUESTION), None)
    wanted = [post for post in posts if not post.refused]
    if question is not None and not question.refused:
        said = _noted(notes, options)
        if said is None:
            yield _thread(question, wanted, notes, budget)
            return
        yield refusal_of(question, stage, *said)
    for post in wanted:
        if post.kind != QUESTION:
            is_on_answer = post.kind == COMMENT and not (question and post.parent == question.id)
            of = "the question of " if is_on_answer else ""
            yield _without_it(post, question, stage, of)


def _once(posts: Iterable[Post]) -> tuple[list[Post], list[Post]]:
    """The posts in the order of kind and id, each once; and those that were there before."""
    found: list[Post] = []
    repeated: list[Post] = []
    for post in sorted(posts, key=lambda post: (post.kind, post.id, to_json(post))):
        same = found and (found[-1].kind, found[-1].id) == (post.kind, post.id)
        (repeated if same else found).append(post)
    return found, repeated


def _repeats(posts: Iterable[Post], stage: str) -> Iterator[Reject]:
    for post in posts:
        if not post.refused:
            fault = f"{post.kind} {post.id} is there already"
            yield refusal_of(post, stage, "duplicate", fault)


def _without_it(post: Post, on: Post | None, stage: str, of: str = "") -> Reject:
    """The reject of a post because what it is on, or the question `of` that, is not there."""
    if on is None:
        fault = f"{of}post {post.parent}, which this {post.kind} is on, is not in the dump"
        return refusal_of(post, stage, "orphan", fault)
    fault = f"this {post.kind} is on {on.kind} {on.id}, which is refused"
    if of:
        fault = f"{of}post {post.parent}, which this {post.kind} is on, is refused"
    return refusal_of(post, stage, "post_refused", fault)


def _noted(notes: Iterable[Note], options: PostOptions) -> tuple[str, str] | None:
    """Why the options refuse a question of which these things are known, if they do."""
    for note in notes:
        if note.kind == DUPLICATE_OF and not options.duplicates:
            return "duplicate_question", f"it is a duplicate of question {note.value}"
        if note.kind == MIGRATED and not options.migrated:
            return "migrated", f"it was moved between sites on {note.value}"
    return None


def _thread(question: Post, posts: list[Post], notes: list[Note], budget: Budget) -> Thread:
    answers = sorted(
        (post for post in posts if post.kind == ANSWER),
        key=lambda post: (post.id != question.accepted, -post.score, post.id),
    )
    comments = sorted((post for post in posts if post.kind == COMMENT), key=lambda post: post.id)
    replies: list[tuple[Post, str]] = []
    for on in [*answers, question]:
        if on.kind == ANSWER:
            accepted = "accepted answer" if on.id == question.accepted else "answer"
            replies.append((on, f"({accepted}, score {on.score})\n{on.text}"))
        about = "the question" if on is question else "the answer above"
        replies += [
            (comment, f"(a comment on {about})\n{comment.text}")
            for comment in comments
            if comment.parent == on.id
        ]
    discussion = discussion_of([text for _, text in replies], budget)
    shown = [question, *(post for post, _ in replies[: discussion.posts])]
    site = site_of(question.site)
    known: dict[str, Any] = {
        "site": site.name,
        "site_kind": site.kind,
        "title": question.title,
        "tags": list(question.tags),
        "score": question.score,
        "answers": len(answers),
        "comments": len(comments),
        "accepted": bool(answers) and answers[0].id == question.accepted,
        "closed": question.closed,
        "edited": max(post.edited for post in shown),
        "duplicate_of": [int(note.value) for note in notes if note.kind == DUPLICATE_OF],
        "migrated": [note.value for note in notes if note.kind == MIGRATED],
        "images": sum(post.images for post in shown),
        "posts": discussion.posts,
        "posts_left_out": len(replies) - discussion.posts,
    }
    return Thread(
        id="",
        post=question.text,
        discussion=discussion.text,
        source=question.site,
        source_id=str(question.id),
        licence=" AND ".join(sorted({post.licence for post in shown})),
        extra=canonical_json(known),
        attributions=tuple(_attribution(post, question) for post in shown),
    )


def posts_in(thread: Thread) -> int:
    """How many posts a thread was made from."""
    known = json.loads(thread.extra)
    return 1 + known["answers"] + known["comments"]


def _attribution(post: Post, question: Post) -> Attribution:
    """Who wrote a post, by name or else by the address of the account, and where it is."""
    host = f"https://{post.site}"
    url = {
        QUESTION: f"{host}/q/{post.id}",
        ANSWER: f"{host}/a/{post.id}",
        COMMENT: f"{host}/q/{question.id}#comment{post.id}_{post.parent}",
    }[post.kind]
    author = post.author or (f"{host}/users/{post.owner}" if post.owner else "")
    return Attribution(author, url, post.posted, post.licence)
