"""The API's address and key: from arguments, then the environment, then the local stack."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from perdure.errors import ConfigurationError

CONNECTION_FILE = Path(".perdure") / "connection.json"
"""Written by `perdure dev` in the folder it runs in."""


class Connection(BaseModel):
    """An API's address and key. Without a cluster id, the server is asked for the key's cluster."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)

    url: str
    api_key: str = Field(repr=False)
    cluster_id: str | None = None
    scheme: Literal["Bearer", "custom"] = "Bearer"
    """The scheme of the Authorization header: `custom` if the key is a token that the cluster's auth function verifies."""


def find_connection(
    url: str | None = None,
    api_key: str | None = None,
    cluster_id: str | None = None,
    *,
    custom_token: str | None = None,
    environment: Mapping[str, str] = os.environ,
    folder: Path | None = None,
) -> Connection:
    """Complete the arguments from `PERDURE_*` variables and from the stack that runs in this folder.

    The local stack's key is only ever used with the local stack's address. Raises `ConfigurationError`.
    """
    if custom_token is not None:
        return _for_user(url, cluster_id, custom_token, environment, folder)
    return _for_key(url, api_key, cluster_id, environment, folder)


def _for_key(
    url: str | None,
    api_key: str | None,
    cluster_id: str | None,
    environment: Mapping[str, str],
    folder: Path | None,
) -> Connection:
    url = url or environment.get("PERDURE_URL")
    api_key = api_key or environment.get("PERDURE_API_KEY")
    cluster_id = cluster_id or environment.get("PERDURE_CLUSTER_ID")
    if not (url and api_key):
        local = _read_local((folder or Path.cwd()) / CONNECTION_FILE)
        if local and _same(url or local.url, local.url):
            cluster_id = cluster_id or (None if api_key else local.cluster_id)
            url, api_key = local.url, api_key or local.api_key
    if not url:
        raise ConfigurationError(
            "No Perdure API is configured: start one here with `perdure dev`, or set PERDURE_URL and"
            " PERDURE_API_KEY, or pass url= and api_key=."
        )
    if not api_key:
        raise ConfigurationError(
            f"No API key for {url} is configured: set PERDURE_API_KEY or pass api_key=."
        )
    return Connection(url=_checked(url), api_key=api_key, cluster_id=cluster_id)


def _for_user(
    url: str | None,
    cluster_id: str | None,
    token: str,
    environment: Mapping[str, str],
    folder: Path | None,
) -> Connection:
    """A user's token cannot read the cluster from the server, so address and cluster are required."""
    local = _read_local((folder or Path.cwd()) / CONNECTION_FILE)
    url = url or environment.get("PERDURE_URL") or (local.url if local else None)
    cluster_id = cluster_id or environment.get("PERDURE_CLUSTER_ID")
    if not cluster_id and local and url and _same(url, local.url):
        cluster_id = local.cluster_id
    if not (url and cluster_id):
        raise ConfigurationError(
            "A custom token needs the API's address and the cluster's id: pass url= and cluster_id=, or set"
            " PERDURE_URL and PERDURE_CLUSTER_ID."
        )
    return Connection(url=_checked(url), api_key=token, cluster_id=cluster_id, scheme="custom")


def _read_local(file: Path) -> Connection | None:
    try:
        return Connection.model_validate_json(file.read_bytes())
    except OSError:
        return None
    except ValidationError as error:
        raise ConfigurationError(
            f"{file} cannot be parsed: delete it and start `perdure dev` again."
        ) from error


def _same(one: str, other: str) -> bool:
    return one.rstrip("/") == other.rstrip("/")


def _checked(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(
            f"{url!r} is not an API address: it must begin with http:// or https://."
        )
    return url.rstrip("/")
