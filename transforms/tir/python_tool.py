"""The settings of solving with Python: how calls are written, where they run, and how many."""

import dataclasses
from typing import Any, Literal

from sandbox import SandboxSettings
from transforms.chat_template import ChatTemplate
from transforms.engines.completions import TOOL_CALLS
from transforms.engines.engine import Turn
from transforms.seeding import digest, integer
from transforms.tir.formats import CODE_FORMATS, GPT_OSS

CALLED_BY = (*CODE_FORMATS, TOOL_CALLS)
LEAST_OUTPUT = 64
# What Python is called where a template offers a model its own tools.
_BUILTIN_TOOLS = {GPT_OSS: "python", "llama3": "code_interpreter"}


@dataclasses.dataclass(frozen=True)
class PythonTool:
    """Python for a model to call while it solves.

    code_format: one of `CALLED_BY`: a code format, for text that the server completes; or
        `tool-calls`, for tools of its chat.
    sandbox: where code runs.
    template: the model's own, by which a conversation becomes text; None for a model without one,
        whose prompt is its messages one below the other.
    max_executions: how many calls are run for one solution: a number; or two, between which each
        sample's own is drawn by its seed; None for any number. The prompt gets it as
        `max_executions`.
    announce_remaining: whether each result says how many are left.
    when_spent: what happens to a call when none is left: it `ends` the solution and is not run,
        as published; or it is `refused`, and the model goes on.
    when_cut: what becomes of a solution whose tokens are used up, results included: a `reject`;
        or it is `kept`, as it is.
    timeout_s: of one call; published 10.
    output_limit: bytes of output that the model is shown of one call; published 1,000 characters.
    """

    sandbox: SandboxSettings
    code_format: str = "fenced"
    template: ChatTemplate | None = None
    max_executions: int | tuple[int, int] | None = 8
    announce_remaining: bool = False
    when_spent: Literal["ends", "refused"] = "ends"
    when_cut: Literal["reject", "kept"] = "reject"
    timeout_s: float = 10.0
    output_limit: int = 1000

    def __post_init__(self) -> None:
        if self.code_format not in CALLED_BY:
            raise ValueError(f"{self.code_format!r} is none of: {', '.join(CALLED_BY)}")
        match self.max_executions:
            case (low, high) if not 0 <= low <= high:
                raise ValueError(f"max_executions {low} to {high} is no range from 0 on")
            case int(number) if number < 0:
                raise ValueError(f"max_executions must be 0 or more, not {number}")
        if self.timeout_s <= 0 or self.output_limit < LEAST_OUTPUT:
            raise ValueError(
                f"a call takes more than 0 s and shows at least {LEAST_OUTPUT} bytes, not "
                f"{self.timeout_s} and {self.output_limit}"
            )

    def drawn(self, seed: int) -> int | None:
        """How many calls the sample with this seed may have run."""
        if not isinstance(self.max_executions, tuple):
            return self.max_executions
        low, high = self.max_executions
        return low + integer(high - low + 1, "max_executions", seed)

    def rendered(self, turn: Turn) -> str:
        """The prompt of a solution's first turn as text, for the model to go on.

        Raises:
            InputError: the template cannot render it.
        """
        messages = [(message.role, message.content) for message in turn.messages]
        if self.template is None:
            return "\n\n".join(content for _, content in messages)
        sampling = turn.sampling
        arguments: dict[str, Any] = dict(sampling.chat_template_args)
        if sampling.reasoning_effort is not None:
            arguments["reasoning_effort"] = sampling.reasoning_effort
        if self.code_format in _BUILTIN_TOOLS:
            arguments.setdefault("builtin_tools", [_BUILTIN_TOOLS[self.code_format]])
        return self.template.render(messages, **arguments)

    def settings(self) -> dict[str, Any]:
        """What decides the answers: part of their keys and of a stage's fingerprint."""
        return {
            "code_format": self.code_format,
            "sandbox": self.sandbox.identity(),
            "template": self.template and _hash(self.template),
            "max_executions": self.max_executions,
            "announce_remaining": self.announce_remaining,
            "when_spent": self.when_spent,
            "when_cut": self.when_cut,
            "timeout_s": self.timeout_s,
            "output_limit": self.output_limit,
        }


def _hash(template: ChatTemplate) -> str:
    tokens = (part for token in template.tokens for part in token)
    return digest(template.text, template.today, *tokens)
