"""A user's schema as the input schema of a tool: `{"result": …}`, in draft 2020-12, with references re-rooted.

Providers accept one draft only, with an object at the root. Inside `result` exactly the values that satisfy the caller's
schema are accepted; the result itself is always validated against the original.
"""

from __future__ import annotations

from typing import Any, cast

from orchestrator.schema.drafts import DATA, DEFINITIONS, MAPS, Draft, Schema, draft_of

_HOME = "#/properties/result"


def as_tool_schema(schema: Schema) -> dict[str, Any]:
    """Place an accepted schema under the required property `result` of a closed object."""
    draft = draft_of(schema) or Draft.LATEST
    inner: object = schema
    if isinstance(schema, dict):
        anonymous = str(schema.get("$id", "")).startswith("#")
        gone = {"$schema"} if anonymous else {"$schema", "$id"}
        inner = _rewrite({k: v for k, v in schema.items() if k not in gone}, draft)
    return {
        "type": "object",
        "properties": {"result": inner},
        "required": ["result"],
        "additionalProperties": False,
    }


def _rewrite(schema: object, draft: Draft) -> object:
    if isinstance(schema, list):
        return [_rewrite(item, draft) for item in cast("list[object]", schema)]
    if not isinstance(schema, dict):
        return schema
    keywords = cast("dict[str, object]", schema)
    if draft is Draft.SEVEN:
        keywords = _modernize(keywords)
    return {keyword: _rewrite_value(keyword, value, draft) for keyword, value in keywords.items()}


def _rewrite_value(keyword: str, value: object, draft: Draft) -> object:
    if keyword in DATA:
        return value
    if keyword == "$ref" and isinstance(value, str):
        return _move(value)
    if keyword in MAPS and isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return {name: _rewrite(member, draft) for name, member in members.items()}
    return _rewrite(value, draft)


def _move(reference: str) -> str:
    """`#` and `#/…` count from the root, which has moved; an anchor is found wherever it is."""
    pointer = reference[1:]
    return _HOME + pointer if not pointer or pointer.startswith("/") else reference


def _modernize(schema: dict[str, object]) -> dict[str, object]:
    """Translate one level of draft 7 into 2020-12."""
    if isinstance(schema.get("$ref"), str):
        return {k: v for k, v in schema.items() if k == "$ref" or k in DEFINITIONS}
    modern = dict(schema)
    identifier = modern.get("$id")
    if isinstance(identifier, str) and identifier.startswith("#"):
        modern["$anchor"] = str(modern.pop("$id"))[1:]
    rest = modern.pop("additionalItems", None)
    if isinstance(modern.get("items"), list):
        modern["prefixItems"] = modern.pop("items")
        if rest is not None:
            modern["items"] = rest
    dependencies = modern.pop("dependencies", None)
    if isinstance(dependencies, dict):
        modern.update(_split(cast("dict[str, object]", dependencies)))
    return modern


def _split(dependencies: dict[str, object]) -> dict[str, object]:
    lists = {name for name, wanted in dependencies.items() if isinstance(wanted, list)}
    names = {name: dependencies[name] for name in dependencies if name in lists}
    schemas = {name: dependencies[name] for name in dependencies if name not in lists}
    return {"dependentRequired": names, "dependentSchemas": schemas}
