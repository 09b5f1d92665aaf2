"""Two tenants: every operation with every foreign id answers as for an unknown one. Generated from the routes."""

from __future__ import annotations

from dataclasses import dataclass

import httpx2
import pytest

from api.context import ApiServices
from orchestrator.workflows.interface import RunRef
from perdure.contract import FunctionReference, Scope, StatusChangeTarget
from tests.support.stage import Stage
from tests.support.tenants import BODIES, MACHINE, Operation, key_with, keyed_operations

CREATING = frozenset({"put_run_config"})
"""Whoever puts something under an id of their choice makes it, whoever else has used that id."""
OPERATIONS = sorted(
    (operation for operation in keyed_operations() if operation.parameters),
    key=lambda operation: operation.id in CREATING,
)
_HANDLER = StatusChangeTarget(function=FunctionReference(service="sales", function="announce"))


@dataclass(frozen=True, slots=True)
class Tenant:
    """Somebody with a cluster of their own, in which there is one of everything."""

    key: str
    ids: dict[str, str]


async def tenant(client: httpx2.AsyncClient, services: ApiServices, name: str) -> Tenant:
    """A cluster with a run, a call at work, a configuration, a key, a secret, a note and a blob."""
    cluster = await services.store.keys.ensure_cluster(name)
    key = await key_with(services, cluster, Scope.ADMIN, Scope.CLIENT, Scope.MACHINE)
    stage = Stage(services.store, cluster)
    await stage.register("query", "announce", machine="tests")
    await stage.register("query", machine=f"machine-of-{name}")
    ref = await stage.run(id=f"run-of-{name}", on_status_change=_HANDLER)
    (order,) = await stage.called(ref)
    await stage.lease(ref, order.call_id, machine="tests")
    (message, *_) = await services.store.messages.page(ref, after=0, limit=1)
    ids = {
        "clusterId": cluster,
        "runId": ref.run_id,
        "callId": order.call_id,
        "messageId": message.id,
        "machineId": f"machine-of-{name}",
    }
    headers = {"Authorization": key, **MACHINE}
    inside = f"/clusters/{cluster}"
    for parameter, path, operation in (
        ("keyId", "/api-keys", "create_api_key"),
        ("secretId", "/webhook-secrets", "create_webhook_secret"),
        ("configId", "/run-configs", "create_run_config"),
        ("blobId", f"/calls/{order.call_id}/blobs", "create_blob"),
    ):
        body = BODIES.get(operation, {})
        made = await client.post(f"{inside}{path}", json=body, headers=headers)
        assert made.status_code == 201, made.text
        ids[parameter] = made.json()["id"]
    note = {"additionalContext": "secret of theirs"}
    await client.put(f"{inside}/sales/query/metadata", json=note, headers=headers)
    return Tenant(key, ids)


@pytest.fixture
async def ours(client: httpx2.AsyncClient, services: ApiServices) -> Tenant:
    return await tenant(client, services, "ours")


@pytest.fixture
async def theirs(client: httpx2.AsyncClient, services: ApiServices) -> Tenant:
    return await tenant(client, services, "theirs")


def nobodys(foreign: str) -> str:
    """An id of the same form that nobody has."""
    return "Z" + foreign[1:] if foreign[0] != "Z" else "Y" + foreign[1:]


async def test_every_operation_answers_a_foreign_id_as_an_unknown_one(
    client: httpx2.AsyncClient, services: ApiServices, ours: Tenant, theirs: Tenant
) -> None:
    wrong: list[str] = []
    for operation in OPERATIONS:
        for parameter in operation.parameters:
            foreign = theirs.ids[parameter]
            unknown = nobodys(foreign)
            answers = [
                await operation.ask(client, ours.key, **{**ours.ids, parameter: name})
                for name in (foreign, unknown)
            ]
            texts = [
                answer.text.replace(name, "?")
                for answer, name in zip(answers, (foreign, unknown), strict=True)
            ]
            statuses = {answer.status_code for answer in answers}
            if operation.id in CREATING and parameter != "clusterId":
                if len(statuses) != 1:
                    wrong.append(f"{operation.id} {parameter}: {texts}")
            elif statuses != {404} or texts[0] != texts[1]:
                wrong.append(f"{operation.id} {parameter}: {statuses} {texts}")
    assert wrong == []
    run = await services.store.runs.get(RunRef(theirs.ids["clusterId"], theirs.ids["runId"]))
    assert (run.status, run.cancel_reason, run.feedback_score) == ("running", None, None)


async def test_the_owner_is_answered_otherwise(
    client: httpx2.AsyncClient, services: ApiServices, theirs: Tenant
) -> None:
    """The test above would pass with ids that do not exist: these do."""
    reading = [operation for operation in OPERATIONS if operation.method == "GET"]
    answers = {
        operation.id: (await operation.ask(client, theirs.key, **theirs.ids)).status_code
        for operation in reading
        if operation.id not in {"stream_events", "get_call_result"}
    }
    assert set(answers.values()) == {200}, answers


async def test_a_refused_request_changes_nothing(
    client: httpx2.AsyncClient, services: ApiServices, ours: Tenant, theirs: Tenant
) -> None:
    """All at once: every change of the other cluster's things is refused, and they stay as they are."""
    before = [
        (await operation.ask(client, theirs.key, **theirs.ids)).text
        for operation in OPERATIONS
        if operation.id in {"get_run", "list_messages", "list_run_configs", "get_cluster"}
    ]
    changing: list[Operation] = [one for one in OPERATIONS if one.method != "GET"]
    for operation in changing:
        answer = await operation.ask(client, ours.key, **theirs.ids)
        assert answer.status_code == 404, operation
    after = [
        (await operation.ask(client, theirs.key, **theirs.ids)).text
        for operation in OPERATIONS
        if operation.id in {"get_run", "list_messages", "list_run_configs", "get_cluster"}
    ]
    assert before == after
