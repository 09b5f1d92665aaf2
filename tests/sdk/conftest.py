"""An API double, and clients that talk to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

import pytest

from perdure import AsyncPerdure, Perdure, Service
from tests.sdk.api_double import KEY, ApiDouble
from tests.sdk.loopback_server import LoopbackServer


@pytest.fixture(scope="session")
def loopback_server() -> Generator[LoopbackServer]:
    server = LoopbackServer()
    yield server
    server.stop()


@pytest.fixture
def api(loopback_server: LoopbackServer) -> ApiDouble:
    double = ApiDouble(loopback_server)
    double.start()
    return double


@pytest.fixture
async def client(api: ApiDouble) -> AsyncGenerator[AsyncPerdure]:
    async with AsyncPerdure(api.url, KEY) as opened:
        yield opened


@pytest.fixture
def sync_client(api: ApiDouble) -> Generator[Perdure]:
    with Perdure(api.url, KEY) as opened:
        yield opened


@pytest.fixture
def service() -> Service:
    offered = Service("sales")

    @offered.function
    async def double(number: int) -> int:
        return 2 * number

    @offered.function
    def halve(number: int) -> float:
        return number / 2

    @offered.function
    def fail() -> None:
        raise LookupError("no such order")

    return offered
