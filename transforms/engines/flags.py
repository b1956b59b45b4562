"""The flags of `vllm serve`, as a user has written them."""

import re
import shlex
from pathlib import Path

from transforms.seeding import digest

_SHORT = {
    "-dp": "--data-parallel-size",
    "-pp": "--pipeline-parallel-size",
    "-q": "--quantization",
    "-tp": "--tensor-parallel-size",
}
# What our program sets, or what is no business of a command line that others can see.
_OURS = {
    **dict.fromkeys(
        ("--host", "--port", "--uds", "--served-model-name", "--revision"),
        "is set by this program; leave it out",
    ),
    "--api-key": "is of no use on the loopback; leave it out",
    "--hf-token": "would be seen by everybody here; set the environment variable HF_TOKEN",
}
_DECIDING = (
    *("--lora-modules", "--chat-template", "--default-chat-template-kwargs", "--reasoning-parser"),
    *("--generation-config", "--override-generation-config", "--hf-overrides", "--quantization"),
    *("--tokenizer", "--tokenizer-revision", "--tokenizer-mode", "--code-revision"),
)
_SECRET = re.compile(r"(?:^|[-_])(?:token|key|secret|password|credentials?)$")
_MEMBER = re.compile(r'"([^"]+)"(\s*:\s*)"[^"]*"')


def flags_of(args: str) -> dict[str, str]:
    """Flags by their long names; one without a value has "", one with several has them in a row.

    Raises:
        ValueError: a quotation mark is not closed.
    """
    flags: dict[str, str] = {}
    name = ""
    for word in shlex.split(args):
        if word.startswith("--") or word.split("=")[0] in _SHORT:
            written, _, value = word.partition("=")
            name = _SHORT.get(written, written.replace("_", "-"))
            flags[name] = value
        elif name:
            flags[name] = f"{flags[name]} {word}".strip()
    return flags


def refused(args: str) -> str:
    """What a user may not set, and why; "" where there is nothing of it.

    vLLM understands a flag that is cut short, so that is refused too.
    """
    for flag in flags_of(args):
        for ours, why in _OURS.items():
            if ours.startswith(flag) and len(flag) > len("--"):
                return f"{flag} {why}"
    return ""


def deciding(args: str) -> str:
    """What of the flags decides the answers, and not only how fast they come.

    Of a file it is the content that counts.
    """
    flags = flags_of(args)
    found = []
    for name in _DECIDING:
        if name in flags:
            value = flags[name]
            is_file = name == "--chat-template" and Path(value).is_file()
            found.append(f"{name}={digest(Path(value).read_text()) if is_file else value}")
    return " ".join(found)


def shown(args: str) -> str:
    """The flags as on a command line, without the values of keys and tokens."""
    words = shlex.split(args)
    for number, word in enumerate(words):
        name, is_set, value = word.partition("=")
        if name.startswith("--") and _SECRET.search(name):
            if is_set:
                words[number] = f"{name}=..."
            elif number + 1 < len(words):
                words[number + 1] = "..."
        elif "{" in word:
            words[number] = _MEMBER.sub(_masked, word)
    return shlex.join(words)


def _masked(member: re.Match[str]) -> str:
    name, colon = member.groups()
    return f'"{name}"{colon}"..."' if _SECRET.search(name.lower()) else member[0]
