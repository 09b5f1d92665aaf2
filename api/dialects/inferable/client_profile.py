"""The Inferable clients: how their requests are recognized, which credentials they send, and how they behave."""

from __future__ import annotations

from fastapi import Request
from starlette.datastructures import Headers

from api.access import SCHEMES, credential_in
from api.auth.scopes import USER
from api.http.dialect import NATIVE, ClientProfile, Credential

SDK_VERSION_HEADER = "x-machine-sdk-version"
_EARLIER_USER = "customer"
"""The scheme `custom` under its name in clients up to 0.30.60."""

INFERABLE = ClientProfile(
    sends_heartbeats=False,
    accepts_409=False,
    answer_first_poll_at_once=True,
    batch_seconds=0.02,
    held_operations=frozenset({"get_run", "get_timeline"}),
    wait_parameters=("wait", "waitTime"),
)


def inferable_profile(headers: Headers) -> ClientProfile:
    """A request belongs to the Inferable dialect if it names an SDK version, or has a key without a scheme, or a
    token in the scheme that only earlier Inferable clients use.
    """
    words = headers.get("authorization", "").split()
    bare = len(words) == 1 and words[0].lower() != "bearer"
    earlier = bool(words) and words[0].lower() == _EARLIER_USER
    return INFERABLE if bare or earlier or SDK_VERSION_HEADER in headers else NATIVE


def matches(headers: Headers, _path: str) -> bool:
    """Whether an Inferable client sent the request."""
    return inferable_profile(headers) is INFERABLE


def authenticate(request: Request) -> Credential | None:
    """The native credential, or a key without a scheme, or a custom token in the scheme of earlier clients."""
    words = request.headers.get("authorization", "").split()
    if words and words[0].lower() == _EARLIER_USER:
        words[0] = USER
    if len(words) == 1 and words[0].lower() not in SCHEMES:
        return Credential(words[0])
    return credential_in(words)
