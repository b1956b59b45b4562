"""The flags of recipes that render a model's chat template on this side."""

import dataclasses
import functools

import pydantic

from beam_sdg.recipes.recipe import RecipeConfig
from transforms.chat_template import ChatTemplate
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
