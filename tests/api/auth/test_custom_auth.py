"""Custom auth: the cluster's own function says who somebody is, and they see their own runs only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx2
import pytest
from pydantic import JsonValue
from typing_extensions import override

from api.app import create_app
from api.auth.api_key_cache import ClusterCache
from api.auth.auth_function import AuthFunction
from api.auth.custom_auth import (
    ACCEPTED_TTL_SECONDS,
    MAX_CONCURRENT_CHECKS,
    REFUSED_TTL_SECONDS,
    UNAVAILABLE_TTL_SECONDS,
    AuthRefusal,
    AuthResult,
    CustomAuth,
)
from api.auth.scopes import SCOPES, USER
from api.context import ApiServices
from api.http.errors import ApiError
from orchestrator.errors import UnavailableError
from orchestrator.operations.runs import Operations
from orchestrator.store import tables
from orchestrator.store.database.json_columns import object_from_json
from orchestrator.store.tenants.clusters import ClusterRecord
from orchestrator.workflows.interface import RunRef
from perdure.contract import MAX_CONTEXT_BYTES
from tests.support.stage import Stage
from tests.support.tenants import keyed_operations

ADA: Mapping[str, JsonValue] = {"userId": "ada"}


@dataclass
class FakeAuth:
    """Stands for the cluster's function: knows its users, and can be slow or away."""

    users: dict[str, AuthResult] = field(
        default_factory=lambda: {"ada": ADA, "bob": {"userId": "bob"}}
    )
    calls: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    away: bool = False
    gate: asyncio.Event | None = None

    async def authenticate(self, cluster_id: str, token: str) -> AuthResult:
        self.calls.append((cluster_id, token))
        if self.gate is not None:
            await self.gate.wait()
        if self.away:
            raise UnavailableError("Nobody is there.")
        return self.users.get(token, AuthRefusal("The token was refused."))


def cluster_record(name: str = "c", updated_at: int | None = None) -> ClusterRecord:
    return ClusterRecord(name, name, None, None, False, True, 0, updated_at, None)


@pytest.fixture
def judge() -> FakeAuth:
    return FakeAuth()


# -- the memory ------------------------------------------------------------------------------------


async def test_an_answer_is_remembered_as_the_object_it_is_for_300_seconds(judge: FakeAuth) -> None:
    now = 0.0
    auth = CustomAuth(judge.authenticate, clock=lambda: now)
    first = await auth.authenticate(cluster_record(), "ada")
    now = ACCEPTED_TTL_SECONDS - 1
    second = await auth.authenticate(cluster_record(), "ada")
    assert first == second
    assert second.auth_context == ADA
    assert second.auth_token_hash is not None
    assert "ada" not in second.auth_token_hash
    assert len(judge.calls) == 1
    now = ACCEPTED_TTL_SECONDS + 1
    await auth.authenticate(cluster_record(), "ada")
    assert len(judge.calls) == 2


@pytest.mark.parametrize(
    ("away", "seconds", "status"),
    [(False, REFUSED_TTL_SECONDS, 401), (True, UNAVAILABLE_TTL_SECONDS, 503)],
)
async def test_a_refusal_and_silence_are_remembered_for_less(
    judge: FakeAuth, away: bool, seconds: float, status: int
) -> None:
    now = 0.0
    judge.away = away
    auth = CustomAuth(judge.authenticate, clock=lambda: now)
    for moment, asked in ((0.0, 1), (seconds - 0.1, 1), (seconds + 0.1, 2)):
        now = moment
        with pytest.raises(ApiError) as caught:
            await auth.authenticate(cluster_record(), "eve")
        assert caught.value.status_code == status
        assert len(judge.calls) == asked


async def test_clusters_and_states_of_their_settings_share_nothing(judge: FakeAuth) -> None:
    auth = CustomAuth(judge.authenticate)
    for cluster in (cluster_record("a"), cluster_record("b"), cluster_record("a", updated_at=7)):
        await auth.authenticate(cluster, "ada")
        await auth.authenticate(cluster, "ada")
    assert judge.calls == [("a", "ada"), ("b", "ada"), ("a", "ada")]


async def test_many_requests_with_a_new_token_ask_once(judge: FakeAuth) -> None:
    judge.gate = asyncio.Event()
    auth = CustomAuth(judge.authenticate)
    waiting = [asyncio.create_task(auth.authenticate(cluster_record(), "ada")) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # whoever leaves takes nobody's answer along
    judge.gate.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert {getattr(one, "auth_context", None) is ADA for one in answers[1:]} == {True}
    assert len(judge.calls) == 1


async def test_a_flood_of_made_up_tokens_is_bounded(judge: FakeAuth) -> None:
    judge.gate = asyncio.Event()
    auth = CustomAuth(judge.authenticate)
    asking = [
        asyncio.create_task(auth.authenticate(cluster_record(), f"made-up-{number}"))
        for number in range(MAX_CONCURRENT_CHECKS)
    ]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(ApiError, match="Too many new tokens") as caught:
        await auth.authenticate(cluster_record(), "one more")
    assert caught.value.status_code == 503
    judge.gate.set()
    await asyncio.gather(*asking, return_exceptions=True)
    assert len(judge.calls) == MAX_CONCURRENT_CHECKS
    with pytest.raises(ApiError, match="at most"):
        await auth.authenticate(cluster_record(), "x" * 10_000)


# -- at the door -----------------------------------------------------------------------------------


@pytest.fixture
async def users(
    services: ApiServices, cluster: str, judge: FakeAuth
) -> AsyncGenerator[httpx2.AsyncClient]:
    """A client without a key, of a cluster that takes custom tokens."""
    await services.store.clusters.change(cluster, {"custom_auth": True})
    app = create_app(replace(services, custom_auth=CustomAuth(judge.authenticate)))
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
        yield client


def token(name: str) -> dict[str, str]:
    return {"Authorization": f"custom {name}"}


async def test_a_user_sees_and_changes_the_runs_of_the_same_token_only(
    users: httpx2.AsyncClient,
    client: httpx2.AsyncClient,
    services: ApiServices,
    runs: str,
    new_run: Any,
) -> None:
    body = {"initialPrompt": "[]", "id": "adas-run"}
    made = await users.post(runs, json=body, headers=token("ada"))
    assert made.status_code == 201, made.text
    await new_run(id="the-owners-run")
    await users.post(runs, json={"initialPrompt": "[]", "id": "bobs-run"}, headers=token("bob"))
    listed = await users.get(runs, headers=token("ada"))
    assert [run["id"] for run in listed.json()["items"]] == ["adas-run"]
    assert len((await client.get(runs)).json()["items"]) == 3
    (row,) = await Stage(services.store, "").rows(tables.runs, tables.runs.c.id == "adas-run")
    assert object_from_json(row["auth_context"]) == ADA
    assert len(row["auth_token_hash"]) == 64
    sent = await users.post(
        f"{runs}/adas-run/messages", json={"message": "x"}, headers=token("ada")
    )
    assert sent.status_code == 201
    for foreign in ("bobs-run", "the-owners-run"):
        answers = [
            await users.get(f"{runs}/{run}", headers=token("ada")) for run in (foreign, "nobodys")
        ]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].text.replace(foreign, "?") == answers[1].text.replace("nobodys", "?")
    again = await users.post(runs, json=body, headers=token("bob"))
    assert again.status_code == 422, "somebody else's id brings nobody their run"


async def test_every_operation_is_open_to_users_or_not(
    users: httpx2.AsyncClient, cluster: str
) -> None:
    for operation in keyed_operations():
        answer = await operation.ask(users, "custom ada", clusterId=cluster)
        assert (answer.status_code == 401) == (USER not in SCOPES[operation.id]), operation
        if "{runId}" in operation.path:
            assert answer.status_code in {401, 404}, operation


async def test_without_the_setting_a_token_opens_nothing(
    client: httpx2.AsyncClient, cluster: str, runs: str
) -> None:
    for path in (runs, "/clusters/unknown/runs", "/me"):
        answer = await client.get(path, headers=token("ada"))
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert "enableCustomAuth" in answer.json()["detail"]


async def test_a_changed_setting_drops_what_was_remembered(
    users: httpx2.AsyncClient, services: ApiServices, cluster: str, runs: str, judge: FakeAuth
) -> None:
    now = 0.0
    cache = ClusterCache(services.store.clusters, clock=lambda: now)
    auth = CustomAuth(judge.authenticate)

    async def look() -> None:
        found = await cache.find(cluster)
        assert found is not None
        await auth.authenticate(found, "ada")

    await look()
    await look()
    assert len(judge.calls) == 1
    await services.store.clusters.change(cluster, {"description": "changed"})
    now = 3.0
    await look()
    assert len(judge.calls) == 2


# -- the function ----------------------------------------------------------------------------------

HANDLER = {"name": "handleCustomAuth"}


async def register(client: httpx2.AsyncClient, **changes: Any) -> httpx2.Response:
    body = {"service": "default", "functions": [{**HANDLER, **changes}]}
    return await client.post("/machines", json=body, headers={"x-machine-id": "m1"})


async def test_the_function_is_private_and_must_take_a_token(
    client: httpx2.AsyncClient, cluster: str
) -> None:
    wants_more: dict[str, Any] = {"type": "object", "properties": {}, "required": ["token", "user"]}
    refused = await register(client, schema=wants_more)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/functions/0/schema"
    schema = {"type": "object", "properties": {"token": {"type": "string"}}, "required": ["token"]}
    assert (await register(client, schema=schema)).status_code == 200
    services = (await client.get(f"/clusters/{cluster}/services")).json()["items"]
    assert services[0]["functions"][0]["config"]["private"] is True
    other = {"service": "sales", "functions": [{**HANDLER, "schema": wants_more}]}
    taken = await client.post("/machines", json=other, headers={"x-machine-id": "m1"})
    assert taken.status_code == 200, "only in the service `default` it means anything"


class Watched(Operations):
    """Operations that say which call was made."""

    def __init__(self, services: ApiServices) -> None:
        super().__init__(services.store, services.temporal, services.settings)
        self.store = services.store
        self.made: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @override
    async def create_call(self, *args: Any, **options: Any) -> str:
        call_id = await super().create_call(*args, **options)
        self.made.set_result(call_id)
        return call_id


@pytest.fixture
async def watched(services: ApiServices) -> Watched:
    return Watched(services)


@pytest.mark.parametrize(
    ("content", "context"),
    [
        ('{"userId":"ada"}', ADA),
        ("{}", {}),
        ("null", None),
        ('["ada"]', None),
        ("true", None),
        ('{"userId":"' + "x" * MAX_CONTEXT_BYTES + '"}', None),
    ],
    ids=["object", "empty", "null", "array", "true", "too large"],
)
async def test_the_function_is_asked_by_a_call_that_leaves_nothing_behind(
    client: httpx2.AsyncClient,
    cluster: str,
    watched: Watched,
    content: str,
    context: Mapping[str, JsonValue] | None,
) -> None:
    await register(client)
    stage = Stage(watched.store, cluster)
    function = AuthFunction(watched.store, watched)
    verdict = asyncio.create_task(function.authenticate(cluster, "secret-token"))
    async with asyncio.timeout(10):
        call = await stage.call_row(await watched.made)
        assert object_from_json(call["input"]) == {"token": "secret-token"}
        (run,) = await stage.rows(tables.runs)
        ref = RunRef(cluster, run["id"])
        await stage.begin(ref)
        await stage.lease_and_finish(ref, call["id"], content)
        said = await verdict
        assert said == context if context is not None else isinstance(said, AuthRefusal)
    assert await stage.rows(tables.runs) == []
    assert await stage.rows(tables.calls) == []


async def test_without_the_function_a_token_is_refused_with_what_to_do(
    services: ApiServices, cluster: str
) -> None:
    said = await AuthFunction(services.store, services.operations).authenticate(
        cluster, "secret-token"
    )
    assert isinstance(said, AuthRefusal)
    assert "no function worker offers default.handleCustomAuth" in said.reason


async def test_when_nobody_answers_in_time_that_is_reported_and_the_call_is_gone(
    client: httpx2.AsyncClient, services: ApiServices, cluster: str
) -> None:
    await register(client)
    function = AuthFunction(services.store, services.operations, timeout=0.05)
    with pytest.raises(UnavailableError, match="in time"):
        await function.authenticate(cluster, "secret-token")
    assert await Stage(services.store, cluster).rows(tables.calls) == []
