"""One Temporal server for the session, and a play for each test."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

import pytest
from temporalio.client import Client

from tests.orchestrator.workflows.play import Play
from tests.support.temporal_server import connected, temporal_server


@pytest.fixture(scope="session")
def temporal_address() -> Generator[str]:
    with temporal_server() as address:
        yield address


@pytest.fixture
async def client(temporal_address: str) -> Client:
    return await connected(temporal_address)


@pytest.fixture
async def play(client: Client) -> AsyncGenerator[Play]:
    made = Play(client)
    async with made.workers():
        yield made
