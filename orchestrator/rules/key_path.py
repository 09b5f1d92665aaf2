"""Key paths of cache policies: they select the parts of the input that form the cache key.

A key path is a JSONPath (RFC 9535) of names, indices, slices and wildcards. Filters, descendant segments (`..`) and
`[*,*]` are rejected, so that no value is selected twice and evaluation is linear in the size of the input.
"""

from __future__ import annotations

import json
from functools import lru_cache

from jsonpath import JSONPath, JSONPathEnvironment
from jsonpath.exceptions import JSONPathError
from jsonpath.segments import JSONPathRecursiveDescentSegment, JSONPathSegment
from jsonpath.selectors import Filter, NameSelector
from pydantic import JsonValue

_ENVIRONMENT = JSONPathEnvironment(strict=True)


@lru_cache(maxsize=1_024)
def compile_key_path(text: str) -> JSONPath:
    """Compile a path. Raises `ValueError` with an explanation for an invalid one."""
    try:
        path = _ENVIRONMENT.compile(text)
    except (JSONPathError, LookupError, RecursionError, ValueError) as error:
        raise ValueError(
            f"{text!r} is not a JSONPath such as '$.customerId': {_reason(error)}"
        ) from error
    if not isinstance(path, JSONPath):  # the strict syntax has none
        raise ValueError(f"{text!r} joins several paths")  # noqa: TRY004 - the caller's text, not a type
    for segment in path.segments:
        _check(segment, text)
    return path


def select(path: str, value: JsonValue) -> list[object]:
    """The parts of the value that the path selects, in order. Raises `ValueError` for an invalid path."""
    document = json.dumps(value) if isinstance(value, str) else value  # jsonpath parses text
    return compile_key_path(path).findall(document)


def _check(segment: JSONPathSegment, text: str) -> None:
    selectors = segment.selectors
    if any(isinstance(selector, Filter) for selector in selectors):
        raise ValueError(f"{text!r} contains a filter, which key paths do not support")
    if isinstance(segment, JSONPathRecursiveDescentSegment):
        raise ValueError(  # noqa: TRY004 - the caller's text, not a type
            f"{text!r} contains a descendant segment ('..'), which key paths do not support"
        )
    names = {selector.name for selector in selectors if isinstance(selector, NameSelector)}
    if len(selectors) > 1 and len(names) != len(selectors):
        raise ValueError(
            f"{text!r} has a segment with several selectors that are not different names"
        )


def _reason(error: Exception) -> str:
    """Return the library's message without its position marker, which fails for some texts."""
    return str(error.args[0]) if error.args else "invalid syntax"
