"""A peer: what it is, how it is installed, how it is started."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.environment import FOLDER, make_environment
from benchmarks.peers.process import RunningPeer

__all__ = ["Peer", "RunningPeer"]

_INHERITED = frozenset({"HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ", "USER"})
_QUIET = {
    # Nothing leaves this machine: no traces, no reports of use.
    "DO_NOT_TRACK": "1",
    "LANGGRAPH_CLI_NO_ANALYTICS": "1",
    "LANGSMITH_TRACING": "false",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "OTEL_SDK_DISABLED": "true",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """One product with one kind of storage.

    `folder` holds its scripts and pins; `durability` says what is kept per step, where, and how safely.
    """

    name: str
    folder: str
    durability: str
    variant: str = ""
    on_temporal: bool = False
    """It uses the Temporal server that it is given."""

    def prepare(self) -> None:
        """Install it, unless it is. Raises `PeerError` saying why it does not install."""
        make_environment(FOLDER / self.folder)

    def start(self, temporal_address: str, temporal_namespace: str, state_dir: Path) -> RunningPeer:
        """Start it; its data and its log go into the folder, which is made. Raises `PeerError`."""
        made = make_environment(FOLDER / self.folder)
        state_dir.mkdir(parents=True, exist_ok=True)
        environment = {
            name: value for name, value in os.environ.items() if name in _INHERITED
        } | _QUIET
        environment["PYTHONPATH"] = str(FOLDER / "kit")
        environment["PYTHONUNBUFFERED"] = "1"
        if made.node_modules:
            environment["PEER_NODE_MODULES"] = str(made.node_modules)
        script = FOLDER / self.folder / "main.py"
        where = (temporal_address, temporal_namespace, state_dir.resolve(), self.variant)
        return RunningPeer((made.python, script, *where), environment, state_dir / "peer.log")
