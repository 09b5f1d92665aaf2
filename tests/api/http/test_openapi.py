"""The OpenAPI document tells the truth: by its own rules, and by trying whatever it allows."""

# schemathesis is typed in part only:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import checks as known

from api.app import assemble
from perdure.contract import CreateRun
from tests.support.api_process import ApiProcess, api_process

TRIED = frozenset(
    {
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "allow_header_conformance",
        "unsupported_method",
        "missing_required_header",
        "negative_data_rejection",
    }
)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return assemble().openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for operation in item.values():
            yield path, operation


async def test_every_operation_is_named_and_described(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))
    for _, operation in operations(document):
        assert re.fullmatch(r"[a-z]+_[a-z_]+", operation["operationId"])
        assert operation["summary"]
        assert operation["description"]


async def test_everything_but_health_needs_the_key(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["ApiKey"]["scheme"] == "bearer"
    for path, operation in operations(document):
        open_to_all = path in {"/live", "/ready", "/public/oas.json", "/contract"}
        assert ("security" in operation) == (not open_to_all), path
        assert ("401" in operation["responses"]) == (not open_to_all), path


async def test_every_error_is_a_problem(document: dict[str, Any]) -> None:
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for path, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status >= "400" and path != "/ready":
                (media,) = answer["content"].items()
                assert media[0] == "application/problem+json", (path, status)
                assert media[1]["schema"] == {"$ref": "#/components/schemas/Problem"}


async def test_limits_are_in_the_document(document: dict[str, Any]) -> None:
    create = document["components"]["schemas"]["CreateRun"]
    assert create["additionalProperties"] is False
    prompt, _ = create["properties"]["initialPrompt"]["anyOf"]
    assert prompt["maxLength"] == 500_000


async def test_the_examples_are_valid_requests(document: dict[str, Any]) -> None:
    named = {operation["operationId"]: operation for _, operation in operations(document)}
    body = named["create_run"]["requestBody"]["content"]["application/json"]
    assert body["examples"]
    for example in body["examples"].values():
        CreateRun.model_validate_json(json.dumps(example["value"]))


HEAD_REFUSED = "Invalid HTTP request received."
"""What uvicorn says of an address longer than it reads; the application never sees such a request."""


# -- tried ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def process(processes: None, tmp_path_factory: pytest.TempPathFactory) -> Generator[ApiProcess]:
    with api_process(tmp_path_factory.mktemp("api"), PERDURE_MAX_WAIT_SECONDS="0.05") as started:
        yield started
    log = started.log.read_text()
    assert "Traceback" not in log, log[log.index("Traceback") :][:5_000]


known.load_all_checks()
registry: Any = known.CHECKS
checks: list[Any] = [registry.get_one(name) for name in sorted(TRIED)]
config = schemathesis.Config.from_dict(
    {
        "checks": {
            "negative_data_rejection": {
                "expected-statuses": [400, 401, 403, 404, 405, 406, 409, 410, 413, 415, 422]
            }
        }
    }
)
"""A refusal for its size (413) is a refusal too."""
schema: Any = schemathesis.openapi.from_dict(assemble().openapi(), config=config).exclude(
    path="/ready"
)


def cluster_for(case: Any, process: ApiProcess) -> str:
    """The process's cluster; a new one for each attempt to delete it."""
    if (case.method, case.path) != ("DELETE", "/clusters/{clusterId}"):
        return process.cluster
    made = httpx2.post(f"{process.url}/clusters", json={}, headers=process.headers)
    cluster: str = made.json()["id"]
    return cluster


@schema.parametrize()
@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
def test_no_request_that_the_document_allows_or_forbids_breaks_the_server(
    case: Any, process: ApiProcess
) -> None:
    if "clusterId" in case.path_parameters:
        case.path_parameters["clusterId"] = cluster_for(case, process)
    response = case.call(base_url=process.url, headers=process.headers, timeout=20)
    if response.text != HEAD_REFUSED:
        case.validate_response(response, checks=checks, headers=process.headers)
