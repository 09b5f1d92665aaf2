"""Checks whether the API is ready."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError

from perdure.dev.errors import StackError

_TIMEOUT = 2.0
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy


@dataclass(frozen=True, slots=True)
class Readiness:
    """The response of `GET /ready`; `missing` names the parts that are not available, `detail` is for people."""

    ready: bool
    missing: tuple[str, ...] = ()
    detail: str = ""


async def read_readiness(url: str) -> Readiness:
    """Read the readiness of the API at `url`; an unreachable API is not ready."""
    return await asyncio.to_thread(read_readiness_now, url)


def read_readiness_now(url: str) -> Readiness:
    """`read_readiness` for synchronous code."""
    try:
        with _direct.open(f"{url}/ready", timeout=_TIMEOUT):
            return Readiness(ready=True)
    except HTTPError as error:
        with error:
            missing = _missing(error.read())
        return Readiness(ready=False, missing=missing, detail=_sentence(error.code, missing))
    except OSError:
        return Readiness(ready=False, missing=("api",), detail="the API does not answer")


async def read_cluster_id(url: str, api_key: str) -> str:
    """The cluster that the key belongs to. Raises `StackError` if the API at `url` does not know the key."""
    return await asyncio.to_thread(_read_cluster_id, url, api_key)


def _read_cluster_id(url: str, api_key: str) -> str:
    request = urllib.request.Request(f"{url}/me", headers={"authorization": f"Bearer {api_key}"})  # noqa: S310 - our own address
    try:
        with _direct.open(request, timeout=_TIMEOUT) as answer:
            return str(json.load(answer)["clusterId"])
    except OSError as error:
        raise StackError(
            f"The API at {url} does not know the key of this folder: {error}"
        ) from error


def _missing(body: bytes) -> tuple[str, ...]:
    try:
        report: Any = json.loads(body)
        return tuple(str(part) for part in report["missing"])
    except (ValueError, KeyError, TypeError):
        return ()


def _sentence(status: int, missing: tuple[str, ...]) -> str:
    if missing:
        return f"not available to the API: {', '.join(missing)}"
    return f"the API answers {status} to /ready"
