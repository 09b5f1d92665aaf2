"""The paths by which cache policies name what their calls are known by.

A key path is a JSONPath (RFC 9535) of names, indices, slices and wildcards. Nothing in it may select a value twice,
neither filters nor descents (`..`) nor `[*,*]`: so reading a key takes as long as reading the input, and not more.
"""

from __future__ import annotations

from functools import lru_cache

from jsonpath import JSONPath, JSONPathEnvironment
from jsonpath.exceptions import JSONPathError
from jsonpath.segments import JSONPathRecursiveDescentSegment, JSONPathSegment
from jsonpath.selectors import Filter, NameSelector

_ENVIRONMENT = JSONPathEnvironment(strict=True)


@lru_cache(maxsize=1_024)
def compile_key_path(text: str) -> JSONPath:
    """The path, ready for use. Raises `ValueError`, in words, for one that cannot be used."""
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
