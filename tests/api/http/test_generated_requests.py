"""Requests generated from the OpenAPI document, allowed and forbidden ones: the server answers as the document says."""

# schemathesis is typed in part only:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Generator
from functools import cache
from typing import Any, cast

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import checks as known
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.pytest._test_builder import build_operation_test

from api.app import assemble
from tests.support.api_process import ApiProcess, api_process

CHECKS = (
    "allow_header_conformance",
    "content_type_conformance",
    "missing_required_header",
    "negative_data_rejection",
    "not_a_server_error",
    "response_headers_conformance",
    "response_schema_conformance",
    "status_code_conformance",
    "unsupported_method",
)
_REFUSALS = [400, 401, 403, 404, 405, 406, 409, 410, 413, 415, 422]
"""Statuses that refuse a request: for its size (413) too."""
_HEAD_REFUSED = "Invalid HTTP request received."
"""Uvicorn's response to an address longer than it reads; the application never sees such a request."""
_SETTINGS = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

DOCUMENT = assemble().openapi()
LABELS = [
    f"{method.upper()} {path}"
    for path, item in DOCUMENT["paths"].items()
    for method in item
    if path != "/ready"  # 503: this process has no Temporal
]


@cache
def _all_checks() -> dict[str, Any]:
    known.load_all_checks()
    registry: Any = known.CHECKS
    return {name: registry.get_one(name) for name in CHECKS}


def _checks(case: Any) -> list[Any]:
    """The checks of a response. A parameter whose value is empty is not sent: it cannot be refused."""
    query = cast(dict[str, Any], case.query or {})
    is_unsent = any(map(_is_empty, query.values()))
    left_out = {"negative_data_rejection"} if is_unsent else set[str]()
    return [check for name, check in _all_checks().items() if name not in left_out]


def _is_empty(value: Any) -> bool:
    """Whether a parameter's value is an empty list or object, or holds nothing but such."""
    match value:
        case list():
            return all(map(_is_empty, cast(list[Any], value)))
        case dict():
            return all(map(_is_empty, cast(dict[str, Any], value).values()))
        case _:
            return False


@cache
def _schema() -> Any:
    config = schemathesis.Config.from_dict(
        {
            "seed": 1,
            "checks": {"negative_data_rejection": {"expected-statuses": _REFUSALS}},
        }
    )
    return schemathesis.openapi.from_dict(DOCUMENT, config=config)


@pytest.fixture(scope="module")
def process(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Generator[ApiProcess]:
    with api_process(tmp_path_factory.mktemp("api"), PERDURE_MAX_WAIT_SECONDS="0.05") as started:
        yield started
    log = started.log.read_text()
    assert "Traceback" not in log, log[log.index("Traceback") :][:5_000]


def _cluster_for(case: Any, process: ApiProcess) -> str:
    """The process's cluster; a new one for each attempt to delete it."""
    if (case.method, case.path) != ("DELETE", "/clusters/{clusterId}"):
        return process.cluster
    made = httpx2.post(f"{process.url}/clusters", json={}, headers=process.headers)
    cluster: str = made.json()["id"]
    return cluster


# Not `schema.parametrize()`: it builds every operation's cases whenever pytest collects, in each of its workers, and gives
# all tests one node id, of which pytest-xdist runs one.
@pytest.mark.parametrize("label", LABELS)
def test_no_request_that_the_document_allows_or_forbids_breaks_the_server(
    label: str, process: ApiProcess
) -> None:
    def send(case: Any) -> None:
        if "clusterId" in case.path_parameters:
            case.path_parameters["clusterId"] = _cluster_for(case, process)
        response = case.call(base_url=process.url, headers=process.headers, timeout=20)
        if response.text != _HEAD_REFUSED:
            case.validate_response(response, checks=_checks(case), headers=process.headers)

    schema = _schema()
    generated = build_operation_test(
        config=schema.config,
        operation=schema.find_operation_by_label(label),
        test_func=send,
        given_kwargs={},
        feedback=FeedbackSources(),
        explicit_settings=_SETTINGS,
    )
    generated()
