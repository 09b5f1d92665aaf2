"""Users' schemas: what is taken, what is refused and why, what a check says, how a model is shown one."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from orchestrator.errors import InvalidRequestError, TooLargeError
from orchestrator.schema import as_tool_schema, compile_schema, parse_schema, require_acceptable
from orchestrator.schema.validator import EXCERPT, PROBLEM

SEVEN = "http://json-schema.org/draft-07/schema#"


def refusal(schema: object) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        require_acceptable(schema, pointer="/resultSchema")
    return caught.value


def problems(schema: Any, value: Any, limit: int = 10) -> tuple[str, ...]:
    require_acceptable(schema, pointer="")
    return compile_schema(json.dumps(schema)).problems(value, limit)


def doubling(levels: int, keyword: str) -> dict[str, Any]:
    """A kilobyte that grows to 2^levels checks."""
    definitions: dict[str, Any] = {
        f"d{n}": {keyword: [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]}
        for n in range(levels)
    }
    return {"$ref": "#/$defs/d0", "$defs": {**definitions, f"d{levels}": {"type": "string"}}}


# -- what is taken ---------------------------------------------------------------------------------

TREE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "children": {"type": "array", "items": {"$ref": "#"}},
    },
    "required": ["name"],
}


SOUND: list[Any] = [
    True,
    False,
    {},
    TREE,
    {"$schema": SEVEN, "definitions": {"a": {"type": "string"}}, "$ref": "#/definitions/a"},
    {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "prefixItems": [{}],
        "items": False,
    },
    {
        "$id": "https://example.com/finding",
        "$defs": {"a": {"$anchor": "here"}},
        "$ref": "#here",
    },
    {"components": {"schemas": {"a": {"type": "string"}}}, "$ref": "#/components/schemas/a"},
    {"properties": {"$ref": {"type": "string"}, "$id": {"type": "string"}}},
    {"const": {"$ref": "http://example.com/not-a-reference"}},
    {"$defs": {"a/b~c": {}}, "$ref": "#/$defs/a~1b~0c"},
    {"type": "string", "format": "an-unknown-format", "x-unknown": [1, {"$ref": 5}]},
]


@pytest.mark.parametrize("schema", SOUND, ids=str)
def test_a_sound_schema_is_accepted(schema: object) -> None:
    require_acceptable(schema, pointer="/resultSchema")


def test_a_schema_may_come_as_json_in_a_string() -> None:
    assert parse_schema('{"type":"object"}', pointer="") == {"type": "object"}


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "NaN", '"string"', "[" * 50_000])
def test_a_string_that_holds_no_schema_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_schema(text, pointer="/functions/0/schema")


# -- what is refused -------------------------------------------------------------------------------


UNSOUND: list[tuple[Any, str, str]] = [
    (5, "", "an object, true or false"),
    ({"type": "strin"}, "/type", "not JSON Schema (draft 2020-12)"),
    ({"properties": {"a/b": {"minimum": "3"}}}, "/properties/a~1b/minimum", "not JSON Schema"),
    ({"$schema": SEVEN, "required": "a"}, "/required", "draft 7"),
    (
        {"$schema": "http://json-schema.org/draft-04/schema#"},
        "/$schema",
        "draft 7 or draft 2020-12",
    ),
    ({"$schema": 7}, "/$schema", "draft 7 or draft 2020-12"),
    ({"$ref": "http://127.0.0.1:1/x"}, "", "leaves the schema"),
    ({"$ref": "other.json"}, "", "leaves the schema"),
    (
        {"$id": "https://e.com/a", "$ref": "https://e.com/a#/x", "x": {}},
        "",
        "leaves the schema",
    ),
    ({"$ref": "#/x", "x": {"$ref": "file:///etc/passwd"}}, "/x", "leaves the schema"),
    ({"$ref": "#/nowhere"}, "", "names nothing"),
    ({"$ref": "#nowhere"}, "", "names nothing"),
    ({"$ref": "#/enum/7", "enum": [{}]}, "", "names nothing"),
    ({"$ref": "#/x", "x": {"type": "strin"}}, "/x/type", "not JSON Schema"),
    ({"properties": {"a": {"$id": "https://e.com/b"}}}, "/properties/a", "at the root"),
    ({"$dynamicRef": "#a"}, "", "not supported"),
    ({"pattern": "(?=a)b"}, "/pattern", "look-around"),
    ({"pattern": r"(a)\1"}, "/pattern", "back-references"),
    ({"pattern": "("}, "/pattern", "regular expression"),
    ({"pattern": r"^(\p{L}{50}){50}$"}, "/pattern", "huge"),
    ({"const": float("nan")}, "", "not JSON"),
    ({"const": "\ud800"}, "", "not JSON"),
]


@pytest.mark.parametrize(("schema", "pointer", "words"), UNSOUND, ids=str)
def test_an_unsound_schema_is_refused_with_place_and_reason(
    schema: object, pointer: str, words: str
) -> None:
    error = refusal(schema)
    assert error.code == "invalid_schema"
    assert error.pointer == "/resultSchema" + pointer
    assert words in error.detail


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"anyOf": [{"type": "string"}, {"$ref": "#"}]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        {"$defs": {"a": {"not": {"if": {"$ref": "#/$defs/a"}}}}},
        # The circle that goes into the value is met first, the one that does not is still seen.
        {
            "$defs": {
                "a": {"items": {"$ref": "#/$defs/b"}, "allOf": [{"$ref": "#/$defs/b"}]},
                "b": {"$ref": "#/$defs/a"},
            }
        },
    ],
    ids=str,
)
def test_a_reference_circle_that_never_enters_the_value_is_refused(schema: object) -> None:
    assert "leads back to itself" in refusal(schema).detail


OVERSIZED: list[tuple[Any, str]] = [
    ({"description": "x" * 66_000}, "65,536 bytes"),
    ({"enum": list(range(5_001))}, "5,000 values"),
    ({"allOf": [{f"x{n}": n for n in range(5_001)}]}, "5,000 values"),
    ({"allOf": [{"pattern": f"^a{n}$"} for n in range(101)]}, "100 patterns"),
    ({"patternProperties": {f"^a{n}$": {} for n in range(101)}}, "100 patterns"),
]


@pytest.mark.parametrize(
    ("schema", "limit"),
    OVERSIZED,
    ids=["bytes", "items", "members", "patterns", "patternProperties"],
)
def test_a_schema_over_a_limit_is_refused_with_the_limit(schema: object, limit: str) -> None:
    error = refusal(schema)
    assert isinstance(error, TooLargeError)
    assert limit in error.detail


def test_a_schema_over_the_depth_limit_is_refused_however_deep_it_is() -> None:
    def nested(levels: int) -> dict[str, Any]:
        schema: dict[str, Any] = {}
        for _ in range(levels - 1):
            schema = {"not": schema}
        return schema

    require_acceptable(nested(32), pointer="")
    for levels in (33, 34, 50_000):
        assert "32 levels" in refusal(nested(levels)).detail


@pytest.mark.parametrize("keyword", ["allOf", "anyOf", "oneOf", "prefixItems"])
def test_a_bomb_of_references_is_refused_before_it_is_compiled(keyword: str) -> None:
    started = time.perf_counter()
    assert "20,000 subschemas" in refusal(doubling(60, keyword)).detail
    assert time.perf_counter() - started < 1


def test_a_bomb_hidden_in_a_recursive_schema_is_refused() -> None:
    bomb = doubling(60, "allOf")
    bomb["$defs"]["d60"] = {"items": {"$ref": "#/$defs/d0"}}
    assert "20,000 subschemas" in refusal(bomb).detail


def test_a_very_long_chain_of_references_is_refused() -> None:
    chain = {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(1_500)}
    assert "200 levels" in refusal({"$ref": "#/$defs/d0", "$defs": {**chain, "d1500": {}}}).detail


# -- what a check says -----------------------------------------------------------------------------


def test_a_valid_value_has_no_problems() -> None:
    assert problems(TREE, {"name": "a", "children": [{"name": "b", "children": []}]}) == ()


def test_a_problem_names_place_rule_and_value() -> None:
    (problem,) = problems(TREE, {"name": "a", "children": [{"name": 5}]})
    assert problem == '/children/0/name: the value is not of type "string" (it is 5)'


def test_a_missing_and_a_surplus_property_are_named() -> None:
    schema: dict[str, Any] = {
        "properties": {"a": {}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert set(problems(schema, {"b": 1})) == {
        '"a" is a required property',
        "Additional properties are not allowed ('b' was unexpected)",
    }


def test_the_alternatives_that_failed_are_reported() -> None:
    schema: dict[str, Any] = {
        "properties": {"n": {"anyOf": [{"type": "integer", "minimum": 3}, {"type": "null"}]}}
    }
    (problem,) = problems(schema, {"n": 1})
    assert "/n: " in problem
    assert "less than the minimum of 3" in problem
    assert '"null"' in problem


def test_formats_are_checked() -> None:
    assert problems({"format": "date"}, "2026-13-01") != ()
    assert problems({"format": "date"}, "2026-12-01") == ()


def test_a_multiple_is_counted_in_decimals_as_on_paper() -> None:
    assert problems({"multipleOf": 0.01}, 0.07) == ()
    assert problems({"multipleOf": 0.01}, 1.005) != ()


def test_at_most_so_many_problems_are_listed_and_more_are_hinted_at() -> None:
    found = problems({"items": {"type": "string"}}, list(range(50)), limit=3)
    assert [p.split(":")[0] for p in found] == ["/0", "/1", "/2", "and more"]


def test_a_huge_value_is_quoted_in_part_only() -> None:
    schema = {"anyOf": [{"type": "integer"}, {"maxLength": 3}], "additionalProperties": False}
    for value in ("x" * 1_000_000, {f"{n:0100}": n for n in range(1_000)}):
        for problem in problems(schema, value):
            assert len(problem) <= PROBLEM
            assert str(value)[1 : EXCERPT + 20] not in problem


@pytest.mark.parametrize(
    "value",
    [float("nan"), "\ud800", {1: 2}, object(), {"a": {1, 2}}],
    ids=["nan", "lone surrogate", "number as key", "object", "set"],
)
def test_a_value_that_is_not_json_is_a_problem_and_no_crash(value: object) -> None:
    assert problems({"type": "integer"}, value) != ()


def test_a_deep_value_of_a_recursive_union_is_judged_in_no_time() -> None:
    branch = {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}}
    schema = {
        "anyOf": [{**branch, "title": "plus"}, {**branch, "title": "times"}, {"type": "number"}]
    }
    value: object = "not a number"
    for _ in range(40):
        value = {"left": value, "right": 1}
    started = time.perf_counter()
    (problem,) = problems(schema, value)
    assert "nested too deeply" in problem
    assert time.perf_counter() - started < 1


def test_a_shallow_value_of_a_recursive_union_is_explained() -> None:
    branch = {"type": "object", "properties": {"left": {"$ref": "#"}}}
    schema = {
        "anyOf": [{**branch, "title": "plus"}, {**branch, "title": "times"}, {"type": "number"}]
    }
    (problem,) = problems(schema, {"left": {"left": "x"}})
    assert "anyOf" in problem


def test_a_compiled_schema_is_used_again() -> None:
    assert compile_schema('{"type":"string"}') is compile_schema('{"type":"string"}')


# -- how a model is shown one ----------------------------------------------------------------------


def test_an_embedded_schema_is_an_object_with_one_required_property() -> None:
    assert as_tool_schema({"type": "string"}) == {
        "type": "object",
        "properties": {"result": {"type": "string"}},
        "required": ["result"],
        "additionalProperties": False,
    }


def test_references_are_moved_and_look_alikes_are_left_alone() -> None:
    schema = {
        "$id": "https://example.com/x",
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": "#/$defs/a",
        "$defs": {"a": {"properties": {"$ref": {"$ref": "#"}, "const": {"$ref": "#/$defs/a"}}}},
        "default": {"$ref": "#/stays"},
        "enum": [{"$ref": "#/stays"}],
        "examples": [{"$ref": "#"}],
        "const": {"$ref": "#/stays"},
    }
    home = "#/properties/result"
    assert as_tool_schema(schema)["properties"]["result"] == {
        "$ref": f"{home}/$defs/a",
        "$defs": {
            "a": {"properties": {"$ref": {"$ref": home}, "const": {"$ref": f"{home}/$defs/a"}}},
        },
        "default": {"$ref": "#/stays"},
        "enum": [{"$ref": "#/stays"}],
        "examples": [{"$ref": "#"}],
        "const": {"$ref": "#/stays"},
    }


def test_draft_seven_is_shown_in_the_keywords_of_2020_12() -> None:
    schema = {
        "$schema": SEVEN,
        "definitions": {"a": {"$id": "#name", "type": "string"}},
        "properties": {
            "pair": {
                "items": [{"$ref": "#name", "type": "ignored beside a reference"}],
                "additionalItems": False,
            },
            "more": {"dependencies": {"a": ["b"], "c": {"required": ["d"]}}},
        },
    }
    assert as_tool_schema(schema)["properties"]["result"] == {
        "definitions": {"a": {"$anchor": "name", "type": "string"}},
        "properties": {
            "pair": {"prefixItems": [{"$ref": "#name"}], "items": False},
            "more": {
                "dependentRequired": {"a": ["b"]},
                "dependentSchemas": {"c": {"required": ["d"]}},
            },
        },
    }
