"""The synchronous faces lack nothing that the asynchronous things have, and do the same."""

from __future__ import annotations

import inspect

import pytest

from perdure import AsyncCall, AsyncPerdure, AsyncRun, Call, NotFoundError, Perdure, Run
from perdure.resources.clusters import (
    ApiKeys,
    AsyncApiKeys,
    AsyncClusters,
    AsyncFunctionNotes,
    AsyncWebhookSecrets,
    Clusters,
    FunctionNotes,
    WebhookSecrets,
)
from perdure.resources.run_configs import AsyncRunConfigs, RunConfigs
from tests.sdk.api_double import ApiDouble

PAIRS: list[tuple[type, type]] = [
    (AsyncPerdure, Perdure),
    (AsyncRun, Run),
    (AsyncCall, Call),
    (AsyncRunConfigs, RunConfigs),
    (AsyncClusters, Clusters),
    (AsyncApiKeys, ApiKeys),
    (AsyncWebhookSecrets, WebhookSecrets),
    (AsyncFunctionNotes, FunctionNotes),
]


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize(("asynchronous", "face"), PAIRS, ids=lambda kind: kind.__name__)
def test_a_proxy_has_every_method_and_says_what_it_does(asynchronous: type, face: type) -> None:
    assert public(asynchronous) - {"aclose"} <= public(face)
    for name in public(face) - {"id"}:
        assert inspect.getdoc(getattr(face, name)), name


def test_a_client_has_every_noun(api: ApiDouble, sync_client: Perdure) -> None:
    nouns = {"run_configs", "clusters", "api_keys", "webhook_secrets", "function_notes"}
    assert nouns <= vars(sync_client).keys()
    assert nouns <= vars(sync_client.aio).keys()


def test_a_method_of_a_proxy_knows_its_arguments(sync_client: Perdure) -> None:
    parameters = inspect.signature(sync_client.function_notes.put).parameters
    assert "additional_context" in parameters
    with pytest.raises(TypeError, match="additional_text"):
        sync_client.function_notes.put("a.b", additional_text="x")  # pyright: ignore[reportCallIssue] - that is the point


def test_errors_pass_through_a_proxy(api: ApiDouble, sync_client: Perdure) -> None:
    api.fault("GET .*/usage$", 503, times=1)
    api.fault("GET .*/usage$", 404)
    with pytest.raises(NotFoundError, match="scripted 404"):
        sync_client.usage()
    assert len(api.requests("GET .*/usage$")) == 2


def test_an_iterator_of_a_proxy_may_be_left_early(api: ApiDouble, sync_client: Perdure) -> None:
    api.add_run("run-1")
    api.runs["run-1"].change(status="running")
    run = sync_client.get_run("run-1")
    assert next(run.events()).version == 2
