"""Prompt templates with placeholders for inputs: `{{name}}`. Pure.

A placeholder is replaced by the input's text, or by its JSON if it is not a text. Inserted text is not expanded
again, so an input with `{{other}}` is unchanged. `\\{{` writes two literal braces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache

from pydantic import JsonValue

_PLACE = re.compile(r"\\\{\{|\{\{[ \t]*([A-Za-z0-9_.\-]{1,128})[ \t]*\}\}")
_PLAIN_BRACES = "{{"


@lru_cache(maxsize=256)
def places(template: str) -> tuple[str, ...]:
    """The names of the template's placeholders, in order, each once."""
    names = (found[1] for found in _PLACE.finditer(template) if found[1] is not None)
    return tuple(dict.fromkeys(names))


def fill(template: str, inputs: Mapping[str, JsonValue]) -> str:
    """The prompt with its placeholders replaced; a missing input counts as empty."""

    def put(found: re.Match[str]) -> str:
        name: str | None = found[1]
        if name is None:
            return _PLAIN_BRACES
        return _text(inputs[name]) if name in inputs else ""

    return _PLACE.sub(put, template)


def append(prompt: str, inputs: Mapping[str, JsonValue]) -> str:
    """The prompt followed by all inputs, for templates without placeholders.

    `<` is escaped in the JSON, so that no input can close the block.
    """
    data = json.dumps(dict(inputs), ensure_ascii=False, indent=2).replace("<", "\\u003c")
    return f"{prompt}\n\n<DATA>\n{data}\n</DATA>"


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
