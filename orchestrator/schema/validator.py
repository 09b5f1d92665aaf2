"""A compiled schema, and its violations in words that a model or a person can act on."""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import islice
from typing import cast

import jsonschema_rs
from jsonschema_rs import RegexOptions, ValidationErrorKind as Kind

from orchestrator.schema.complexity import measure_cost, to_pointer
from orchestrator.schema.drafts import Draft, Schema, draft_of
from orchestrator.schema.validation_cost import ValidationCost

EXCERPT = 120
"""Characters of a value that a problem quotes."""
PROBLEM = 600
"""Characters of one problem."""
CACHED = 256
_REGEX_BYTES = 256 * 1024
_TOO_DEEP = "the value does not satisfy the schema, and is nested too deeply to say where"
_TOO_LARGE = "the value does not satisfy the schema, and is too large to say where"
_TOO_MUCH = "the value has too many parts to be checked against so large a schema"
_MORE = "there may be more that is wrong: the value is too large to list everything"
_MASK = "the value"
_ALTERNATIVES = 5


class Validator:
    """Reports what is wrong with a value. Created by `compile_schema`."""

    def __init__(self, validator: jsonschema_rs.Validator, cost: ValidationCost) -> None:
        self._validator = validator
        self._cost = cost

    def problems(self, value: object, limit: int = 10) -> tuple[str, ...]:
        """The violations, at most `limit` of them, each with a JSON Pointer; empty if the value is valid.

        A value that is no JSON (NaN, a lone surrogate, not a JSON type) is a problem too; nothing is raised.
        """
        found = self.violations(value, limit + 1)
        located = tuple(_with_location(where, text) for where, text in found[:limit])
        return (*located, "and more") if len(found) > limit else located

    def violations(self, value: object, limit: int = 10) -> tuple[tuple[str, str], ...]:
        """The same as pairs of JSON Pointer and text; the pointer is empty for the value as a whole."""
        try:
            if self._cost.exceeds_limit(value):
                return (("", _TOO_MUCH),)
            if self._validator.is_valid(value):
                return ()
            return self._list_violations(value, limit)
        except (ValueError, TypeError) as error:
            return (("", f"the value is not JSON: {_cut(str(error), EXCERPT)}"),)

    def _list_violations(self, value: object, limit: int) -> tuple[tuple[str, str], ...]:
        if self._cost.exceeds_nesting_limit(value):
            return (("", _TOO_DEEP),)
        if not self._cost.exceeds_listing_limit(value):
            return tuple(map(_to_violation, islice(self._validator.iter_errors(value), limit)))
        if self._cost.wide_alternatives:
            return (("", _TOO_LARGE),)
        try:
            self._validator.validate(value)
        except jsonschema_rs.ValidationError as first:
            return (_to_violation(first), ("", _MORE))
        raise AssertionError("a value is valid or not")


@lru_cache(maxsize=CACHED)
def compile_schema(text: str) -> Validator:
    """Compile an accepted schema, given as JSON text. Cached by the text."""
    schema = cast("Schema", json.loads(text))
    cost = measure_cost(schema, draft_of(schema) or Draft.LATEST)
    return Validator(compile_validator(schema), ValidationCost.from_schema(schema, cost))


def compile_validator(schema: Schema) -> jsonschema_rs.Validator:
    """The validator of a schema: offline, with formats, patterns in linear time and bounded memory."""
    kind = (
        jsonschema_rs.Draft7Validator
        if draft_of(schema) is Draft.SEVEN
        else jsonschema_rs.Draft202012Validator
    )
    # Its own name and its metaschema's would only be resolved elsewhere.
    bare = (
        schema
        if isinstance(schema, bool)
        else {k: v for k, v in schema.items() if k not in {"$schema", "$id"}}
    )
    return kind(
        bare,
        offline=True,
        validate_formats=True,
        mask=_MASK,
        pattern_options=RegexOptions(size_limit=_REGEX_BYTES, dfa_size_limit=_REGEX_BYTES),
    )


def describe(error: jsonschema_rs.ValidationError) -> str:
    """One violation in words, with an excerpt of the value and what each alternative missed."""
    text = _cut(error.message, PROBLEM // 2)
    if _MASK in error.message:
        text = f"{text} (it is {_excerpt(error.instance)})"
    kind = error.kind
    if isinstance(kind, Kind.AnyOf | Kind.OneOfNotValid):
        missed = [summarize_error(branch[0]) for branch in kind.context[:_ALTERNATIVES] if branch]
        text = f"{text}: {'; or '.join(missed)}"
    return _cut(text, PROBLEM)


def summarize_error(error: jsonschema_rs.ValidationError) -> str:
    """One violation inside an alternative: path and problem, without an excerpt."""
    where = to_pointer(tuple(error.instance_path))
    return f"{where}: {_cut(error.message, EXCERPT)}" if where else _cut(error.message, EXCERPT)


def _to_violation(error: jsonschema_rs.ValidationError) -> tuple[str, str]:
    return to_pointer(tuple(error.instance_path)), describe(error)


def _with_location(where: str, text: str) -> str:
    return f"{_cut(where, PROBLEM // 2)}: {text}" if where else text


def _excerpt(value: object) -> str:
    return _cut(json.dumps(value, ensure_ascii=False, default=str), EXCERPT)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
