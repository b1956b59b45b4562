"""Any server that speaks the OpenAI completions API: vLLM, NIM, SGLang, a gateway, a host."""

import os
import types
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pydantic

from transforms.engines.completions import Api
from transforms.engines.dialect import Dialect, DialectName
from transforms.engines.gate import Gate
from transforms.engines.pace import Pace
from transforms.engines.servers import Server
from transforms.engines.transport import EndpointTransport
from transforms.engines.wire import Wire
from transforms.errors import EngineDown


class Provider(NamedTuple):
    """A hosted API: where it is, and the environment variable that holds its key."""

    url: str
    key_env: str


PROVIDERS: Mapping[str, Provider] = types.MappingProxyType(
    {
        "nvidia": Provider("https://integrate.api.nvidia.com/v1", "NVIDIA_API_KEY"),
        "openai": Provider("https://api.openai.com/v1", "OPENAI_API_KEY"),
    }
)
_HOSTED = {provider.url: provider for provider in PROVIDERS.values()}
_KEY_ENV = "OPENAI_API_KEY"


class Endpoint(pydantic.BaseModel, frozen=True, extra="forbid", hide_input_in_errors=True):
    """Servers of one model and how to treat them.

    url: the API's base, such as http://localhost:8000/v1, or several with commas between them, or
        the name of a provider in `PROVIDERS`. Requests are spread over those that are up.
    model: the name the servers know the model by.
    key_env: the environment variable that holds the key; unset means no key. A provider's own by
        default, else OPENAI_API_KEY.
    in_flight: requests under way at once, per process.
    requests_per_minute, tokens_per_minute: limits per process over all URLs; None is no limit.
    dialect: what the servers do not take, beside what they say themselves.
    timeout_s: the longest one answer may take.
    attempts: how often a request may fail, while its server answers others, before it is given up.
    api: chat completions, or text completions of the prompt as it is, for a model without a chat
        template.
    patience_s: after so long of faults without an answer, a server is down; when all are, the run
        ends. 20 s are enough where no connection could ever be made.
    """

    url: str
    model: str
    key_env: str = ""
    in_flight: int = pydantic.Field(64, ge=1)
    requests_per_minute: int | None = pydantic.Field(None, ge=1)
    tokens_per_minute: int | None = pydantic.Field(None, ge=1)
    dialect: tuple[DialectName, ...] = ()
    timeout_s: float = pydantic.Field(3600.0, gt=0)
    attempts: int = pydantic.Field(8, ge=1)
    patience_s: float = pydantic.Field(120.0, ge=0)
    api: Api = "chat"

    @pydantic.field_validator("url")
    @classmethod
    def _as_urls(cls, text: str) -> str:
        named = PROVIDERS.get(text.strip())
        urls = [named.url] if named else [part.strip() for part in text.split(",") if part.strip()]
        if "?" in text or "#" in text:
            raise ValueError(
                "a URL must end before ? and #; put a key into the variable of --key_env"
            )
        return ",".join(dict.fromkeys(_checked(url, text) for url in urls or [text]))

    @pydantic.model_validator(mode="before")
    @classmethod
    def _with_the_providers_key(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("key_env"):
            return values
        url = str(values.get("url", "")).strip()
        provider = PROVIDERS.get(url) or _HOSTED.get(url.rstrip("/"))
        return {**values, "key_env": provider.key_env if provider else _KEY_ENV}

    @property
    def urls(self) -> tuple[str, ...]:
        """The bases, each without a slash at its end."""
        return tuple(self.url.split(","))

    def identity(self) -> str:
        """The model alone: its answers are the same wherever it is served."""
        return identity_of(self.model, self.api)

    def resource_hints(self) -> dict[str, str]:
        """None: any worker will do."""
        return {}

    def key(self) -> str:
        """The key, "" where there is none.

        Raises:
            EngineDown: a provider is asked that answers nobody without a key.
        """
        key = os.environ.get(self.key_env, "").strip()
        hosted = [url for url in self.urls if url in _HOSTED]
        if hosted and not key:
            raise EngineDown(
                f"{hosted[0]} needs a key: set the environment variable {self.key_env}"
            )
        return key

    def open(self, replicas: Sequence[Mapping[str, str]] = ({},)) -> EndpointTransport:
        """A transport with one connection pool; connections are made on demand.

        Args:
            replicas: behind each URL, by the headers that choose one.

        Raises:
            EngineDown: a provider's key is missing.
        """
        servers = [
            Server(url, self.in_flight, self.patience_s, headers)
            for url in self.urls
            for headers in replicas
        ]
        pace = Pace(self.requests_per_minute, self.tokens_per_minute)
        return EndpointTransport(
            model=self.model,
            servers=servers,
            gate=Gate(servers, self.in_flight, pace),
            pace=pace,
            wire=Wire(self.key(), self.timeout_s),
            dialect=Dialect(self.dialect),
            attempts=self.attempts,
            key_env=self.key_env,
            api=self.api,
        )


def identity_of(model: str, api: Api, deciding: str = "") -> str:
    """What decides a model's answers beside the request: part of every answer's key."""
    as_text = " as text" if api == "text" else ""
    return f"model:{model}{as_text}" + (f" with {deciding}" if deciding else "")


def shown(url: str) -> str:
    """A URL as messages have it: what may hold a password or a key is not repeated."""
    return "(not shown)" if set("@?#") & set(url) else repr(url)


def _checked(url: str, text: str) -> str:
    """One URL of all that `text` holds."""
    parts = urllib.parse.urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError("a URL must not hold a key; put it into the variable of --key_env")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        names = ", ".join(sorted(PROVIDERS))
        wrong = "it" if shown(text) != repr(text) else repr(url)
        raise ValueError(f"{wrong} is not a URL; write http://HOST:PORT/v1 or one of: {names}")
    return url.rstrip("/")
