"""Confidential fields as rows store them: encrypted with the payload key, or in plain text without one.

| what | where |
|---|---|
| context and auth context of a run | columns of its row: JSON text, or encrypted text |
| a token for the cluster's own auth function, and the function's result | a string in the call's JSON |

Rows written before the key was set stay readable. A value is bound to its run, or to its cluster: elsewhere it cannot be
decrypted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from pydantic import JsonValue

from orchestrator.errors import UnavailableError
from orchestrator.rules.custom_auth import AUTH_FUNCTION, AUTH_SERVICE
from orchestrator.runtime.encryption import FieldCipher, is_sealed
from orchestrator.store.database.json_columns import from_json, object_from_json, to_json
from orchestrator.store.records import CallRecord, RunRecord

_TOKEN = "token"  # noqa: S105 - the name of a field
Contexts = tuple[dict[str, JsonValue] | None, dict[str, JsonValue] | None]


def seal_context(
    cipher: FieldCipher, value: Mapping[str, object] | None, cluster_id: str, run_id: str
) -> str | None:
    """A run's context or auth context in the form of its column."""
    return (
        None if value is None else cipher.seal_text(to_json(dict(value)), f"{cluster_id}/{run_id}")
    )


def open_contexts(cipher: FieldCipher, run: RunRecord) -> Contexts:
    """A run's context and auth context. Raises `UnavailableError` if the key is missing or a different one."""
    return _context(cipher, run, run.context), _context(cipher, run, run.auth_context)


def _context(
    cipher: FieldCipher, run: RunRecord, stored: str | None
) -> dict[str, JsonValue] | None:
    if stored is None:
        return None
    try:
        return object_from_json(cipher.open_text(stored, f"{run.cluster_id}/{run.id}"))
    except ValueError as error:
        raise UnavailableError(f"The context of run {run.id!r} does not open: {error}") from error


def seal_input(
    cipher: FieldCipher, cluster_id: str, function: tuple[str, str], values: JsonValue
) -> JsonValue:
    """A call's input in its stored form: for a call of the auth function, the token is encrypted."""
    if function != (AUTH_SERVICE, AUTH_FUNCTION) or not isinstance(values, dict):
        return values
    token = values.get(_TOKEN)
    if not isinstance(token, str):
        return values
    return {**values, _TOKEN: cipher.seal_text(token, _owner(cluster_id))}


def open_input(cipher: FieldCipher, call: CallRecord) -> JsonValue:
    """A call's input for its function. A token that cannot be decrypted stays encrypted: it grants no access."""
    values = from_json(call.input)
    if (call.service, call.function) != (AUTH_SERVICE, AUTH_FUNCTION):
        return values
    token = values.get(_TOKEN) if isinstance(values, dict) else None
    if not isinstance(values, dict) or not isinstance(token, str):
        return values
    with contextlib.suppress(ValueError):
        values[_TOKEN] = cipher.open_text(token, _owner(call.cluster_id))
    return values


def seal_result(cipher: FieldCipher, call: CallRecord, content: str) -> str:
    """A function's result (JSON) in its stored form: that of the auth function is encrypted."""
    if (call.service, call.function) != (AUTH_SERVICE, AUTH_FUNCTION):
        return content
    stored = cipher.seal_text(content, _owner(call.cluster_id))
    return to_json(stored) if is_sealed(stored) else content


def open_auth_result(cipher: FieldCipher, cluster_id: str, content: str) -> JsonValue:
    """The auth function's result. Raises `UnavailableError` if the key is missing or a different one."""
    value = from_json(content)
    if not isinstance(value, str) or not is_sealed(value):
        return value
    try:
        return from_json(cipher.open_text(value, _owner(cluster_id)))
    except ValueError as error:
        raise UnavailableError(f"What the auth function returned does not open: {error}") from error


def _owner(cluster_id: str) -> str:
    return f"{cluster_id}/{AUTH_SERVICE}.{AUTH_FUNCTION}"
