"""Encryption of everything that passes through Temporal, where a key is set (`PERDURE_PAYLOAD_KEY`)."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec
from typing_extensions import override

ENCODING: Final = b"binary/perdure-aes-gcm"
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32


class EncryptingCodec(PayloadCodec):
    """AES-256-GCM over whole payloads. Payloads written before the key was set stay readable."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    @classmethod
    def from_text(cls, key: str) -> EncryptingCodec:
        """From 32 bytes in base64. Raises `ValueError` that says how to make one."""
        try:
            raw = base64.b64decode(key, validate=True)
        except binascii.Error:
            raw = b""
        if len(raw) != _KEY_BYTES:
            raise ValueError(
                "PERDURE_PAYLOAD_KEY must be 32 bytes in base64, as `openssl rand -base64 32` makes them."
            )
        return cls(raw)

    @override
    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._encrypt(payload) for payload in payloads]

    @override
    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._decrypt(payload) for payload in payloads]

    def _encrypt(self, payload: Payload) -> Payload:
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, payload.SerializeToString(), ENCODING)
        return Payload(metadata={"encoding": ENCODING}, data=nonce + sealed)

    def _decrypt(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        nonce, sealed = payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:]
        try:
            return Payload.FromString(self._cipher.decrypt(nonce, sealed, ENCODING))
        except InvalidTag:
            raise ValueError("A payload was encrypted with another PERDURE_PAYLOAD_KEY.") from None
