"""Every field, with type and default, of the values that pass through Temporal, keyed by use and not by class name.

The payload converter omits fields that have their default value, so histories depend on the defaults.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from temporalio.api.common.v1 import Payload

from orchestrator.temporal.payload_converter import CompactPayloadConverter
from orchestrator.workflows.interface import CallRef, RunRef
from tests.compatibility.comparison import Json
from tests.compatibility.sections.temporal_definitions import activities, runs, workflows


def temporal_payloads() -> Json:
    """Arguments and results of all workflows and activities, and the encoding of one example."""
    found: dict[str, Json] = {
        # The dynamic activity receives its argument undecoded, so its annotation does not tell the type.
        "activity of a call: argument 1": _value(CallRef),
        "encoding of an example": _written(RunRef("{cluster}", "{run}")),
    }
    for name, definition in workflows().items():
        found.update(_arguments_and_result(f"workflow {name}", runs(definition)))
    for kind, function in activities().items():
        passed = _arguments_and_result(f"activity {kind or 'of a call'}", function)
        found.update({place: value for place, value in passed.items() if place not in found})
    return found


def _arguments_and_result(where: str, function: Callable[..., Any]) -> dict[str, Json]:
    hints = get_type_hints(function)
    result = hints.pop("return")
    arguments = {f"{where}: argument {at}": _value(one) for at, one in enumerate(hints.values(), 1)}
    return {**arguments, f"{where}: result": _value(result)}


def _value(hint: Any) -> dict[str, Json]:
    if is_dataclass(hint):
        hints = get_type_hints(hint)
        return {"fields": {one.name: _field(one, hints[one.name]) for one in fields(hint)}}
    if get_origin(hint) is list:
        return {"list of": _value(get_args(hint)[0])}
    return {"type": _type(hint)}


def _field(field: Field[Any], hint: Any) -> Mapping[str, Json]:
    return {**_value(hint), **_default(field)}


def _default(field: Field[Any]) -> Mapping[str, Json]:
    if field.default_factory is not MISSING:
        return {"default": json.dumps(field.default_factory()), "required": False}
    if field.default is not MISSING:
        return {"default": json.dumps(field.default), "required": False}
    return {"required": True}


def _type(hint: Any) -> str:
    if get_origin(hint) in {UnionType, Union}:
        return " | ".join(sorted(map(_type, get_args(hint))))
    return "null" if hint in {None, NoneType} else str(hint.__name__)


def _written(value: object) -> dict[str, Json]:
    (payload,) = CompactPayloadConverter().to_payloads([value])
    assert isinstance(payload, Payload)
    return {
        "metadata": {name: text.decode() for name, text in payload.metadata.items()},
        "data": payload.data.decode(),
    }
