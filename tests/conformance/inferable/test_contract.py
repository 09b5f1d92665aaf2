"""Every endpoint of the client's own contract, asked by the client; each answer is what the contract says it is."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.inferable.conftest import Client
from tests.conformance.inferable.served import endpoints

pytestmark = pytest.mark.timeout(120)

STATUSES = {
    "createMachine": 200,
    "live": 200,
    "createCallApproval": 204,
    "createCallBlob": 201,
    "getContract": 200,
    "listClusters": 200,
    "createCluster": 204,
    "deleteCluster": 204,
    "updateCluster": 204,
    "getCluster": 200,
    "listEvents": 200,
    "listUsageActivity": 200,
    "getEventMeta": 200,
    "createRun": 201,
    "deleteRun": 204,
    "createMessage": 201,
    "listMessages": 200,
    "listRuns": 200,
    "getRun": 200,
    "createFeedback": 204,
    "oas": 200,
    "updateMessage": 200,
    "getCall": 200,
    "listRunReferences": 200,
    "createApiKey": 200,
    "listApiKeys": 200,
    "revokeApiKey": 204,
    "listMachines": 200,
    "listServices": 200,
    "getRunTimeline": 200,
    "getBlobData": 200,
    "upsertFunctionMetadata": 204,
    "getFunctionMetadata": 200,
    "deleteFunctionMetadata": 204,
    "getRunConfig": 200,
    "createRunConfig": 201,
    "upsertRunConfig": 200,
    "deleteRunConfig": 204,
    "listRunConfigs": 200,
    "searchRunConfigs": 200,
    "getRunConfigMetrics": 200,
    "createRunRetry": 204,
    "createCall": 200,
    "createCallResult": 204,
    "listCalls": 200,
    "createStructuredOutput": 200,
    "getIntegrations": 404,
    "getClusterExport": 404,
    "getAllKnowledgeArtifacts": 404,
}
"""By the names of the client's contract; what is not served is a 404 in its form."""
UNASKED = {
    "upsertIntegrations",
    "consumeClusterExport",
    "createClusterKnowledgeArtifact",
    "getKnowledge",
    "upsertKnowledgeArtifact",
    "deleteKnowledgeArtifact",
    "getKnowledgeArtifact",
}
"""Not served either; `tests/api/dialects/inferable/test_endpoints.py` asks for them."""


@pytest.fixture(scope="module")
def played(client: Client) -> dict[str, Any]:
    """What the scenario found, which asks every endpoint once or more."""
    found: dict[str, Any] = client.result_of("contract")
    return found


@pytest.mark.parametrize("name", STATUSES)
def test_an_endpoint_answers_as_the_clients_contract_says(
    played: dict[str, Any], name: str
) -> None:
    answers: list[dict[str, Any]] = played["found"][name]
    assert [answer["problems"] for answer in answers] == [[] for _ in answers]
    assert {answer["status"] for answer in answers} == {STATUSES[name]}


def test_no_endpoint_of_the_contract_is_forgotten(played: dict[str, Any]) -> None:
    assert STATUSES.keys() | UNASKED == played["names"].keys()


def test_the_page_says_of_every_endpoint_whether_it_is_served(played: dict[str, Any]) -> None:
    said = {str(one): one.served for one in endpoints() if not one.version}
    names: dict[str, str] = played["names"]
    assert said == {address: STATUSES.get(name, 404) != 404 for name, address in names.items()}


def test_what_the_endpoints_say_is_true(played: dict[str, Any]) -> None:
    seen: dict[str, Any] = played["seen"]
    picture = {"n": 3}
    assert seen["noted"] == "Counts apples only."
    assert (seen["config"], seen["versions"]) == (
        ["Counting apples", True, True],
        [[1, "Counting"]],
    )
    assert True in seen["searched"]
    assert seen["done"] == ["done", {"n": 3}, True, ["shop_count"]]
    assert seen["listed"] == [True]
    assert seen["job"] == ["count", "success", '{"value":{"what":"apples"}}', '{"value":{"n":3}}']
    assert seen["blob"] == ["all", '{"a":1}']
    assert seen["references"] == [True]
    assert (seen["edited"], seen["retried"]) == ({"n": 4}, {"n": 4})
    assert seen["counted"] == ["success", "resolution", picture]
    assert seen["later"] == ["pending", None, None]
    assert seen["sold"] == '{"value":{"sold":true}}'
    assert seen["meta"] == [True, True]
    assert seen["additionalContext"] == "Be kind."
    assert (seen["known"], seen["gone"]) == (200, 404)
