"""The flags of recipes that let a model call Python: how it calls, and where code runs."""

from typing import Any, Literal, TypeVar

import pydantic

from beam_sdg.models import ModelSettings, validated
from beam_sdg.recipes.recipe import RecipeConfig
from beam_sdg.template_flags import TemplateConfig, pinned
from sandbox import DockerSandbox, LocalSandbox, SandboxSettings
from transforms.chat_template import ChatTemplate
from transforms.engines.completions import TOOL_CALLS
from transforms.errors import UsageError
from transforms.tir.python_tool import CALLED_BY, LEAST_OUTPUT, PythonTool

C = TypeVar("C", bound="SandboxConfig")
_SANDBOX = "sandbox_"
_DOCKER_ONLY = (
    *("sandbox_image", "sandbox_engine", "sandbox_tls", "sandbox_runtime"),
    "sandbox_sessions_per_container",
)


class SandboxConfig(RecipeConfig):
    """Base of the configurations of recipes that run what models write."""

    sandbox: Literal["docker", "local"] = pydantic.Field(
        "docker", description="where code runs; local is without any isolation, for development"
    )
    sandbox_image: str = pydantic.Field("", description="name of the containers' image")
    sandbox_engine: str = pydantic.Field(
        "", description="Docker engine, unix:///PATH or tcp://HOST:PORT (default: the local one)"
    )
    sandbox_tls: str = pydantic.Field(
        "", description="folder of ca.pem, cert.pem and key.pem for an engine elsewhere"
    )
    sandbox_runtime: str = pydantic.Field("", description="OCI runtime, such as runsc")
    sandbox_sessions_per_container: int | None = pydantic.Field(
        None, ge=1, description="more than 1 is cheaper, and weaker between samples (default: 1)"
    )
    sandbox_max_sessions: int | None = pydantic.Field(
        None, ge=1, description="sessions open at once (default: what memory allows)"
    )
    sandbox_max_running: int | None = pydantic.Field(
        None, ge=1, description="calls that run at once (default: two per core)"
    )

    def sandbox_settings(self) -> SandboxSettings:
        """Where code runs.

        Raises:
            UsageError: a flag does not fit the kind of sandbox.
        """
        names = [name for name in type(self).model_fields if name.startswith(_SANDBOX)]
        values = {name: value for name in names if (value := getattr(self, name))}
        idle = next((name for name in _DOCKER_ONLY if name in values), None)
        if self.sandbox == "local" and idle:
            raise UsageError(f"--{idle} is of Docker's sandbox; drop it or --sandbox local")
        kind: type[Any] = DockerSandbox if self.sandbox == "docker" else LocalSandbox
        given = {name.removeprefix(_SANDBOX): value for name, value in values.items()}
        return validated(kind, given, _SANDBOX)

    def without_walls(self: C) -> C:
        """These settings with the local sandbox."""
        docker = {name: type(self).model_fields[name].get_default() for name in _DOCKER_ONLY}
        return self.model_copy(update={**docker, "sandbox": "local"})


class PythonConfig(TemplateConfig, SandboxConfig):
    """Base of the configurations of recipes that solve with Python."""

    code_format: str = pydantic.Field(
        "fenced", description=f"how calls are written: {', '.join(CALLED_BY)}"
    )
    max_executions: str = pydantic.Field(
        "8",
        description="calls that are run for one solution: a number, or LOW-HIGH, from which each "
        "sample's own is drawn, or none for no limit",
    )
    announce_remaining: bool = pydantic.Field(
        False, description="say after each result how many executions are left"
    )
    when_spent: Literal["ends", "refused"] = pydantic.Field(
        "ends",
        description="what happens to a call when none is left: it ends the solution, or is refused",
    )
    when_cut: Literal["reject", "kept"] = pydantic.Field(
        "reject",
        description="what becomes of a solution whose tokens are used up: reject or kept",
    )
    execution_timeout_s: float = pydantic.Field(10.0, gt=0, description="most time of one call")
    output_limit: int = pydantic.Field(
        1000, ge=LEAST_OUTPUT, description="most bytes of its output that the model is shown"
    )
    tokenizer: str = pydantic.Field(
        "",
        description="folder or hub name[@revision] whose chat template makes the prompt (default: "
        "the model)",
    )

    @pydantic.field_validator("max_executions")
    @classmethod
    def _is_a_number_or_a_range(cls, text: str) -> str:
        _range(text)
        return text

    @pydantic.field_validator("code_format")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in CALLED_BY:
            raise ValueError(f"{name!r} is none of: {', '.join(CALLED_BY)}")
        return name

    def python(self, models: ModelSettings) -> PythonTool:
        """What the model of these settings may call.

        Raises:
            UsageError: a flag does not fit, or the model has no template.
        """
        if self.code_format == TOOL_CALLS and models.api == "text":
            raise UsageError(f"--code_format {TOOL_CALLS} is of chats; drop --api text")
        if self.tokenizer and (self.code_format == TOOL_CALLS or models.api == "text"):
            raise UsageError(
                f"--tokenizer {self.tokenizer} would not be used: the server renders chats with "
                "tools, and --api text has no template; drop it"
            )
        return PythonTool(
            sandbox=self.sandbox_settings(),
            code_format=self.code_format,
            template=self._template(models),
            max_executions=_range(self.max_executions),
            announce_remaining=self.announce_remaining,
            when_spent=self.when_spent,
            when_cut=self.when_cut,
            timeout_s=self.execution_timeout_s,
            output_limit=self.output_limit,
        )

    def written_as(self) -> str:
        """The code format of the calls in solutions' texts."""
        return "fenced" if self.code_format == TOOL_CALLS else self.code_format

    def _template(self, models: ModelSettings) -> ChatTemplate | None:
        if self.code_format == TOOL_CALLS or models.api == "text":
            return None
        if self.tokenizer:
            return self.template_of(*pinned(self.tokenizer))
        return self.template_of(models.model, models.revision) if models.model else None


def _range(text: str) -> int | tuple[int, int] | None:
    """A number, two of them, or none.

    Raises:
        ValueError: it is something else.
    """
    if text == "none":
        return None
    parts = text.split("-")
    if not all(part.isdigit() for part in parts) or len(parts) > 2:
        raise ValueError(f"{text!r} is no number, no LOW-HIGH and not none")
    if len(parts) == 1:
        return int(text)
    low, high = map(int, parts)
    if low > high:
        raise ValueError(f"{text!r}: the first number is more than the second")
    return low, high
