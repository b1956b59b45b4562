"""The discussion of a thread as one text: blocks headed "Post N:", as many as a budget holds.

Post 1:
Try $n = 2$.

Post 2:
That does it.
"""

import dataclasses
import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

from transforms.engines.engine import estimated_tokens
from transforms.sft.lengths import Lengths

PUBLISHED_TOKENS = 24_000
_HEAD = re.compile(r"^Post (\d{1,9}):[ \t]*\n?", re.MULTILINE)


@dataclasses.dataclass(frozen=True, slots=True)
class Budget:
    """How long a discussion may be: so many tokens of a tokenizer, or estimated ones without."""

    tokens: int = PUBLISHED_TOKENS
    lengths: Lengths = Lengths()

    def of(self, text: str) -> int:
        """The tokens of a text.

        Raises:
            UsageError, InputError: as `Lengths.of`.
        """
        return self.lengths.of(text) if self.lengths.tokenizer else estimated_tokens(text)

    def holds(self, *texts: str) -> bool:
        """Whether texts, counted one by one, are within it together."""
        if not self.lengths.tokenizer and sum(map(len, texts)) * 4 <= self.tokens:
            return True  # no character is estimated at more than a token for each of its bytes
        return sum(map(self.of, texts)) <= self.tokens


class Discussion(NamedTuple):
    """The text of the first posts of a discussion, and how many of them it has."""

    text: str
    posts: int


def discussion_of(posts: Sequence[str], budget: Budget) -> Discussion:
    """The posts as blocks, up to the first that the budget has no room for.

    That one is left out with all after it, whole, as the published pipeline does it. Numbers count
    every post, one of which nothing was left without its quotes too.
    """
    blocks = [f"Post {number}:\n{post.strip()}\n\n" for number, post in enumerate(posts, start=1)]
    number = len(blocks)
    if not budget.holds(*blocks):
        used = itertools.accumulate(map(budget.of, blocks))
        number = next(number for number, tokens in enumerate(used) if tokens > budget.tokens)
    return Discussion("".join(blocks[:number]).strip(), number)


def posts_of(discussion: str) -> list[str]:
    """The posts of a discussion that is one text already; without heads it is one post.

    A head has the number that comes next: a post may speak of "Post 1:" on a line of its own.
    """
    starts: list[re.Match] = []
    for head in _HEAD.finditer(discussion):
        if int(head[1]) == len(starts) + 1:
            starts.append(head)
    if not starts:
        return [discussion.strip()] if discussion.strip() else []
    ends = [*(head.start() for head in starts[1:]), len(discussion)]
    texts = (discussion[head.end() : end] for head, end in zip(starts, ends, strict=True))
    before = discussion[: starts[0].start()].strip()
    return [*([before] if before else []), *(text.strip() for text in texts)]
