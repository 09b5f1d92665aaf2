"""Clusters, their API keys, notes on their functions, the secrets of their webhooks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from typing import TypedDict, Unpack

from perdure.contract import (
    ApiKey,
    Cluster,
    ContextVersion,
    CreateApiKey,
    CreateCluster,
    CreatedApiKey,
    CreateWebhookSecret,
    FunctionNote,
    NewWebhookSecret,
    Scope,
    SetFunctionNote,
    UpdateCluster,
    WebhookSecret,
)
from perdure.functions.references import NamedFunction, to_reference
from perdure.http.cluster_api import ClusterApi, OfCluster, PageOf, read_pages
from perdure.http.json_codec import build, build_with_nulls
from perdure.http.transport import read_reply
from perdure.sync.proxy import SyncProxy, sync_iterator, sync_method


class ClusterChanges(TypedDict, total=False):
    """The editable settings of a cluster. An explicit None clears `description` and `additional_context`."""

    name: str
    description: str | None
    additional_context: str | None
    debug: bool
    enable_custom_auth: bool


class AsyncClusters(OfCluster):
    """Clusters: the client's own with the scope admin, all of them with management."""

    async def create(self, name: str | None = None, description: str | None = None) -> Cluster:
        """Create a cluster with a unique name. Requires the scope management."""
        body = build(CreateCluster, {"name": name, "description": description})
        response = await self._api.transport.send("POST", "/clusters", body=body, repeatable=False)
        return read_reply(Cluster, response)

    async def list(self, *, limit: int | None = None) -> AsyncGenerator[Cluster, None]:
        """All clusters, oldest first. Requires the scope management."""
        async for cluster in read_pages(
            self._api.transport, "/clusters", PageOf[Cluster], limit=limit
        ):
            yield cluster

    async def get(self, cluster_id: str | None = None) -> Cluster:
        """Get a cluster; default: the client's own. Raises `NotFoundError`."""
        return await self._of(cluster_id).read(Cluster, "GET")

    async def update(
        self, cluster_id: str | None = None, **changes: Unpack[ClusterChanges]
    ) -> Cluster:
        """Change the given settings of a cluster; default: the client's own."""
        body = build_with_nulls(UpdateCluster, changes)
        return await self._of(cluster_id).read(Cluster, "PUT", body=body)

    async def delete(self, cluster_id: str) -> None:
        """Delete a cluster: its keys stop working within 2 s, its runs are cancelled."""
        await self._of(cluster_id).send("DELETE")

    async def context_versions(
        self, cluster_id: str | None = None, *, limit: int | None = None
    ) -> AsyncGenerator[ContextVersion, None]:
        """Versions of the cluster's `additional_context`, newest first."""
        pages = self._of(cluster_id).pages(PageOf[ContextVersion], "context-versions", limit=limit)
        async for version in pages:
            yield version

    def _of(self, cluster_id: str | None) -> ClusterApi:
        return self._api if cluster_id is None else ClusterApi(self._api.transport, cluster_id)


class AsyncApiKeys(OfCluster):
    """The cluster's API keys. Requires the scope admin."""

    async def create(self, name: str, scopes: Sequence[Scope | str] | None = None) -> CreatedApiKey:
        """Create a key. Its value, `key`, cannot be read again.

        Default scopes: those of admin, client and machine that the client's own key has. It cannot grant others.
        """
        fields = {"name": name, "scopes": None if scopes is None else list(scopes)}
        body = build(CreateApiKey, fields)
        return await self._api.read(CreatedApiKey, "POST", "api-keys", body=body, repeatable=False)

    async def list(self, *, limit: int | None = None) -> AsyncGenerator[ApiKey, None]:
        """The keys, including revoked ones, oldest first, without their values."""
        async for key in self._api.pages(PageOf[ApiKey], "api-keys", limit=limit):
            yield key

    async def revoke(self, key: ApiKey | str) -> None:
        """Revoke a key, given itself or by its id. It stops working within 2 seconds."""
        key_id = key if isinstance(key, str) else key.id
        await self._api.send("DELETE", "api-keys", key_id)


class AsyncWebhookSecrets(OfCluster):
    """The secrets that sign the cluster's webhooks. Requires the scope admin."""

    async def create(self, *, overlap: timedelta | None = None) -> NewWebhookSecret:
        """Create a secret. Its value, `secret`, cannot be read again.

        Existing secrets stay valid for `overlap`: default one day, at most 30.
        """
        seconds = None if overlap is None else round(overlap.total_seconds())
        body = build(CreateWebhookSecret, {"expires_in_seconds": seconds})
        return await self._api.read(
            NewWebhookSecret, "POST", "webhook-secrets", body=body, repeatable=False
        )

    async def list(self) -> Sequence[WebhookSecret]:
        """The current secrets, newest first, without their values."""
        return await self._api.all(PageOf[WebhookSecret], "webhook-secrets")

    async def delete(self, secret: WebhookSecret | str) -> None:
        """Remove a secret, given itself or by its id."""
        secret_id = secret if isinstance(secret, str) else secret.id
        await self._api.send("DELETE", "webhook-secrets", secret_id)


class AsyncFunctionNotes(OfCluster):
    """Operators' notes on functions, which the model reads."""

    async def put(self, function: NamedFunction, additional_context: str | None) -> None:
        """Set the note on a function, at most 100,000 characters. Requires the scope admin."""
        body = build(SetFunctionNote, {"additional_context": additional_context})
        await self._api.send("PUT", *_parts(function), body=body)

    async def get(self, function: NamedFunction) -> FunctionNote:
        """The note on a function. Raises `NotFoundError` if there is none."""
        return await self._api.read(FunctionNote, "GET", *_parts(function))

    async def delete(self, function: NamedFunction) -> None:
        """Remove the note on a function. Requires the scope admin."""
        await self._api.send("DELETE", *_parts(function))


class Clusters(SyncProxy[AsyncClusters]):
    """The synchronous form of `AsyncClusters`."""

    create = sync_method(AsyncClusters.create)
    list = sync_iterator(AsyncClusters.list)
    get = sync_method(AsyncClusters.get)
    update = sync_method(AsyncClusters.update)
    delete = sync_method(AsyncClusters.delete)
    context_versions = sync_iterator(AsyncClusters.context_versions)


class ApiKeys(SyncProxy[AsyncApiKeys]):
    """The synchronous form of `AsyncApiKeys`."""

    create = sync_method(AsyncApiKeys.create)
    list = sync_iterator(AsyncApiKeys.list)
    revoke = sync_method(AsyncApiKeys.revoke)


class WebhookSecrets(SyncProxy[AsyncWebhookSecrets]):
    """The synchronous form of `AsyncWebhookSecrets`."""

    create = sync_method(AsyncWebhookSecrets.create)
    list = sync_method(AsyncWebhookSecrets.list)
    delete = sync_method(AsyncWebhookSecrets.delete)


class FunctionNotes(SyncProxy[AsyncFunctionNotes]):
    """The synchronous form of `AsyncFunctionNotes`."""

    put = sync_method(AsyncFunctionNotes.put)
    get = sync_method(AsyncFunctionNotes.get)
    delete = sync_method(AsyncFunctionNotes.delete)


def _parts(function: NamedFunction) -> tuple[str, str, str]:
    named = to_reference(function)
    return named.service, named.function, "metadata"
