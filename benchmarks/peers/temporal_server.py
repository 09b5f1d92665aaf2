"""The embedded Temporal server alone, as `perdure dev` starts it, and the raw loop's worker."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from benchmarks.peers.errors import PeerError
from orchestrator.settings import Settings
from orchestrator.temporal.client import Temporal
from perdure.dev.child import bound_command
from perdure.dev.plan import (
    StackOptions,
    choose_addresses,
    find_temporal,
    temporal_child,
)
from perdure.dev.state import StateFolder

_SECONDS_TO_START = 60
_SECONDS_TO_STOP = 15
_PAUSE = 0.1


@asynccontextmanager
async def temporal_server(folder: Path) -> AsyncGenerator[str]:
    """Its address, while the block runs; its data and its log lie in the folder. Raises `PeerError`."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PERDURE_")
    }
    addresses = choose_addresses(StackOptions(port=0), environment, None)
    child = temporal_child(find_temporal(), StateFolder(folder), addresses, environment)
    worker = (sys.executable, "-m", "benchmarks.sides.raw_loop", addresses.temporal)
    log = folder / "temporal.log"
    with _process(child.argv, child.environment, log):
        try:
            async with asyncio.timeout(_SECONDS_TO_START):
                temporal = Temporal(Settings(temporal_address=addresses.temporal))
                while not await temporal.is_reachable():  # noqa: ASYNC110 # another process
                    await asyncio.sleep(_PAUSE)
        except TimeoutError as error:
            raise PeerError(f"The Temporal server does not start: see {log}") from error
        with _process(worker, environment, folder / "raw-loop.log"):
            yield addresses.temporal


@contextmanager
def _process(argv: Sequence[str], environment: Mapping[str, str], log: Path) -> Generator[None]:
    with log.open("wb") as said:
        process = subprocess.Popen(
            bound_command(tuple(argv)), env=dict(environment), stdout=said, stderr=said
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(_SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
