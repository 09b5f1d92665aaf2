"""`perdure doctor`: check the installation, and say how to fix what is missing."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import typer

from perdure import Perdure
from perdure.cli.output import write_result
from perdure.dev.errors import StackError
from perdure.dev.plan import answering_model, find_temporal
from perdure.dev.probes import read_readiness_now
from perdure.errors import ApiError, PerdureError
from perdure.http.connection import find_connection

OLDEST, NEWEST = (3, 11), (3, 13)
_TIMEOUT = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of a check in one line, with the fix if one is needed."""

    good: bool
    line: str


def doctor() -> None:
    """Check this machine and the connection, one line each; exits 1 when something is missing."""
    findings = examine(os.environ)
    for name, finding in findings.items():
        write_result(f"{'ok ' if finding.good else 'BAD'}  {name:<11} {finding.line}")
    if not all(finding.good for finding in findings.values()):
        raise typer.Exit(1)


def examine(environment: Mapping[str, str]) -> dict[str, Finding]:
    """All checks, by name."""
    checks: dict[str, Callable[[Mapping[str, str]], Finding]] = {
        "python": _python,
        "temporal": _temporal,
        "connection": _connection,
        "api": _api,
        "key": _key,
        "model": _model,
    }
    return {name: check(environment) for name, check in checks.items()}


def _python(_: Mapping[str, str]) -> Finding:
    found = platform.python_version()
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return Finding(True, found)
    return Finding(False, f"{found} is not supported: use Python 3.11, 3.12 or 3.13")


def _temporal(environment: Mapping[str, str]) -> Finding:
    if address := environment.get("PERDURE_TEMPORAL_ADDRESS"):
        return Finding(True, f"yours at {address} (PERDURE_TEMPORAL_ADDRESS)")
    try:
        return Finding(True, str(find_temporal()))
    except StackError as error:
        return Finding(False, str(error))


def _connection(environment: Mapping[str, str]) -> Finding:
    try:
        return Finding(True, find_connection(environment=environment).url)
    except PerdureError as error:
        return Finding(False, str(error))


def _api(environment: Mapping[str, str]) -> Finding:
    try:
        seen = read_readiness_now(find_connection(environment=environment).url)
    except PerdureError:
        return Finding(False, "no address to ask")
    if seen.ready:
        return Finding(True, "ready")
    return Finding(False, f"{seen.detail}: see .perdure/logs, or start `perdure dev`")


def _key(environment: Mapping[str, str]) -> Finding:
    try:
        found = find_connection(environment=environment)
        with Perdure(found.url, found.api_key, patience=_TIMEOUT) as client:
            identity = client.identity()
    except ApiError as error:
        return Finding(False, f"{error.detail} Set PERDURE_API_KEY to a key of this server.")
    except PerdureError as error:
        return Finding(False, str(error).partition("\n")[0])
    return Finding(True, f"{identity.key_name}, for cluster {identity.cluster_id}")


def _model(environment: Mapping[str, str]) -> Finding:
    return Finding(True, answering_model(environment))
