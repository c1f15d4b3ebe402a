"""Variants of a recipe: the cross product of some values for some of its keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from structkd.errors import RecipeError
from structkd.recipe.resolution import load_recipe
from structkd.recipe.schema import Recipe

# Results of different tasks stand in no one table, and seeds are what every row of it is averaged over.
_FIXED = ("name", "task", "seeds")


@dataclass(frozen=True)
class Variation:
    """A key of a recipe and the values it takes, each as it is written in a file."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Variant:
    """A recipe with one value for every varied key."""

    settings: tuple[tuple[str, str], ...]
    recipe: Recipe

    @property
    def name(self) -> str:
        """The assignments that made it."""
        return ", ".join(f"{key}={value}" for key, value in self.settings)


def parse_variation(text: str) -> Variation:
    """Read `knowledge.k=1,2,5`; commas inside brackets, braces and quotes belong to a value.

    Raises:
        RecipeError: no key, no value, a value given twice, or a key that cannot be varied.
    """
    key, equals, rest = text.partition("=")
    key, values = key.strip(), tuple(_split(rest))
    if not equals or not key or "" in values:
        raise RecipeError(f"--vary {text}: expected a key and its values, as in knowledge.k=1,2,5")
    if key in _FIXED:
        how = "use --seeds N" if key == "seeds" else "it is the same for all variants"
        raise RecipeError(f"--vary {text}: {key} cannot be varied; {how}")
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        raise RecipeError(f"--vary {text}: given twice: {', '.join(repeated)}")
    return Variation(key, values)


def load_variants(
    name_or_path: str | Path, variations: Sequence[Variation], overrides: Sequence[str] = ()
) -> list[Variant]:
    """Load every variant of a recipe; variations are set after the overrides.

    Raises:
        RecipeError: a key is varied twice, or variants have faults; all of them are named.
    """
    keys = [variation.key for variation in variations]
    repeated = sorted({key for key in keys if keys.count(key) > 1})
    if repeated:
        raise RecipeError(f"--vary: {', '.join(repeated)} more than once; list all its values after one --vary")
    variants, faults = [], []
    for values in product(*(variation.values for variation in variations)):
        settings = tuple(zip(keys, values, strict=True))
        try:
            recipe = load_recipe(name_or_path, [*overrides, *(f"{key}={value}" for key, value in settings)])
        except RecipeError as error:
            named = ", ".join(f"{key}={value}" for key, value in settings)
            faults.append(f"variant {named}: {error}")
        else:
            variants.append(Variant(settings, recipe))
    if faults:
        raise RecipeError("\n".join(dict.fromkeys(faults)))
    return variants


def first_seeds(seeds: Sequence[int], number: int) -> list[int]:
    """The first seeds of a recipe, followed by the next whole numbers where it has too few."""
    chosen = list(seeds[:number])
    while len(chosen) < number:
        chosen.append(max(chosen) + 1)
    return chosen


def _split(text: str) -> list[str]:
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in "[{":
            depth += 1
        elif character in "]}":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append("")
            continue
        parts[-1] += character
    return [part.strip() for part in parts]
