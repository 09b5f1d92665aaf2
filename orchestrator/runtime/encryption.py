"""Encryption of secrets at rest with the payload key. Without a key they are stored in plain text.

Ciphertext is bound to its owner: copied into another owner's row, it cannot be decrypted.
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_SEALED: Final = b"aes-gcm:"
_PLAIN: Final = b"plain:"
SEALED_TEXT: Final = "sealed:"
"""Prefix of encrypted text. No JSON text begins with it, so text that was stored before the key was set is recognised."""
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32


def read_key(text: str) -> bytes:
    """Decode the payload key: 32 bytes in base64. Raises `ValueError` that says how to generate one."""
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:  # not base64, or not even ASCII
        key = b""
    if len(key) != _KEY_BYTES:
        raise ValueError(
            "PERDURE_PAYLOAD_KEY must be 32 bytes in base64, as `openssl rand -base64 32` makes them."
        )
    return key


def aes_gcm(key: bytes) -> AESGCM:
    """AES-256-GCM."""
    # Imported only with a key: the package takes 7 MB.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - see above

    return AESGCM(key)


class FieldCipher:
    """AES-256-GCM with the payload key, or no encryption. Secrets stored before the key was set stay readable."""

    def __init__(self, key: bytes | None) -> None:
        self._cipher = None if key is None else aes_gcm(key)

    @classmethod
    def from_key(cls, payload_key: SecretStr | None) -> FieldCipher:
        """Build the cipher from the value of `PERDURE_PAYLOAD_KEY`. Raises `ValueError` if it is not 32 bytes in base64."""
        return cls(None if payload_key is None else read_key(payload_key.get_secret_value()))

    def seal(self, secret: str, owner: str) -> bytes:
        """Encrypt a secret into the form in which it is stored."""
        if self._cipher is None:
            return _PLAIN + secret.encode()
        nonce = os.urandom(_NONCE_BYTES)
        return _SEALED + nonce + self._cipher.encrypt(nonce, secret.encode(), _bound_to(owner))

    def open(self, stored: bytes, owner: str) -> str:
        """Decrypt a stored secret. Raises `ValueError` if the key is not the one that encrypted it."""
        if stored.startswith(_PLAIN):
            return stored.removeprefix(_PLAIN).decode()
        if self._cipher is None:
            raise ValueError("A secret is sealed and PERDURE_PAYLOAD_KEY is not set.")
        sealed = stored.removeprefix(_SEALED)
        nonce, text = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - see `aes_gcm`

        try:
            return self._cipher.decrypt(nonce, text, _bound_to(owner)).decode()
        except (InvalidTag, ValueError) as error:
            raise ValueError("A secret was sealed with another PERDURE_PAYLOAD_KEY.") from error

    def seal_text(self, text: str, owner: str) -> str:
        """Encrypt text for a text column; unchanged if no key is set."""
        if self._cipher is None:
            return text
        return SEALED_TEXT + base64.b64encode(self.seal(text, owner)).decode()

    def open_text(self, stored: str, owner: str) -> str:
        """Decrypt text; text that is not encrypted is returned unchanged. Raises `ValueError` as `open` does."""
        if not is_sealed(stored):
            return stored
        try:
            sealed = base64.b64decode(stored.removeprefix(SEALED_TEXT), validate=True)
        except ValueError:
            sealed = b""
        return self.open(sealed, owner)


def is_sealed(text: str) -> bool:
    """Whether text was encrypted by `FieldCipher.seal_text`."""
    return text.startswith(SEALED_TEXT)


def _bound_to(owner: str) -> bytes:
    return f"perdure-secret/{owner}".encode()
