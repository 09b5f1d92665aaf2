"""JSON as the store keeps it: text that both databases accept, whatever a function or a model wrote."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import NoReturn, cast

from pydantic import JsonValue

MAX_DEPTH = 64
"""Maximum nesting of objects and arrays in any input."""


def to_json(value: object) -> str:
    """Compact JSON text. NUL and lone surrogates stay escaped, so the text is valid in every database.

    NaN and infinities, which some parsers accept in a model's output, become null: JSON does not have them.
    """
    try:
        text = _encode(value, ensure_ascii=False)
    except ValueError:
        value = _finite(value)
        text = _encode(value, ensure_ascii=False)
    return text if _is_storable(text) else _encode(value, ensure_ascii=True)


def optional_to_json(value: object | None) -> str | None:
    return None if value is None else to_json(value)


def from_json(text: str) -> JsonValue:
    """Parse JSON. Raises `ValueError`, also for numbers that JSON does not have and for excessive nesting."""
    try:
        value: JsonValue = json.loads(
            text, parse_constant=_reject_constant, parse_float=_finite_float
        )
    except RecursionError as error:
        raise ValueError("The JSON is nested too deeply.") from error
    return value


def object_from_json(text: str) -> dict[str, JsonValue]:
    """Parse text that this module wrote for an object."""
    value = from_json(text)
    if not isinstance(value, dict):
        raise TypeError("The stored text is not a JSON object.")
    return value


def optional_from_json(text: str | None) -> JsonValue:
    return None if text is None else from_json(text)


def to_storable_text(text: str) -> str:
    """Plain text with the characters that databases reject (NUL, lone surrogates) escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\u0000")


def is_too_deep(value: object) -> bool:
    """Whether objects and arrays are nested more than `MAX_DEPTH` deep."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child for each in level for child in _children(each) if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _children(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(cast("dict[str, object]", value).values())
    return cast("list[object]", value) if isinstance(value, list) else []


def _encode(value: object, *, ensure_ascii: bool) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, separators=(",", ":"), allow_nan=False)


def _finite(value: object) -> object:
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        return {name: _finite(item) for name, item in members.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in cast("Sequence[object]", value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _reject_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON.")


def _finite_float(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _reject_constant(text)


def _is_storable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
