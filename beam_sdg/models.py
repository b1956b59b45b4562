"""Which model a stage asks, where it is served, how it draws and what it costs."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, get_args

import pydantic

from transforms.engines.completions import Api
from transforms.engines.dialect import DialectName
from transforms.engines.endpoint import PROVIDERS, Endpoint, shown
from transforms.engines.engine import Engine, Sampling
from transforms.engines.rehearsal import Rehearsal
from transforms.engines.vllm import Vllm
from transforms.errors import UsageError

C = TypeVar("C", bound=pydantic.BaseModel)
_ENGINES_NAME = {"vllm_args": "args"}
_FLAGS = {"in_flight": "in_flight", "url": "endpoint", "args": "vllm_args"}
_SAMPLING = (
    *("temperature", "top_p", "max_tokens", "top_k", "min_p", "repetition_penalty"),
    *("reasoning_effort", "adapter", "fit_context"),
)
_ENDPOINT = (
    *("model", "api", "key_env", "in_flight", "timeout_s", "patience_s"),
    *("requests_per_minute", "tokens_per_minute", "dialect"),
)
_VLLM = (
    *("model", "revision", "vllm_args", "gpus", "in_flight", "timeout_s", "start_timeout_s"),
    *("accelerator", "api"),
)


_ELSEWHERE = (
    *("endpoint", "key_env", "requests_per_minute", "tokens_per_minute", "dialect", "patience_s"),
)
_HERE = ("revision", "vllm_args", "gpus", "accelerator", "start_timeout_s")
_OF_A_MODEL = ("revision", "adapter")


class ModelSettings(pydantic.BaseModel, frozen=True, extra="forbid"):
    """The flags about models; `--set STAGE.NAME=VALUE` gives one stage a value of its own.

    Without a model the rehearsal answers in its place. Prices are US dollars per million tokens.
    """

    model: str | None = pydantic.Field(
        None,
        description="name of the model, as its server knows it; without --endpoint, a model of the "
        "Hugging Face hub or a folder, which vLLM serves here",
    )
    revision: str = pydantic.Field("", description="branch, tag or commit of a model of the hub")
    vllm_args: str = pydantic.Field(
        "", description="flags of vllm serve, such as '--tensor-parallel-size 8'"
    )
    gpus: str = pydantic.Field(
        "",
        description="GPUs that vLLM gets, such as 0,1 (default: all); stages whose models are on "
        "different ones are served side by side",
    )
    accelerator: str = pydantic.Field(
        "",
        description="what the workers of a cluster need for vLLM, and for nothing else, such as "
        "'type:nvidia-h100-80gb;count:8;install-nvidia-driver'",
    )
    start_timeout_s: float = pydantic.Field(
        1800.0, gt=0, description="longest wait for vLLM to load the model"
    )
    api: Api = pydantic.Field(
        "chat",
        description="completions of a chat, or of the prompt as plain text: for models without a "
        "chat template",
    )
    endpoint: str | None = pydantic.Field(
        None,
        description="URL of an OpenAI-compatible API, http://HOST:PORT/v1, or several of them, "
        f"separated by commas; or {' or '.join(PROVIDERS)}",
    )
    key_env: str = pydantic.Field(
        "",
        description="environment variable with the API key (default: OPENAI_API_KEY, or the "
        "provider's own)",
    )
    in_flight: int | None = pydantic.Field(
        None,
        ge=1,
        description="requests at once (default: 64; with vLLM here, twice its --max-num-seqs)",
    )
    requests_per_minute: int | None = pydantic.Field(
        None, ge=1, description="most requests a minute (default: no limit)"
    )
    tokens_per_minute: int | None = pydantic.Field(
        None, ge=1, description="most tokens a minute, in and out (default: no limit)"
    )
    dialect: tuple[DialectName, ...] = pydantic.Field(
        (),
        description="what the server does not take, if it does not say so itself: "
        + ", ".join(get_args(DialectName)),
    )
    timeout_s: float | None = pydantic.Field(
        None,
        gt=0,
        description="longest wait for one answer (default: an hour; with vLLM here, four)",
    )
    patience_s: float = pydantic.Field(
        120.0, ge=0, description="end the run when the server has failed for this long"
    )
    temperature: float | None = pydantic.Field(None, ge=0, description="of the sampling")
    top_p: float | None = pydantic.Field(None, gt=0, le=1, description="of the sampling")
    max_tokens: int | None = pydantic.Field(None, ge=1, description="most tokens of one answer")
    top_k: int | None = pydantic.Field(None, ge=1, description="of the sampling")
    min_p: float | None = pydantic.Field(None, ge=0, le=1, description="of the sampling")
    repetition_penalty: float | None = pydantic.Field(
        None, gt=0, description="of the sampling; 1 is none"
    )
    reasoning_effort: str | None = pydantic.Field(
        None, description="low, medium or high, for models that know it"
    )
    chat_template_args: dict[str, str] = pydantic.Field(
        {}, description="NAME=VALUE,… for the model's chat template, as in enable_thinking=false"
    )
    stop: str = pydantic.Field(
        "",
        description='text that ends an answer; several as a JSON list, as in \'["\\n\\n", "END"]\'',
    )
    adapter: str | None = pydantic.Field(
        None, description="LoRA adapter that answers, by the name that the server has for it"
    )
    fit_context: bool = pydantic.Field(
        False,
        description="where a server refuses prompt and max_tokens together as longer than the "
        "model's context, ask again for what the prompt leaves",
    )
    price_in: float | None = pydantic.Field(
        None, ge=0, description="US dollars per million prompt tokens, for reports"
    )
    price_out: float | None = pydantic.Field(
        None, ge=0, description="US dollars per million completion tokens, for reports"
    )
    rehearsal: dict[str, str] = pydantic.Field(
        {},
        description="NAME=VALUE,… of the rehearsed model: malformed, correctable and failing "
        "(shares of planted faults), latency_s, seed",
    )

    def engine(self, prompt_folders: tuple[str, ...]) -> Engine:
        """An endpoint where there is one, vLLM on this machine for a model alone, or the rehearsal.

        Raises:
            UsageError: a server without a model, or a bad value.
        """
        if self.endpoint and not self.model:
            raise UsageError(f"--endpoint {shown(self.endpoint)} needs the --model to ask it for")
        if self.model and self.rehearsal:
            raise UsageError("--rehearsal is for runs without a --model; drop one of them")
        if self.endpoint and (idle := self._set_of(_HERE)):
            raise UsageError(f"--{idle} is for models that vLLM serves here; drop it or --endpoint")
        if self.model and not self.endpoint and (idle := self._set_of(_ELSEWHERE)):
            raise UsageError(f"--{idle} is for models of an --endpoint; drop it, or name one")
        if self.endpoint:
            return validated(Endpoint, {"url": self.endpoint, **self._given(_ENDPOINT)})
        if self.model:
            return validated(Vllm, self._given(_VLLM))
        given = {**self._given(("in_flight",)), "prompts": prompt_folders}
        return validated(Rehearsal, {**given, **self.rehearsal}, "rehearsal ")

    def require_a_model(self) -> None:
        """Refuse what is of no use in a run whose answers are all rehearsed.

        Raises:
            UsageError: a setting of a model or its server.
        """
        if idle := self._set_of((*_ELSEWHERE, *_HERE, "adapter")):
            raise UsageError(f"--{idle} is of no use without a --model; name one or drop it")

    def _set_of(self, names: Iterable[str]) -> str:
        """The first of the settings that somebody has given a value, or ""."""
        return next((n for n in names if n in self.model_fields_set and getattr(self, n)), "")

    def _given(self, names: Iterable[str]) -> dict[str, Any]:
        """Settings by the names that engines have for them; what is not set is left to them."""
        values = {_ENGINES_NAME.get(name, name): getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def sampling(self, logprobs: int | None = None) -> Sampling:
        """The sampling asked for; what it leaves out is left to the server."""
        template = {name: typed(value) for name, value in self.chat_template_args.items()}
        settings = {name: getattr(self, name) for name in _SAMPLING}
        settings |= {"stop": _stops(self.stop), "chat_template_args": template}
        return Sampling(**settings, logprobs=logprobs)

    def changed(self, stage: str, values: Mapping[str, Any]) -> "ModelSettings":
        """These settings with a stage's own values.

        Those of another model are not taken over, nor those of another kind of server.

        Raises:
            UsageError: a name that is no setting of a stage, or a value that does not fit.
        """
        for name in values:
            if name not in type(self).model_fields:
                known = ", ".join(type(self).model_fields)
                raise UsageError(
                    f"--set {stage}.{name}: a stage has no such setting; known: {known}"
                )
        given = self.model_dump(exclude_unset=True)
        other = _HERE if values.get("endpoint", self.endpoint) else _ELSEWHERE
        for name in (*other, *(_OF_A_MODEL if "model" in values else ())):
            if name != "endpoint":
                given.pop(name, None)
        return validated(type(self), {**given, **values}, f"set {stage}.")


def _stops(text: str) -> tuple[str, ...]:
    """The texts of --stop.

    Raises:
        UsageError: what looks like a list is none of texts.
    """
    if not text.startswith("["):
        return (text,) if text else ()
    try:
        stops = json.loads(text)
    except ValueError as error:
        raise UsageError(f"--stop {text}: {error}; write a JSON list, or one text") from error
    if not all(isinstance(stop, str) and stop for stop in stops):
        raise UsageError(f"--stop {text}: it must be a list of texts")
    return tuple(stops)


def typed(value: str) -> Any:
    """A template's argument: true, false, null and numbers as such, all else as text."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def validated(model: type[C], values: Mapping[str, Any], flag: str = "") -> C:
    """A configuration from values; `flag` is what stands before a value's name on the command line.

    Raises:
        UsageError: the flag, the value and what is wrong with it.
    """
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        named = _FLAGS.get(name, f"{flag}{name}")
        if first["type"] == "extra_forbidden":
            known = ", ".join(model.model_fields)
            raise UsageError(f"--{named}: no such setting; there are {known}") from error
        if first["type"] == "missing":
            raise UsageError(f"--{named} is missing; the recipe cannot do without it") from error
        if name == "args":  # it may hold keys
            raise UsageError(f"--{named}: {message}") from error
        value = shown(str(first["input"])) if name == "url" else repr(first["input"])
        raise UsageError(f"--{named} {value}: {message}" if name else message) from error
