"""Blobs: attached to calls by function workers, shown to people."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Response

from api.dependencies import Cluster, CurrentLease, KeyedRoute, Ref, Services
from api.http.openapi import problems
from api.http.pagination import PageQuery, page_of, to_cursor
from api.http.responses import reply
from api.routes.serializers import present_blob
from orchestrator.errors import InvalidRequestError, TooLargeError
from perdure.contract import (
    MAX_BLOB_BYTES,
    MAX_BLOB_CHARACTERS,
    BlobCreated,
    BlobPage,
    BlobType,
    CreateBlob,
)


class _BlobRoute(KeyedRoute):
    """A route for a blob, which may be larger than other bodies."""

    max_bytes = MAX_BLOB_CHARACTERS + 64 * 1024


uploads = APIRouter(
    prefix="/clusters/{clusterId}/calls", tags=["function workers"], route_class=_BlobRoute
)
router = APIRouter(prefix="/clusters/{clusterId}", tags=["calls"], route_class=KeyedRoute)


@uploads.post(
    "/{callId}/blobs",
    operation_id="create_blob",
    summary="Attach a blob to a call",
    status_code=201,
    response_model=BlobCreated,
    responses=problems(404, 409, body=True),
)
async def create_blob(lease: CurrentLease, request: CreateBlob, services: Services) -> Response:
    """Keep something for people that the model is not shown: at most 4 MiB, 64 MiB and 1,000 blobs per run.

    Only the function worker that holds the call, or held it last, may do so (409 otherwise), also after its result.
    """
    blob_id = await services.store.blobs.add(
        lease.cluster_id,
        lease.call_id,
        lease.machine_id,
        name=request.name,
        type_=request.type,
        content=_decoded(request),
    )
    return reply(BlobCreated(id=blob_id), 201)


def _decoded(request: CreateBlob) -> bytes:
    try:
        content = base64.b64decode(request.data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequestError("`data` is not base64.", pointer="/data") from error
    if len(content) > MAX_BLOB_BYTES:
        raise TooLargeError(
            f"A blob may have {MAX_BLOB_BYTES} bytes; this one has {len(content)}.",
            pointer="/data",
        )
    if request.size is not None and request.size != len(content):
        raise InvalidRequestError(
            f"`size` is {request.size}, but `data` has {len(content)} bytes.", pointer="/size"
        )
    return content


@router.get(
    "/runs/{runId}/blobs",
    operation_id="list_run_blobs",
    summary="List a run's blobs",
    response_model=BlobPage,
    responses=problems(404),
)
async def list_run_blobs(
    ref: Ref, wanted: Annotated[PageQuery, Query()], services: Services
) -> Response:
    """What the run's functions attached to their calls, oldest first, without the content."""
    offset = wanted.number() or 0
    found = await services.store.blobs.page(ref, offset=offset, limit=wanted.fetch)
    page, next_cursor = page_of(found, wanted, lambda _: to_cursor(offset + wanted.limit))
    return reply(
        BlobPage(
            items=[present_blob(blob) for blob in page],
            next_cursor=next_cursor,
        )
    )


@router.get(
    "/blobs/{blobId}/data",
    operation_id="get_blob_data",
    summary="Read a blob",
    response_class=Response,
    responses={
        200: {
            "description": "The content, as an attachment.",
            "content": {
                kind.value: {"schema": {"type": "string", "format": "binary"}} for kind in BlobType
            },
        },
        **problems(404),
    },
)
async def get_blob_data(
    cluster_id: Cluster,
    blob_id: Annotated[
        str,
        Path(alias="blobId", max_length=256, pattern=r"^[^\x00]*$", description="The blob's id."),
    ],
    services: Services,
) -> Response:
    """The decoded content with its type. It is a function's: browsers are told to keep it, not to show it."""
    blob, content = await services.store.blobs.content(cluster_id, blob_id)
    return Response(
        content,
        media_type=blob.type,
        headers={
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(blob.name, safe='')}",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox",
        },
    )
