"""Renders pydantic's errors for the author of the request."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast, get_args, get_origin

from fastapi.datastructures import QueryParams
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel

from orchestrator.schema import to_pointer
from perdure.contract import FieldProblem

MAX_PROBLEMS = 20
MAX_PARAMETERS = 100
"""Maximum parameters of a query."""
_KEY_MARK = "[key]"
_SUBJECT = re.compile(r"^(Input|String|Value|List|Dictionary|Object|Data|Tuple|Set) should ")


def explain(error: RequestValidationError, route: object) -> list[FieldProblem]:
    """Every error with a JSON Pointer into the body; at most `MAX_PROBLEMS`.

    A parameter of the query, the path or a header has no pointer; the text names it. Values are never
    repeated: they may be secret. Further errors are not rendered: a body may have a million.
    """
    found: dict[tuple[str, str], FieldProblem] = {}
    for item in cast("Sequence[Mapping[str, Any]]", error.errors()):
        source, *location = cast("tuple[str | int, ...]", item["loc"])
        field = (
            _in_the_body(item, location, error.body, route)
            if source == "body"
            else FieldProblem(pointer="", detail=_of_parameter(item, str(source), location, route))
        )
        found.setdefault((field.pointer, field.detail), field)
        if len(found) == MAX_PROBLEMS:
            break
    return list(found.values())


def _in_the_body(
    item: Mapping[str, Any], location: Sequence[str | int], body: object, route: object
) -> FieldProblem:
    path = body_path(location, body, missing=item["type"] == "missing")
    if item["type"] == "extra_forbidden":
        text = _unknown("field", str(location[-1]), _fields_at(location[:-1], body_model(route)))
    else:
        text = _describe(f"`{'.'.join(map(str, path))}`" if path else "The body", item)
    return FieldProblem(pointer=to_pointer(path), detail=text)


def _of_parameter(
    item: Mapping[str, Any], source: str, location: Sequence[str | int], route: object
) -> str:
    name = ".".join(map(str, location))
    if item["type"] == "extra_forbidden":
        return _unknown(f"{source} parameter", name, query_names(route))
    return _describe(f"The {source} parameter `{name}`", item)


def _describe(subject: str, item: Mapping[str, Any]) -> str:
    if item["type"] == "missing":
        return f"{subject} is required."
    text, changed = _SUBJECT.subn("must ", str(item["msg"]))
    value = item.get("input")
    if item["type"] in {"string_too_long", "too_long"} and isinstance(value, str | list | dict):
        text += f", not {len(cast('str', value)):,}"
    return f"{subject}{'' if changed else ':'} {text.rstrip('.')}."


def _unknown(kind: str, name: str, allowed: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, allowed, n=1)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    known = f" Allowed: {', '.join(allowed)}." if allowed else ""
    return f"There is no {kind} `{name[:100]}` here.{hint}{known}"


def body_path(
    location: Sequence[str | int], body: object, *, missing: bool
) -> tuple[str | int, ...]:
    """The location in the body, without pydantic's marks for the members of a union and for keys."""
    path: list[str | int] = []
    here = body
    for position, token in enumerate(location):
        if isinstance(here, dict) and token in here:
            here = cast("dict[str | int, object]", here)[token]
        elif isinstance(here, list) and isinstance(token, int):
            here = cast("list[object]", here)[token]
        elif not (missing and position == len(location) - 1):
            continue
        path.append(token)
    return tuple(path)


def _fields_at(location: Sequence[str | int], model: object) -> list[str]:
    """Names of the fields of the model at a location."""
    models = list(models_in(model))
    for token in location:
        inside = [m for kind in models for m in models_in(fields_of([kind]).get(str(token)))]
        named = [m for m in models if m.__name__ == token]
        models = inside or named or models
    return list(fields_of(models))


def fields_of(models: Iterable[type[BaseModel]]) -> dict[str, object]:
    """Names of the models' fields in JSON, and the annotation of each."""
    return {
        field.alias or name: field.annotation
        for model in models
        for name, field in model.model_fields.items()
    }


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Every model that a value of this annotation may be or contain, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def body_model(route: object) -> object:
    """The annotation of a route's body; None if it has none."""
    field = route.body_field if isinstance(route, APIRoute) else None
    return None if field is None else field.field_info.annotation


def query_names(route: object) -> list[str]:
    """Names of a route's query parameters."""
    return list(_query_fields(route))


def single_names(route: object) -> frozenset[str]:
    """Query parameters that accept one value."""
    return frozenset(name for name, kind in _query_fields(route).items() if not _is_list(kind))


def has_too_many(query: bytes) -> bool:
    """Whether a query has more parameters than any operation accepts: each would be reported as an error."""
    return query.count(b"&") >= MAX_PARAMETERS


def refuse_repeated(query: QueryParams, single: frozenset[str]) -> None:
    """Raise `RequestValidationError` if a parameter that accepts one value has several."""
    repeated = [name for name in query if name in single and len(query.getlist(name)) > 1]
    if repeated:
        raise RequestValidationError(
            [
                {"type": "repeated", "loc": ("query", name), "msg": "Value should be given once"}
                for name in repeated
            ]
        )


def _query_fields(route: object) -> dict[str, object]:
    fields = route.dependant.query_params if isinstance(route, APIRoute) else []
    found: dict[str, object] = {}
    for field in fields:
        annotation = field.field_info.annotation
        found |= fields_of(models_in(annotation)) or {field.alias: annotation}
    return found


def _is_list(annotation: object) -> bool:
    return get_origin(annotation) is list or any(_is_list(part) for part in get_args(annotation))
