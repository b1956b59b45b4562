"""The flags of recipes that render a model's chat template on this side."""

import dataclasses
import functools
from pathlib import Path

import pydantic

from beam_sdg.recipes.recipe import RecipeConfig
from transforms.chat_template import ChatTemplate, commit_of
from transforms.errors import UsageError


class TemplateConfig(RecipeConfig):
    """Base of the configurations of such recipes."""

    today: str = pydantic.Field(
        "",
        pattern=r"^(\d{4}-\d{2}-\d{2})?$",
        description="the date, as 2025-08-31, for chat templates that write one",
    )

    def template_of(self, model: str, revision: str = "") -> ChatTemplate:
        """The template of a model, with the date that it writes, if it does.

        Raises:
            UsageError: it writes a date, and there is none; or the model has no template.
            InputError: the model or its template cannot be read.
        """
        template = _template_of(model, revision)
        template.check()
        if not template.reads_the_date:
            return template
        if not self.today:
            raise UsageError(
                f"--today is missing: the chat template of {model} writes a date, and one that "
                "changes would make all answers of yesterday void; pass one, such as 2025-08-31"
            )
        return dataclasses.replace(template, today=self.today)


@functools.lru_cache(maxsize=16)
def _template_of(model: str, revision: str) -> ChatTemplate:
    return ChatTemplate.of_model(model, revision)


@functools.lru_cache(maxsize=16)
def pinned(written: str) -> tuple[str, str]:
    """The name and the hub's commit of the model that NAME[@REVISION] means; "" of a folder.

    Raises:
        UsageError: a folder with a revision; or the hub's client is not installed.
        InputError: there is no such model or revision, or no access to it.
    """
    name, _, revision = written.partition("@")
    if Path(written).expanduser().is_dir():
        return written, ""
    if revision and Path(name).expanduser().is_dir():
        raise UsageError(f"{written}: a folder has no revisions; leave @{revision} out")
    return name, commit_of(name, revision)
