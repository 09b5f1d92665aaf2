"""Which calls have the same result, by their function's cache policy. Pure.

A key path is a JSONPath (RFC 9535) of names, indices, slices and wildcards. Nothing in it may select a value twice,
neither filters nor descents (`..`) nor `[*,*]`: so reading a key takes as long as reading the input, and not more.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache

from jsonpath import JSONPath, JSONPathEnvironment
from jsonpath.exceptions import JSONPathError
from jsonpath.segments import JSONPathRecursiveDescentSegment, JSONPathSegment
from jsonpath.selectors import Filter, NameSelector
from pydantic import JsonValue

_ENVIRONMENT = JSONPathEnvironment(strict=True)


def check_key_path(text: str) -> None:
    """Raises `ValueError`, in words, for a key path that cannot be used."""
    _compiled(text)


def cache_key(
    function: tuple[str, str, str],
    key_path: str,
    value: JsonValue,
    *,
    asker: tuple[JsonValue, JsonValue],
) -> str | None:
    """The key of a call of `function` (cluster, service, name) with this input, asked for by `asker` (context, auth
    context); None where the path selects nothing: then no two calls are known to be the same.
    """
    read = json.dumps(value) if isinstance(value, str) else value  # a str is taken for JSON text
    selected = _compiled(key_path).findall(read)
    if not selected:
        return None
    known: list[object] = [*function, key_path, selected, *asker]
    text = json.dumps(known, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=1_024)
def _compiled(text: str) -> JSONPath:
    try:
        path = _ENVIRONMENT.compile(text)
    except (JSONPathError, LookupError, RecursionError, ValueError) as error:
        raise ValueError(
            f"{text!r} is not a JSONPath such as '$.customerId': {_reason(error)}"
        ) from error
    if not isinstance(path, JSONPath):  # the strict syntax knows none
        raise ValueError(f"{text!r} joins several paths")  # noqa: TRY004 - a text of the caller's, not a type
    for segment in path.segments:
        _check(segment, text)
    return path


def _check(segment: JSONPathSegment, text: str) -> None:
    selectors = segment.selectors
    if any(isinstance(selector, Filter) for selector in selectors):
        raise ValueError(f"{text!r} has a filter, which a key path must not have")
    if isinstance(segment, JSONPathRecursiveDescentSegment):
        raise ValueError(f"{text!r} descends ('..'), which a key path must not do")  # noqa: TRY004 - a text of the caller's, not a type
    names = {selector.name for selector in selectors if isinstance(selector, NameSelector)}
    if len(selectors) > 1 and len(names) != len(selectors):
        raise ValueError(f"{text!r} selects several things at once that are not different names")


def _reason(error: Exception) -> str:
    """What the library says, without its drawing of where: that fails for some texts."""
    return str(error.args[0]) if error.args else "it cannot be read"
