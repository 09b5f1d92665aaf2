"""Public routes of the OpenAPI document."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from api.http.responses import reply
from perdure.contract import ContractText

router = APIRouter(tags=["server"])


@router.get(
    "/public/oas.json",
    operation_id="get_openapi_document",
    summary="The OpenAPI document",
    response_model=dict[str, Any],
)
async def get_openapi_document(request: Request) -> Response:
    """Return the same document as `GET /openapi.json`. No key is required."""
    return JSONResponse(request.app.openapi())


@router.get(
    "/contract",
    operation_id="get_contract",
    summary="The OpenAPI document as text",
    response_model=ContractText,
)
async def get_contract(request: Request) -> Response:
    """Return the document as text in a field, for clients that expect this format. No key is required."""
    return reply(ContractText(contract=json.dumps(request.app.openapi())))
