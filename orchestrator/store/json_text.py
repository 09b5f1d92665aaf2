"""JSON as the store keeps it: text that both databases take, whatever a function or a model wrote."""

from __future__ import annotations

import json

from pydantic import JsonValue


def dump(value: object) -> str:
    """Compact JSON text. NUL and lone surrogates stay escaped, so the text is valid in every database."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text if _is_storable(text) else json.dumps(value, separators=(",", ":"), allow_nan=False)


def dump_optional(value: object | None) -> str | None:
    return None if value is None else dump(value)


def load(text: str) -> JsonValue:
    value: JsonValue = json.loads(text)
    return value


def load_object(text: str) -> dict[str, JsonValue]:
    """Read text that this module wrote of an object."""
    value = load(text)
    if not isinstance(value, dict):
        raise TypeError("The stored text is not a JSON object.")
    return value


def load_optional(text: str | None) -> JsonValue:
    return None if text is None else load(text)


def storable(text: str) -> str:
    """Plain text with what databases refuse (NUL, lone surrogates) written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\u0000")


def _is_storable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
