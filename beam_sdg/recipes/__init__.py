"""The recipes, one file each."""

from beam_sdg.recipes.infinibyte import INFINIBYTE

RECIPES = {recipe.name: recipe for recipe in (INFINIBYTE,)}
