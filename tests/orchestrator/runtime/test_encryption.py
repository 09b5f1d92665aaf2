"""What is sealed opens with the same key for the same owner, and never otherwise."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, strategies as st
from pydantic import SecretStr

from orchestrator.runtime.encryption import FieldCipher, is_sealed

_TEXT = st.text(st.characters(codec="utf-8"))
CIPHER, OTHER_CIPHER, PLAIN_CIPHER = (
    FieldCipher(b"k" * 32),
    FieldCipher(b"o" * 32),
    FieldCipher(None),
)


@given(_TEXT, _TEXT)
def test_what_is_sealed_can_be_had_again_and_cannot_be_read(secret: str, owner: str) -> None:
    kept = CIPHER.seal(secret, owner)
    assert CIPHER.open(kept, owner) == secret
    assert len(secret) < 8 or secret.encode() not in kept
    assert CIPHER.seal(secret, owner) != kept, "the same text twice must not show"


@pytest.mark.parametrize(
    ("box", "kept", "owner"),
    [
        (OTHER_CIPHER, CIPHER.seal("secret", "a"), "a"),
        (PLAIN_CIPHER, CIPHER.seal("secret", "a"), "a"),
        (CIPHER, CIPHER.seal("secret", "a"), "b"),
        (CIPHER, CIPHER.seal("secret", "a")[:-8], "a"),
        (CIPHER, b"aes-gcm:", "a"),
        (CIPHER, b"", "a"),
    ],
    ids=["another key", "no key", "another owner", "cut off", "nothing sealed", "nothing"],
)
def test_nothing_opens_for_another_key_or_owner(box: FieldCipher, kept: bytes, owner: str) -> None:
    with pytest.raises(ValueError, match="PERDURE_PAYLOAD_KEY"):
        box.open(kept, owner)


def test_what_was_stored_before_the_key_was_set_stays_readable() -> None:
    assert CIPHER.open(PLAIN_CIPHER.seal("secret", "a"), "a") == "secret"


def test_the_key_is_the_settings_payload_key() -> None:
    key = base64.b64encode(b"k" * 32).decode()
    box = FieldCipher.from_key(SecretStr(key))
    assert CIPHER.open(box.seal("secret", "a"), "a") == "secret"
    assert PLAIN_CIPHER.open(FieldCipher.from_key(None).seal("secret", "a"), "a") == "secret"


@pytest.mark.parametrize("key", ["", "short", "é" * 44, base64.b64encode(b"k" * 31).decode()])
def test_a_key_that_is_none_is_refused_with_the_way_to_make_one(key: str) -> None:
    with pytest.raises(ValueError, match="openssl rand -base64 32"):
        FieldCipher.from_key(SecretStr(key))


@given(_TEXT, _TEXT)
def test_text_is_sealed_as_text_and_what_is_not_sealed_stays(text: str, owner: str) -> None:
    kept = CIPHER.seal_text(text, owner)
    assert is_sealed(kept)
    assert kept.isascii()
    assert CIPHER.open_text(kept, owner) == text
    assert PLAIN_CIPHER.seal_text(text, owner) == text
    assert is_sealed(text) or CIPHER.open_text(text, owner) == text


@pytest.mark.parametrize("kept", ["sealed:", "sealed:é", "sealed:YWVz", "sealed:YWVzLWdjbTo="])
def test_damaged_sealed_text_is_refused(kept: str) -> None:
    with pytest.raises(ValueError, match="PERDURE_PAYLOAD_KEY"):
        CIPHER.open_text(kept, "a")
