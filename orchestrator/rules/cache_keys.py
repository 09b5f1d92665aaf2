"""Which calls have the same result, by their function's cache policy. Pure."""

from __future__ import annotations

import hashlib
import json

from pydantic import JsonValue


def check_key_path(text: str) -> None:
    """Raises `ValueError`, in words, for a key path that cannot be used."""
    # Imported when a first function has a cache: few have.
    from orchestrator.rules.key_path import compile_key_path  # noqa: PLC0415 - see above

    compile_key_path(text)


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
    from orchestrator.rules.key_path import compile_key_path  # noqa: PLC0415 - few functions have a cache

    read = json.dumps(value) if isinstance(value, str) else value  # a str is taken for JSON text
    selected = compile_key_path(key_path).findall(read)
    if not selected:
        return None
    known: list[object] = [*function, key_path, selected, *asker]
    text = json.dumps(known, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
