"""Our checks against the `jsonschema` package's, over written and generated schemas and values."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings, strategies as st
from referencing import Registry

from orchestrator.errors import InvalidRequestError
from orchestrator.schema import as_tool_schema, compile_schema, require_acceptable

SEVEN = "http://json-schema.org/draft-07/schema#"
NAMES = ("a", "b", "$ref")
REGISTRY: Registry[Any] = Registry()

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-4, 4)
    | st.sampled_from(["", "a", "bb", "ccc", 0.5, -1.5])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    ),
    max_leaves=8,
)
types = st.sampled_from(["string", "integer", "number", "object", "array", "boolean", "null"])


def keywords(inner: st.SearchStrategy[Any], draft: str) -> st.SearchStrategy[dict[str, Any]]:
    optional: dict[str, st.SearchStrategy[Any]] = {
        "type": types | st.lists(types, min_size=1, max_size=3, unique=True),
        "const": scalars,
        "enum": st.lists(scalars, min_size=1, max_size=3, unique_by=repr),
        "minimum": st.integers(-2, 2),
        "exclusiveMaximum": st.integers(-2, 2),
        "multipleOf": st.integers(1, 3),
        "minLength": st.integers(0, 3),
        "pattern": st.sampled_from(["^a", "b+$", "[^c]"]),
        "properties": st.dictionaries(st.sampled_from(NAMES), inner, max_size=2),
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), inner, max_size=1),
        "additionalProperties": inner,
        "propertyNames": inner,
        "required": st.lists(st.sampled_from(NAMES), max_size=2, unique=True),
        "maxProperties": st.integers(0, 2),
        "contains": inner,
        "maxItems": st.integers(0, 2),
        "uniqueItems": st.booleans(),
        "items": inner,
        "allOf": st.lists(inner, min_size=1, max_size=2),
        "anyOf": st.lists(inner, min_size=1, max_size=2),
        "oneOf": st.lists(inner, min_size=1, max_size=2),
        "not": inner,
        "if": inner,
        "then": inner,
        "else": inner,
        "$ref": st.sampled_from(["#/$defs/x", "#/definitions/x", "#"]),
    }
    if draft == SEVEN:
        optional["items"] = inner | st.lists(inner, min_size=1, max_size=2)
        optional["additionalItems"] = inner
        optional["dependencies"] = st.dictionaries(
            st.sampled_from(NAMES),
            inner | st.lists(st.sampled_from(NAMES), max_size=2, unique=True),
            max_size=2,
        )
    else:
        optional["prefixItems"] = st.lists(inner, min_size=1, max_size=2)
        optional["dependentSchemas"] = st.dictionaries(st.sampled_from(NAMES), inner, max_size=2)
        optional["unevaluatedProperties"] = inner
    return st.sets(st.sampled_from(sorted(optional)), max_size=4).flatmap(
        lambda chosen: st.fixed_dictionaries({name: optional[name] for name in sorted(chosen)})
    )


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Any]:
    draft = draw(st.sampled_from([SEVEN, "https://json-schema.org/draft/2020-12/schema"]))
    inner = st.recursive(
        st.booleans() | keywords(st.booleans(), draft), lambda s: keywords(s, draft), max_leaves=6
    )
    shared = draw(inner)
    return {
        **draw(keywords(inner, draft)),
        "$schema": draft,
        "$defs": {"x": shared},
        "definitions": {"x": shared},
    }


def second_opinion(schema: dict[str, Any], value: Any) -> bool:
    kind = (
        jsonschema.Draft7Validator
        if schema.get("$schema") == SEVEN
        else jsonschema.Draft202012Validator
    )
    validator: Any = kind(schema, registry=REGISTRY)
    return bool(validator.is_valid(value))


def is_accepted(schema: dict[str, Any]) -> bool:
    """The generator makes circles now and then; nothing else of its making may be refused."""
    try:
        require_acceptable(schema, pointer="")
    except InvalidRequestError as error:
        if "leads back to itself" not in error.detail:
            raise
        return False
    return True


@settings(max_examples=200, deadline=None)
@given(schema=schemas(), value=values)
def test_two_implementations_agree_on_every_generated_pair(
    schema: dict[str, Any], value: object
) -> None:
    if is_accepted(schema):
        problems = compile_schema(json.dumps(schema)).problems(value)
        assert (problems == ()) == second_opinion(schema, value), problems


@settings(max_examples=200, deadline=None)
@given(schema=schemas(), value=values)
def test_an_embedded_schema_accepts_exactly_what_the_schema_accepts(
    schema: dict[str, Any], value: object
) -> None:
    if is_accepted(schema):
        shown = compile_schema(json.dumps(as_tool_schema(schema)))
        plain = compile_schema(json.dumps(schema))
        assert (shown.problems({"result": value}) == ()) == (plain.problems(value) == ())
        assert second_opinion(as_tool_schema(schema), {"result": value}) == second_opinion(
            schema, value
        )


CASES: list[tuple[dict[str, Any], list[Any]]] = [
    ({"type": "integer"}, [1, 1.0, 1.5, True, "1", None]),
    ({"const": 1}, [1, 1.0, True, "1"]),
    ({"enum": [0, "a", None]}, [0, False, "a", None, ""]),
    ({"uniqueItems": True}, [[1, 1.0], [1, True], [{"a": 1}, {"a": 1}], [[], {}], []]),
    ({"maxLength": 1}, ["a", "ab", "\U0001f600", "e\u0301"]),
    ({"minimum": 9007199254740993}, [9007199254740992, 9007199254740993]),
    ({"pattern": "^é$"}, ["é", "e"]),
    ({"items": {"$ref": "#"}, "type": "array"}, [[], [[[]]], [[1]]]),
    (
        {"anyOf": [{"properties": {"a": {}}}, {}], "unevaluatedProperties": False},
        [{"a": 1}, {"b": 1}, {}],
    ),
    ({"contains": {"const": 1}, "minContains": 0, "maxContains": 1}, [[], [1], [1, 1]]),
    ({"dependentRequired": {"a": ["b"]}}, [{"a": 1}, {"a": 1, "b": 1}, {}]),
    (
        {"if": {"type": "string"}, "then": {"minLength": 2}, "else": {"type": "null"}},
        ["a", "ab", None, 1],
    ),
    (
        {
            "$schema": SEVEN,
            "$ref": "#/definitions/x",
            "type": "null",
            "definitions": {"x": {"type": "string"}},
        },
        ["a", None],
    ),
    (
        {"$schema": SEVEN, "items": [{"type": "string"}], "additionalItems": False},
        [["a"], ["a", 1], [1]],
    ),
]


@pytest.mark.parametrize(("schema", "cases"), CASES, ids=lambda case: json.dumps(case)[:60])
def test_two_implementations_agree_where_the_drafts_are_subtle(
    schema: dict[str, Any], cases: list[Any]
) -> None:
    require_acceptable(schema, pointer="")
    check = compile_schema(json.dumps(schema))
    ours = [check.problems(value) == () for value in cases]
    assert ours == [second_opinion(schema, value) for value in cases]
