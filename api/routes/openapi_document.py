"""What the API says of itself, to anybody: the OpenAPI document."""

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
    """This document, as `GET /openapi.json` has it. No key is needed."""
    return JSONResponse(request.app.openapi())


@router.get(
    "/contract",
    operation_id="get_contract",
    summary="The contract, as text",
    response_model=ContractText,
)
async def get_contract(request: Request) -> Response:
    """The same document as text in a field, for clients that ask for it so. No key is needed."""
    return reply(ContractText(contract=json.dumps(request.app.openapi())))
