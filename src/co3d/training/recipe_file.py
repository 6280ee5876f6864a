"""Recipes as YAML: reading, overriding, checking with helpful errors, writing."""

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from importlib import resources
from itertools import takewhile
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from yaml.composer import ComposerError

from co3d.errors import RecipeError
from co3d.files import output_file
from co3d.training.recipe import Recipe
from co3d.yaml_faults import YAML_FAULTS

MAX_BYTES = 1 << 16
_SHOWN, _MOST = 300, 30
SHIPPED = resources.files("co3d") / "assets" / "recipes"


class _Loader(yaml.SafeLoader):
    """Reads numbers as in YAML 1.2 (1e-3 is one), and refuses aliases.

    A few lines of nested aliases can expand to more values than fit into memory.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """See `yaml.composer.Composer`."""
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise ComposerError(None, None, "aliases (*name) are not read: write it out", mark)
        return super().compose_node(parent, index)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def list_recipes() -> list[str]:
    """Names of the recipes that the package ships."""
    return sorted(
        path.name.removesuffix(".yaml") for path in SHIPPED.iterdir() if path.name.endswith(".yaml")
    )


def summarise_recipe(name: str) -> str:
    """First sentence of the comment at the top of a recipe of the package."""
    lines = (SHIPPED / f"{name}.yaml").read_text("utf-8").splitlines()
    comment = " ".join(line.lstrip("# ") for line in takewhile(lambda x: x.startswith("#"), lines))
    return re.split(r"(?<=\.) ", comment)[0]


def read_recipe(source: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe from a YAML file, or one that the package ships by its name.

    Args:
        source: path, or a name of `list_recipes`.
        overrides: `key.sub=value`, the value in YAML.

    Raises:
        RecipeError: no such file, malformed YAML, an unknown key (with the nearest one), or a value
            of the wrong type or out of range.
    """
    values = _parse(_read_text(source), str(source))
    for key, value in map(parse_override, overrides):
        override(values, key, value)
    return check_recipe(values, str(source))


def check_recipe(values: dict[str, Any], origin: str) -> Recipe:
    """A recipe from plain values; RecipeError names every key that is wrong."""
    try:
        # JSON validation accepts lists for tuples, and converts nothing else.
        return Recipe.model_validate_json(json.dumps(values))
    except (TypeError, ValueError) as error:
        if not isinstance(error, ValidationError):
            raise RecipeError(f"cannot use recipe {origin}: {error}; use plain values") from error
        complaints = [text[:_SHOWN] for text in dict.fromkeys(_explain(error))]
        raise RecipeError(f"cannot use recipe {origin}: {'; '.join(complaints[:_MOST])}") from error


def format_recipe(recipe: Recipe) -> str:
    """The recipe as YAML, with all defaults written out; reading it gives the same recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe, completely or not at all."""
    with output_file(path) as temporary:
        temporary.write_text(format_recipe(recipe), encoding="utf-8")


def _read_text(source: str | Path) -> str:
    path = Path(source)
    try:
        if path.is_file():
            if path.stat().st_size > MAX_BYTES:
                raise RecipeError(f"cannot use recipe {path}: it has more than {MAX_BYTES} bytes")
            return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read recipe {path}: {error}; check the file") from error
    name = str(source)
    if name in list_recipes():
        return (SHIPPED / f"{name}.yaml").read_text(encoding="utf-8")
    nearest = difflib.get_close_matches(name, list_recipes(), n=1, cutoff=0.4) or list_recipes()
    raise RecipeError(
        f"no recipe {name[:_SHOWN]!r}: it is no file, and no recipe of the package; did you mean "
        f"{' or '.join(nearest)}?"
    )


def _parse(text: str, origin: str) -> dict[str, Any]:
    try:
        values = _load(text)
    except ValueError as error:
        raise RecipeError(f"cannot use recipe {origin}: no YAML: {error}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise RecipeError(
            f"cannot use recipe {origin}: got a {type(values).__name__}, expected lines of "
            "`key: value`"
        )
    return values


def parse_override(text: str) -> tuple[str, Any]:
    """Key and value of `key.sub=value`, the value in YAML.

    Raises:
        RecipeError: it is not of this form.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise RecipeError(
            f"cannot override with {text[:_SHOWN]!r}: expected key=value or key.sub=value, such as "
            "optimiser.learning_rate=0.01"
        )
    try:
        return key, _load(value)
    except ValueError as error:
        raise RecipeError(
            f"cannot override with {text[:_SHOWN]!r}: {value[:_SHOWN]!r} is no YAML"
        ) from error


def _load(text: str) -> Any:
    """Parse a text to plain values; ValueError for malformed YAML, or over MAX_BYTES characters."""
    if len(text) > MAX_BYTES:
        raise ValueError(f"it has {len(text)} letters, expected {MAX_BYTES} at most")
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except YAML_FAULTS as error:
        raise ValueError(" ".join(str(error).split())[:_SHOWN]) from error


def override(values: dict[str, Any], key: str, value: Any) -> None:
    """Set one of the plain values of a recipe; the key is dotted.

    Raises:
        RecipeError: a part of the key is not a section.
    """
    *sections, last = key.split(".")
    place = values
    for section in sections:
        inner = place.setdefault(section, {})
        if not isinstance(inner, dict):
            raise RecipeError(
                f"cannot set {key[:_SHOWN]}: {section[:_SHOWN]} is no section of a recipe"
            )
        place = inner
    is_union = len(sections) == 1 and len(_sections_of(sections[0])) > 1
    if last == "kind" and is_union and place.get("kind") not in (None, value):
        place.clear()  # a different kind has different keys
    place[last] = value


def _explain(error: ValidationError) -> Iterator[str]:
    for complaint in error.errors(include_url=False):
        location = [str(part) for part in complaint["loc"]]
        path = ".".join(location)
        if complaint["type"] == "extra_forbidden":
            known = _known_keys(location[:-1])
            nearest = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
            meant = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(known)}"
            yield f"unknown key {_spell(location)}: {meant}"
        elif complaint["type"] in ("union_tag_invalid", "union_tag_not_found"):
            context = complaint.get("ctx", {})
            got = context.get("tag", "nothing")
            expected = context.get("expected_tags", "'camera_motion', 'videos'")
            yield f"{path}.kind: got {got!r}, expected {expected}"
        else:
            message = (
                complaint["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
            )
            yield f"{_spell(location)}: got {complaint['input']!r}, expected {message}"


def _spell(location: list[str]) -> str:
    """A key as the user writes it: without the kinds that pydantic adds for unions."""
    return ".".join(part for part, _ in _walk(location))


def _known_keys(location: list[str]) -> list[str]:
    section: type[BaseModel] = Recipe
    for _, found in _walk(location):
        section = found or section
    return list(section.model_fields)


def _walk(location: list[str]) -> Iterator[tuple[str, type[BaseModel] | None]]:
    """The keys of a location, each with its section, if it is one."""
    section: type[BaseModel] = Recipe
    parts = iter(location)
    for part in parts:
        sections = _sections_of(part, section)
        if len(sections) > 1:  # the next part is the kind
            kind = next(parts, None)
            sections = [c for c in sections if c.model_fields["kind"].default == kind]
        section = sections[0] if sections else section
        yield part, sections[0] if sections else None


def _sections_of(key: str, section: type[BaseModel] = Recipe) -> list[type[BaseModel]]:
    """The possible sections of a key: none, one, or one per kind."""
    field = section.model_fields.get(key)
    choices = [] if field is None else [field.annotation, *get_args(field.annotation)]
    return [c for c in choices if isinstance(c, type) and issubclass(c, BaseModel)]
