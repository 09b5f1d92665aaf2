"""Encrypts all payloads sent through Temporal if a key is set (`PERDURE_PAYLOAD_KEY`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec
from typing_extensions import override

from orchestrator.runtime.encryption import read_key

ENCODING: Final = b"binary/perdure-aes-gcm"
_NONCE_BYTES: Final = 12


class EncryptingCodec(PayloadCodec):
    """AES-256-GCM over whole payloads. Payloads written before the key was set stay readable."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    @classmethod
    def from_text(cls, key: str) -> EncryptingCodec:
        """Create the codec from a key of 32 bytes in base64. Raises `ValueError`, which explains how to create a key."""
        return cls(read_key(key))

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
