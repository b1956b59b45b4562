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

Folders = tuple[str, ...]
Rehearse = Callable[[Sequence[Mapping[str, str]], random.Random], str]


class PromptError(ValueError):
    """A template is missing or broken, or lacks a variable that it names."""


def render(
    name: str, variables: Mapping[str, object], folders: Folders = ()
) -> list[tuple[str, str]]:
    """The (role, text) messages of prompt `name`; an empty block makes no message.

    Args:
        name: the file's path below the folder, without its suffix: "infinibyte/evals".
        variables: a value for every variable of the template.
        folders: looked into first, one after the other.

    Raises:
        PromptError: no such template, a syntax error in it, or a variable it was not given.
    """
    with _explained(name, folders):
        template = _environment(folders).get_template(f"{name}.jinja")
        context = template.new_context(dict(variables))
        roles = [role for role in ("system", "user") if role in template.blocks]
        rendered = [(role, "".join(template.blocks[role](context)).strip()) for role in roles]
    if not roles:
        raise PromptError(f"prompt {name} has neither a system nor a user block")
    return [(role, text) for role, text in rendered if text]


@functools.lru_cache(maxsize=256)
def source_hash(name: str, folders: Folders = ()) -> str:
    """16 hex digits that change when the template or a file it includes changes."""
    environment = _environment(folders)
    seen: dict[str, str] = {}
    wanted = [f"{name}.jinja"]
    with _explained(name, folders):
        while wanted:
            file = wanted.pop()
            if file not in seen:
                assert environment.loader is not None
                seen[file] = environment.loader.get_source(environment, file)[0]
                found = jinja2.meta.find_referenced_templates(environment.parse(seen[file]))
                wanted += [reference for reference in found if reference]
    joined = "\0".join(seen[file] for file in sorted(seen))
    return hashlib.blake2b(joined.encode(), digest_size=8).hexdigest()


def unknown_overrides(folder: str, folders: Folders = ()) -> list[str]:
    """The templates in a folder of overrides that replace none in `folders` or of ours."""
    places = _places(folders)
    found = sorted(path.relative_to(folder) for path in Path(folder).rglob("*.jinja"))
    return [str(path) for path in found if not any((place / path).is_file() for place in places)]


@functools.lru_cache(maxsize=8)
def rehearsals_hash(folders: Folders = ()) -> str:
    """16 hex digits that change when the rehearsal of any prompt changes."""
    files: dict[str, Path] = {}
    for place in reversed(_places(folders)):
        files |= {str(path.relative_to(place)): path for path in place.rglob("*.py")}
    joined = "\0".join(f"{name}\0{files[name].read_text()}" for name in sorted(files))
    return hashlib.blake2b(joined.encode(), digest_size=8).hexdigest()


@functools.lru_cache(maxsize=256)
def rehearsal(name: str, folders: Folders = ()) -> Rehearse:
    """The generator of rehearsed answers that stands beside the template.

    Raises:
        PromptError: there is none.
    """
    for place in _places(folders):
        path = place / f"{name}.py"
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


def _places(folders: Folders) -> list[Path]:
    return [*map(Path, folders), HERE]


@functools.lru_cache(maxsize=8)
def _environment(folders: Folders) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_places(folders)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
        auto_reload=False,
    )


@contextlib.contextmanager
def _explained(name: str, folders: Folders) -> Iterator[None]:
    """Turn Jinja's errors into one that names the prompt and the mend."""
    try:
        yield
    except jinja2.TemplateNotFound as error:
        places = " or ".join(str(place) for place in _places(folders))
        raise PromptError(f"prompt {name}: there is no {error.name} in {places}") from error
    except jinja2.TemplateSyntaxError as error:
        where = f"{error.name or name}, line {error.lineno}"
        raise PromptError(f"prompt {name}: {where}: {error.message}") from error
    except jinja2.UndefinedError as error:
        raise PromptError(f"prompt {name}: {error.message}") from error
