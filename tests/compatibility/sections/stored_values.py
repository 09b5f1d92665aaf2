"""Values in the store's columns: enumerations, JSON, hashes and encrypted values."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable

from temporalio.api.common.v1 import Payload

from orchestrator.llm.messages import ModelResponse, StopReason, ToolCall, ToolResult
from orchestrator.llm.transcript import reply_data, result_data, text_data
from orchestrator.rules.cache_keys import cache_key
from orchestrator.rules.custom_auth import AUTH_FUNCTION, AUTH_SERVICE
from orchestrator.runtime.encryption import FieldCipher
from orchestrator.store.tenants.api_keys import hash_key
from orchestrator.temporal.payload_encryption import ENCODING, EncryptingCodec
from perdure.contract import (
    BlobType,
    Budget,
    CallStatus,
    DeliveryKind,
    DeliveryStatus,
    FunctionReference,
    MessageType,
    PausedFor,
    ResultType,
    RunStatus,
    StatusChangeTarget,
    WebhookTarget,
)
from tests.compatibility.comparison import Json

_KEY = bytes(range(32))
_SEALED = "YWVzLWdjbTotjk0Znc1eezI5pD5e2kVd+c9mWc29zkedEmrQvEICCChg"
_SEALED_TEXT = "sealed:YWVzLWdjbTovwsTHiXizctAkDfETaQOW3GHX3loL3M8wTJibpIj/Jw=="
_ENCRYPTED = "4FmWDC/jqJo/EZ/ysuGJLgEUUEv1+dzN+D35dEf5OuZdRK8ZVgMFckdjnrH2lOC4JS6in/94GhPTvTccrg=="
"""Encrypted with `_KEY` when the baseline was made."""


def stored_values() -> Json:
    """How values are written, and how encrypted samples of an earlier release are read."""
    return {
        "enumerations": {
            "status of a run": [one.value for one in RunStatus],
            "status of a call": [one.value for one in CallStatus],
            "status of a delivery": [one.value for one in DeliveryStatus],
            "kind of a delivery": [one.value for one in DeliveryKind],
            "type of a result": [one.value for one in ResultType],
            "type of a message": [one.value for one in MessageType],
            "type of a blob": [one.value for one in BlobType],
            "what a run is paused for": [one.value for one in PausedFor],
            "why a model stopped": [one.value for one in StopReason],
            "the auth function": f"{AUTH_SERVICE}.{AUTH_FUNCTION}",
        },
        "messages": _messages(),
        "columns": {
            "attached_functions": _reference().model_dump(),
            "budget": Budget(tokens=1, usd=0.5, steps=2, calls=3).model_dump(exclude_none=True),
            "on_status_change": {
                "function": StatusChangeTarget(function=_reference()).model_dump(),
                "webhook": StatusChangeTarget(webhook=WebhookTarget(url="https://a")).model_dump(),
            },
        },
        "hash of the key `sk_key`": hash_key("sk_key"),
        "cache key": cache_key(
            ("cluster", "service", "function"),
            "$.id",
            {"id": 1, "at": 2},
            asker=(None, {"user": 3}),
        ),
        "decrypted samples": _decrypted(),
    }


def _reference() -> FunctionReference:
    return FunctionReference(service="service", function="function")


def _messages() -> Json:
    """The data of a message of each type, with all optional parts."""
    call = ToolCall(id="tool", name="service_function", input={"a": 1}, reasoning="because")
    reply = ModelResponse(
        "text", StopReason.CALLS, (call,), blocks=({"type": "text"},), model="provider/model"
    )
    result = ToolResult("tool", "service_function", "content")
    agent = reply_data(reply, seen=7, selected_tools=["service_function"])
    invocations = agent.pop("invocations")
    assert isinstance(invocations, list)
    return {
        "human": text_data("text"),
        "agent": agent,
        "agent: one of its invocations": invocations[0],
        "invocation-result": result_data(result, call_id="call", summarized=True),
        "invocation-result of an error": result_data(
            ToolResult("tool", "service_function", "content", is_error=True)
        ),
    }


def _decrypted() -> dict[str, Json]:
    box, key = FieldCipher(_KEY), base64.b64encode(_KEY).decode()
    codec = EncryptingCodec.from_text(key)
    payload = Payload(metadata={"encoding": ENCODING}, data=base64.b64decode(_ENCRYPTED))
    secret = base64.b64decode(_SEALED)

    def decode() -> str:
        (decoded,) = asyncio.run(codec.decode([payload]))
        return decoded.data.decode()

    return {
        "a secret": _tried(lambda: box.open(secret, "owner")),
        "a secret stored without a key": _tried(lambda: box.open(b"plain:secret", "owner")),
        "text": _tried(lambda: box.open_text(_SEALED_TEXT, "owner")),
        "text stored without a key": _tried(lambda: box.open_text("text", "owner")),
        "a payload": _tried(decode),
    }


def _tried(read: Callable[[], str]) -> str:
    """What `read` returns, or why it failed."""
    try:
        return read()
    except ValueError as error:
        return f"not readable: {error}"
