"""Public names of the SDK and the parameters of their methods: used in programs of users."""

from __future__ import annotations

import inspect
import json
import re
from enum import Enum
from types import MemberDescriptorType
from typing import Any, is_typeddict
from unittest.mock import MagicMock

from pydantic import BaseModel
from pydantic.fields import FieldInfo

import perdure
from tests.compatibility.comparison import Json

_HANDED_OUT = {"AsyncCall", "AsyncRun", "Call", "Function", "Run", "StatusChangeHandler"}
"""Only the SDK creates these, so their constructors are internal."""
_CLIENTS = {"AsyncPerdure", "Perdure"}
_INTERNAL = {"aio", "portal", "transport"}
"""Undocumented attributes of a client."""
_SPECIAL = {"__aenter__", "__call__", "__enter__"}


def sdk() -> Json:
    """By public name."""
    return {name: _public(name, getattr(perdure, name)) for name in perdure.__all__}


def _public(name: str, thing: Any) -> dict[str, Json]:
    if not inspect.isclass(thing):
        return _callable(thing)
    if is_typeddict(thing):
        return _typed_dict(thing)
    if issubclass(thing, Enum):
        return {"values": {one.name: one.value for one in thing}}
    if issubclass(thing, BaseModel):
        return _model(thing)
    if issubclass(thing, Exception):
        return _error(thing)
    return _class(name, thing)


def _class(name: str, kind: Any) -> dict[str, Json]:
    entry: dict[str, Json] = {"members": _members(kind)}
    if name not in _HANDED_OUT:
        entry["constructor"] = _parameters(kind)
    if name in _CLIENTS:
        entry["namespaces"] = _namespaces(kind)
    return entry


def _typed_dict(thing: Any) -> dict[str, Json]:
    keys = thing.__required_keys__ | thing.__optional_keys__
    return {"keys": {key: {"required": key in thing.__required_keys__} for key in keys}}


def _model(model: type[BaseModel]) -> dict[str, Json]:
    return {
        "fields": {name: _model_field(name, one) for name, one in model.model_fields.items()},
        "members": {
            name: _member(model, name)
            for name in dir(model)
            if name not in dir(BaseModel)
            and not name.startswith("_")
            and name not in model.model_fields
        },
    }


def _model_field(name: str, field: FieldInfo) -> dict[str, Json]:
    entry: dict[str, Json] = {
        "json": field.serialization_alias or name,
        "required": field.is_required(),
    }
    if not field.is_required():
        entry["default"] = _text(field.get_default(call_default_factory=True))
    return entry


def _error(error: type[Exception]) -> dict[str, Json]:
    parameters = inspect.signature(error.__init__).parameters.values()
    needed = [
        MagicMock()
        for one in list(parameters)[1:]
        if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD
    ]
    return {
        "is a": sorted(
            base.__name__
            for base in error.__mro__[1:]
            if base.__name__ in perdure.__all__ or base.__module__ == "builtins"
        ),
        "attributes": sorted(name for name in vars(error(*needed)) if not name.startswith("_")),
    }


def _namespaces(client: Any) -> dict[str, Json]:
    made: object = client(url="http://127.0.0.1:1", api_key="key", cluster_id="cluster")
    return {
        name: {"members": _members(type(value))}
        for name, value in vars(made).items()
        if not name.startswith("_") and name not in _INTERNAL
    }


def _members(kind: Any) -> dict[str, Json]:
    names = (name for name in dir(kind) if not name.startswith("_"))
    bases: tuple[type, ...] = kind.__mro__
    special = (name for base in bases for name in vars(base) if name in _SPECIAL)
    return {name: _member(kind, name) for name in (*names, *special)}


def _member(kind: Any, name: str) -> dict[str, Json]:
    found = inspect.getattr_static(kind, name)
    is_method = inspect.isfunction(found)
    if isinstance(found, property | MemberDescriptorType):
        return {"is": "an attribute"}
    if is_method or isinstance(found, classmethod | staticmethod):
        return _callable(getattr(kind, name), skip=is_method)
    if hasattr(found, "__get__"):  # a descriptor that returns a bound method
        return _callable(found.__get__(MagicMock(), kind), skip=True)
    return {"is": "an attribute", "value": _text(found)}


def _callable(function: Any, *, skip: bool = False) -> dict[str, Json]:
    return {"is": _kind(function), "parameters": _parameters(function, skip=skip)}


def _kind(function: Any) -> str:
    if inspect.iscoroutinefunction(function):
        return "a coroutine"
    return "an asynchronous iterator" if inspect.isasyncgenfunction(function) else "a function"


def _parameters(function: Any, *, skip: bool = False) -> dict[str, Json]:
    """`skip`: leave out the first parameter, the instance."""
    parameters = list(inspect.signature(function).parameters.values())
    found = dict(_parameter(at, one) for at, one in enumerate(parameters[skip:], 1))
    if "**" in found:
        found["**"] = _options(function, str(parameters[-1].annotation))
    return dict(found)


def _options(function: Any, annotation: str) -> dict[str, Json]:
    """The keywords of an unpacked `TypedDict`; nothing for other annotations."""
    named = re.fullmatch(r"Unpack\[(\w+)\]", annotation)
    if named is None:
        return {}
    return _typed_dict(inspect.unwrap(function).__globals__[named[1]])


def _parameter(at: int, one: inspect.Parameter) -> tuple[str, dict[str, Json]]:
    if one.kind in {one.VAR_KEYWORD, one.VAR_POSITIONAL}:
        return "**" if one.kind is one.VAR_KEYWORD else "*", {}
    entry: dict[str, Json] = {"required": one.default is one.empty}
    if one.default is not one.empty:
        entry["default"] = _text(one.default)
    if one.kind is not one.KEYWORD_ONLY:
        entry["at"] = at
    if one.kind is one.POSITIONAL_ONLY:
        return f"(position {at})", entry
    return one.name, entry


def _text(value: object) -> str:
    """A default as JSON; "an object" for values that have no JSON form."""
    return json.dumps(value, default=_plain, sort_keys=True)


def _plain(value: object) -> Json:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return "an object"
