"""Runs: translates requests to the native format, and native responses to Inferable's. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from api.dialects.inferable.translation import Body, bad_request, without_nulls

NO_PROMPT = "initialPrompt or configId is required to create a workflow"
DEFAULT_SERVICE = "default"
"""The service of tools of clients without services."""
_NOT_IN_A_RUN: Mapping[str, bool | None] = {"userId": None, "debug": False, "authContext": None}
"""Fields of Inferable's runs that native runs do not have."""
_MAY_BE_EMPTY = frozenset({"name", "systemPrompt", "model", "initialPrompt"})
_NAMES_OF_A_CONFIG = ("config", "template")
_LATER_STATUSES = ("done", "failed")
"""The default statuses for a target in the format of later versions."""


def format_status(status: str) -> str:
    """Inferable's five statuses: a cancelled run is shown as failed, with the reason."""
    return "failed" if status == "cancelled" else status


def format_run(run: Body) -> Body:
    """A run. Functions are named `service_function`."""
    attached = cast("Sequence[Mapping[str, str]] | None", run["attachedFunctions"])
    return {
        **_NOT_IN_A_RUN,
        **run,
        "status": format_status(run["status"]),
        "attachedFunctions": attached
        and [f"{one['service']}_{one['function']}" for one in attached],
    }


def parse_run(body: Body) -> Body:
    """Translate a request for a run, of any version. Raises `ApiError` if it has neither prompt nor configuration.

    Empty texts count as omitted.
    """
    run = {name: value for name, value in body.items() if value != "" or name not in _MAY_BE_EMPTY}
    run["config"] = _parse_config(body)
    if run["config"] is None and run.get("initialPrompt") is None:
        raise bad_request("invalid_request", NO_PROMPT)
    if "id" not in run and "runId" in run:
        run["id"] = run["runId"]
    if "test" in run:
        run["test"] = _parse_test(run["test"])
    if isinstance(run.get("tags"), dict):  # an earlier name of metadata
        run["metadata"] = run.pop("tags")
    if "onStatusChange" in run:
        run["onStatusChange"] = parse_target(run["onStatusChange"])
    return run


def _parse_config(body: Body) -> object:
    """The requested run configuration: by id and inputs, or by one of the earlier names."""
    if body.get("configId") not in (None, ""):
        return without_nulls({"id": body["configId"], "input": body.get("input")})
    return next((body[name] for name in _NAMES_OF_A_CONFIG if body.get(name) is not None), None)


def _parse_test(test: object) -> object:
    """Mocks of a run that is not a test are ignored."""
    if not isinstance(test, dict):
        return test
    known = cast("Body", test)
    return known if known.get("enabled") is True else {**known, "mocks": {}}


def parse_target(target: object) -> object:
    """Parse the target of status changes, in the format of any version. Raises `ApiError` for a workflow.

    A target of failed runs also receives cancelled ones: to these clients they are the same.
    """
    if not isinstance(target, dict):
        return target
    known = cast("Body", target)
    kind = known.get("type")
    if kind == "workflow" or (kind is None and "workflow" in known):
        raise bad_request(
            "not_served", "Workflows are not supported: pass a function or a webhook."
        )
    parsed = {
        name: known[name]
        for name in ("function", "webhook")
        if known.get(name) is not None and kind in {None, name}
    }
    if isinstance(known.get("tool"), str) and kind in {None, "tool"}:
        parsed["function"] = {"service": DEFAULT_SERVICE, "function": known["tool"]}
    if isinstance(parsed.get("webhook"), str):
        parsed["webhook"] = {"url": parsed["webhook"]}
    later = kind is not None or "webhook" in parsed
    statuses = known.get("statuses", list(_LATER_STATUSES) if later else None)
    return {**parsed, "statuses": _with_cancelled(statuses)}


def _with_cancelled(statuses: object) -> object:
    if not isinstance(statuses, list):
        return statuses
    wanted = cast("list[object]", statuses)
    missing = "failed" in wanted and "cancelled" not in wanted
    return [*wanted, "cancelled"] if missing else wanted
