"""Python that a language model wrote: nothing here trusts it."""

from sandbox.contract import (
    Execution,
    Sandbox,
    SandboxDown,
    SandboxError,
    SandboxSettings,
    Session,
)
from sandbox.docker import DockerSandbox

__all__ = [
    "DockerSandbox",
    "Execution",
    "Sandbox",
    "SandboxDown",
    "SandboxError",
    "SandboxSettings",
    "Session",
]
