"""A Claude that is in trouble the first time it is asked something, as the run's own prompt wants it.

`python -m tests.faults.ground.claude --record file.jsonl` serves on a free port. The prompt is a script as of
`tests.support.anthropic_server`; an entry `{"first": mishap, "then": message}` is the mishap once, or as often as its
`times` says, then the message.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from tests.support.anthropic_server import AnthropicServer, Body, Entry, prompted, serving


def scripted(server: AnthropicServer) -> None:
    """Have the server play the scripts of the prompts, mishaps once."""

    def play(body: Body) -> Entry:
        entry = prompted(body)
        if "first" not in entry:
            return entry
        asked = sum(other["messages"] == body["messages"] for other in server.requests)
        mishap: Entry = entry["first"]
        chosen: Entry = mishap if asked <= mishap.get("times", 1) else entry["then"]
        return chosen

    server.script = play


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", type=Path)
    server = AnthropicServer(record=parser.parse_args().record)
    scripted(server)
    async with serving(server):
        sys.stdout.write(json.dumps({"url": server.url}) + "\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
