"""The two accepted drafts, and where a schema contains other schemas.

A property may be called `$ref` and a `const` may contain one: only this module knows which parts of a schema are
schemas and which are data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, cast

Schema = dict[str, Any] | bool


class Draft(Enum):
    """A draft of JSON Schema, by the URI of its metaschema."""

    SEVEN = "http://json-schema.org/draft-07/schema"
    LATEST = "https://json-schema.org/draft/2020-12/schema"

    @property
    def title(self) -> str:
        return "draft 7" if self is Draft.SEVEN else "draft 2020-12"


class Place(Enum):
    """The value a subschema is applied to, relative to the schema that contains it."""

    SAME = "same"
    """The same value."""
    BELOW = "below"
    """A member or an item of the value."""
    NOWHERE = "nowhere"
    """A definition: applied only through a reference."""


@dataclass(frozen=True, slots=True)
class Sub:
    """A subschema, by the tokens that lead to it."""

    path: tuple[str, ...]
    schema: object
    place: Place


_ONE = {
    "not": Place.SAME,
    "if": Place.SAME,
    "then": Place.SAME,
    "else": Place.SAME,
    "items": Place.BELOW,
    "additionalItems": Place.BELOW,
    "contains": Place.BELOW,
    "unevaluatedItems": Place.BELOW,
    "additionalProperties": Place.BELOW,
    "unevaluatedProperties": Place.BELOW,
    "propertyNames": Place.BELOW,
    "contentSchema": Place.NOWHERE,
}
_LIST = {
    "allOf": Place.SAME,
    "anyOf": Place.SAME,
    "oneOf": Place.SAME,
    "prefixItems": Place.BELOW,
    "items": Place.BELOW,
}
_MAP = {
    "dependentSchemas": Place.SAME,
    "dependencies": Place.SAME,
    "properties": Place.BELOW,
    "patternProperties": Place.BELOW,
    "$defs": Place.NOWHERE,
    "definitions": Place.NOWHERE,
}
DEFINITIONS = frozenset({"$defs", "definitions"})
MAPS = frozenset(_MAP)
DATA = frozenset({"const", "enum", "default", "examples"})
"""Keywords whose values are data, even where they look like schemas."""


def draft_of(schema: object) -> Draft | None:
    """The draft a schema is written in; None for an unsupported one. Without `$schema` it is 2020-12."""
    if not isinstance(schema, dict):
        return Draft.LATEST
    named = cast("dict[str, object]", schema).get("$schema", Draft.LATEST.value)
    if not isinstance(named, str):
        return None
    bare = named.removesuffix("#").replace("http://", "https://", 1)
    return next((d for d in Draft if d.value.replace("http://", "https://", 1) == bare), None)


def subschemas(schema: Mapping[str, object], draft: Draft) -> Iterator[Sub]:
    """The direct subschemas of a schema. In draft 7 a `$ref` hides all but definitions."""
    hidden = draft is Draft.SEVEN and "$ref" in schema
    for keyword, value in schema.items():
        if not hidden or keyword in DEFINITIONS:
            yield from _below(keyword, value)


def _below(keyword: str, value: object) -> Iterator[Sub]:
    if isinstance(value, dict) and keyword in _MAP:
        for name, member in cast("dict[str, object]", value).items():
            if isinstance(member, dict | bool):
                yield Sub((keyword, name), cast("object", member), _MAP[keyword])
    elif isinstance(value, dict | bool) and keyword in _ONE:
        yield Sub((keyword,), cast("object", value), _ONE[keyword])
    elif isinstance(value, list) and keyword in _LIST:
        for index, member in enumerate(cast("list[object]", value)):
            yield Sub((keyword, str(index)), member, _LIST[keyword])
