"""In which manner a request is written: ours, or that of the Inferable clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import Headers

from api.scopes import EARLIER_USER

SDK_VERSION_HEADER = "x-machine-sdk-version"


@dataclass(frozen=True, slots=True)
class Manner:
    """What can be expected of a client, as far as it is more than the form of its words."""

    heartbeats: bool
    """Its machines acknowledge a call and keep it. One that does not is believed until the call's timeout."""
    hears_conflicts: bool
    """It can be told that a result came too late; else it takes any refusal for a fault and reports that."""
    learns_pace: bool
    """It learns from the first answer how soon to ask again, and without one waits long: answer the first at once."""
    gather: float
    """Seconds to wait for further calls: its machines do not come back before all they took is done."""


NATIVE = Manner(heartbeats=True, hears_conflicts=True, learns_pace=False, gather=0.0)
INFERABLE = Manner(heartbeats=False, hears_conflicts=False, learns_pace=True, gather=0.02)


def manner_of(headers: Headers) -> Manner:
    """Who names the version of its SDK, or sends a key without a scheme, gets the Inferable manner; and who sends a
    token in the scheme that only its earlier clients know.
    """
    words = headers.get("authorization", "").split()
    bare = len(words) == 1 and words[0].lower() != "bearer"
    earlier = bool(words) and words[0].lower() == EARLIER_USER
    return INFERABLE if bare or earlier or SDK_VERSION_HEADER in headers else NATIVE


async def _manner_of(request: Request) -> Manner:
    return manner_of(request.headers)


ClientManner = Annotated[Manner, Depends(_manner_of)]
"""The manner of the request."""
