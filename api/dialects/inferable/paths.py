"""Rewrites paths that differ from the native ones, before a route is matched."""

from __future__ import annotations

import re

from starlette.types import Scope

EVENT_VERSION = "perdure.event_version"
"""Key in the scope of a request for one event of a run: its version; 0 if its id is invalid."""
_PATH_ALIASES = (
    (re.compile(r"(/clusters/[^/]+)/jobs(?=/|$)"), r"\1/calls"),
    (re.compile(r"(/clusters/[^/]+)/agents(?=/|$)"), r"\1/run-configs"),
)
"""Names of resources in later versions, and their native names."""
_EVENT = re.compile(r"(/clusters/[^/]+)/events/([^/:]+)(?::(\d{1,15}))?[^/]*/meta")


def rewrite_path(scope: Scope) -> Scope:
    """Rewrite the path: several leading slashes count as one, and some resources have other names."""
    path = "/" + scope["path"].lstrip("/")
    for theirs, ours in _PATH_ALIASES:
        path = theirs.sub(ours, path, count=1) if theirs.match(path) else path
    event = _EVENT.fullmatch(path)
    if event is None:
        return {**scope, "path": path}
    cluster, run_id, version = event.groups()
    return {**scope, "path": f"{cluster}/runs/{run_id}/events", EVENT_VERSION: int(version or 0)}
