"""Blobs: what a function shows to people and keeps from the model."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from perdure.contract.base import Reply, Request
from perdure.contract.limits import MAX_BLOB_BYTES, MAX_NAME

MAX_BLOB_CHARACTERS = (MAX_BLOB_BYTES + 2) // 3 * 4
"""Characters of a blob in base64."""


class BlobType(StrEnum):
    JSON = "application/json"
    PNG = "image/png"
    JPEG = "image/jpeg"
    TEXT = "text/plain"
    PDF = "application/pdf"


class CreateBlob(Request):
    """Attach a blob to a call that is or was leased to this machine."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME, strict=True)]
    type: BlobType
    encoding: Literal["base64"] = "base64"
    data: Annotated[str, StringConstraints(max_length=MAX_BLOB_CHARACTERS, strict=True)] = Field(
        description="The content in base64, at most 4 MiB decoded."
    )
    size: Annotated[int, Field(strict=True, ge=0, le=MAX_BLOB_BYTES)] | None = Field(
        default=None, description="Bytes of the decoded content, to be checked."
    )


class BlobCreated(Reply):
    id: str


class Blob(Reply):
    """A blob without its content, which `GET …/blobs/{blobId}/data` returns."""

    id: str
    call_id: str
    name: str
    type: BlobType
    size: int = Field(description="Bytes.")
    created_at: datetime


class BlobPage(Reply):
    """Blobs, oldest first."""

    items: list[Blob]
    next_cursor: str | None = None
