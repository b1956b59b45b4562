"""The completions format, of chats and of plain text: what is sent, and what comes back."""

import json
from collections.abc import Sequence
from typing import Any, Literal

from transforms.engines.engine import Message, Reply, ToolCall, Turn
from transforms.records import TokenLogprob

Api = Literal["chat", "text"]
PATHS: dict[Api, str] = {"chat": "/chat/completions", "text": "/completions"}
_OURS = ("adapter", "fit_context", "logprobs")
_OF_CHATS = ("chat_template_kwargs", "reasoning_effort")
# What a chat is offered where the model calls Python as a tool.
TOOL_CALLS, PYTHON = "tool-calls", "python"
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": PYTHON,
            "description": "Runs Python and gives back what it prints, and the value of its last "
            "expression. Variables are kept from call to call.",
            "parameters": {
                "type": "object",
                "properties": {"code": {"type": "string", "description": "the code"}},
                "required": ["code"],
                "additionalProperties": False,
            },
        },
    }
]


def api_of(turn: Turn, api: Api) -> Api:
    """What a turn is sent to: text that is rendered here is completed as such."""
    return api if turn.rendered is None else "text"


def body_of(model: str, turn: Turn, api: Api = "chat") -> dict[str, Any]:
    """The request for a turn, in OpenAI's own dialect and, where that has no words, vLLM's.

    As plain text, the messages are sent one below the other, for the model to go on.
    """
    sampling, api = turn.sampling, api_of(turn, api)
    chosen = {name: value for name, value in sampling.chosen().items() if name not in _OURS}
    body: dict[str, Any] = {"model": sampling.adapter or model, **_prompt(turn, api)}
    body |= {"seed": turn.seed, **chosen}
    if sampling.logprobs is not None and api == "chat":
        body |= {"logprobs": True, "top_logprobs": sampling.logprobs}
    elif sampling.logprobs is not None:
        body["logprobs"] = sampling.logprobs
    if turn.rendered is not None:
        for name in _OF_CHATS:  # they are in the text
            body.pop(name, None)
        body |= {"add_special_tokens": False, "include_stop_str_in_output": True}
        body |= {"skip_special_tokens": False} if turn.raw else {}
    if turn.code_format == TOOL_CALLS:
        body["tools"] = _TOOLS
    held_to = turn.constraint
    if held_to is not None and held_to.kind == "json_schema":
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": held_to.form},
        }
    elif held_to is not None:
        body["structured_outputs"] = {held_to.kind: held_to.form}
    return body


def _prompt(turn: Turn, api: Api) -> dict[str, Any]:
    if turn.rendered is not None:
        return {"prompt": turn.rendered}
    if api == "text":
        return {"prompt": "\n\n".join(message.content for message in turn.messages)}
    return {"messages": [_message(message) for message in turn.messages]}


def _message(message: Message) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        body["tool_calls"] = [
            {"id": call.id, "type": "function",
             "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.calls
        ]  # fmt: skip
    if message.reasoning:
        body["reasoning_content"] = message.reasoning
    if message.call_id:
        body["tool_call_id"] = message.call_id
    return body


def reply_of(content: bytes, verbatim: bool = False) -> Reply:
    """The reply in a response's body.

    A model's refusal becomes a `Reply` whose finish_reason is "refusal" and whose text is the
    refusal. Reasoning is taken from its own field or from think tags; `verbatim`, the text is left
    as it is, to be gone on with.

    Raises:
        ValueError: it is no completion.
    """
    try:
        answer = json.loads(content)
        choice, usage = answer["choices"][0], answer.get("usage") or {}
        message = {"content": choice["text"]} if "text" in choice else choice["message"]
        apart = _text_of(message.get("reasoning_content")) or _text_of(message.get("reasoning"))
        text = _text_of(message.get("content"))
        text, reasoning = (text, apart) if apart or verbatim else split_reasoning(text)
        refusal = "" if text else str(message.get("refusal") or "")
        return Reply(
            text=text or refusal,
            reasoning=reasoning,
            finish_reason="refusal" if refusal else _text_of(choice.get("finish_reason")) or "stop",
            prompt_tokens=int(usage.get("prompt_tokens") or 0),
            completion_tokens=int(usage.get("completion_tokens") or 0),
            cached_tokens=_detailed(usage, "prompt_tokens_details", "cached_tokens"),
            reasoning_tokens=_detailed(usage, "completion_tokens_details", "reasoning_tokens"),
            logprobs=_logprobs(choice.get("logprobs") or {}),
            calls=_calls(message.get("tool_calls") or ()),
        )
    except (
        ValueError,
        ArithmeticError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        beginning = content[:200].decode(errors="replace")
        raise ValueError(f"not a completion: {beginning!r}") from error


def _detailed(usage: dict[str, Any], details: str, name: str) -> int:
    return int((usage.get(details) or {}).get(name) or 0)


def _logprobs(told: dict[str, Any]) -> tuple[TokenLogprob, ...]:
    """Those of the answer's tokens, in a chat's format or in that of plain text."""
    if "tokens" in told:
        tops = told.get("top_logprobs") or [None] * len(told["tokens"])
        return tuple(
            TokenLogprob(token, logprob, tuple((top or {}).items()))
            for token, logprob, top in zip(
                told["tokens"], told["token_logprobs"], tops, strict=True
            )
        )
    return tuple(
        TokenLogprob(
            drawn["token"],
            drawn["logprob"],
            tuple((other["token"], other["logprob"]) for other in drawn.get("top_logprobs") or ()),
        )
        for drawn in told.get("content") or ()
    )


def _calls(told: Sequence[dict[str, Any]]) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(
            _text_of(call.get("id")) or f"call-{number}",
            _text_of(call["function"]["name"]),
            _text_of(call["function"].get("arguments")),
        )
        for number, call in enumerate(told)
    )


def error_of(content: bytes) -> dict[str, Any]:
    """The error object of a refused request; its `message` is all of the body if need be."""
    text = content.decode(errors="replace")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return {"message": text}
    if not isinstance(body, dict):
        return {"message": text}
    error = body.get("error", body)
    if not isinstance(error, dict):
        return {"message": str(error)}
    return {**error, "message": str(error.get("message", error))}


def message_of(content: bytes) -> str:
    """What the server says is wrong, on one line of at most 300 characters."""
    return " ".join(error_of(content)["message"].split())[:300] or "no message"


def split_reasoning(text: str) -> tuple[str, str]:
    """(answer, reasoning) of a text in which the server left the reasoning between think tags."""
    if not text.lstrip().startswith("<think>") and ("</think>" not in text or _is_json(text)):
        return text, ""  # else the opening tag was in the prompt
    reasoning, _, answer = text.partition("</think>")
    return answer.lstrip(), reasoning.strip().removeprefix("<think>").strip()


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _text_of(value: Any) -> str:
    """A text, given as such or as a list of parts, of which those of text count; null is none.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(value, list):
        return "".join(part["text"] for part in value if part["type"] == "text")
    if not isinstance(value, str | None):
        raise TypeError(f"{value!r} is no text")
    return value or ""
