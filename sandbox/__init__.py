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
from sandbox.local import LocalSandbox

__all__ = [
    "DockerSandbox",
    "Execution",
    "LocalSandbox",
    "Sandbox",
    "SandboxDown",
    "SandboxError",
    "SandboxSettings",
    "Session",
]
