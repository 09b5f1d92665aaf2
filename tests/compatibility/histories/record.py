"""Record the histories of today's workflows: `python -m tests.compatibility.histories.record` from the repository's root.

A history in this folder is a promise to runs that were under way when it was made: `tests/orchestrator/workflows/test_replay.py`
replays each of them. Record anew only when a scenario is new, or when no run of an older version can be under way
any more; a workflow that changes what it asks for keeps the old path behind `workflow.patched` until then.
Existing files are kept; name scenarios to record them anew.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, cast

from temporalio.client import WorkflowHistory

from tests.orchestrator.workflows.play import Play
from tests.orchestrator.workflows.scenarios.repertoire import SCENARIOS
from tests.support.temporal_server import connected, temporal_server

FOLDER = Path(__file__).parent


def _files(name: str) -> list[Path]:
    return [path for path in FOLDER.glob("*.json") if path.stem.partition("-")[0] == name]


def _portable(value: Any) -> Any:
    """Without stack traces: they name folders of the machine, and no replay reads them."""
    if isinstance(value, list):
        return [_portable(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return {key: _portable(item) for key, item in members.items() if key != "stackTrace"}
    return value


def _keep(name: str, histories: list[WorkflowHistory]) -> None:
    for number, history in enumerate(histories, start=1):
        suffix = f"-{number}" if len(histories) > 1 else ""
        text = json.dumps(_portable(history.to_json_dict()), indent=1, sort_keys=True)
        (FOLDER / f"{name}{suffix}.json").write_text(text + "\n")


async def record(address: str, names: list[str]) -> None:
    """Play the scenarios against the server, and write down what came of them."""
    client = await connected(address)
    for name in names:
        for path in _files(name):
            path.unlink()
        play = Play(client)
        async with play.workers():
            _keep(name, await SCENARIOS[name](play))


def main() -> None:
    wanted = sys.argv[1:] or [name for name in SCENARIOS if not _files(name)]
    with temporal_server() as address:
        asyncio.run(record(address, wanted))
    sys.stdout.write(f"recorded: {', '.join(wanted) or 'nothing, all are there'}\n")


if __name__ == "__main__":
    main()
