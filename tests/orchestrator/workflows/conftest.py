"""A play for each test, on the module's Temporal server."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from temporalio.client import Client

from tests.orchestrator.workflows.play import Play


@pytest.fixture
async def play(temporal_client: Client) -> AsyncGenerator[Play]:
    made = Play(temporal_client)
    async with made.workers():
        yield made
