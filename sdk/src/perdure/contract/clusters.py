"""Clusters (tenants), their API keys, and their notes for the model."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StrictBool, StringConstraints

from perdure.contract.base import Reply, Request
from perdure.contract.limits import MAX_DESCRIPTION, MAX_NAME

MAX_ADDITIONAL_CONTEXT = 100_000
"""Maximum characters of an operator's note on a cluster or a function."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME, strict=True)]
Description = Annotated[str, StringConstraints(max_length=MAX_DESCRIPTION, strict=True)]
AdditionalContext = Annotated[
    str, StringConstraints(max_length=MAX_ADDITIONAL_CONTEXT, strict=True)
]


class Scope(StrEnum):
    """The permissions of an API key. No scope includes another, except `management`."""

    MACHINE = "machine"
    """Register functions, lease calls and post their results."""
    CLIENT = "client"
    """Create, read and control runs; create and approve calls."""
    ADMIN = "admin"
    """The cluster's settings, keys, function notes, webhook secrets and audit trail."""
    MANAGEMENT = "management"
    """List, create and delete clusters; admin and client in all of them. Granted on the command line only."""


class CreateCluster(Request):
    name: Name | None = Field(default=None, description="Unique; default: made from the id.")
    description: Description | None = None


class UpdateCluster(Request):
    """Omitted fields are unchanged; null clears `description` and `additionalContext`."""

    name: Name | None = None
    description: Description | None = None
    additional_context: AdditionalContext | None = Field(
        default=None,
        description="Part of the system prompt of every run; earlier versions are stored.",
    )
    debug: StrictBool | None = None
    enable_custom_auth: StrictBool | None = Field(
        default=None,
        description="Accept `Authorization: custom TOKEN`, which the function `default.handleCustomAuth` verifies.",
    )


class Cluster(Reply):
    """A tenant: runs, functions and keys of different clusters are isolated."""

    id: str
    name: str
    description: str | None = None
    additional_context: str | None = None
    debug: bool = False
    enable_custom_auth: bool = False
    created_at: datetime
    updated_at: datetime | None = None


class ClusterPage(Reply):
    """Clusters, oldest first."""

    items: list[Cluster]
    next_cursor: str | None = None


class ContextVersion(Reply):
    """A version of a cluster's `additionalContext`, from `createdAt` on."""

    version: int
    content: str | None
    created_at: datetime


class ContextVersionPage(Reply):
    """Versions, newest first."""

    items: list[ContextVersion]
    next_cursor: str | None = None


class CreateApiKey(Request):
    name: Name = Field(description="The purpose of the key; shown in the audit trail.")
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))] | None = Field(
        default=None,
        description="Default: those of admin, client and machine that the requesting key has.",
    )


class ApiKey(Reply):
    id: str
    name: str
    scopes: list[Scope]
    created_by: str | None = Field(default=None, description="The key that made it.")
    created_at: datetime
    revoked_at: datetime | None = None


class CreatedApiKey(ApiKey):
    """A new key. `key` cannot be read again; only its hash is stored."""

    key: str


class ApiKeyPage(Reply):
    """Keys, revoked ones included, oldest first."""

    items: list[ApiKey]
    next_cursor: str | None = None


class SetFunctionNote(Request):
    additional_context: AdditionalContext | None = Field(
        default=None, description="Added to the function's description, for the model."
    )


class FunctionNote(Reply):
    """An operator's note on a function, for the model."""

    service: str
    function: str
    additional_context: str | None
    updated_at: datetime
