"""Functions that are given secrets, in a process that logs all it can. What they saw they say in fingerprints alone."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

from pydantic import JsonValue

from perdure import Context, Service, StatusChange
from perdure.worker.worker import serve

READY, AUTH = "PERDURE_TEST_READY", "PERDURE_TEST_AUTH"

service = Service("vault")
door = Service("default")


def fingerprint(secret: JsonValue) -> str:
    """What proves that somebody has a secret, without saying it."""
    return hashlib.sha256(str(secret).encode()).hexdigest()[:16]


@service.function(timeout=60)
async def look(context: Context) -> list[str]:
    """Say what was given in confidence."""
    return [fingerprint(context.data.get("secret")), fingerprint(context.auth.get("secret"))]


@service.function(timeout=60)
async def fails(context: Context) -> str:
    """Fail with the secret at hand, in a variable of the frame that raises."""
    secret = str(context.data.get("secret"))
    raise ValueError(f"{len(secret)} characters do not open it")


@service.function(timeout=60, requires_approval=True)
async def careful(context: Context) -> str:
    """What a person has to let pass."""
    return fingerprint(context.data.get("secret"))


@door.function(name="handleCustomAuth")
async def judge(token: str) -> dict[str, str]:
    """Let everybody in, and say something of them that is nobody's business."""
    return {"secret": os.environ[AUTH]}


@service.on_status_change
async def on_status(change: StatusChange) -> None:
    """The handler of runs."""
    logging.getLogger("vault").info("%s is %s", change.run_id, change.status)


def _say_so() -> None:
    Path(os.environ[READY]).write_text(str(os.getpid()))


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG)
    logging.getLogger("perdure").setLevel(logging.DEBUG)
    serve([service, door], when_ready=_say_so)
