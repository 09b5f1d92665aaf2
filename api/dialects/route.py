"""The route that clients of every manner may use."""

from __future__ import annotations

from fastapi import Request, Response
from fastapi.routing import APIRoute
from typing_extensions import override

from api.dialects.inferable import answer
from api.dialects.manner import NATIVE, manner_of
from api.dialects.question import Handle, Question
from api.validation import refuse_repeated, single_names


class DialectRoute(APIRoute):
    """A route that hears a question in another manner as a native one, and puts its answer into that manner."""

    @override
    def get_route_handler(self) -> Handle:
        handle = super().get_route_handler()
        single = single_names(self)

        async def handle_either(request: Request) -> Response:
            if manner_of(request.headers) is NATIVE:
                refuse_repeated(request.query_params, single)
                return await handle(request)
            return await answer(Question(request, self, handle))

        return handle_either
