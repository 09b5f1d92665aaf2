"""Addresses of these clients that are not ours: put into ours before a route is looked for."""

from __future__ import annotations

import re

from starlette.types import Scope

EVENT_VERSION = "perdure.event_version"
"""In the scope of a question for one event of a run: which; 0 where the event's id is none."""
_PATH_ALIASES = (
    (re.compile(r"(/clusters/[^/]+)/jobs(?=/|$)"), r"\1/calls"),
    (re.compile(r"(/clusters/[^/]+)/agents(?=/|$)"), r"\1/run-configs"),
)
"""Later versions' words for the same."""
_EVENT = re.compile(r"(/clusters/[^/]+)/events/([^/:]+)(?::(\d{1,15}))?[^/]*/meta")


def rewrite_path(scope: Scope) -> Scope:
    """The request at our address: slashes at the beginning of the path are one, and some nouns have other names."""
    path = "/" + scope["path"].lstrip("/")
    for theirs, ours in _PATH_ALIASES:
        path = theirs.sub(ours, path, count=1) if theirs.match(path) else path
    event = _EVENT.fullmatch(path)
    if event is None:
        return {**scope, "path": path}
    cluster, run_id, version = event.groups()
    return {**scope, "path": f"{cluster}/runs/{run_id}/events", EVENT_VERSION: int(version or 0)}
