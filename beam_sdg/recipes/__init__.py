"""The recipes, one file each, and those that users bring."""

import dataclasses
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from beam_sdg.recipes.decontaminate import DECONTAMINATE
from beam_sdg.recipes.genselect import GENSELECT
from beam_sdg.recipes.infinibyte import INFINIBYTE
from beam_sdg.recipes.nemotron_math_v2 import NEMOTRON_MATH_V2
from beam_sdg.recipes.openmathreasoning_problems import OPENMATHREASONING_PROBLEMS
from beam_sdg.recipes.openmathreasoning_solutions import OPENMATHREASONING_SOLUTIONS
from beam_sdg.recipes.openreasoning_code import OPENREASONING_CODE
from beam_sdg.recipes.openreasoning_math import OPENREASONING_MATH
from beam_sdg.recipes.openreasoning_science import OPENREASONING_SCIENCE
from beam_sdg.recipes.prepare_sft import PREPARE_SFT
from beam_sdg.recipes.recipe import Recipe
from beam_sdg.recipes.tir import TIR
from transforms.errors import UsageError

RECIPES = {
    recipe.name: recipe
    for recipe in (
        INFINIBYTE,
        OPENREASONING_MATH,
        OPENMATHREASONING_PROBLEMS,
        OPENREASONING_SCIENCE,
        OPENMATHREASONING_SOLUTIONS,
        NEMOTRON_MATH_V2,
        TIR,
        GENSELECT,
        OPENREASONING_CODE,
        PREPARE_SFT,
        DECONTAMINATE,
    )
}


def recipe_of(name: str, also: Sequence[str] = ()) -> Recipe:
    """The recipe of that name, or the one called RECIPE in the Python file of that path.

    The file becomes a module that workers can import, by its name without the suffix; `also` are
    further words that an error offers.

    Raises:
        UsageError: there is none.
    """
    if name in RECIPES:
        return RECIPES[name]
    if not name.endswith(".py"):
        known = ", ".join((*RECIPES, *also))
        raise UsageError(f"unknown command {name!r}; there are {known}, and paths of recipes (.py)")
    path = Path(name).resolve()
    if not path.is_file():
        raise UsageError(f"{name}: there is no such file")
    sys.path.insert(0, str(path.parent))
    try:
        module = importlib.import_module(path.stem)
    except Exception as error:  # whatever a user's own code raises
        raise UsageError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error
    if Path(module.__file__ or "").resolve() != path:
        raise UsageError(
            f"{name}: a module {path.stem!r} is there already ({module.__file__}); rename the file"
        )
    recipe = getattr(module, "RECIPE", None)
    if not isinstance(recipe, Recipe):
        raise UsageError(f"{name} has no RECIPE; write RECIPE = Recipe(name=…, …) in it")
    beside = path.parent / "prompts"
    return dataclasses.replace(recipe, code=path, prompts=beside if beside.is_dir() else None)
