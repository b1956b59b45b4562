"""Prompts: one Jinja template a file, rendered strictly, its answers' rehearsal beside it.

`infinibyte/evals.jinja` holds a `system` and a `user` block; `infinibyte/evals.py` holds
`rehearse(messages, rng)`, which writes what a model might answer. A folder of a user's own, with
files of the same names, overrides the ones here file by file.
"""

import contextlib
import functools
import hashlib
import importlib.util
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import jinja2
import jinja2.meta

HERE = Path(__file__).parent

Rehearse = Callable[[Sequence[Mapping[str, str]], random.Random], str]


class PromptError(ValueError):
    """A template is missing or broken, or lacks a variable that it names."""


def render(
    name: str, variables: Mapping[str, object], overrides: str = ""
) -> list[tuple[str, str]]:
    """The (role, text) messages of prompt `name`; an empty block makes no message.

    Args:
        name: the file's path below the folder, without its suffix: "infinibyte/evals".
        variables: a value for every variable of the template.
        overrides: a folder that is looked into first.

    Raises:
        PromptError: no such template, a syntax error in it, or a variable it was not given.
    """
    with _explained(name, overrides):
        template = _environment(overrides).get_template(f"{name}.jinja")
        context = template.new_context(dict(variables))
        roles = [role for role in ("system", "user") if role in template.blocks]
        rendered = [(role, "".join(template.blocks[role](context)).strip()) for role in roles]
    if not roles:
        raise PromptError(f"prompt {name} has neither a system nor a user block")
    return [(role, text) for role, text in rendered if text]


@functools.lru_cache(maxsize=256)
def source_hash(name: str, overrides: str = "") -> str:
    """16 hex digits that change when the template or a file it includes changes."""
    environment = _environment(overrides)
    seen: dict[str, str] = {}
    wanted = [f"{name}.jinja"]
    with _explained(name, overrides):
        while wanted:
            file = wanted.pop()
            if file not in seen:
                assert environment.loader is not None
                seen[file] = environment.loader.get_source(environment, file)[0]
                found = jinja2.meta.find_referenced_templates(environment.parse(seen[file]))
                wanted += [reference for reference in found if reference]
    joined = "\0".join(seen[file] for file in sorted(seen))
    return hashlib.blake2b(joined.encode(), digest_size=8).hexdigest()


def unknown_overrides(overrides: str) -> list[str]:
    """The templates in a folder of overrides that replace none of ours."""
    if not overrides:
        return []
    found = [path.relative_to(overrides) for path in Path(overrides).rglob("*.jinja")]
    return sorted(str(path) for path in found if not (HERE / path).is_file())


@functools.lru_cache(maxsize=8)
def rehearsals_hash(overrides: str = "") -> str:
    """16 hex digits that change when the rehearsal of any prompt changes."""
    names = sorted(str(path.relative_to(HERE)) for path in HERE.rglob("*.py"))
    folders = _folders(overrides)
    files = [next(folder / n for folder in folders if (folder / n).is_file()) for n in names]
    joined = "\0".join(file.read_text() for file in files)
    return hashlib.blake2b(joined.encode(), digest_size=8).hexdigest()


@functools.lru_cache(maxsize=256)
def rehearsal(name: str, overrides: str = "") -> Rehearse:
    """The generator of rehearsed answers that stands beside the template.

    Raises:
        PromptError: there is none.
    """
    for folder in _folders(overrides):
        path = folder / f"{name}.py"
        if path.is_file():
            spec = importlib.util.spec_from_file_location(f"rehearsal_{path.stem}", path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module.rehearse
    raise PromptError(f"prompt {name} has no rehearsal; write {name}.py beside {name}.jinja")


def tagged(messages: Sequence[Mapping[str, str]], tag: str) -> str:
    """What stands between <tag> and </tag> in the first user message: for rehearsals."""
    user = next(message["content"] for message in messages if message["role"] == "user")
    found = re.search(rf"<{tag}>\n?(.*?)\n?</{tag}>", user, re.DOTALL)
    if not found:
        raise PromptError(f"the prompt has no <{tag}> for its rehearsal to read")
    return found.group(1)


def _folders(overrides: str) -> list[Path]:
    return [Path(overrides), HERE] if overrides else [HERE]


@functools.lru_cache(maxsize=8)
def _environment(overrides: str) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_folders(overrides)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
        auto_reload=False,
    )


@contextlib.contextmanager
def _explained(name: str, overrides: str) -> Iterator[None]:
    """Turn Jinja's errors into one that names the prompt and the mend."""
    try:
        yield
    except jinja2.TemplateNotFound as error:
        places = " or ".join(str(folder) for folder in _folders(overrides))
        raise PromptError(f"prompt {name}: there is no {error.name} in {places}") from error
    except jinja2.TemplateSyntaxError as error:
        where = f"{error.name or name}, line {error.lineno}"
        raise PromptError(f"prompt {name}: {where}: {error.message}") from error
    except jinja2.UndefinedError as error:
        raise PromptError(f"prompt {name}: {error.message}") from error
