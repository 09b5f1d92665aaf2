"""Secrets that are put into every place that takes one, and found again wherever they turn up."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class Canaries:
    """Secrets by what they are. Those that the server makes are added when it has made them."""

    known: dict[str, str] = field(default_factory=dict[str, str])

    def new(self, kind: str, prefix: str = "canary") -> str:
        """A secret that nothing else in the world contains."""
        self.known[kind] = f"{prefix}-{secrets.token_hex(12)}"
        return self.known[kind]

    def add(self, kind: str, secret: str) -> str:
        """A secret that somebody else has made."""
        self.known[kind] = secret
        return secret

    def in_places(self, places: Mapping[str, bytes]) -> list[str]:
        """What was found where it must not be, as `kind in place`."""
        return [
            f"{kind} in {place}"
            for place, content in places.items()
            for kind, secret in self.known.items()
            if any(form in content for form in forms_of(secret))
        ]


def forms_of(secret: str) -> Iterator[bytes]:
    """A secret as it stands, and as it looks in hexadecimal, in UTF-16, and inside base64 that begins before it."""
    plain = secret.encode()
    yield plain
    yield plain.hex().encode()
    yield secret.encode("utf-16-le")
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + plain).decode()
        begin = -(-before * 8 // 6)  # characters that also depend on what stands before
        yield encoded[begin : (before + len(plain)) * 8 // 6].encode()
