"""Blob routes: function workers attach blobs to calls, clients read them."""

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
    """Route with a body limit that fits a blob."""

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
    """Store a blob for people; the model does not see it. Limits: 4 MiB per blob, 64 MiB and 1,000 blobs per run.

    Only the function worker that holds the call's lease, or held it last, may attach a blob (409 otherwise). This is
    also possible after the result.
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
    """Return the blobs attached to the run's calls, oldest first, without their content."""
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
    """Return the decoded content with its media type.

    The content is untrusted function output, so it is sent as an attachment: browsers save it and do not render it.
    """
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
