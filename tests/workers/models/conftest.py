"""A local server of Anthropic's dialect, one for a module, and a provider that asks it."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from tests.support.anthropic_server import AnthropicServer, serving
from tests.support.asking import KEY
from workers.models.anthropic.client import AnthropicModels


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def listening() -> AsyncGenerator[AnthropicServer]:
    async with serving(AnthropicServer()) as server:
        yield server


@pytest.fixture
def server(listening: AnthropicServer) -> AnthropicServer:
    listening.forget()
    return listening


@pytest_asyncio.fixture(loop_scope="module")
async def provider(server: AnthropicServer) -> AsyncGenerator[AnthropicModels]:
    provider = AnthropicModels(KEY, base_url=server.url, read_timeout=5)
    yield provider
    await provider.aclose()
