"""A model's context: what servers say of requests that are longer."""

import re
from typing import NamedTuple

from transforms.engines.completions import error_of

_REFUSED = (400, 413, 422)
_CONTEXT = re.compile(r"(?:context length|model length|max_model_len)(?: is| of|=)? ?\(?(\d+)")
_PROMPT = re.compile(
    r"(\d+) input tokens|(\d+) in the messages|[Ii]nput \((\d+) tokens\)"
    r"|(\d+) tokens from the input|\(length (\d+)\)|resulted in (\d+) tokens"
)


class Overflow(NamedTuple):
    """A request that its model has no room for.

    context: tokens that prompt and answer may have together.
    prompt: tokens of the prompt; None where it is only said that `max_tokens` is too much.
    """

    context: int
    prompt: int | None

    @property
    def room(self) -> int:
        """Tokens that are left for an answer."""
        return self.context - (self.prompt or 0)


def overflow_of(status: int, content: bytes) -> Overflow | None:
    """What a refusal says about the context; None if it is about something else.

    In the words of vLLM (now and before), SGLang and OpenAI.
    """
    if status not in _REFUSED:
        return None
    said = error_of(content)["message"]
    context = _CONTEXT.search(said)
    if context is None:
        return None
    most = int(context[1])
    if " characters " in said:  # so many that nobody has counted the tokens
        return Overflow(most, most + 1)
    prompt = _PROMPT.search(said)
    return Overflow(most, int(next(filter(None, prompt.groups()))) if prompt else None)
