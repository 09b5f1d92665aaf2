"""A compiled schema, and what it says of a value, in words that a model or a person can act on."""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import islice
from typing import cast

import jsonschema_rs
from jsonschema_rs import RegexOptions, ValidationErrorKind as Kind

from orchestrator.schema.dialect import Draft, Schema, draft_of
from orchestrator.schema.survey import Survey, survey, to_pointer

EXCERPT = 120
"""Characters of a value that a problem quotes."""
PROBLEM = 600
"""Characters of one problem."""
CACHED = 256
_REGEX_BYTES = 256 * 1024
_EXPLAINED_LOOKS = 30_000
"""Listing violations looks at a value again for every alternative on the way to it; more than this many looks
take longer than a quarter of a second."""
_TOO_DEEP = "the value does not satisfy the schema, and is nested too deeply to say where"
_MASK = "the value"
_ALTERNATIVES = 5


class Check:
    """Says what is wrong with a value. Made by `compile_schema`."""

    def __init__(self, validator: jsonschema_rs.Validator, cost: Survey) -> None:
        self._validator = validator
        self._cost = cost

    def problems(self, value: object, limit: int = 10) -> tuple[str, ...]:
        """The violations, at most `limit` of them, each with a JSON Pointer; empty if the value is valid.

        A value that is no JSON (NaN, a lone surrogate, not a JSON type) is a problem too; nothing is raised.
        """
        found = self.violations(value, limit + 1)
        said = tuple(_located(where, words) for where, words in found[:limit])
        return (*said, "and more") if len(found) > limit else said

    def violations(self, value: object, limit: int = 10) -> tuple[tuple[str, str], ...]:
        """The same as pairs of JSON Pointer and words; the pointer is empty for the value as a whole."""
        try:
            if self._validator.is_valid(value):
                return ()
            if self._looks(value) > _EXPLAINED_LOOKS:
                return (("", _TOO_DEEP),)
            found = list(islice(self._validator.iter_errors(value), limit))
        except (ValueError, TypeError) as error:
            return (("", f"the value is not JSON: {_cut(str(error), EXCERPT)}"),)
        return tuple((to_pointer(tuple(error.instance_path)), describe(error)) for error in found)

    def _looks(self, value: object) -> int:
        """How much more than once per part the value would be looked at to list its violations."""
        most = 2**62 if self._cost.recursive else self._cost.expansion
        looks, times, level = 0, 1, [value]
        while level and self._cost.branching > 1 and looks <= _EXPLAINED_LOOKS:
            looks += (times - 1) * len(level)
            times = min(times * self._cost.branching, most)
            level = [child for parent in level for child in _members(parent)]
        return looks


@lru_cache(maxsize=CACHED)
def compile_schema(text: str) -> Check:
    """Compile a schema given as JSON text, one that `check_schema` has taken. Cached by the text."""
    schema = cast("Schema", json.loads(text))
    return Check(compile_validator(schema), survey(schema, draft_of(schema) or Draft.LATEST))


def compile_validator(schema: Schema) -> jsonschema_rs.Validator:
    """The validator of a schema: offline, formats on, patterns in linear time and bounded memory."""
    made = (
        jsonschema_rs.Draft7Validator
        if draft_of(schema) is Draft.SEVEN
        else jsonschema_rs.Draft202012Validator
    )
    # Its own name and its metaschema's would only be looked up somewhere.
    bare = (
        schema
        if isinstance(schema, bool)
        else {k: v for k, v in schema.items() if k not in {"$schema", "$id"}}
    )
    return made(
        bare,
        offline=True,
        validate_formats=True,
        mask=_MASK,
        pattern_options=RegexOptions(size_limit=_REGEX_BYTES, dfa_size_limit=_REGEX_BYTES),
    )


def describe(error: jsonschema_rs.ValidationError) -> str:
    """One violation in words, with an excerpt of the value and what each alternative missed."""
    words = _cut(error.message, PROBLEM // 2)
    if _MASK in error.message:
        words = f"{words} (it is {_excerpt(error.instance)})"
    kind = error.kind
    if isinstance(kind, Kind.AnyOf | Kind.OneOfNotValid):
        missed = [describe_shortly(branch[0]) for branch in kind.context[:_ALTERNATIVES] if branch]
        words = f"{words}: {'; or '.join(missed)}"
    return _cut(words, PROBLEM)


def describe_shortly(error: jsonschema_rs.ValidationError) -> str:
    """One violation inside an alternative: where and what, without a quotation."""
    where = to_pointer(tuple(error.instance_path))
    return f"{where}: {_cut(error.message, EXCERPT)}" if where else _cut(error.message, EXCERPT)


def _located(where: str, words: str) -> str:
    return f"{_cut(where, PROBLEM // 2)}: {words}" if where else words


def _excerpt(value: object) -> str:
    return _cut(json.dumps(value, ensure_ascii=False, default=str), EXCERPT)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _members(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(cast("dict[str, object]", value).values())
    return cast("list[object]", value) if isinstance(value, list) else []
