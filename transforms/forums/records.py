"""What travels between the stages that make threads of a Stack Exchange dump.

Post(thread="coffee.stackexchange.com 12", kind="answer", id=15, parent=12, text="Grind it…", …)
Note(thread="coffee.stackexchange.com 12", kind="duplicate_of", value="7")
"""

import dataclasses
from typing import NamedTuple

QUESTION, ANSWER, COMMENT = "question", "answer", "comment"
DUPLICATE_OF, MIGRATED = "duplicate_of", "migrated"


class Fault(NamedTuple):
    """Why a row is of no use: a word for reports, and what is wrong for people."""

    reason: str
    detail: str


@dataclasses.dataclass(frozen=True, slots=True)
class Post:
    """A question, an answer or a comment of a dump, as text.

    `parent` is the question of an answer, the post of a comment and a question's own id. `owner` is
    the author's number and `author` the name, "" where nobody knows. `title`, `tags`, `accepted`
    (the id of an answer) and `closed` (a date) are of questions. `edited` is the date of the last
    edit, "" if there was none. `place` is where its row was.

    A post with a `refused`, which is the reason of its reject, has no text: it is there so that
    what was said about it can be told from what was said about nothing.
    """

    site: str
    kind: str
    id: int
    parent: int
    text: str
    images: int
    score: int
    owner: str
    author: str
    posted: str
    licence: str
    place: str
    title: str = ""
    tags: tuple[str, ...] = ()
    accepted: int = 0
    closed: str = ""
    edited: str = ""
    refused: str = ""

    @property
    def key(self) -> str:
        """What the post is called by anywhere."""
        return f"{self.site} {self.id}"

    @property
    def thread(self) -> str:
        """The key of a question or an answer's question."""
        return f"{self.site} {self.parent}"


class Name(NamedTuple):
    """What a user of a site is called."""

    owner: str
    name: str


class Note(NamedTuple):
    """What is known of a question from elsewhere in the dump: `kind` is one of those above."""

    thread: str
    kind: str
    value: str
