"""How a model writes a call to Python into its text, and how it is shown what came of it.

A solution with Python is one text: what the model wrote, and after each call the result that was
put there. The model is stopped at the end of a call; the result is appended; it goes on after that.
"""

import dataclasses
from typing import Protocol

NOT_RUN = "[not run: "  # so begins the result of a call that was not


@dataclasses.dataclass(frozen=True, slots=True)
class Block:
    """A call in a solution's text, and its result.

    Where tags stand on lines of their own, the line break before them is no part of `code` and
    `output`.

    `text[start:end]` is the call with its tags; where it has a result, `text[end:result_end]` is
    that with its tags, and `output` what stands in it, the sandbox's notices included. A call
    without a result has the output None, and `result_end` is `end`; one that is not complete has no
    end tag, or one that ends no call.
    """

    code: str
    start: int
    end: int
    is_complete: bool
    output: str | None
    result_end: int


class CodeFormat(Protocol):
    """One way of writing calls; pure functions of text, and no more state than a name."""

    @property
    def name(self) -> str:
        """What a user calls it."""
        ...

    @property
    def stop(self) -> tuple[str, ...]:
        """Where the server is to stop the model: the ends of calls, which it is to keep.

        They may end other things too: see `is_paused`.
        """
        ...

    @property
    def has_special_tokens(self) -> bool:
        """Whether tags are special tokens, which servers leave out of texts unless told not to."""
        ...

    def ended(self, text: str) -> str:
        """A round's text with the end of its call, where the server has left that out.

        For a round that came to its end by itself or by `stop`, never for one that was cut off by
        a limit: there an open call is one that the model had not finished.
        """
        ...

    def call(self, text: str) -> str | None:
        """The code of the call with which a round's text ends; None where it ends otherwise.

        `text` is what the model wrote since the last result, as `ended` gave it.
        """
        ...

    def is_paused(self, text: str) -> bool:
        """Whether a round was stopped where no call ends, so that the model is to go on there.

        `text` is what it wrote since the last result. A round in which a model that was to go on
        wrote nothing is the last one.
        """
        ...

    def written(self, code: str) -> str:
        """A call of some code, without its last line break, as a model would write it."""
        ...

    def result(self, output: str, call_text: str = "") -> str:
        """What is put after a call; the model goes on right behind it.

        An output is data: whatever it holds, no call and no message is read from it.

        Args:
            output: of the code; its last line break is left out.
            call_text: the text that ends with the call.
        """
        ...

    def blocks(self, text: str) -> list[Block]:
        """All calls in a solution's whole text, in order.

        Of what `written` and `result` have put there, codes and outputs are what was given.
        """
        ...
