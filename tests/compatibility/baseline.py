"""The frozen sections and their files."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.compatibility.comparison import Json
from tests.compatibility.sections.command_lines import command_lines
from tests.compatibility.sections.documented_imports import documented_imports
from tests.compatibility.sections.error_codes import error_codes
from tests.compatibility.sections.event_types import event_types
from tests.compatibility.sections.openapi import openapi
from tests.compatibility.sections.scopes import scopes
from tests.compatibility.sections.sdk import sdk
from tests.compatibility.sections.settings import settings
from tests.compatibility.sections.shared_files import shared_files
from tests.compatibility.sections.stored_values import stored_values
from tests.compatibility.sections.tables import tables
from tests.compatibility.sections.temporal_names import temporal_names
from tests.compatibility.sections.temporal_payloads import temporal_payloads

FROZEN = Path(__file__).with_name("frozen")

SECTIONS: Mapping[str, Callable[[Json], Json]] = {
    "command_lines": lambda _: command_lines(),
    "documented_imports": documented_imports,
    "error_codes": lambda _: error_codes(),
    "event_types": lambda _: event_types(),
    "openapi": lambda _: openapi(),
    "scopes": lambda _: scopes(),
    "sdk": lambda _: sdk(),
    "settings": lambda _: settings(),
    "shared_files": lambda _: shared_files(),
    "stored_values": lambda _: stored_values(),
    "tables": lambda _: tables(),
    "temporal_names": lambda _: temporal_names(),
    "temporal_payloads": lambda _: temporal_payloads(),
}
"""Section -> what collects it from the code; it is given the section's baseline."""


def frozen_file(section: str) -> Path:
    """The file of the section's baseline."""
    return FROZEN / f"{section}.json"


def read_baseline(section: str) -> Json:
    """The baseline of a section. Raises `FileNotFoundError` if the section was never frozen."""
    frozen: Json = json.loads(frozen_file(section).read_text())
    return frozen
