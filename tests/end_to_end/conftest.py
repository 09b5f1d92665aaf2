"""A client of the shared stack."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from perdure import AsyncPerdure
from tests.support.running_stack import World, registered


@pytest.fixture
async def client(world: World) -> AsyncIterator[AsyncPerdure]:
    async with AsyncPerdure(url=world.url, api_key=world.api_key) as client:
        await registered(client)
        yield client
