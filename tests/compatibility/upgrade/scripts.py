"""What the maker of the old state and its tests agree on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HOST, CHECKOUT = "perdure", Path("/srv/perdure")
"""Host name and checkout in which the state is made."""
STATES = ("killed", "stopped", "postgresql")
PAYLOAD_KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
"""Of the killed stacks; the stopped one encrypts nothing."""
WEBHOOK_HOST, WEBHOOK_PORT = "127.23.7.1", 48_771
WEBHOOK_URL = f"http://{WEBHOOK_HOST}:{WEBHOOK_PORT}/hook"
CONFIG = "greeting"
RESULT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"pieces": {"type": "integer"}},
    "required": ["pieces"],
}


def calls(function: str, **given: object) -> dict[str, Any]:
    """A step that calls one function."""
    return {"calls": [{"function": function, "input": given}]}


def says(text: str) -> dict[str, Any]:
    """A step that says something."""
    return {"text": text}


def script(*steps: object) -> str:
    """A prompt for `scripted/inline`."""
    return json.dumps(steps)
