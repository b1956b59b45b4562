"""The chat template: whether there is one, what it takes, and if its turns end as the model's."""

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2

from beam_sdg.model_check.finding import Finding
from beam_sdg.model_check.formats import check_formats
from beam_sdg.model_check.model import Model, whole_number
from beam_sdg.model_check.vllm_names import VllmNames
from transforms.chat_template import (
    TEMPLATE_FAULTS,
    ChatTemplate,
    find_template,
    parsed,
    special_tokens,
    token_text,
)

_SYSTEM, _USER, _ANSWER = "SYSTEM-MESSAGE", "USER-MESSAGE", "ASSISTANT-MESSAGE"
_TOOL = "name_of_the_tool"
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": _TOOL,
            "description": "What it does.",
            "parameters": {
                "type": "object",
                "properties": {"code": {"type": "string", "description": "What it takes."}},
                "required": ["code"],
            },
        },
    }
]


def check_template(model: Model, known: VllmNames | None) -> Iterator[Finding]:
    """Look for the template, render it, and say what it takes."""
    where, text = _found(model)
    if not text:
        yield _without(model, where)
        return
    try:
        parsed(text)
    except jinja2.TemplateSyntaxError as error:
        yield Finding("wrong", "template", f"{where}, line {error.lineno}: {error.message}")
        return
    today = datetime.date.today().isoformat()
    template = ChatTemplate(text, special_tokens(model.tokenizer), where, today)
    try:
        template.rendered([("user", _USER)], add_generation_prompt=True)
    except TEMPLATE_FAULTS as error:
        yield Finding("wrong", "template", f"{where} cannot render a user's message: {error}")
        return
    takes_tools = _shows(template, _TOOL, ("user", _USER), tools=_TOOLS)
    yield _system(template)
    yield from _arguments(template)
    yield from _turn_end(model, template)
    yield from check_formats(model, text, template.reads, takes_tools, known)


def _found(model: Model) -> tuple[str, str]:
    """Where the template is and its text, in the order in which vLLM looks; the text may be ""."""
    if "--chat-template" in model.flags:
        given = model.flags["--chat-template"]
        if Path(given).is_file():
            return given, Path(given).read_text(encoding="utf-8")
        return ("--chat-template", given) if "{" in given else (given, "")
    has_one = "chat_template.jinja" in model.files.sizes
    jinja = model.files.text("chat_template.jinja") if has_one else None
    return find_template(jinja, model.tokenizer, model.documents.get("chat_template.json", {}))


def _without(model: Model, where: str) -> Finding:
    if where:
        return Finding("missing", "template", f"--chat-template {where}: there is no such file")
    if "tekken.json" in model.files.sizes:
        text = "none; mistral-common renders chats for this tokenizer (--tokenizer-mode mistral)"
        return Finding("not seen", "template", text)
    text = 'none: only texts can be completed; --vllm_args "--chat-template FILE" gives it one'
    return Finding("warning", "template", text)


def _shows(template: ChatTemplate, mark: str, *turns: tuple[str, str], **variables: Any) -> bool:
    try:
        return mark in template.rendered(turns, add_generation_prompt=True, **variables)
    except TEMPLATE_FAULTS:
        return False


def _system(template: ChatTemplate) -> Finding:
    """Prompts have a system message, so a template that does without is a matter to know of."""
    try:
        rendered = template.rendered(
            [("system", _SYSTEM), ("user", _USER)], add_generation_prompt=True
        )
    except TEMPLATE_FAULTS as error:
        text = f"{template.name} refuses system messages, which our prompts have: {error}"
        return Finding("warning", "template", " ".join(text.split()))
    if _SYSTEM not in rendered:
        text = f"{template.name} leaves system messages out, which our prompts have"
        return Finding("warning", "template", text)
    return Finding("ok", "template", f"{template.name} takes system messages")


def _arguments(template: ChatTemplate) -> Iterator[Finding]:
    """The variables that a run can set."""
    reads = template.reads
    if "reasoning_effort" in reads:
        text = "the template reads it: --reasoning_effort low, medium or high"
        yield Finding("ok", "effort", text)
    if names := sorted(reads - {"reasoning_effort"}):
        text = f"the template reads {', '.join(names)}: --chat_template_args NAME=VALUE,…"
        yield Finding("ok", "arguments", text)


def _turn_end(model: Model, template: ChatTemplate) -> Iterator[Finding]:
    """What the template writes after an answer should be what ends the model's.

    Where it is not, the model writes the template's mark and goes on, up to the limit.
    """
    after = _after_an_answer(template)
    if after is None:
        return
    ends, unknown = _ends(model)
    if not ends:
        yield Finding("not seen", "end of turn", "no eos_token is named, so it is not compared")
    elif any(after.lstrip().startswith(end) for end in ends):
        [end] = [end for end in ends if after.lstrip().startswith(end)][:1]
        yield Finding("ok", "end of turn", f"{end}, which ends an answer in vLLM too")
    elif unknown:
        text = f"the eos ids {', '.join(map(str, unknown))} have no text in the files looked at"
        yield Finding("not seen", "end of turn", text)
    else:
        mark = after.split()[0] if after.split() else "nothing"
        text = (
            f"the template ends an answer with {mark}, but the model's eos is {' or '.join(ends)}"
        )
        mend = "answers may run on; put that token's id into eos_token_id of generation_config.json"
        yield Finding("warning", "end of turn", f"{text}: {mend}")


def _after_an_answer(template: ChatTemplate) -> str | None:
    """What follows an answer: at the end of a chat, or if that is nothing, before the next turn."""
    turns = [("user", _USER), ("assistant", _ANSWER), ("user", _USER)]
    try:
        for count in (2, 3):
            _, shown, after = template.rendered(turns[:count]).rpartition(_ANSWER)
            if shown and after.strip():
                return after
    except TEMPLATE_FAULTS:
        return None
    return "" if shown else None


def _ends(model: Model) -> tuple[list[str], list[int]]:
    """The texts of the tokens at which vLLM stops, and ids whose text is not known."""
    source = model.generation or model.config
    ids = source.get("eos_token_id")
    numbers = [whole_number(one) for one in (ids if isinstance(ids, list) else [ids])]
    texts = _texts_of_tokens(model)
    known = [texts[number] for number in numbers if number in texts]
    unknown = [number for number in numbers if number is not None and number not in texts]
    own = token_text(model.tokenizer.get("eos_token"))
    return list(dict.fromkeys(filter(None, [own, *known]))), unknown


def _texts_of_tokens(model: Model) -> dict[int | None, str]:
    """Id -> text of the special tokens; tokenizer.json is large, and read from a folder only."""
    added = model.tokenizer.get("added_tokens_decoder")
    texts: dict[int | None, str] = {}
    if isinstance(added, dict):
        texts |= {int(number): token_text(t) for number, t in added.items() if number.isdigit()}
    if model.files.is_local and "tokenizer.json" in model.files.sizes:
        try:
            tokens = json.loads(model.files.text("tokenizer.json"))["added_tokens"]
            texts |= {whole_number(token["id"]): token_text(token) for token in tokens}
        except (ValueError, LookupError, TypeError):
            return texts
    return texts
