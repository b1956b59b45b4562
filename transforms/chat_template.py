"""A model's chat template: where it is among the model's files, and conversations rendered by it.

A template is code that came with the model. It is rendered in Jinja's immutable sandbox, set up as
Transformers does, and so as vLLM would render it.
"""

import dataclasses
import datetime
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.meta
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from transforms.errors import InputError, UsageError

# What a template's own code may raise while it is rendered.
TEMPLATE_FAULTS = (jinja2.TemplateError, TypeError, ValueError, LookupError, ArithmeticError)

_JINJA, _TOKENIZER, _PROCESSOR = (
    "chat_template.jinja",
    "tokenizer_config.json",
    "chat_template.json",
)
_GIVEN = {"messages", "tools", "documents", "add_generation_prompt", "continue_final_message"}
_CLOCK = "strftime_now"
Written = tuple[str, str] | Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A chat template, and what decides how it renders.

    text: of the template.
    tokens: the special tokens that it may read, by name, such as bos_token.
    name: what messages call it: the model, or the file or the flag that it is in.
    today: the date that it is told if it asks for one, as 2025-08-31. There is none by default,
        for the day of the run would be in every prompt, and no answer of yesterday's would count.
    """

    text: str
    tokens: tuple[tuple[str, str], ...] = ()
    name: str = "the chat template"
    today: str = ""

    @classmethod
    def of_model(cls, model: str, revision: str = "", today: str = "") -> "ChatTemplate":
        """The template of a model in a folder or on the hub, of which only small files are read.

        Raises:
            UsageError: the hub's client is not installed, or the model has no template.
            InputError: there is no such model, no access to it, or a file that cannot be read.
        """
        read = {
            name: model_file(model, revision, name) for name in (_JINJA, _TOKENIZER, _PROCESSOR)
        }
        documents = {name: _document(model, name, read[name]) for name in (_TOKENIZER, _PROCESSOR)}
        _, text = find_template(read[_JINJA], documents[_TOKENIZER], documents[_PROCESSOR])
        if not text:
            raise UsageError(
                f"{model} has no chat template; name a model that has, or ask for text"
            )
        return cls(text, special_tokens(documents[_TOKENIZER]), model, today)

    @property
    def reads(self) -> frozenset[str]:
        """The variables that it reads and a run can set: no messages, no special tokens."""
        known = _GIVEN | {_CLOCK} | set(_ENVIRONMENT.globals)
        names = jinja2.meta.find_undeclared_variables(parsed(self.text)) - known
        return frozenset(name for name in names if not name.endswith("_token"))

    @property
    def reads_the_date(self) -> bool:
        """Whether it may ask for the date, so that `today` has to be set."""
        return _CLOCK in jinja2.meta.find_undeclared_variables(parsed(self.text))

    def render(self, messages: Sequence[tuple[str, str]], **arguments: Any) -> str:
        """A conversation, (role, content) each, as the model gets it, up to where it is to go on.

        Args:
            messages: in order.
            arguments: the template's own variables, such as reasoning_effort.

        Raises:
            InputError: the template refuses the conversation, or asks for a date and has none.
        """
        try:
            return self.rendered(messages, add_generation_prompt=True, **arguments)
        except TEMPLATE_FAULTS as error:
            said = " ".join(str(error).split())
            raise InputError(
                f"the chat template of {self.name} cannot render the prompt: {said}; change the "
                "prompt or the template's arguments, or take another model"
            ) from error

    def check(self) -> None:
        """Look whether the template can be read at all.

        Raises:
            InputError: it cannot.
        """
        try:
            _compiled(self.text)
        except jinja2.TemplateError as error:
            said = " ".join(str(error).split())
            raise InputError(
                f"the chat template of {self.name} cannot be read: {said}; mend or copy it"
            ) from error

    def rendered(self, messages: Sequence[Written], **variables: Any) -> str:
        """As `render`, with no more than the variables that are given.

        A message may be (role, content), or have more to it: then it is as templates know it.

        Raises:
            TEMPLATE_FAULTS: the template's own.
            InputError: it asks for a date and has none.
        """
        given = {"tools": None, "documents": None, "add_generation_prompt": False, **variables}
        written = [
            {"role": message[0], "content": message[1]}
            if isinstance(message, tuple)
            else dict(message)
            for message in messages
        ]
        variables = {**dict(self.tokens), _CLOCK: self._date, **given}
        return _compiled(self.text).render(messages=written, **variables)

    def _date(self, form: str) -> str:
        if not self.today:
            raise InputError(
                f"the chat template of {self.name} writes today's date; set one, such as "
                "2025-08-31, so that tomorrow's prompts are the same"
            )
        return datetime.datetime.fromisoformat(self.today).strftime(form)


def find_template(
    jinja: str | None, tokenizer: Mapping[str, Any], processor: Mapping[str, Any]
) -> tuple[str, str]:
    """The name of the file that has the template, and its text; two "" where there is none.

    Args:
        jinja: the content of chat_template.jinja, if there is one.
        tokenizer: tokenizer_config.json, or {}.
        processor: chat_template.json, or {}.
    """
    if jinja is not None:
        return _JINJA, jinja
    for name, content in ((_TOKENIZER, tokenizer), (_PROCESSOR, processor)):
        if text := _default(content.get("chat_template")):
            return name, text
    return "", ""


def special_tokens(tokenizer: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The special tokens that a template may read, by name."""
    texts = {
        name: token_text(value) for name, value in tokenizer.items() if name.endswith("_token")
    }
    found = {"bos_token": "", "eos_token": "", **{name: t for name, t in texts.items() if t}}
    return tuple(found.items())


def token_text(token: object) -> str:
    """A token's text: it is written as such, or with its properties."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""


def parsed(text: str) -> jinja2.nodes.Template:
    """The syntax tree of a template.

    Raises:
        jinja2.TemplateSyntaxError: it has none.
    """
    return _ENVIRONMENT.parse(text)


def _default(written: object) -> str:
    """A template; of several that have names, the one for chats without tools."""
    if isinstance(written, list):
        named = {one.get("name"): one.get("template") for one in written if isinstance(one, dict)}
        written = named.get("default")
    return written if isinstance(written, str) else ""


class _Generation(jinja2.ext.Extension):
    """`{% generation %}`, which marks what a model has said, for training: here it does nothing."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> jinja2.Environment:
    def raise_exception(message: str) -> NoReturn:
        raise jinja2.TemplateError(message)

    def tojson(value: Any, indent: int | None = None, **_: Any) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent)

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols", _Generation],
    )
    environment.filters["tojson"] = tojson
    environment.globals |= {"raise_exception": raise_exception}
    return environment


_ENVIRONMENT = _environment()


@functools.lru_cache(maxsize=16)
def _compiled(text: str) -> jinja2.Template:
    return _ENVIRONMENT.from_string(text)


def model_file(model: str, revision: str, name: str, what: str = "the chat template") -> str | None:
    """The content of a file of a model; None where the model has none of that name.

    Args:
        model: a folder, or a name on the hub.
        revision: there; "" for its main branch.
        name: of the file.
        what: it is needed for, as messages say it.

    Raises:
        UsageError: it is on the hub, whose client is not installed.
        InputError: there is no such model, no access to it, or the file cannot be read.
    """
    folder = Path(model).expanduser()
    path = folder / name if folder.is_dir() else _downloaded(model, revision, name, what)
    if path is None or not path.is_file():
        return None
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(model, name, error) from error


def commit_of(model: str, revision: str = "") -> str:
    """The hub's commit at which small files of a model are read; "" of a folder.

    Raises:
        UsageError, InputError: as `model_file`.
    """
    if Path(model).expanduser().is_dir():
        return ""
    read = (_downloaded(model, revision, name, "the tokenizer") for name in (_TOKENIZER, _JINJA))
    return next((path.parent.name for path in read if path is not None), revision)


def _downloaded(model: str, revision: str, name: str, what: str) -> Path | None:
    try:
        import huggingface_hub
        from huggingface_hub import constants, errors
    except ImportError as error:
        raise UsageError(
            f"{what} of {model} is on the hub, whose client is not installed; "
            "pip install 'beam-sdg[hub]', or give a folder"
        ) from error
    try:
        return Path(huggingface_hub.hf_hub_download(model, name, revision=revision or None))
    except errors.LocalEntryNotFoundError as error:
        if constants.HF_HUB_OFFLINE:
            return None
        raise _unreached(model, what, error) from error
    except errors.EntryNotFoundError:
        return None
    except (errors.HfHubHTTPError, errors.HTTPError, errors.HFValidationError, OSError) as error:
        raise _unreached(model, what, error) from error


def _unreached(model: str, what: str, error: Exception) -> InputError:
    said = " ".join(str(error).split())
    return InputError(
        f"cannot get {what} of {model}: {said}; check the name, the revision, the "
        "network and HF_TOKEN, or give a folder"
    )


def _document(model: str, name: str, content: str | None) -> Mapping[str, Any]:
    try:
        document = json.loads(content or "{}")
    except ValueError as error:
        raise _damaged(model, name, error) from error
    return document if isinstance(document, dict) else {}


def _damaged(model: str, name: str, error: Exception) -> InputError:
    return InputError(f"{name} of {model} cannot be read: {error}; copy or download it again")
