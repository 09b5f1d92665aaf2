"""Webhooks over HTTP: their secrets, the runs that name them, what was delivered, sending again."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import httpx2
import pytest
from standardwebhooks import Webhook

from api.dependencies import ApiServices
from orchestrator.workflows.interface import RunRef

URL = "https://hooks.example/perdure"
NewRun = Callable[..., Coroutine[Any, Any, str]]


@pytest.fixture
def secrets(cluster: str) -> str:
    return f"/clusters/{cluster}/webhook-secrets"


async def _secret(client: httpx2.AsyncClient, secrets: str, **wanted: object) -> dict[str, Any]:
    response = await client.post(secrets, json=wanted)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    return made


async def test_a_secret_is_shown_once(client: httpx2.AsyncClient, secrets: str) -> None:
    made = await client.post(secrets)
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    secret = made.json()["secret"]
    assert secret.startswith("whsec_")
    assert Webhook(secret)._whsecret != b""
    listed = await client.get(secrets)
    assert secret not in listed.text
    assert [one["id"] for one in listed.json()["items"]] == [made.json()["id"]]
    assert set(listed.json()["items"][0]) == {"id", "createdAt", "expiresAt"}


async def test_the_old_secret_runs_out(client: httpx2.AsyncClient, secrets: str) -> None:
    old = await _secret(client, secrets)
    new = await _secret(client, secrets, expiresInSeconds=3_600)
    items = (await client.get(secrets)).json()["items"]
    assert [(one["id"], one["expiresAt"] is None) for one in items] == [
        (new["id"], True),
        (old["id"], False),
    ]
    await _secret(client, secrets, expiresInSeconds=0)
    assert len((await client.get(secrets)).json()["items"]) == 1


@pytest.mark.parametrize("seconds", [-1, 30 * 86_400 + 1, "60", 1.5, True])
async def test_an_overlap_is_bounded(
    client: httpx2.AsyncClient, secrets: str, seconds: object
) -> None:
    response = await client.post(secrets, json={"expiresInSeconds": seconds})
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/expiresInSeconds"


async def test_too_many_secrets_are_a_conflict(client: httpx2.AsyncClient, secrets: str) -> None:
    made = [await _secret(client, secrets) for _ in range(4)]
    refused = await client.post(secrets)
    assert refused.status_code == 409
    assert refused.json()["code"] == "too_many_webhook_secrets"
    assert (await client.delete(f"{secrets}/{made[0]['id']}")).status_code == 204
    assert (await client.delete(f"{secrets}/{made[0]['id']}")).status_code == 404
    assert (await client.post(secrets)).status_code == 201


async def test_another_clusters_secret_looks_like_none(
    client: httpx2.AsyncClient, services: ApiServices, secrets: str
) -> None:
    foreign = await services.store.keys.ensure_cluster("foreign")
    record, _ = await services.webhooks.create_secret(foreign, keep_seconds=0)
    answers = [await client.delete(f"{secrets}/{one}") for one in (record.id, "unknown")]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].text.replace(record.id, "unknown") == answers[1].text
    assert len(await services.store.webhook_secrets.valid(foreign)) == 1


async def test_a_run_without_a_secret_is_answered_how_to_make_one(
    client: httpx2.AsyncClient, runs: str
) -> None:
    body = {"initialPrompt": "[]", "onStatusChange": {"webhook": {"url": URL}}}
    response = await client.post(runs, json=body)
    assert response.status_code == 422
    assert response.json()["code"] == "no_webhook_secret"
    assert "/webhook-secrets" in response.text


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/",
        "https://127.0.0.1/",
        "https://169.254.169.254/",
        "https://u@a.example/",
    ],
)
async def test_an_address_that_no_webhook_may_go_to_is_refused(
    client: httpx2.AsyncClient, runs: str, secrets: str, url: str
) -> None:
    await _secret(client, secrets)
    body = {"initialPrompt": "[]", "onStatusChange": {"webhook": {"url": url}}}
    response = await client.post(runs, json=body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/onStatusChange/webhook/url"
    assert response.json()["code"] == "webhook_address"


@pytest.mark.parametrize(
    "target",
    [
        {},
        {"webhook": {"url": URL}, "function": {"service": "s", "function": "f"}},
        {"webhook": {"url": ""}},
        {"webhook": {"url": URL, "secret": "mine"}},
        {"webhook": {"url": URL}, "statuses": []},
        {"webhook": {"url": URL}, "statuses": ["finished"]},
    ],
)
async def test_targets_that_make_no_sense_are_refused(
    client: httpx2.AsyncClient, runs: str, secrets: str, target: dict[str, Any]
) -> None:
    await _secret(client, secrets)
    response = await client.post(runs, json={"initialPrompt": "[]", "onStatusChange": target})
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"].startswith("/onStatusChange")


async def test_a_run_shows_who_is_notified_of_what(
    client: httpx2.AsyncClient, runs: str, secrets: str, new_run: NewRun
) -> None:
    await _secret(client, secrets)
    target = {"webhook": {"url": URL}, "statuses": ["done", "failed"]}
    run_id = await new_run(onStatusChange=target)
    shown = (await client.get(f"{runs}/{run_id}")).json()["onStatusChange"]
    assert shown == target | {"function": None}


async def _cancelled(client: httpx2.AsyncClient, runs: str, new_run: NewRun) -> str:
    """A run with one transition of which a webhook is to be notified; the path of its deliveries."""
    run_id = await new_run(onStatusChange={"webhook": {"url": URL}})
    assert (await client.post(f"{runs}/{run_id}/cancel")).status_code == 200
    return f"{runs}/{run_id}/deliveries"


async def test_deliveries_can_be_read_and_sent_again(
    client: httpx2.AsyncClient,
    services: ApiServices,
    runs: str,
    secrets: str,
    new_run: NewRun,
) -> None:
    await _secret(client, secrets)
    deliveries = await _cancelled(client, runs, new_run)
    (one,) = (await client.get(deliveries)).json()["items"]
    _, _, cluster, _, run_id, _ = deliveries.split("/")
    assert one["id"] == f"{run_id}:1"
    assert (one["status"], one["kind"], one["attempts"]) == ("pending", "webhook", 0)
    pending = await client.post(f"{deliveries}/1/resend")
    assert (pending.status_code, pending.json()["code"]) == (409, "delivery_is_pending")
    ref = RunRef(cluster, run_id)
    await services.store.deliveries.begin_webhook(ref, one["callId"])
    await services.store.deliveries.webhook_failed(ref, one["callId"], "410: gone", final=True)
    (dead,) = (await client.get(deliveries)).json()["items"]
    assert (dead["status"], dead["attempts"], dead["lastError"]) == ("dead", 1, "410: gone")
    assert dead["settledAt"] is not None
    resent = await client.post(f"{deliveries}/1/resend")
    assert resent.status_code == 200
    assert (resent.json()["status"], resent.json()["settledAt"]) == ("pending", None)
    events = (await client.get(f"{runs}/{run_id}/events")).json()["items"]
    assert [event["type"] for event in events][-2:] == ["delivery.dead", "delivery.resent"]


@pytest.mark.parametrize("transition", ["0", "2147483648", "x", "-1"])
async def test_a_transition_is_a_number(
    client: httpx2.AsyncClient, runs: str, secrets: str, new_run: NewRun, transition: str
) -> None:
    await _secret(client, secrets)
    deliveries = await _cancelled(client, runs, new_run)
    assert (await client.post(f"{deliveries}/{transition}/resend")).status_code == 422
    assert (await client.post(f"{deliveries}/2147483647/resend")).status_code == 404


async def test_deliveries_come_in_pages(
    client: httpx2.AsyncClient, runs: str, secrets: str, new_run: NewRun
) -> None:
    await _secret(client, secrets)
    deliveries = await _cancelled(client, runs, new_run)
    page = (await client.get(deliveries, params={"limit": 1})).json()
    assert (len(page["items"]), page["nextCursor"]) == (1, None)
    past = await client.get(deliveries, params={"cursor": "OTk5OTk5OTk5OTk5"})
    assert past.json()["items"] == []
    assert (await client.get(deliveries, params={"cursor": "x"})).status_code == 422


async def test_a_foreign_runs_deliveries_look_like_an_unknown_ones(
    client: httpx2.AsyncClient, services: ApiServices, runs: str
) -> None:
    foreign = await services.store.keys.ensure_cluster("foreign")
    _, other_key = await services.store.keys.create(foreign, "other")
    made = await client.post(
        f"/clusters/{foreign}/runs",
        json={"initialPrompt": "[]", "id": "their-run"},
        headers={"Authorization": f"Bearer {other_key}"},
    )
    assert made.status_code == 201
    for method, path in (("GET", "deliveries"), ("POST", "deliveries/1/resend")):
        answers = [
            await client.request(method, f"{runs}/{run}/{path}") for run in ("their-run", "no-such")
        ]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].text.replace("their-run", "?") == answers[1].text.replace("no-such", "?")
