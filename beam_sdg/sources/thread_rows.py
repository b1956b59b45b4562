"""Rows as threads: the columns of published forum datasets, and what becomes of a row's replies.

aops     a row for each thread as it was scraped: the first post, and the replies as a list
forum    the same after preparation: the replies are one text of blocks headed "Post N:"
"""

import json
from typing import Any

from beam_sdg.sources.formats import Format
from beam_sdg.sources.lines import BadRow
from beam_sdg.sources.problems import Place, problem_of, row_reject
from beam_sdg.sources.source import Source
from transforms.codec import canonical_json, well_formed
from transforms.forums.posts import Budget, discussion_of, posts_of
from transforms.forums.quotes import without_quotes
from transforms.records import Reject, Thread


class ThreadFormat(Format, frozen=True):
    """The columns of a dataset of threads; `text` is that of the first post.

    replies: the column of the other posts: a list of texts or one text of blocks; it may be null.
    quotes: whether replies still quote each other.
    """

    replies: str
    quotes: bool


class ThreadSource(Source, frozen=True):
    """Files or a dataset in a format of threads."""

    format: ThreadFormat


THREAD_FORMATS = {
    "aops": ThreadFormat(
        text="original_question",
        replies="original_answers",
        needed=("original_answers",),
        id="id",
        licence_column="license",
        quotes=True,
        dropped=("original_answers", "rewritten_question", "rewritten_answers"),
        published="hf://DeepStudentLlama/AoPS-Instruct#2024_not_decontaminated:train",
    ),
    "forum": ThreadFormat(
        text="forum_post",
        replies="forum_discussions",
        needed=("forum_discussions",),
        id="id",
        licence_column="license",
        quotes=False,
        dropped=("forum_discussions",),
    ),
}


def thread_of(
    row: Any, columns: ThreadFormat, place: Place, stage: str, budget: Budget
) -> Thread | Reject:
    """The thread in a row, without an id; or a reject that names the file, the row and the fault.

    `extra` says how many posts the discussion has, and how many the budget had no room for.

    Rejects: those of `problem_of`, `bad_replies`, `too_long`.
    """
    problem = problem_of(row, columns, place, stage)
    if isinstance(problem, Reject):
        return problem
    replies = _replies(row.get(columns.replies))
    if isinstance(replies, BadRow):
        fault = f"column {columns.replies!r} {replies.fault}"
        return row_reject(row, place, stage, replies.reason, fault)
    if not budget.holds(problem.text):
        fault = f"its first post alone is over the budget of {budget.tokens} tokens"
        return row_reject(row, place, stage, "too_long", fault)
    if columns.quotes:
        replies = [without_quotes(reply) for reply in replies]
    discussion = discussion_of(replies, budget)
    counted = {"posts": discussion.posts, "posts_left_out": len(replies) - discussion.posts}
    return Thread(
        id="",
        post=problem.text,
        discussion=discussion.text,
        source=problem.source,
        source_id=problem.source_id,
        licence=problem.licence,
        extra=canonical_json({**json.loads(problem.extra), **counted}),
    )


def _replies(value: Any) -> list[str] | BadRow:
    """The replies in a column, or what is wrong with it."""
    if value is None:
        return []
    replies = posts_of(value) if isinstance(value, str) else value
    if not isinstance(replies, list):
        kind = type(value).__name__
        return BadRow("bad_replies", f"is {kind}, not a text or a list of texts", "")
    for number, reply in enumerate(replies, start=1):
        if not isinstance(reply, str):
            return BadRow("bad_replies", f"has {type(reply).__name__} as reply {number}", "")
        if well_formed(reply) != reply:
            return BadRow("bad_replies", f"has half of a surrogate pair in reply {number}", "")
    return replies
