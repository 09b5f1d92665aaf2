"""Computes the cache key of a call by its function's cache policy. Pure."""

from __future__ import annotations

import hashlib
import json

from pydantic import JsonValue


def check_key_path(text: str) -> None:
    """Raise `ValueError` with an explanation for an invalid key path."""
    # Imported on first use: few functions have a cache.
    from orchestrator.rules.key_path import compile_key_path  # noqa: PLC0415 - see above

    compile_key_path(text)


def cache_key(
    function: tuple[str, str, str],
    key_path: str,
    value: JsonValue,
    *,
    asker: tuple[JsonValue, JsonValue],
) -> str | None:
    """Return the key of a call of `function` (cluster, service, name) with this input by `asker` (context, auth
    context), or None if the path selects nothing; such a call is not cached.
    """
    from orchestrator.rules.key_path import select  # noqa: PLC0415 - few functions have a cache

    selected = select(key_path, value)
    if not selected:
        return None
    known: list[object] = [*function, key_path, selected, *asker]
    text = json.dumps(known, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
