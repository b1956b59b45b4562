"""What an engine is: settings that travel, and the transport that they open on a worker."""

import dataclasses
import itertools
import math
from typing import Any, NamedTuple, Protocol

import pydantic

from transforms.constraint import Constraint
from transforms.engines.usage import Meter
from transforms.records import TokenLogprob

# Sent with every request: which answer it is for, for logs, and which prompt it renders.
KEY_HEADER, PROMPT_HEADER = "X-Request-Id", "X-Beam-SDG-Prompt"
_BYTES_PER_TOKEN = 3


class Sampling(pydantic.BaseModel, frozen=True, extra="forbid"):
    """How a model draws its answer; None leaves a choice to the server.

    The first four, the reasoning effort and the log probabilities are of the OpenAI API; the others
    are what vLLM, SGLang and most servers of open models add to it.

    chat_template_args: for the model's own template.
    logprobs: how many alternatives are told for each token, beside the one that was drawn.
    adapter: the LoRA adapter that answers, by the name that the server has for it.
    fit_context: where prompt and `max_tokens` are more than the model's context, and the server
        refuses them for it, the answer may have what the prompt leaves.
    """

    temperature: float | None = pydantic.Field(None, ge=0)
    top_p: float | None = pydantic.Field(None, gt=0, le=1)
    max_tokens: int | None = pydantic.Field(None, ge=1)
    stop: tuple[str, ...] = ()
    reasoning_effort: str | None = None
    top_k: int | None = pydantic.Field(None, ge=1)
    min_p: float | None = pydantic.Field(None, ge=0, le=1)
    repetition_penalty: float | None = pydantic.Field(None, gt=0)
    chat_template_args: dict[str, Any] = pydantic.Field(
        {}, serialization_alias="chat_template_kwargs"
    )
    logprobs: int | None = pydantic.Field(None, ge=0, le=100)
    adapter: str | None = None
    fit_context: bool = False

    def chosen(self) -> dict[str, Any]:
        """The settings that are not left to the server, by their names in the API."""
        return self.model_dump(mode="json", exclude_defaults=True, by_alias=True)


class ToolCall(NamedTuple):
    """A call of a tool in a chat: its id, the tool's name, and the arguments as they came."""

    id: str
    name: str
    arguments: str


@dataclasses.dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation; `role` is system, user, assistant or tool.

    An assistant's may hold calls, and the reasoning that led to them; a tool's answers the call
    with the id `call_id`.
    """

    role: str
    content: str
    calls: tuple[ToolCall, ...] = ()
    reasoning: str = ""
    call_id: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Turn:
    """One request to an engine: a conversation so far, and how to go on.

    `key` names the answer in the store: a hash of all that decides it. `constraint` is what the
    answer is held to, if anything.

    code_format: how calls to Python are written, in a solution with tools; "" in all others.
    rendered: the conversation as one text, to be completed as it is; None for a chat.
    raw: whether the answer's special tokens are part of its text.
    """

    key: str
    prompt: str
    messages: tuple[Message, ...]
    sampling: Sampling
    seed: int
    constraint: Constraint | None
    code_format: str = ""
    rendered: str | None = None
    raw: bool = False

    @property
    def opening(self) -> tuple[Message, ...]:
        """What was said before the model's first word: the same in all turns of a prompt."""
        return tuple(
            itertools.takewhile(lambda message: message.role != "assistant", self.messages)
        )


def estimated_tokens(text: str) -> int:
    """About how many tokens a text is, where nobody has counted; rather more than fewer."""
    digits = sum(map(str.isdigit, text))
    return digits + math.ceil((len(text.encode("utf-8", "replace")) - digits) / _BYTES_PER_TOKEN)


def asked_tokens(turn: Turn) -> int:
    """About how many tokens a request has, before anybody has counted."""
    said = turn.messages if turn.rendered is None else ()
    texts = [part for one in said for part in (one.content, one.reasoning)]
    texts += [call.arguments for message in said for call in message.calls]
    return sum(map(estimated_tokens, [*texts, turn.rendered or ""]))


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """What an engine answered.

    `finish_reason` is the server's: stop, length or content_filter; or it is refusal, and `text`
    says why the model would not answer. With length, `text` may be empty: then all tokens went
    into the reasoning. Of the prompt's tokens `cached_tokens` were there from an earlier request,
    and of the completion's `reasoning_tokens` are reasoning, where the server says so. `logprobs`
    are there if the sampling asked for them, and `calls` if the model called tools of a chat.
    """

    text: str
    reasoning: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()
    calls: tuple[ToolCall, ...] = ()


FAILURES = frozenset(
    {
        *("request_refused", "prompt_too_long"),
        *("server_error", "connection_failed", "timed_out", "bad_response"),
        "sandbox_failed",
    }
)
NOT_SENT = "not_sent"  # no failure: the run was stopped before


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """An engine's refusal of one request, or a sandbox's, after all retries: its element's reject.

    `reason` is one of `FAILURES`, or `NOT_SENT`.
    """

    reason: str
    detail: str


@dataclasses.dataclass(frozen=True, slots=True)
class Attempted:
    """The result of one turn, how many attempts it took, and how long the last one was.

    `timed_out` of the attempts had no answer in time. `charged` are tokens, of prompts and of
    completions, that count as spent though no server has told of them: `Stops` says so.
    """

    result: Reply | Failure
    attempts: int
    latency_s: float = dataclasses.field(default=0.0, compare=False)
    timed_out: int = 0
    charged: tuple[int, int] = (0, 0)


class Transport(Protocol):
    """An open engine; all methods run on one event loop.

    It sees to it that no more than `in_flight` requests are under way, however many calls there
    are: a call that waits, for its turn or before it tries again, keeps nobody else from going.
    It waits within `stops.waiting`, so that a run that is stopped need not wait for it.
    """

    async def complete(self, turn: Turn) -> Attempted:
        """Answer one turn. Retries what may pass; a cancelled call leaves nothing behind.

        Raises:
            EngineDown: no request can succeed now.
        """
        ...

    def meter(self) -> Meter | None:
        """What sees how well the engine is used; None of one that does not tell."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...


class Engine(Protocol):
    """Settings of an engine: frozen, hashable, and cheap to pickle."""

    @property
    def model(self) -> str:
        """The model's name, for provenance."""
        ...

    @property
    def in_flight(self) -> int:
        """How many requests one process keeps under way at once."""
        ...

    def identity(self) -> str:
        """What decides its answers beside the request: part of every answer's key."""
        ...

    def resource_hints(self) -> dict[str, str]:
        """What the workers that ask it must have, as Beam's resource hints; {} for any worker."""
        ...

    def open(self) -> Transport:
        """A transport for these settings, without waiting for the network.

        Raises:
            EngineDown: something that every request needs is missing, such as a key.
        """
        ...
